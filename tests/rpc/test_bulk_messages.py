"""What is written and read by hand is what protobuf writes and reads."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from ingot.server.rpc import bulk_messages
from ingot.server.rpc.bulk_messages import BulkPieces, decode_put_chunks
from ingot.v1 import transfer_pb2

LENGTHS = st.lists(st.integers(0, 2**32 - 1), max_size=20)
DATA = st.binary(max_size=1500)
NUMBERS = st.integers(0, 2**63 - 1)
HEADERS = st.builds(
    transfer_pb2.PutChunksHeader, upload=st.text(max_size=20), declared_bytes=st.integers(-(2**63), 2**63 - 1)
)
PIECES = st.builds(
    transfer_pb2.Pieces,
    digests=st.binary(max_size=200),
    lengths=LENGTHS,
    data=st.binary(max_size=300),
    more=st.booleans(),
)
REQUESTS = st.one_of(
    st.builds(transfer_pb2.PutChunksRequest, header=HEADERS),
    st.builds(transfer_pb2.PutChunksRequest, pieces=PIECES),
    st.builds(transfer_pb2.PutChunksRequest, finish=st.builds(transfer_pb2.PutChunksFinish, bytes=NUMBERS)),
)


def _filling(data: bytes) -> bulk_messages.Content:
    def fill(buffer: memoryview) -> None:
        buffer[:] = data

    return fill


@given(st.binary(max_size=200), LENGTHS, DATA, st.booleans())
def test_chunks_are_written_as_protobuf_does(
    packed: bytes, lengths: list[int], data: bytes, more: bool
) -> None:
    pieces = transfer_pb2.Pieces(digests=packed, lengths=lengths, data=data, more=more)
    for content in (_filling(data), memoryview(data)):
        written = bulk_messages.read_chunks_response(packed, lengths, len(data), content, more=more)
        assert written == transfer_pb2.ReadChunksResponse(pieces=pieces).SerializeToString()


@given(NUMBERS, DATA, NUMBERS)
def test_ranges_are_written_as_protobuf_does(offset: int, data: bytes, total: int) -> None:
    message = transfer_pb2.ReadFileResponse(offset=offset, data=data, total_size_bytes=total)
    for content in (_filling(data), memoryview(data)):
        written = bulk_messages.read_file_response(offset, len(data), content, total)
        assert written == message.SerializeToString()


def _same(message: bytes) -> None:
    """Check that both readers agree about these bytes: on a message, or that they are none."""
    try:
        expected = transfer_pb2.PutChunksRequest.FromString(message)
    except DecodeError:
        with pytest.raises(DecodeError):
            decode_put_chunks(message)
        return
    read = decode_put_chunks(message)
    if not isinstance(read, BulkPieces):
        assert read == expected
        return
    pieces = expected.pieces
    assert expected.WhichOneof("message") == "pieces"
    assert (read.digests, list(read.lengths), bytes(read.data), read.more) == (
        pieces.digests,
        list(pieces.lengths),
        pieces.data,
        pieces.more,
    )


@given(REQUESTS)
def test_messages_are_read_as_protobuf_does(request: transfer_pb2.PutChunksRequest) -> None:
    _same(request.SerializeToString())


@given(REQUESTS, REQUESTS)
def test_two_messages_in_one_are_merged_as_protobuf_does(
    first: transfer_pb2.PutChunksRequest, second: transfer_pb2.PutChunksRequest
) -> None:
    _same(first.SerializeToString() + second.SerializeToString())


@given(REQUESTS, st.integers(0, 400), st.binary(min_size=1, max_size=4))
def test_damaged_messages_are_read_as_protobuf_does(
    request: transfer_pb2.PutChunksRequest, at: int, noise: bytes
) -> None:
    message = request.SerializeToString()
    at %= len(message) + 1
    _same(message[:at] + noise + message[at + len(noise) :])
    _same(message[:at])


@given(st.binary(max_size=60))
def test_any_bytes_are_read_as_protobuf_does(message: bytes) -> None:
    _same(message)
    _same(b"\x12" + bytes([len(message)]) + message)


def test_bulk_data_is_not_copied() -> None:
    data = bytes(1024 * 1024)
    pieces = transfer_pb2.Pieces(digests=bytes(32), lengths=[len(data)], data=data)
    message = transfer_pb2.PutChunksRequest(pieces=pieces).SerializeToString()
    read = decode_put_chunks(message)
    assert isinstance(read, BulkPieces)
    assert read.data.obj is message
