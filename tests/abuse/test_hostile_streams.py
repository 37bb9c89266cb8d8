"""Streams that no honest client sends: each is refused by name or taken rightly, and leaves nothing behind.

After all of them `doctor --deep` finds nothing wrong in the data folder.
"""

import random
import threading
from collections.abc import Iterable, Iterator

import grpc
import pytest

from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.servers import Server, running_server
from helpers.transfers import MIB, Pusher, finish, header, pieces, refused, stream
from ingot.content import digests
from ingot.server import cli
from ingot.v1 import auth_pb2, catalog_pb2, transfer_pb2

INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
ARTIFACT = "namespaces/sara/datasets/abuse"
Request = transfer_pb2.PutChunksRequest
PUT_CHUNKS = "/ingot.v1.TransferService/PutChunks"
UNKNOWN_FIELD = b"\xfa\x3f\x07unknown"  # field 1023, seven bytes


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("abuse")
    with running_server(folder) as server:
        pusher = Pusher(server.member("sara").transfer, ())
        kept = {"kept.bin": pattern("kept", MIB)}
        version = pusher.push(kept, ARTIFACT)
        yield server
        assert pusher.read(version, "kept.bin") == kept["kept.bin"]
        eventually(lambda: not list(server.folder.glob("ingest/*/*.open")), what="no stream is left")
    assert cli.main(["doctor", "--deep", "--data", str(folder / "data")]) == 0


@pytest.fixture(name="pusher")
def _pusher(server: Server) -> Pusher:
    return Pusher(server.member("sara").transfer, ())


def chunk(seed: str, size: int = 1000) -> tuple[bytes, bytes]:
    data = pattern(seed, size)
    return digests.chunk_digest(data), data


def raw(server: Server, messages: Iterable[bytes]) -> bytes:
    """Send bytes for messages, whatever they are."""
    call = server.member("sara").channel.stream_unary(
        PUT_CHUNKS, request_serializer=bytes, response_deserializer=bytes
    )
    answer: bytes = call(iter(messages))
    return answer


def test_a_chunk_in_messages_of_one_byte_is_taken(pusher: Pusher) -> None:
    digest, data = chunk("flood", 3000)

    def messages() -> Iterator[Request]:
        yield header(upload, 1, len(data))
        yield Request(
            pieces=transfer_pb2.Pieces(digests=digest, lengths=[len(data)], data=data[:1], more=True)
        )
        for at in range(1, len(data)):
            more = at < len(data) - 1
            yield Request(pieces=transfer_pb2.Pieces(data=data[at : at + 1], more=more))
        yield finish(1, len(data))

    upload = pusher.begin(ARTIFACT)
    assert list(pusher.put(messages()).outcomes) == [transfer_pb2.CHUNK_OUTCOME_STORED]


def test_messages_of_nothing_at_all_are_refused(pusher: Pusher) -> None:
    upload = pusher.begin(ARTIFACT)
    with refused(INVALID, "FIELD_INVALID"):
        pusher.put([header(upload, 1, 1000), *[Request()] * 1000])


@pytest.mark.parametrize("size", [4 * MIB - 1, 4 * MIB])
def test_a_chunk_up_to_four_mebibytes_goes_in_one_message(pusher: Pusher, size: int) -> None:
    upload = pusher.begin(ARTIFACT)
    assert list(pusher.put(stream(upload, [chunk(f"large {size}", size)])).outcomes) == [
        transfer_pb2.CHUNK_OUTCOME_STORED
    ]


def test_a_byte_more_is_refused(pusher: Pusher) -> None:
    upload = pusher.begin(ARTIFACT)
    with refused(INVALID, "BAD_LENGTH"):
        pusher.put(stream(upload, [chunk("too large", 4 * MIB + 1)]))


def test_fields_of_a_later_version_are_passed_over(server: Server, pusher: Pusher) -> None:
    upload, one = pusher.begin(ARTIFACT), chunk("unknown fields")
    messages = [each.SerializeToString() + UNKNOWN_FIELD for each in stream(upload, [one])]
    inner = pieces(one).pieces.SerializeToString() + UNKNOWN_FIELD
    messages[1] = b"\x12" + _varint(len(inner)) + inner
    answer = transfer_pb2.PutChunksResponse.FromString(raw(server, messages))
    assert list(answer.outcomes) == [transfer_pb2.CHUNK_OUTCOME_STORED]


NONSENSE = {
    "cut off": b"\x12\xff\x01",
    "not protobuf": b"\xff" * 100,
    "a negative length": b"\x12" + b"\xff" * 9 + b"\x01",
    "a varint without end": b"\x12\x0c\x12\x0a" + b"\xff" * 10,
}


@pytest.mark.parametrize("what", NONSENSE)
def test_bytes_that_are_no_message_end_the_stream(server: Server, pusher: Pusher, what: str) -> None:
    upload = pusher.begin(ARTIFACT)
    with pytest.raises(grpc.RpcError) as caught:
        raw(server, [header(upload, 1, 1000).SerializeToString(), NONSENSE[what]])
    assert caught.value.code() in (INVALID, grpc.StatusCode.INTERNAL)
    assert pusher.upload(upload).stored_chunks == 0


def test_compressed_messages_count_what_is_in_them(server: Server, pusher: Pusher) -> None:
    upload = pusher.begin(ARTIFACT)
    zeros = bytes(3 * MIB)
    stub = server.member("sara").transfer
    gzip = grpc.Compression.Gzip
    told = stub.PutChunks(stream(upload, [(digests.chunk_digest(zeros), zeros)]), compression=gzip)
    assert told.stored_bytes == 3 * MIB
    bomb = Request(pieces=transfer_pb2.Pieces(data=bytes(100 * MIB)))  # 100 KB on the wire
    with pytest.raises(grpc.RpcError) as caught:
        stub.PutChunks(iter([header(upload, 1, MIB), bomb]), compression=gzip)
    assert caught.value.code() is EXHAUSTED


@pytest.mark.contract("S3-53")
@pytest.mark.parametrize(
    "times", [40, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
def test_streams_cancelled_at_any_moment_leave_nothing(server: Server, pusher: Pusher, times: int) -> None:
    upload, moments = pusher.begin(ARTIFACT), random.Random(times)
    chunks = [chunk(f"cancelled {index}", 200_000) for index in range(8)]
    for _ in range(times):
        call = pusher.stub.PutChunks.future(stream(upload, chunks))
        try:
            refusal = call.exception(timeout=moments.uniform(0, 0.02))
        except grpc.FutureTimeoutError:
            call.cancel()
        else:  # the places of those before come free in a moment
            assert refusal is None or call.code() is EXHAUSTED, refusal
    eventually(lambda: not list(server.folder.glob("ingest/*/*.open")), what="no stream is left")
    eventually(lambda: _goes_through(pusher, upload, chunks), what="all places are free again")


def _goes_through(pusher: Pusher, upload: str, chunks: list[tuple[bytes, bytes]]) -> bool:
    code = pusher.stub.PutChunks.future(stream(upload, chunks)).code()
    assert code in (grpc.StatusCode.OK, EXHAUSTED)
    return code is grpc.StatusCode.OK


def test_a_flood_of_streams_of_one_leaves_room_for_others(server: Server) -> None:
    flooding = Pusher(server.member("sara").transfer, ())
    upload = flooding.begin(ARTIFACT)
    calls = [flooding.stub.PutChunks.future(iter([header(upload, 0, 0), finish(0, 0)])) for _ in range(300)]
    other = Pusher(server.member("omid").transfer, ())
    files = {"a.bin": pattern("beside a flood", 300_000)}
    version = other.push(files, "namespaces/omid/datasets/calm")
    assert other.read(version, "a.bin") == files["a.bin"]
    ended = [call.code() for call in calls]
    assert set(ended) <= {grpc.StatusCode.OK, EXHAUSTED}
    assert grpc.StatusCode.OK in ended


def test_calls_reset_as_soon_as_they_are_made_cost_nothing(server: Server) -> None:
    pusher = Pusher(server.member("sara").transfer, ())
    request = transfer_pb2.ListUploadsRequest(parent="namespaces/sara")
    for _ in range(500):
        pusher.stub.ListUploads.future(request).cancel()
    assert pusher.push({"a": b"after the resets"}, ARTIFACT)


@pytest.mark.parametrize("size", [64 * 1024, MIB])
def test_metadata_of_any_size_hurts_nobody(server: Server, size: int) -> None:
    hostile = server.stubs(server.token("sara"), x_large="x" * size)
    with pytest.raises(grpc.RpcError) as caught:
        hostile.transfer.GetCapabilities(transfer_pb2.GetCapabilitiesRequest())
    assert caught.value.code() in (EXHAUSTED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE)
    assert Pusher(server.member("sara").transfer, ()).push({"a": b"after"}, ARTIFACT)


HEADERS = {
    "no token": {"authorization": "Bearer "},
    "another scheme": {"authorization": "Basic c2FyYTpz"},
    "nonsense": {"authorization": "Bearer " + "\x7f~" * 200},
    "of nobody": {"authorization": "Bearer ingot_999_" + "A" * 43},
    "a body's": {"authorization": "Bearer ingotop_1_1_" + "0" * 64},
}


@pytest.mark.parametrize("what", HEADERS)
def test_credentials_that_are_none_are_refused(server: Server, what: str) -> None:
    stub = server.stubs("", **HEADERS[what]).transfer
    with pytest.raises(grpc.RpcError) as caught:
        Pusher(stub, ()).begin(ARTIFACT)
    assert caught.value.code() in (grpc.StatusCode.UNAUTHENTICATED, INVALID, grpc.StatusCode.INTERNAL)


@pytest.mark.parametrize(
    "segments", [1, pytest.param(62, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
def test_a_file_of_very_many_equal_chunks_is_charged_what_it_would_be(server: Server, segments: int) -> None:
    """A few megabytes that stand for up to four terabytes: its size is what a reader would get."""
    pusher = Pusher(server.member("sara").transfer, ())
    one = chunk("equal", 4 * MIB)
    upload = pusher.begin(ARTIFACT)
    pusher.put(stream(upload, [one]))
    entries = digests.split_segments([(one[0], len(one[1]))] * digests.SEGMENT_MAX_ENTRIES)[0]
    size = segments * digests.SEGMENT_MAX_ENTRIES * len(one[1])
    for index in range(segments):
        manifest = transfer_pb2.FileManifest(
            path="blown",
            profile="cdc",
            size_bytes=size,
            segment_count=segments,
            segments=[transfer_pb2.Segment(index=index, entries=entries)],
        )
        pusher.stub.PutManifest(transfer_pb2.PutManifestRequest(upload=upload, files=[manifest]))
    root = digests.file_root("cdc", size, [digests.segment_digest(entries)] * segments)
    digest = digests.format_digest(digests.tree_digest([("blown", size, root)]))
    request = transfer_pb2.CommitUploadRequest(upload=upload, expected_digest=digest, file_count=1)
    version = pusher.stub.CommitUpload(request).version
    assert version.size_bytes == size == segments << 36
    assert version.new_bytes <= len(one[1])
    assert pusher.read(version.name, "blown", offset=size - 10, length=10) == one[1][-10:]


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def test_a_token_that_is_revoked_meanwhile_commits_nothing(server: Server) -> None:
    """Open streams are looked at every few seconds; what a stream does in the end must not wait for that."""
    nobody = server.member("rana")
    token = nobody.auth.ListTokens(auth_pb2.ListTokensRequest()).tokens[0].name
    revoked, digest_data = threading.Event(), chunk("revoked")
    target = transfer_pb2.NewVersion(artifact="namespaces/rana/datasets/late", create=catalog_pb2.Artifact())
    upload = Pusher(nobody.transfer, ()).begin("namespaces/rana/datasets/late")

    def file() -> Iterator[transfer_pb2.UploadFileRequest]:
        yield transfer_pb2.UploadFileRequest(header=transfer_pb2.UploadFileHeader(version=target, path="f"))
        yield transfer_pb2.UploadFileRequest(data=b"before")
        assert revoked.wait(100)
        yield transfer_pb2.UploadFileRequest(data=b"after")
        yield transfer_pb2.UploadFileRequest(finish=transfer_pb2.UploadFileFinish())

    def chunks() -> Iterator[Request]:
        yield header(upload, 1, len(digest_data[1]))
        assert revoked.wait(100)
        yield pieces(digest_data)
        yield finish(1, len(digest_data[1]))

    one, two = nobody.transfer.UploadFile.future(file()), nobody.transfer.PutChunks.future(chunks())
    slots = server.app.transfer.intake._slots._running  # both have been let in
    eventually(lambda: slots.get("users/rana") == 2)
    server.admin.auth.RevokeToken(auth_pb2.RevokeTokenRequest(name=token))
    revoked.set()
    with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
        one.result(100)
    with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
        two.result(100)
    listing = catalog_pb2.ListVersionsRequest(parent="namespaces/rana/datasets/late")
    with refused(grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND"):
        server.admin.catalog.ListVersions(listing)
