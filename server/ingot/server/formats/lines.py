"""Read a source as batches of lines, with the offset of each batch.

A batch holds the whole lines of about READ_BYTES. A line longer than MAX_LINE_BYTES comes in a batch of its
own, cut, so that a file without line ends needs no more memory than any other.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ingot.server.formats.findings import FindingSink
from ingot.server.formats.seam import BinarySource

MAX_LINE_BYTES = 8 * 1024 * 1024
_READ_BYTES = 512 * 1024
_BOM = b"\xef\xbb\xbf"
_CONTINUATIONS = bytes(range(0x80, 0xC0))
_OTHER_ENCODINGS = {  # the longer mark first: that of UTF-32 begins like that of UTF-16
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines without their line feeds; `offset` is that of the first one in the file."""

    offset: int
    lines: list[bytes]
    text: bytes  # the same in one piece
    end: int  # offset behind the batch and its last line feed
    closed: bool = True  # the last line has a line feed
    cut: bool = False  # it is one line, of which only the beginning is here
    nul: bool = False  # a NUL byte is in it
    returns: int = 0  # lines that end with a carriage return, as those of Windows do


def skip_mark(source: BinarySource, findings: FindingSink) -> int | None:
    """Step over a byte order mark and return the offset of the text; None when it is no UTF-8."""
    head = source.read(4)
    for mark, name in _OTHER_ENCODINGS.items():
        if head.startswith(mark):
            findings.error(
                "encoding",
                f"The file is {name}; expected UTF-8. Convert it, for example with iconv.",
                byte_offset=0,
            )
            return None
    if head.startswith(_BOM):
        findings.warning(
            "byte_order_mark",
            "The file begins with a byte order mark, which many readers take for text.",
            byte_offset=0,
        )
        return source.seek(len(_BOM))
    return source.seek(0)


def batches(source: BinarySource, most: int = MAX_LINE_BYTES) -> Iterator[Batch]:
    """Yield the lines from the source's position to its end."""
    offset = source.tell()
    carried: list[bytes] = []
    size = 0  # of what is carried
    skipped = 0  # bytes of a line that is too long, beyond those that are carried
    while block := source.read(_READ_BYTES):
        if size > most:  # nothing but the end of the line matters
            end = block.find(b"\n")
            if end < 0:
                skipped += len(block)
                continue
            behind = offset + size + skipped + end + 1
            yield _cut(offset, carried, most, behind, closed=True)
            offset, carried, size, skipped, block = behind, [], 0, 0, block[end + 1 :]
        last = block.rfind(b"\n")
        if last < 0:
            carried.append(block)
            size += len(block)
            continue
        carried.append(block[:last])
        text = b"".join(carried)
        end = offset + len(text) + 1
        rows = text.split(b"\n")
        returns = _returns(rows) if b"\r" in text else 0
        yield Batch(offset, rows, text, end, nul=b"\0" in text, returns=returns)
        offset, size = end, len(block) - last - 1
        carried = [block[last + 1 :]] if size else []
    if size > most:
        yield _cut(offset, carried, most, offset + size + skipped, closed=False)
    elif size:
        rest = b"".join(carried)
        nul, returns = b"\0" in rest, int(rest.endswith(b"\r"))
        yield Batch(offset, [rest], rest, offset + size, closed=False, nul=nul, returns=returns)


def _cut(offset: int, carried: list[bytes], most: int, end: int, *, closed: bool) -> Batch:
    return Batch(offset, [b"".join(carried)[:most]], b"", end, closed=closed, cut=True)


def _returns(rows: list[bytes]) -> int:
    return sum(1 for each in rows if each.endswith(b"\r"))


def characters(data: bytes) -> int:
    """Return how many characters begin in `data`: all bytes but the continuations of UTF-8."""
    return len(data) if data.isascii() else len(data.translate(None, _CONTINUATIONS))
