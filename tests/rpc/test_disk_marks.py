"""A filling disk as senders see it: what is refused at each mark, and what always goes on."""

from collections.abc import Iterator

import grpc
import pytest

from helpers.patterns import pattern
from helpers.transfers import TransferRig, cut, refused, stream, transfer_rig
from ingot.server.core.disk_room import DiskSpace
from ingot.v1 import transfer_pb2

DATA = pattern("marks", 300_000)
CHUNKS = cut(DATA).chunks
GB = 10**9


class Disk:
    """A disk of 100 GB that fills when a test says so."""

    percent = 50

    def space(self) -> DiskSpace:
        return DiskSpace(100 * GB, self.percent * GB, (100 - self.percent) * GB)


@pytest.fixture(name="disk")
def _disk() -> Disk:
    return Disk()


@pytest.fixture(name="rig")
def _rig(disk: Disk) -> Iterator[TransferRig]:
    with transfer_rig(disk=disk) as rig:
        yield rig


@pytest.mark.contract("S3-58")
def test_open_uploads_go_on_where_new_ones_are_refused(rig: TransferRig, disk: Disk) -> None:
    pusher = rig.pusher()
    upload = pusher.begin()
    disk.percent = 93
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_LOW"):
        pusher.begin()
    pusher.put(stream(upload, CHUNKS))
    pusher.manifest(upload, {"a": cut(DATA)})
    assert pusher.commit(upload, {"a": cut(DATA)}).version.name


@pytest.mark.contract("S3-58")
def test_a_full_disk_takes_no_stream_and_lets_everything_else_go_on(rig: TransferRig, disk: Disk) -> None:
    pusher = rig.pusher()
    stored, open_, unwanted = pusher.begin(), pusher.begin(), pusher.begin()
    pusher.put(stream(stored, CHUNKS))
    disk.percent = 97
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_LOW"):
        pusher.put(stream(open_, CHUNKS))
    large = transfer_pb2.FileManifest(path="large", profile="cdc", size_bytes=30_000, segment_count=2)
    for index, count in enumerate((16_384, 13_616)):
        large.segments.add(index=index, entries=(b"d" * 32 + b"\1\0\0\0") * count)
    request = transfer_pb2.PutManifestRequest(upload=open_, files=[large])
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_LOW"):
        pusher.stub.PutManifest(request, metadata=pusher.metadata)
    listing = transfer_pb2.ListFilesRequest(tree=open_)
    assert not pusher.stub.ListFiles(listing, metadata=pusher.metadata).files
    assert pusher.missing(open_, [digest for digest, _ in CHUNKS]) == []
    pusher.manifest(stored, {"a": cut(DATA)})
    pusher.commit(stored, {"a": cut(DATA)})
    pusher.stub.AbortUpload(transfer_pb2.AbortUploadRequest(name=unwanted), metadata=pusher.metadata)
    disk.percent = 80
    pusher.put(stream(open_, CHUNKS))  # as soon as there is room again
