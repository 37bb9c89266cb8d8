"""Bytes that are no message: refused like any bad field, after the credential was looked at, and quietly."""

import logging
from collections.abc import AsyncIterator, Iterable

import grpc
import pytest
from google.protobuf import struct_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from helpers.pipelines import bearer, rig, serving
from ingot.v1 import catalog_pb2, transfer_pb2

CREATE = "/ingot.v1.CatalogService/CreateArtifact"
GET = "/ingot.v1.CatalogService/GetArtifact"
PUT = "/ingot.v1.TransferService/PutChunks"


async def _get(request: catalog_pb2.GetArtifactRequest, context: object) -> catalog_pb2.GetArtifactResponse:
    return catalog_pb2.GetArtifactResponse()


async def _create_artifact(
    request: catalog_pb2.CreateArtifactRequest, context: object
) -> catalog_pb2.CreateArtifactResponse:
    return catalog_pb2.CreateArtifactResponse()


async def _put(
    requests: AsyncIterator[transfer_pb2.PutChunksRequest], context: object
) -> transfer_pb2.PutChunksResponse:
    async for _ in requests:
        pass
    return transfer_pb2.PutChunksResponse()


def _nested(depth: int) -> bytes:
    """Return a Struct in itself so many times, as bytes: each level two tags and two lengths around it."""
    message = b""
    for _ in range(depth):
        value = b"\x2a" + _length(message)  # Value.struct_value
        entry = b"\x0a\x01a\x12" + _length(value)
        message = b"\x0a" + _length(entry)  # Struct.fields
    return message


def _length(content: bytes) -> bytes:
    size, head = len(content), bytearray()
    while size >= 0x80:
        head.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*head, size]) + content


def _ask(channel: grpc.Channel, path: str, raw: bytes, token: str) -> tuple[grpc.StatusCode, str]:
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        path
    )  # no serializer: bytes go as they are
    try:
        call(raw, metadata=bearer(token) if token else (), timeout=100)
    except grpc.RpcError as error:
        return _refusal(error)
    return grpc.StatusCode.OK, ""


def _refusal(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    assert isinstance(error, grpc.Call)
    status = status_pb2.Status.FromString(dict(error.trailing_metadata() or ())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return error.code(), info.reason


def _errors(records: Iterable[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records if record.levelno >= logging.ERROR]


def test_the_bytes_of_this_test_are_deep_but_otherwise_well_formed() -> None:
    assert struct_pb2.Struct.FromString(_nested(3)) == _plain(3)


def _plain(depth: int) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    for _ in range(depth):
        outer = struct_pb2.Struct()
        outer.fields["a"].struct_value.CopyFrom(message)
        message = outer
    return message


def _create(depth: int) -> bytes:
    """Return a CreateArtifactRequest whose metadata is so deep, as bytes."""
    metadata = _tag(catalog_pb2.Artifact, "metadata") + _length(_nested(depth))
    return _tag(catalog_pb2.CreateArtifactRequest, "artifact") + _length(metadata)


def _tag(kind: type[Message], field: str) -> bytes:
    number = kind.DESCRIPTOR.fields_by_name[field].number << 3 | 2
    return bytes([number]) if number < 0x80 else bytes([number & 0x7F | 0x80, number >> 7])


@pytest.mark.parametrize(
    ("path", "raw"),
    [(GET, b"\xff\xff\xff"), (GET, b"\x0a" + _length(b"\xff\xfe")), (CREATE, _create(500))],
)
def test_what_is_no_message_is_an_invalid_argument_without_a_story_in_the_log(
    path: str, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with rig(serving(GetArtifact=_get, CreateArtifact=_create_artifact)) as running:
        known = _ask(running.channel, path, raw, "member")
        unknown = _ask(running.channel, path, raw, "")
    assert known == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert unknown == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING")
    assert _errors(caplog.records) == []


def test_a_stream_with_something_else_in_it_is_an_invalid_argument_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with rig(serving(PutChunks=_put)) as running:
        put: grpc.StreamUnaryMultiCallable[bytes, bytes] = running.channel.stream_unary(PUT)
        with pytest.raises(grpc.RpcError) as caught:
            put(iter([b"\xff\xff\xff"]), metadata=bearer("member"), timeout=100)
    assert _refusal(caught.value) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert _errors(caplog.records) == []
