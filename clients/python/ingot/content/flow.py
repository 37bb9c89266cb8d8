"""Bytes that are read while they flow by: whoever reads is a generator that pauses until more has come.

    reader = Reader(read)                    # def read(flow): head = yield from flow.take(8); …
    reader.feed(window)                      # goes on until the reader needs more than there is
    reader.found, reader.is_over             # what it returned, once it did

What was not consumed is kept, so a reader that takes small pieces and skips the rest needs little memory.
"""

import struct
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

T = TypeVar("T")
Reading = Generator[None, None, T]


class Odd(Exception):
    """The bytes are not what their format says; they are not worth understanding."""


class Flow:
    """The bytes that have come and were not consumed yet; `offset` is where they begin."""

    def __init__(self) -> None:
        self._data: bytes | memoryview = b""
        self._at = 0
        self._passed = 0  # bytes in front of the data

    @property
    def offset(self) -> int:
        """Where the next bytes lie in the file."""
        return self._passed + self._at

    def take(self, count: int) -> Reading[bytes]:
        """Return so many bytes and go behind them."""
        while len(self._data) - self._at < count:
            yield
        self._at += count
        return bytes(self._data[self._at - count : self._at])

    def some(self, most: int) -> Reading[bytes]:
        """Return at least one byte, at most so many."""
        while self._at == len(self._data):
            yield
        return (yield from self.take(min(most, len(self._data) - self._at)))

    def skip(self, count: int) -> Reading[None]:
        """Go behind so many bytes."""
        while (here := len(self._data) - self._at) < count:
            self._at = len(self._data)
            count -= here
            yield
        self._at += count

    def skip_texts(self, count: int, length: struct.Struct) -> Reading[None]:
        """Go behind so many texts, each with its length in front. There may be a million of them."""
        while count:
            data, at, end = self._data, self._at, len(self._data)
            while count and at + length.size <= end:
                after: int = at + length.size + length.unpack_from(data, at)[0]
                if after > end:
                    break
                at = after
                count -= 1
            self._at = at
            if count:  # this one is not all here
                size: int = length.unpack((yield from self.take(length.size)))[0]
                yield from self.skip(size)
                count -= 1

    def add(self, data: memoryview) -> None:
        """Put bytes behind those that are here."""
        rest = self._data[self._at :]
        self._passed, self._at = self.offset, 0
        self._data = b"".join([rest, data]) if len(rest) else data

    def own(self) -> None:
        """Keep what was not consumed in memory of its own, so that what was added may go."""
        self._passed, self._data, self._at = self.offset, bytes(self._data[self._at :]), 0


class Reader(Generic[T]):
    """Runs a generator over the bytes it is fed; one that finds something odd ends without a result."""

    def __init__(self, read: Callable[[Flow], Reading[T]]) -> None:
        self.found: T | None = None
        self.is_over = False
        self._flow = Flow()
        self._reading = read(self._flow)

    def feed(self, data: memoryview) -> None:
        """Take the next bytes of the file."""
        self._flow.add(data)
        try:
            next(self._reading)
        except StopIteration as returned:
            self.found, self.is_over = returned.value, True
        except Odd:
            self.is_over = True
        self._flow.own()
