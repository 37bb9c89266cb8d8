"""The three messages that carry bytes, written and read by hand: no copy where protobuf makes three.

Serialising a message of 1 MiB through protobuf costs 0.5 ms, several times what hashing it does. Here the
disk reads into the message itself. The bytes on the wire are the same as protobuf's;
`tests/rpc/test_bulk_messages.py` compares both on arbitrary messages. `decode_put_chunks` knows the one shape
that clients send in bulk; everything else goes through protobuf.

A manifest is read by protobuf, but not beyond the first file too many: as objects two million empty files
would take a hundred times the memory of their message, before anybody can refuse them.
"""

import functools
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from ingot.content import pieces
from ingot.v1 import transfer_pb2, transfer_pb2_grpc

# The data of a message: bytes, or what writes all of them into their place.
Content = memoryview | Callable[[memoryview], None]

_SERVICE = "ingot.v1.TransferService"
_PUT_CHUNKS, _READ_FILE, _READ_CHUNKS = "PutChunks", "ReadFile", "ReadChunks"
_PUT_MANIFEST = "PutManifest"

# Tags: field number times 8, plus 0 for a number or 2 for bytes.
_FIELD_1_BYTES, _FIELD_2_BYTES, _FIELD_3_BYTES = 0x0A, 0x12, 0x1A
_BYTES = 2
_FIELD_1_NUMBER, _FIELD_3_NUMBER, _FIELD_4_NUMBER = 0x08, 0x18, 0x20


@dataclass(frozen=True, slots=True)
class BulkPieces:
    """A `Pieces` message whose data is a view into the message it came in."""

    digests: bytes
    lengths: Sequence[int]
    data: memoryview
    more: bool


PutChunksMessage = transfer_pb2.PutChunksRequest | BulkPieces


# --- writing --------------------------------------------------------------------------------------------


def read_chunks_response(
    packed: bytes, lengths: Sequence[int], size: int, content: Content, *, more: bool
) -> bytes:
    """Return a serialised ReadChunksResponse; `size` bytes of data are `content`, or put there by it."""
    head, tail = pieces.frame(_FIELD_1_BYTES, packed, lengths, size, more=more)
    return _filled(head, size, tail, content)


def read_file_response(offset: int, size: int, content: Content, total: int) -> bytes:
    """Return a serialised ReadFileResponse; fields that are 0 are left out."""
    head = bytes([_FIELD_1_NUMBER]) + pieces.varint(offset) if offset else b""
    if size:
        head += bytes([_FIELD_2_BYTES]) + pieces.varint(size)
    tail = bytes([_FIELD_3_NUMBER]) + pieces.varint(total) if total else b""
    return _filled(head, size, tail, content)


def _filled(head: bytes, size: int, tail: bytes, content: Content) -> bytes:
    """Return a message whose data is written where it will be sent from: BytesIO gives its buffer away."""
    if not size:
        return head + tail
    if isinstance(content, memoryview):
        return b"".join((head, content, tail))
    message = io.BytesIO()
    message.write(head)
    message.seek(len(head) + size - 1)
    message.write(b"\0" + tail)
    with message.getbuffer() as buffer, buffer[len(head) : len(head) + size] as data:
        content(data)
    return message.getvalue()


# --- reading --------------------------------------------------------------------------------------------


class _UnusualError(Exception):
    """The message is not of the one shape that is read by hand."""


def decode_put_chunks(message: bytes) -> PutChunksMessage:
    """Return a message of a PutChunks stream. Raises DecodeError as protobuf does."""
    if message[:1] == bytes([_FIELD_2_BYTES]):
        try:
            return _pieces(message)
        except (_UnusualError, IndexError):
            pass
    return transfer_pb2.PutChunksRequest.FromString(message)


def _pieces(message: bytes) -> BulkPieces:
    size, at = _varint_at(message, 1)
    end = len(message)
    if at + size != end:
        raise _UnusualError
    digests = b""
    lengths: list[int] | None = None
    data: memoryview | None = None
    more: int | None = None
    view = memoryview(message)
    while at < end:
        start, tag = at, message[at]
        value, at = _varint_at(message, at + 1)
        if tag == _FIELD_4_NUMBER and more is None:
            more = value
            continue
        if at + value > end:
            raise _UnusualError
        if tag == _FIELD_1_BYTES and not digests:
            digests = message[at : at + value]
        elif tag == _FIELD_2_BYTES and lengths is None:
            lengths = list(transfer_pb2.Pieces.FromString(message[start : at + value]).lengths)
        elif tag == _FIELD_3_BYTES and data is None:
            data = view[at : at + value]
        else:
            raise _UnusualError
        at += value
    return BulkPieces(digests, lengths or (), view[:0] if data is None else data, bool(more))


def decode_put_manifest(message: bytes, most: int) -> transfer_pb2.PutManifestRequest:
    """Return a PutManifestRequest with its first files, at most one more than `most`. Raises DecodeError."""
    if len(message) > 2 * most:  # each file takes two bytes, or more
        try:
            message = message[: _end_of_files(message, most + 1)]
        except (_UnusualError, IndexError):
            pass  # protobuf says what is wrong
    return transfer_pb2.PutManifestRequest.FromString(message)


def _end_of_files(message: bytes, count: int) -> int:
    """Return where the file of that number ends, or the message."""
    at, end = 0, len(message)
    while at < end and count:
        tag = message[at]
        value, at = _varint_at(message, at + 1)
        if tag & 7 == _BYTES:
            at += value
        elif tag & 7 or tag & 0x80:
            raise _UnusualError
        count -= tag == _FIELD_2_BYTES
    return at


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


# --- serving --------------------------------------------------------------------------------------------


def add_servicer(
    servicer: transfer_pb2_grpc.TransferServiceServicer, server: grpc.aio.Server, most_files: int
) -> None:
    """Add a TransferService whose bulk messages are read by this module and written by those who yield them.

    `most_files` may come in one PutManifest. ReadFile and ReadChunks yield serialised messages; PutChunks
    takes PutChunksMessage.
    """
    transfer_pb2_grpc.add_TransferServiceServicer_to_server(servicer, server)
    bulk: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        _PUT_CHUNKS: grpc.stream_unary_rpc_method_handler(
            servicer.PutChunks, decode_put_chunks, transfer_pb2.PutChunksResponse.SerializeToString
        ),
        _PUT_MANIFEST: grpc.unary_unary_rpc_method_handler(
            servicer.PutManifest,
            functools.partial(decode_put_manifest, most=most_files),
            transfer_pb2.PutManifestResponse.SerializeToString,
        ),
        _READ_FILE: grpc.unary_stream_rpc_method_handler(
            servicer.ReadFile, transfer_pb2.ReadFileRequest.FromString, _as_it_is
        ),
        _READ_CHUNKS: grpc.unary_stream_rpc_method_handler(
            servicer.ReadChunks, transfer_pb2.ReadChunksRequest.FromString, _as_it_is
        ),
    }
    server.add_registered_method_handlers(_SERVICE, bulk)  # they go before those of the generated code


def _as_it_is(message: bytes) -> bytes:
    return message
