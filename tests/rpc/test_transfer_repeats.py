"""Every call about an upload may be sent again: it changes nothing more, and answers the same."""

import uuid
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.message import Message

from helpers.patterns import pattern
from helpers.transfers import (
    Pusher,
    TransferRig,
    cut,
    file_manifest,
    refused,
    stream,
    transfer_rig,
    tree_digest,
)
from ingot.v1 import catalog_pb2
from ingot.v1 import transfer_pb2 as pb

FILES = {"a.bin": cut(pattern("repeated", 600_000))}


@pytest.fixture(name="rig", scope="module")
def _rig() -> Iterator[TransferRig]:
    with transfer_rig() as rig:
        yield rig


@pytest.fixture(name="pusher")
def _pusher(rig: TransferRig) -> Pusher:
    return rig.pusher()


def without_times(upload: pb.Upload) -> pb.Upload:
    """Return an upload without what moves with every call about it."""
    kept = pb.Upload()
    kept.CopyFrom(upload)
    for field in ("update_time", "expire_time"):
        kept.ClearField(field)
    return kept


def target(name: str) -> pb.UploadTarget:
    version = pb.NewVersion(artifact=f"namespaces/member/models/{name}", create=catalog_pb2.Artifact())
    return pb.UploadTarget(version=version)


def test_begin_with_its_request_id_is_one_upload(pusher: Pusher) -> None:
    request = pb.BeginUploadRequest(target=target("begun"), request_id=str(uuid.uuid4()))
    first = pusher.stub.BeginUpload(request, metadata=pusher.metadata).upload
    assert pusher.stub.BeginUpload(request, metadata=pusher.metadata).upload == first
    request.original_name = "another"
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_ID_REUSED"):
        pusher.stub.BeginUpload(request, metadata=pusher.metadata)
    request.request_id = "no uuid"
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        pusher.stub.BeginUpload(request, metadata=pusher.metadata)


def test_chunks_manifest_and_commit_again_change_nothing(pusher: Pusher) -> None:
    upload = pusher.begin("namespaces/member/models/again")
    wanted = [digest for digest, _ in FILES["a.bin"].chunks]
    assert pusher.missing(upload, wanted) == pusher.missing(upload, wanted) == wanted
    for _ in range(2):
        pusher.put(stream(upload, FILES["a.bin"].chunks))
    once = without_times(pusher.upload(upload))
    for digest, data in FILES["a.bin"].chunks:
        request = pb.PutChunkRequest(upload=upload, data=data, digest=digest)
        assert pusher.stub.PutChunk(request, metadata=pusher.metadata).outcome == pb.CHUNK_OUTCOME_ALREADY
    assert pusher.missing(upload, wanted) == []
    manifest = pb.PutManifestRequest(upload=upload, files=[file_manifest("a.bin", FILES["a.bin"])])
    replies = [pusher.stub.PutManifest(manifest, metadata=pusher.metadata) for _ in range(2)]
    assert replies[0] == replies[1]
    twice = pusher.upload(upload)
    assert (twice.stored_bytes, twice.stored_chunks) == (once.stored_bytes, once.stored_chunks)
    commit = pb.CommitUploadRequest(
        upload=upload, expected_digest=tree_digest(FILES), file_count=1, request_id=str(uuid.uuid4())
    )
    done = [pusher.stub.CommitUpload(commit, metadata=pusher.metadata) for _ in range(3)]
    assert done[0] == done[1] == done[2]
    assert done[0].version.name.endswith("/versions/1")


def test_renew_abort_and_purge_again_are_harmless(rig: TransferRig, pusher: Pusher) -> None:
    upload = pusher.begin("namespaces/member/models/given-up")
    renew = pb.RenewUploadRequest(name=upload)
    renewed = [pusher.stub.RenewUpload(renew, metadata=pusher.metadata).upload for _ in range(2)]
    assert without_times(renewed[0]) == without_times(renewed[1])
    abort = pb.AbortUploadRequest(name=upload, request_id=str(uuid.uuid4()))
    replies: list[Message] = [pusher.stub.AbortUpload(abort, metadata=pusher.metadata) for _ in range(2)]
    assert replies[0] == replies[1]
    purge = pb.PurgeUploadsRequest()
    purge.older_than.seconds = 0
    rig.clock.ahead += 1.0
    assert pusher.stub.PurgeUploads(purge, metadata=pusher.metadata).purged == 1
    assert pusher.stub.PurgeUploads(purge, metadata=pusher.metadata).purged == 0


def test_retry_with_its_request_id_is_one_retry(rig: TransferRig, pusher: Pusher) -> None:
    upload = pusher.begin("namespaces/member/models/expired")
    rig.clock.ahead += 2 * 24 * 3600
    rig.database.write(rig.parts.uploads.upkeep).result()
    retry = pb.RetryUploadRequest(name=upload, request_id=str(uuid.uuid4()))
    first = pusher.stub.RetryUpload(retry, metadata=pusher.metadata).upload
    assert first.state == pb.UPLOAD_STATE_OPEN
    assert pusher.stub.RetryUpload(retry, metadata=pusher.metadata).upload == first
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "STATE_INVALID"):
        pusher.stub.RetryUpload(pb.RetryUploadRequest(name=upload), metadata=pusher.metadata)


def test_reads_answer_the_same(pusher: Pusher) -> None:
    version = pusher.push({"a.txt": b"read twice"}, "namespaces/member/models/read")
    asked: list[tuple[object, Message]] = [
        (pusher.stub.StatFile, pb.StatFileRequest(tree=version, path="a.txt")),
        (pusher.stub.ListFiles, pb.ListFilesRequest(tree=version)),
        (pusher.stub.ListUploads, pb.ListUploadsRequest(parent="namespaces/-")),
        (pusher.stub.GetUploadStats, pb.GetUploadStatsRequest(parent="namespaces/-")),
    ]
    for method, request in asked:
        first, second = (method(request, metadata=pusher.metadata) for _ in range(2))  # type: ignore[operator]
        assert first == second
    assert pusher.read(version, "a.txt") == pusher.read(version, "a.txt") == b"read twice"
