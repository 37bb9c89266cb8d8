"""Look through gzip: a source of the bytes inside, in a stream.

Offsets of findings are then places in the unpacked content. Damage is a finding, and the content ends there.
What unpacks to far more than text does is not read on: a small file must not keep a server busy for hours.
"""

import gzip
import io
import zlib
from collections.abc import Callable

from ingot.server.core.params import Rules
from ingot.server.formats.findings import FindingSink
from ingot.server.formats.seam import BinarySource, Head

_MAGIC = b"\x1f\x8b\x08"
_USUAL_RATIO = 4  # how far text unpacks
_MOST_RATIO = 250  # gzip ends at about 1030
_RATIO_FROM = 64 * 1024 * 1024  # bytes unpacked before the ratio counts


def is_gzip(head: Head) -> bool:
    """Return whether a file begins like gzip."""
    return head.data.startswith(_MAGIC)


class GzipSource:
    """The content of a gzip file as a source; its `size` is an estimate."""

    def __init__(
        self, packed: BinarySource, rules: Rules, findings: FindingSink, progress: Callable[[int], None]
    ) -> None:
        self._packed = packed
        self._file = gzip.GzipFile(fileobj=packed, mode="rb")
        self._rules = rules
        self._findings = findings
        self._progress = progress
        self._stopped = False

    @property
    def size(self) -> int:
        """About how many bytes there are inside."""
        return self._packed.size * _USUAL_RATIO

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes; none where the content ends or is damaged."""
        if self._stopped:
            return b""
        place = self._file.tell()
        try:
            data = self._file.read(size)
        except (OSError, EOFError, zlib.error) as failure:
            if isinstance(failure, OSError) and not isinstance(failure, gzip.BadGzipFile):
                raise
            self._stop("gzip_damaged", f"The gzip data is damaged: {failure}", place)
            return b""
        self._check_most(place + len(data))
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position; going back reads from the beginning."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position in the content."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Return True: what takes a file asks for it."""
        return True

    def progress(self, _: int) -> None:
        """Tell how much of the packed file was read, which is what the reader of the file counts."""
        self._progress(self._packed.tell())

    def _check_most(self, done: int) -> None:
        most = self._rules.max_file_size
        if most is not None and done > most:
            self._stop("too_large", f"Unpacked it has more than {most} bytes (max_file_size).", most)
        elif done > _RATIO_FROM and done > _MOST_RATIO * self._packed.size:
            message = f"It unpacks to more than {_MOST_RATIO} times its {self._packed.size} bytes."
            self._stop("gzip_bomb", f"{message} Pack it again with real content.", done)

    def _stop(self, reason: str, message: str, place: int) -> None:
        self._stopped = True
        self._findings.error(reason, message, byte_offset=place)
