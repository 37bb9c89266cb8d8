"""The two messages that carry bytes, written and read by hand: one copy where protobuf makes three.

Through protobuf a message of 1 MiB is copied into the message, into the request around it, and once more to
serialise it, which costs more than hashing it. The bytes on the wire are the same; a test compares both. A
reply in another shape than the usual one goes through protobuf after all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from ingot.content import pieces
from ingot.v1 import transfer_pb2 as pb

_SERVICE = "/ingot.v1.TransferService"
# Tags: field number times 8, plus 0 for a number or 2 for bytes.
_PIECES_OF_REQUEST, _PIECES_OF_REPLY = 0x12, 0x0A


@dataclass(frozen=True, slots=True)
class PiecesView:
    """A `Pieces` message whose data is a view into the bytes it came in."""

    digests: bytes
    lengths: Sequence[int]
    data: memoryview
    more: bool


def put_chunks(channel: grpc.Channel) -> "grpc.StreamUnaryMultiCallable[bytes, pb.PutChunksResponse]":
    """Return the PutChunks method for requests that are serialised already."""
    decode: Callable[[bytes], Any] = pb.PutChunksResponse.FromString
    return channel.stream_unary(f"{_SERVICE}/PutChunks", None, decode)


def read_chunks(channel: grpc.Channel) -> "grpc.UnaryStreamMultiCallable[pb.ReadChunksRequest, PiecesView]":
    """Return the ReadChunks method with replies that are views."""
    encode: Callable[[Any], bytes] = pb.ReadChunksRequest.SerializeToString
    return channel.unary_stream(f"{_SERVICE}/ReadChunks", encode, decode_reply)


def encode_pieces(
    packed: bytes, lengths: Sequence[int], data: Sequence[bytes | memoryview], *, more: bool = False
) -> bytes:
    """Return a serialised PutChunksRequest; `packed` are the digests, `data` the bytes in parts."""
    return pieces.encode(_PIECES_OF_REQUEST, packed, lengths, data, more=more)


def decode_reply(message: bytes) -> PiecesView:
    """Return the pieces of a serialised ReadChunksResponse. Raises DecodeError as protobuf does."""
    try:
        return _decoded(message)
    except (_UnusualError, IndexError):
        read = pb.ReadChunksResponse.FromString(message).pieces
        return PiecesView(read.digests, list(read.lengths), memoryview(read.data), read.more)


class _UnusualError(Exception):
    """The message is not of the one shape that is read by hand."""


def _decoded(message: bytes) -> PiecesView:
    if message[0] != _PIECES_OF_REPLY:
        raise _UnusualError
    size, at = _varint_at(message, 1)
    end = len(message)
    if at + size != end:
        raise _UnusualError
    view = memoryview(message)
    found: dict[int, memoryview] = {}
    more = False
    while at < end:
        tag = message[at]
        value, at = _varint_at(message, at + 1)
        if tag == pieces.MORE:
            more = bool(value)
            continue
        if tag not in (pieces.DIGESTS, pieces.LENGTHS, pieces.DATA) or tag in found or at + value > end:
            raise _UnusualError
        found[tag] = view[at : at + value]
        at += value
    empty = view[:0]
    lengths = _numbers(bytes(found.get(pieces.LENGTHS, empty)))
    return PiecesView(bytes(found.get(pieces.DIGESTS, empty)), lengths, found.get(pieces.DATA, empty), more)


def _numbers(packed: bytes) -> list[int]:
    numbers: list[int] = []
    at = 0
    while at < len(packed):
        value, at = _varint_at(packed, at)
        numbers.append(value)
    return numbers


def _varint_at(message: bytes, at: int) -> tuple[int, int]:
    """Return a number of up to five bytes and where it ends; IndexError when the message ends before."""
    value = 0
    for shift in range(0, 35, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _UnusualError
