"""How the messages that carry chunks are written by hand, for both sides: the bytes protobuf would write.

A message of 1 MiB is copied several times on its way through protobuf, which costs more than hashing it.
"""

from collections.abc import Sequence

# Tags: field number times 8, plus 0 for a number or 2 for bytes.
DIGESTS, LENGTHS, DATA, MORE = 0x0A, 0x12, 0x1A, 0x20  # of `Pieces`


def encode(
    tag: int, packed: bytes, lengths: Sequence[int], data: Sequence[bytes | memoryview], *, more: bool
) -> bytes:
    """Return a serialised message whose one field, of this tag, is a `Pieces`.

    `packed` are the digests, `data` the parts of its bytes, in order.
    """
    head, tail = frame(tag, packed, lengths, sum(len(part) for part in data), more=more)
    return b"".join([head, *data, tail])


def frame(tag: int, packed: bytes, lengths: Sequence[int], size: int, *, more: bool) -> tuple[bytes, bytes]:
    """Return what stands before and behind the `size` bytes of data in what `encode` returns."""
    head = b""
    if packed:
        head += bytes([DIGESTS]) + varint(len(packed)) + packed
    if lengths:
        numbers = b"".join(map(varint, lengths))
        head += bytes([LENGTHS]) + varint(len(numbers)) + numbers
    if size:
        head += bytes([DATA]) + varint(size)
    tail = bytes([MORE, 1]) if more else b""
    return bytes([tag]) + varint(len(head) + size + len(tail)) + head, tail


def varint(value: int) -> bytes:
    """Return a number of 0 or more in the form in which protobuf writes it."""
    if value < 0x80:
        return bytes([value])
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
