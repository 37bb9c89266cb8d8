"""Messages written and read by hand are those of protobuf."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from ingot.client._bulk import decode_reply, encode_pieces
from ingot.v1 import transfer_pb2 as pb

LENGTHS = st.lists(st.integers(0, 2**32 - 1), max_size=5)
DATA = st.lists(st.binary(max_size=300), max_size=4)


@given(packed=st.binary(max_size=96), lengths=LENGTHS, data=DATA, more=st.booleans())
def test_requests_are_written_as_protobuf_writes_them(
    packed: bytes, lengths: list[int], data: list[bytes], *, more: bool
) -> None:
    pieces = pb.Pieces(digests=packed, lengths=lengths, data=b"".join(data), more=more)
    expected = pb.PutChunksRequest(pieces=pieces).SerializeToString()
    assert encode_pieces(packed, lengths, data, more=more) == expected


@given(packed=st.binary(max_size=96), lengths=LENGTHS, data=DATA, more=st.booleans())
def test_replies_are_read_as_protobuf_reads_them(
    packed: bytes, lengths: list[int], data: list[bytes], *, more: bool
) -> None:
    pieces = pb.Pieces(digests=packed, lengths=lengths, data=b"".join(data), more=more)
    found = decode_reply(pb.ReadChunksResponse(pieces=pieces).SerializeToString())
    assert (found.digests, list(found.lengths), bytes(found.data), found.more) == (
        packed,
        lengths,
        b"".join(data),
        more,
    )


@given(st.binary(max_size=40))
def test_any_bytes_are_read_as_protobuf_reads_them_or_refused(message: bytes) -> None:
    try:
        expected = pb.ReadChunksResponse.FromString(message).pieces
    except DecodeError:
        with pytest.raises(DecodeError):
            decode_reply(message)
        return
    found = decode_reply(message)
    assert (found.digests, list(found.lengths)) == (expected.digests, list(expected.lengths))
    assert (bytes(found.data), found.more) == (expected.data, expected.more)
