"""Cut a file that arrives in pieces, as `chunking.cut_bytes` cuts it when it is whole, in bounded memory.

    feeder = Feeder()
    for piece in pieces:
        chunks = feeder.feed(piece)      # those that are certain by now
    chunks = feeder.finish()             # the rest

Bytes gather until there are 4 MiB; what stands behind the last certain cut, at most 1 MiB, waits for more. A
feeder holds about twice that, and the chunks it returned are views into it as long as somebody keeps them.
"""

from collections.abc import Sequence

from ingot.content import chunking, digests

Piece = tuple[bytes, memoryview]  # digest and bytes of a chunk

WINDOW = 4 * 1024 * 1024
_SMALL = 64 * 1024


class Feeder:
    """Cuts one file with the profile cdc. Raises ChunkerMissingError."""

    def __init__(self) -> None:
        self._waiting: list[bytes | bytearray] = []
        self._waiting_bytes = 0

    def feed(self, data: bytes) -> list[Piece]:
        """Take the next bytes; return the chunks that are certain by now."""
        self._waiting_bytes += len(data)
        last = self._waiting[-1] if self._waiting else b""
        if len(data) >= _SMALL:
            self._waiting.append(data)
        elif isinstance(last, bytearray):
            last += data
        else:
            self._waiting.append(bytearray(data))  # a million messages of one byte take a megabyte
        return self._cut(last=False) if self._waiting_bytes >= WINDOW else []

    def finish(self) -> list[Piece]:
        """Return the chunks of what is left; call it once."""
        return self._cut(last=True)

    def _cut(self, *, last: bool) -> list[Piece]:
        view = memoryview(b"".join(self._waiting))
        lengths = chunking.certain_cuts(view, last=last)
        found = _pieces(view, lengths)
        rest = view[sum(lengths) :]
        # A copy, so that the window goes when its chunks have gone.
        self._waiting, self._waiting_bytes = [bytes(rest)] if rest else [], len(rest)
        return found


def _pieces(view: memoryview, lengths: Sequence[int]) -> list[Piece]:
    found: list[Piece] = []
    position = 0
    for length in lengths:
        data = view[position : position + length]
        found.append((digests.chunk_digest(data), data))
        position += length
    return found
