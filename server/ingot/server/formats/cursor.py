"""Read a binary file by exact counts, forward and in pieces, without holding it.

    cursor = Cursor(inspection); cursor.take(8, "the magic number"); cursor.skip(length, "a tensor")

What a file promises and does not hold is `Broken`, with its place; a validator turns that into a finding.
"""

from ingot.server.formats.gzipped import GzipSource
from ingot.server.formats.seam import READ_BYTES, Inspection

_PIECE = 64 * 1024
MOST = 2**63 - 1  # of a number in a report
TAKE_MOST = 16 * 1024 * 1024  # bytes in one piece: what one take may hold in memory


class Broken(Exception):
    """The content is not what its format says; the rest of it cannot be read."""

    def __init__(self, reason: str, message: str, byte_offset: int) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.byte_offset = byte_offset


def report_unsafe(inspection: Inspection, message: str, byte_offset: int | None = None) -> None:
    """Report content that runs code, or reaches outside the version, when it is loaded."""
    findings = inspection.findings
    add = findings.warning if inspection.rules.allow_unsafe else findings.error
    add("unsafe_content", message, byte_offset=byte_offset)


def exact_size(inspection: Inspection) -> int:
    """Return the bytes of the content; of packed content they are counted by unpacking it once."""
    source = inspection.source
    if not isinstance(source, GzipSource):
        return source.size
    count = 0
    while piece := source.read(READ_BYTES):
        count += len(piece)
        inspection.progress(count)
    source.seek(0)
    return count


class Cursor:
    """A place in a file; `size` is of the file, `offset` is where the next take begins."""

    def __init__(self, inspection: Inspection) -> None:
        self.size = exact_size(inspection)
        self.offset = 0
        self._inspection = inspection
        self._piece = b""
        self._begin = 0  # of the piece

    def take(self, count: int, what: str) -> bytes:
        """Return so many bytes and go behind them. Raises Broken when the file ends before."""
        self.need(count, what)
        if count > TAKE_MOST:
            message = f"{what} has {count} bytes; expected at most {TAKE_MOST}."
            raise Broken("too_long", message, self.offset)
        at = self.offset - self._begin
        if not 0 <= at <= len(self._piece) - count:
            self._load(max(count, _PIECE))
            at = 0
            if len(self._piece) < count:
                raise self._cut(count, what)
        self.offset += count
        return self._piece[at : at + count]

    def skip(self, count: int, what: str) -> None:
        """Go behind so many bytes. Raises Broken when the file ends before."""
        self.need(count, what)
        self.offset += count

    def need(self, count: int, what: str) -> None:
        """Raise Broken unless the file has so many bytes from here."""
        if count > self.size - self.offset:
            raise self._cut(count, what)

    def _cut(self, count: int, what: str) -> Broken:
        message = f"{what} begins at byte {self.offset} and needs {count} bytes, but the file ends at byte "
        return Broken("truncated", f"{message}{self.size}.", self.size)

    def _load(self, count: int) -> None:
        source = self._inspection.source
        if source.tell() != self.offset:
            source.seek(self.offset)
        self._begin = self.offset
        pieces: list[bytes] = []
        while count > 0 and (piece := source.read(count)):
            pieces.append(piece)
            count -= len(piece)
        self._piece = b"".join(pieces)
        self._inspection.progress(self.offset + len(self._piece))
