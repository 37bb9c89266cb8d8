"""Cut a file that arrives in pieces, as `chunking` cuts it when it is whole, in bounded memory.

    gathered, feeder = Gathered(), Feeder(profile)
    for data in stream:
        gathered.add(data)
        if gathered.size >= WINDOW:
            chunks = feeder.feed(gathered.take())      # those that are certain by now
    chunks = feeder.feed(gathered.take(), last=True)   # and the rest

What stands behind the last certain cut, less than 4 MiB, waits for more. The chunks are views into the window
they were cut from, which lives as long as one of them.
"""

from collections.abc import Sequence

from ingot.content import digests
from ingot.content.cuts import Cuts

Piece = tuple[bytes, memoryview]  # digest and bytes of a chunk
Part = bytes | bytearray

WINDOW = 4 * 1024 * 1024
_SMALL = 64 * 1024


class Gathered:
    """Bytes that wait to be cut; a million messages of one byte take a megabyte."""

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[Part] = []

    def add(self, data: bytes) -> None:
        """Put bytes behind those that are there."""
        self.size += len(data)
        last = self._parts[-1] if self._parts else b""
        if len(data) >= _SMALL:
            self._parts.append(data)
        elif isinstance(last, bytearray):
            last += data
        else:
            self._parts.append(bytearray(data))

    def take(self) -> list[Part]:
        """Return everything, and be empty."""
        parts, self._parts, self.size = self._parts, [], 0
        return parts


class Feeder:
    """Cuts one file, and hashes its chunks. Raises ChunkerMissingError."""

    def __init__(self, profile: str) -> None:
        self._cuts = Cuts(profile)
        self._rest = b""

    @property
    def profile(self) -> str:
        """The profile that fitted the file; known at its end."""
        return self._cuts.profile

    def feed(self, parts: Sequence[Part], *, last: bool = False) -> list[Piece]:
        """Take the next bytes, best a window at a time; return the chunks that are certain by now.

        With `last` nothing follows, and they end with the file.
        """
        view = memoryview(b"".join([self._rest, *parts]))
        lengths = self._cuts.certain(view, last=last)
        found: list[Piece] = []
        position = 0
        for length in lengths:
            data = view[position : position + length]
            found.append((digests.chunk_digest(data), data))
            position += length
        self._rest = bytes(view[position:])  # a copy: the window goes when its chunks have gone
        return found
