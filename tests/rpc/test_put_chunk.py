"""PutChunk: one chunk in one call, on disk when it is answered, refused when it lies."""

from collections.abc import Iterator

import grpc
import pytest

from helpers.patterns import pattern
from helpers.transfers import MIB, Pusher, TransferRig, cut, refused, transfer_rig
from ingot.content import digests
from ingot.server.core.uploads import TransferLimits
from ingot.v1 import transfer_pb2

INVALID = grpc.StatusCode.INVALID_ARGUMENT
STORED = transfer_pb2.CHUNK_OUTCOME_STORED
ALREADY = transfer_pb2.CHUNK_OUTCOME_ALREADY


@pytest.fixture(name="rig", scope="module")
def _rig() -> Iterator[TransferRig]:
    with transfer_rig() as rig:
        yield rig


@pytest.fixture(name="pusher")
def _pusher(rig: TransferRig) -> Pusher:
    return rig.pusher()


def put(pusher: Pusher, upload: str, data: bytes, digest: bytes = b"") -> transfer_pb2.PutChunkResponse:
    request = transfer_pb2.PutChunkRequest(upload=upload, data=data, digest=digest)
    return pusher.stub.PutChunk(request, metadata=pusher.metadata)


def test_chunks_put_one_by_one_make_a_version(pusher: Pusher) -> None:
    files = {"a.bin": cut(pattern("one by one", 3 * MIB))}
    upload = pusher.begin()
    for digest, data in files["a.bin"].chunks:
        reply = put(pusher, upload, data, digest)
        assert (reply.outcome, reply.digest) == (STORED, digest)
    assert pusher.missing(upload, [digest for digest, _ in files["a.bin"].chunks]) == []
    pusher.manifest(upload, files)
    version = pusher.commit(upload, files).version.name
    assert pusher.read(version, "a.bin") == pattern("one by one", 3 * MIB)


def test_the_server_tells_the_digest_to_who_has_none(pusher: Pusher) -> None:
    data = pattern("no digest", 1000)
    assert put(pusher, pusher.begin(), data).digest == digests.chunk_digest(data)


def test_again_is_harmless_and_costs_no_disk(pusher: Pusher, rig: TransferRig) -> None:
    upload, data = pusher.begin(), pattern("again", 1000)
    assert put(pusher, upload, data).outcome == STORED
    packs = sum(1 for _ in rig.packs.packs())
    assert put(pusher, upload, data).outcome == ALREADY
    assert sum(1 for _ in rig.packs.packs()) == packs
    assert pusher.upload(upload).stored_chunks == 1


def test_the_largest_chunk_goes_and_one_byte_more_does_not(pusher: Pusher) -> None:
    upload, data = pusher.begin(), pattern("largest", 4 * MIB + 1)
    assert put(pusher, upload, data[: 4 * MIB]).outcome == STORED
    with refused(INVALID, "BAD_LENGTH"):
        put(pusher, upload, data)


def test_lies_are_named_and_leave_nothing(pusher: Pusher, rig: TransferRig) -> None:
    upload = pusher.begin()
    packs = sum(1 for _ in rig.packs.packs())
    with refused(INVALID, "CHUNK_HASH_MISMATCH"):
        put(pusher, upload, b"these bytes", digests.chunk_digest(b"other bytes"))
    with refused(INVALID, "FIELD_INVALID"):
        put(pusher, upload, b"these bytes", b"half a digest")
    with refused(INVALID, "BAD_LENGTH"):
        put(pusher, upload, b"")
    with refused(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND"):
        put(pusher, "uploads/file_999999", b"data")
    with refused(INVALID, "NAME_INVALID"):
        put(pusher, "uploads/nothing", b"data")
    assert sum(1 for _ in rig.packs.packs()) == packs
    assert not list(rig.folder.glob("ingest/*/*.open"))
    assert pusher.upload(upload).stored_chunks == 0


def test_a_closed_upload_takes_none(pusher: Pusher) -> None:
    upload = pusher.begin()
    pusher.stub.AbortUpload(transfer_pb2.AbortUploadRequest(name=upload), metadata=pusher.metadata)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_CLOSED"):
        put(pusher, upload, b"data")


def test_it_counts_among_the_streams_of_its_principal() -> None:
    with transfer_rig(TransferLimits(max_streams=0)) as rig:
        pusher = rig.pusher()
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY"):
            put(pusher, pusher.begin(), b"data")
