"""Where the tensors of a GGUF file lie: its metadata and tensor infos, read as they flow by.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md is the format; versions 2 and 3, both byte orders.
A tensor goes to where the next one starts, the last one to the end of the file: so neither the types of
tensors, of which new ones come often, nor their padding need be known.
"""

import struct
from collections.abc import Iterator

from ingot.content.flow import Flow, Odd, Reading

MAGIC = b"GGUF"
MOST_HEADER = 100_000_000  # bytes
MOST_TENSORS = 100_000
MOST_KEYS = 100_000
MOST_TEXTS = 16_000_000  # in one array; the largest vocabularies have under a million
OPEN_END = 2**63 - 1  # of the last tensor: wherever the file ends
_MOST_NAME = 65_535  # bytes
_MOST_DIMENSIONS = 4
_MOST_ALIGNMENT = 2**20
_MOST_OFFSET = 2**60
_DEEPEST = 8  # arrays in arrays
_UINT32, _STRING, _ARRAY = 4, 8, 9
_WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def begins(head: bytes) -> bool:
    """Return whether a file that begins with these bytes may be one."""
    return head.startswith(MAGIC)


def read(head: bytes, flow: Flow) -> Reading[tuple[int, list[tuple[int, int]]]]:
    """Return where the header ends and the tensors from start to end, in order. Raises Odd."""
    header = _Header(flow, big=head[4:6] == b"\0\0")
    return (yield from header.read(head))


class _Header:
    def __init__(self, flow: Flow, *, big: bool) -> None:
        self._flow = flow
        self._order = ">" if big else "<"
        self._length = struct.Struct(f"{self._order}Q")
        self._alignment = 32

    def read(self, head: bytes) -> Reading[tuple[int, list[tuple[int, int]]]]:
        counts = head[8:] + (yield from self._flow.take(24 - len(head)))
        (version,) = struct.unpack(f"{self._order}I", head[4:8])
        tensors, keys = struct.unpack(f"{self._order}QQ", counts)
        if version not in (2, 3) or not 0 < tensors <= MOST_TENSORS or keys > MOST_KEYS:
            raise Odd("unknown version, no tensors, or too many")
        for _ in range(keys):
            yield from self._skip_key()
        offsets = []
        for _ in range(tensors):
            offset = yield from self._offset()
            offsets.append(offset)
        data = -(-self._flow.offset // self._alignment) * self._alignment
        return data, [(data + start, min(data + end, OPEN_END)) for start, end in self._in_order(offsets)]

    def _in_order(self, offsets: list[int]) -> Iterator[tuple[int, int]]:
        offsets.sort()
        for start, end in zip(offsets, [*offsets[1:], OPEN_END], strict=True):
            if start % self._alignment or start >= end or start >= _MOST_OFFSET:
                raise Odd("tensors overlap, or are not aligned")
            yield start, end

    def _skip_key(self) -> Reading[None]:
        name = yield from self._name()
        kind = yield from self._number()
        if name != b"general.alignment":
            yield from self._skip_value(kind, 0)
            return
        alignment = (yield from self._number()) if kind == _UINT32 else 0
        if not 8 <= alignment <= _MOST_ALIGNMENT or alignment & (alignment - 1):
            raise Odd("no such alignment")
        self._alignment = alignment

    def _skip_value(self, kind: int, depth: int) -> Reading[None]:
        if kind == _STRING:
            yield from self._skip((yield from self._count(MOST_HEADER)))
        elif kind == _ARRAY and depth < _DEEPEST:
            inner = yield from self._number()
            if inner == _ARRAY:
                for _ in range((yield from self._count(MOST_KEYS))):
                    yield from self._skip_value(_ARRAY, depth + 1)
            elif inner == _STRING:
                yield from self._flow.skip_texts((yield from self._count(MOST_TEXTS)), self._length)
            else:
                yield from self._skip(self._width(inner) * (yield from self._count(MOST_HEADER)))
        else:
            yield from self._skip(self._width(kind))

    def _offset(self) -> Reading[int]:
        yield from self._name()
        dimensions = yield from self._number()
        if dimensions > _MOST_DIMENSIONS:
            raise Odd("too many dimensions")
        yield from self._skip(8 * dimensions + 4)  # and the type
        return (yield from self._count(_MOST_OFFSET))

    def _name(self) -> Reading[bytes]:
        return (yield from self._flow.take((yield from self._count(_MOST_NAME))))

    def _number(self) -> Reading[int]:
        number: int = struct.unpack(f"{self._order}I", (yield from self._flow.take(4)))[0]
        return number

    def _count(self, most: int) -> Reading[int]:
        number: int = self._length.unpack((yield from self._flow.take(8)))[0]
        if number > most or self._flow.offset > MOST_HEADER:
            raise Odd("promises too much, or too large a header")
        return number

    def _skip(self, count: int) -> Reading[None]:
        if self._flow.offset + count > MOST_HEADER:
            raise Odd("too large a header")
        yield from self._flow.skip(count)

    def _width(self, kind: int) -> int:
        if kind not in _WIDTHS:
            raise Odd("unknown type")
        return _WIDTHS[kind]
