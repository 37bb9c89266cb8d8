"""The limits of transfers: GetCapabilities tells each, and each is enforced where it says."""

import unicodedata
from collections.abc import Callable, Iterator

import grpc
import pytest

from helpers.patterns import pattern
from helpers.pipelines import caller_of
from helpers.servers import running_server
from helpers.transfers import MIB, Pusher, cut, finish, header, pieces, refused, stream, transfer_rig
from ingot.content import digests
from ingot.server.core.identity import Role
from ingot.server.core.uploads import TransferLimits
from ingot.v1 import catalog_pb2
from ingot.v1 import transfer_pb2 as pb

INVALID = grpc.StatusCode.INVALID_ARGUMENT
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
LIMITS = TransferLimits(
    max_digests=10,
    max_stream_bytes=2 * MIB,
    max_open_uploads=3,
    max_ranges=2,
    max_dataset_bytes=3 * MIB,
    max_model_bytes=5 * MIB,
)


@pytest.fixture(name="pusher", scope="module")
def _pusher() -> Iterator[Pusher]:
    with transfer_rig(LIMITS) as rig:
        yield rig.pusher()


@pytest.fixture(name="upload")
def _upload(pusher: Pusher) -> Iterator[str]:
    name = pusher.begin()
    yield name
    pusher.stub.AbortUpload(pb.AbortUploadRequest(name=name), metadata=pusher.metadata)


def told(pusher: Pusher) -> pb.GetCapabilitiesResponse:
    return pusher.stub.GetCapabilities(pb.GetCapabilitiesRequest(), metadata=pusher.metadata)


def test_capabilities_tell_every_limit(pusher: Pusher) -> None:
    limits = told(pusher)
    unlimited_or_off = {"draining", "calls_per_second", "call_burst", "data_addresses"}
    unset = {
        field.name
        for field in pb.GetCapabilitiesResponse.DESCRIPTOR.fields
        if not getattr(limits, field.name) and field.name not in unlimited_or_off
    }
    assert unset == set()
    assert limits.min_bytes_per_second == 64 * 1024
    assert (limits.rate_grace.seconds, limits.idle_timeout.seconds, limits.max_stream_time.seconds) == (
        10,
        15,
        120,
    )
    assert (limits.upload_ttl.seconds, limits.max_upload_life.seconds) == (24 * 3600, 7 * 24 * 3600)
    assert (limits.max_chunk_bytes, limits.max_segment_chunks, limits.max_path_bytes) == (
        4 * MIB,
        16_384,
        1024,
    )


def test_digests_of_one_question(pusher: Pusher, upload: str) -> None:
    most = told(pusher).max_digests
    assert len(pusher.missing(upload, [digests.chunk_digest(b"%d" % at) for at in range(most)])) == most
    with refused(INVALID, "FIELD_INVALID"):
        pusher.missing(upload, [b"d" * 32] * (most + 1))


def test_bytes_of_one_stream(pusher: Pusher, upload: str) -> None:
    with refused(EXHAUSTED, "TOO_LARGE"):
        pusher.put([header(upload, 1, told(pusher).max_stream_bytes + 1)])


def test_bytes_of_one_chunk_and_one_message(pusher: Pusher, upload: str) -> None:
    limits = told(pusher)
    with refused(INVALID, "BAD_LENGTH"):
        lie = pb.Pieces(digests=b"d" * 32, lengths=[limits.max_chunk_bytes + 1], data=b"x", more=True)
        pusher.put([header(upload, 1, MIB), pb.PutChunksRequest(pieces=lie)])
    data = bytes(limits.max_message_bytes + 1)
    with pytest.raises(grpc.RpcError) as caught:
        pusher.put([header(upload, 1, MIB), pb.PutChunksRequest(pieces=pb.Pieces(data=data))])
    assert caught.value.code() == EXHAUSTED


def test_open_uploads_of_one_principal(pusher: Pusher) -> None:
    most = told(pusher).max_open_uploads
    names = [pusher.begin() for _ in range(most)]
    with refused(EXHAUSTED, "BUSY") as facts:
        pusher.begin()
    assert facts["limit"] == str(most)
    for name in names:
        pusher.stub.AbortUpload(pb.AbortUploadRequest(name=name), metadata=pusher.metadata)


def test_ranges_of_one_read(pusher: Pusher) -> None:
    version = pusher.push({"a": b"text"})
    with refused(INVALID, "FIELD_INVALID"):
        pusher.chunks(version, *[("a", 0, 1)] * (told(pusher).max_ranges + 1))


@pytest.mark.contract("S0-99", "S0-102", "S0-103", "S1-54")
def test_bytes_of_a_dataset_and_of_a_model(pusher: Pusher) -> None:
    limits = told(pusher)
    for kind, most in (("datasets", limits.max_dataset_bytes), ("models", limits.max_model_bytes)):
        artifact = f"namespaces/member/{kind}/sized"
        target = pb.NewVersion(artifact=artifact, create=catalog_pb2.Artifact())
        with refused(EXHAUSTED, "TOO_LARGE") as facts:  # by what is declared
            wanted = pb.BeginUploadRequest(target=pb.UploadTarget(version=target), size_bytes=most + 1)
            pusher.stub.BeginUpload(wanted, metadata=pusher.metadata)
        assert (facts["limit"], facts["size"]) == (str(most), str(most + 1))
        with refused(EXHAUSTED, "TOO_LARGE"):  # by what came, though nothing was declared
            content = pattern(kind, most + 1)
            upload = pusher.begin(artifact)
            files = {"a": cut(content)}
            for chunk in files["a"].chunks:
                pusher.put(stream(upload, [chunk]))
            pusher.manifest(upload, files)
            pusher.commit(upload, files)
        assert pusher.upload(upload).state == pb.UPLOAD_STATE_FAILED


@pytest.mark.contract("S0-102", "S0-103")
def test_a_stream_has_a_bounded_number_of_chunks() -> None:
    with transfer_rig(TransferLimits(max_stream_chunks=3)) as rig:
        pusher = rig.pusher()
        chunks = [(digests.chunk_digest(data), data) for data in (b"1", b"2", b"3", b"4")]
        pusher.put(stream(pusher.begin(), chunks[:3]))
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE") as facts:
            pusher.put(stream(pusher.begin(), chunks))
        assert (facts["limit"], facts["declared"]) == ("3", "4")


def test_the_limits_of_before_are_two_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("sizes")
    with running_server(folder, max_dataset_bytes=100_000_000, max_model_bytes=500_000_000) as server:
        member = server.member("sara")
        limits = member.transfer.GetCapabilities(pb.GetCapabilitiesRequest())
        assert (limits.max_dataset_bytes, limits.max_model_bytes) == (100_000_000, 500_000_000)
        for kind, most in (("datasets", 100_000_000), ("models", 500_000_000)):
            version = pb.NewVersion(artifact=f"namespaces/sara/{kind}/x", create=catalog_pb2.Artifact())
            request = pb.BeginUploadRequest(target=pb.UploadTarget(version=version), size_bytes=most)
            member.transfer.BeginUpload(request)
            request.size_bytes += 1
            with refused(EXHAUSTED, "TOO_LARGE"):
                member.transfer.BeginUpload(request)
    with running_server(tmp_path_factory.mktemp("any")) as server:  # unless they are set there is no limit
        limits = server.member("sara").transfer.GetCapabilities(pb.GetCapabilitiesRequest())
        assert (limits.max_dataset_bytes, limits.max_model_bytes) == (0, 0)


PATHS: dict[str, str] = {
    "upwards": "../a",
    "absolute": "/a",
    "a drive": "C:/a",
    "a backslash": "a\\b",
    "a zero byte": "a\0b",
    "a device": "aux.txt",
    "a share": "//host/share/a",
    "nothing between": "a//b",
    "a dot": "./a",
    "a trailing dot": "a.",
    "not NFC": unicodedata.normalize("NFD", "é"),
    "too long": "a/" * 512 + "a",
    "empty": "",
}


@pytest.mark.parametrize("path", PATHS)
def test_paths_in_a_manifest_and_of_a_file(pusher: Pusher, upload: str, path: str) -> None:
    manifest = pb.FileManifest(path=PATHS[path], profile="cdc")
    with refused(INVALID, "BAD_PATH"):
        request = pb.PutManifestRequest(upload=upload, files=[manifest])
        pusher.stub.PutManifest(request, metadata=pusher.metadata)
    messages = [
        pb.UploadFileRequest(header=pb.UploadFileHeader(upload=upload, path=PATHS[path])),
        pb.UploadFileRequest(finish=pb.UploadFileFinish()),
    ]
    with refused(INVALID, "BAD_PATH"):
        pusher.stub.UploadFile(iter(messages), metadata=pusher.metadata)


def test_streams_of_one_principal_of_either_kind() -> None:
    with transfer_rig(TransferLimits(max_streams=1)) as rig:
        pusher = rig.pusher()
        upload = pusher.begin()
        calls: list[Callable[[], object]] = [
            lambda: pusher.put(stream(upload, cut(b"data").chunks)),
            lambda: pusher.stub.PutChunk(
                pb.PutChunkRequest(upload=upload, data=b"data"), metadata=pusher.metadata
            ),
            lambda: pusher.stub.UploadFile(iter(()), metadata=pusher.metadata),
        ]
        with rig.parts.intake.slot(caller_of(Role.MEMBER)):  # as if one ran
            for call in calls:
                with refused(EXHAUSTED, "BUSY") as facts:
                    call()
                assert facts["limit"] == "1"
        assert (
            pusher.put([header(upload, 1, 4), pieces(*cut(b"data").chunks), finish(1, 4)]).stored_bytes == 4
        )
