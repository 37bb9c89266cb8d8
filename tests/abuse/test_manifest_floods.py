"""Manifests that no honest client sends: rows cost disk as well, and take somebody's time."""

import threading
from collections.abc import Iterator

import grpc
import pytest

from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.transfers import ARTIFACT, Pusher, TransferRig, cut, file_manifest, refused, stream, transfer_rig
from ingot.content import digests
from ingot.server.core.namespaces import Quotas
from ingot.server.core.uploads import TransferLimits
from ingot.server.rpc import bulk_messages
from ingot.server.storage import compacting, sql
from ingot.server.storage.accounts_sql import AccountsSql
from ingot.v1 import transfer_pb2 as pb

EXHAUSTED, INVALID = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT
SEGMENT = digests.SEGMENT_MAX_ENTRIES
KB = 1024


@pytest.fixture(name="rig", scope="module")
def _rig() -> Iterator[TransferRig]:
    with transfer_rig() as rig:
        yield rig


def named(path: str, segments: int = 1, length: int = 1000, chunk: bytes = b"d" * 32) -> pb.FileManifest:
    """Return a file of so many full segments that name one chunk again and again."""
    entries = (chunk + length.to_bytes(4, "little")) * SEGMENT
    size = segments * SEGMENT * length
    parts = [pb.Segment(index=index, entries=entries) for index in range(segments)]
    return pb.FileManifest(path=path, profile="cdc", size_bytes=size, segment_count=segments, segments=parts)


def put(pusher: Pusher, upload: str, *files: pb.FileManifest, reset: bool = False) -> pb.PutManifestResponse:
    request = pb.PutManifestRequest(upload=upload, files=files, reset=reset)
    return pusher.stub.PutManifest(request, metadata=pusher.metadata)


def overhead(rig: TransferRig) -> int:
    assert rig.database.write(AccountsSql().recount, repair=False).result(100) == []
    return rig.database.read(AccountsSql().account, "member").overhead


def rows(rig: TransferRig, table: str) -> int:
    count: int = rig.database.read(sql.rows, f"SELECT count(*) FROM {table}")[0][0]
    return count


def test_rows_of_manifests_count_for_the_physical_quota() -> None:
    with transfer_rig(TransferLimits(quotas=Quotas(stored=1500 * KB))) as rig:
        pusher = rig.pusher()
        upload = pusher.begin()
        put(pusher, upload, named("a"))
        put(pusher, upload, named("b"))
        taken = overhead(rig)
        assert taken > 2 * SEGMENT * 36
        with refused(EXHAUSTED, "QUOTA"):
            put(pusher, upload, named("c"))
        assert (overhead(rig), rows(rig, "tree_file")) == (taken, 2)
        put(pusher, upload, named("b"), reset=True)
        assert overhead(rig) < taken
        with refused(EXHAUSTED, "QUOTA"):
            pusher.put(stream(upload, cut(pattern("data", 1000 * KB)).chunks))


def test_bytes_that_become_nothing_are_bounded_where_only_the_size_has_a_quota() -> None:
    """Push and abort, again and again: each leases its chunks for a day."""
    quotas = Quotas(size=40 * KB * KB)
    with transfer_rig(TransferLimits(quotas=quotas)) as rig:
        pusher = rig.pusher()

        def push(number: int) -> None:
            upload = pusher.begin()
            pusher.put(stream(upload, cut(pattern(f"{number}", 9 * KB * KB)).chunks))
            pusher.stub.AbortUpload(pb.AbortUploadRequest(name=upload), metadata=pusher.metadata)

        for number in range(8):
            push(number)
        with refused(EXHAUSTED, "QUOTA") as facts:
            push(8)
        assert facts["limit"] == str(2 * quotas.size)


def test_an_upload_has_a_bounded_number_of_files_and_chunks() -> None:
    limits = TransferLimits(max_tree_files=3, max_tree_chunks=SEGMENT + 10, max_message_files=4)
    with transfer_rig(limits) as rig:
        pusher = rig.pusher()
        upload = pusher.begin()
        empty = [pb.FileManifest(path=f"f{index}", profile="cdc") for index in range(5)]
        put(pusher, upload, *empty[:3])
        put(pusher, upload, *empty[:3])  # the same ones again
        with refused(EXHAUSTED, "TOO_LARGE") as facts:
            put(pusher, upload, empty[3])
        assert (facts["limit"], facts["files"]) == ("3", "4")
        with refused(INVALID, "FIELD_INVALID"):
            put(pusher, upload, *empty)
        put(pusher, upload, named("chunks"), reset=True)
        with refused(EXHAUSTED, "TOO_LARGE"):
            put(pusher, upload, named("more"))
        told = pusher.stub.GetCapabilities(pb.GetCapabilitiesRequest(), metadata=pusher.metadata)
        assert (told.max_tree_files, told.max_tree_chunks) == (3, SEGMENT + 10)
        assert (told.max_message_files, told.max_manifest_calls) == (4, limits.max_manifest_calls)


def test_no_more_files_are_read_than_one_too_many() -> None:
    files = [pb.FileManifest(path=f"f{index}", profile="cdc") for index in range(1000)]
    message = pb.PutManifestRequest(upload="uploads/file_1", files=files, reset=True)
    raw = message.SerializeToString()
    assert bulk_messages.decode_put_manifest(raw, 1000) == message
    found = bulk_messages.decode_put_manifest(raw, 100)
    assert (found.upload, list(found.files)) == (message.upload, files[:101])
    empty = b"\x0a\x01u" + b"\x12\x00" * 2_000_000
    assert len(bulk_messages.decode_put_manifest(empty, 100).files) == 101


def test_an_aborted_upload_leaves_no_rows_and_the_database_gives_their_space_back(rig: TransferRig) -> None:
    pusher = rig.pusher()
    upload, before = pusher.begin(), overhead(rig)
    for index in range(5):
        put(pusher, upload, named(f"f{index}", 6), named(f"s{index}"))
    assert rows(rig, "segment") == 35
    size = (rig.folder / "meta.db").stat().st_size
    pusher.stub.AbortUpload(pb.AbortUploadRequest(name=upload), metadata=pusher.metadata)
    assert (rows(rig, "segment"), overhead(rig)) == (0, before)
    freed = 0
    while some := rig.database.write(compacting.give_back).result(100):
        freed += some
    assert freed > 10 * KB * KB
    compacting.settle(rig.database)
    assert (rig.folder / "meta.db").stat().st_size < max(size - freed, 0) + 10 * KB * KB


def test_failed_uploads_are_kept_in_bounded_number() -> None:
    with transfer_rig(TransferLimits(max_failed_uploads=3)) as rig:
        pusher = rig.pusher()
        kept = pusher.push({"kept": b"kept"})
        for _ in range(8):
            request = pb.AbortUploadRequest(name=pusher.begin(ARTIFACT))
            pusher.stub.AbortUpload(request, metadata=pusher.metadata)
        listed = pusher.stub.ListUploads(
            pb.ListUploadsRequest(parent="namespaces/member"), metadata=pusher.metadata
        ).uploads
        states = [each.state for each in listed]
        assert states == [pb.UPLOAD_STATE_ABORTED] * 4 + [pb.UPLOAD_STATE_COMMITTED]
        assert pusher.read(kept, "kept") == b"kept"
        assert rows(rig, "tree") == 5


def test_manifests_are_put_a_few_at_once() -> None:
    with transfer_rig(TransferLimits(max_manifest_calls=2)) as rig:
        pusher = rig.pusher()
        upload = pusher.begin()
        release = threading.Event()
        holding = rig.database.write(release.wait, 100)
        request = pb.PutManifestRequest(upload=upload, files=[pb.FileManifest(path="f", profile="cdc")])
        calls = [pusher.stub.PutManifest.future(request, metadata=pusher.metadata) for _ in range(2)]
        eventually(lambda: rig.database.queue().waiting == 2)
        with refused(EXHAUSTED, "BUSY"):
            pusher.stub.PutManifest(request, metadata=pusher.metadata)
        release.set()
        assert [call.result(100).file_count for call in calls] == [1, 1]
        assert holding.result(100)
        assert put(pusher, upload).file_count == 1


def test_a_long_manifest_is_checked_whole_unless_its_totals_show_that_it_is_another(rig: TransferRig) -> None:
    pusher = rig.pusher()
    data = pattern("long", 1000)
    chunk = digests.chunk_digest(data)
    upload = pusher.begin("namespaces/member/datasets/long")
    pusher.put(stream(upload, [(chunk, data)]))
    file = named("f", 2, len(data), chunk)
    put(pusher, upload, file)
    segments = [digests.segment_digest(each.entries) for each in file.segments]
    root = digests.file_root("cdc", file.size_bytes, segments)
    digest = digests.format_digest(digests.tree_digest([("f", file.size_bytes, root)]))

    def commit(digest: str, count: int, request_id: str = "") -> pb.CommitUploadResponse:
        request = pb.CommitUploadRequest(
            upload=upload, expected_digest=digest, file_count=count, request_id=request_id
        )
        return pusher.stub.CommitUpload(request, metadata=pusher.metadata)

    with refused(grpc.StatusCode.FAILED_PRECONDITION, "DIGEST_MISMATCH"):
        commit(digest, 2)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "DIGEST_MISMATCH"):
        commit("blake3:" + "0" * 64, 1)
    with refused(INVALID, "FIELD_INVALID"):
        commit(digest, 1, "no-uuid")
    done = commit(digest, 1)
    assert done.version.name == commit(digest, 1).version.name
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_CLOSED"):
        commit(digest, 2)


def test_tiny_chunks_are_read_in_messages_that_clients_take(rig: TransferRig) -> None:
    pusher = rig.pusher()
    data = b"tiny"
    upload = pusher.begin("namespaces/member/datasets/tiny")
    pusher.put(stream(upload, [(digests.chunk_digest(data), data)]))
    put(pusher, upload, named("f", 7, len(data), digests.chunk_digest(data)))
    wanted = [pb.ChunkRange(path="f", first=0, count=7 * SEGMENT)]
    replies = pusher.stub.ReadChunks(
        pb.ReadChunksRequest(tree=upload, ranges=wanted), metadata=pusher.metadata
    )
    sizes = [(reply.ByteSize(), len(reply.pieces.lengths)) for reply in replies]
    assert sum(chunks for _, chunks in sizes) == 7 * SEGMENT
    assert max(size for size, _ in sizes) <= 2 * KB * KB


def test_a_manifest_that_tells_another_length_is_refused_where_it_is_read(rig: TransferRig) -> None:
    pusher = rig.pusher()
    data = pattern("length", 1000)
    upload = pusher.begin("namespaces/member/datasets/length")
    pusher.put(stream(upload, [(digests.chunk_digest(data), data)]))
    for length in (1001, 999):
        entries = digests.segment_bytes([(digests.chunk_digest(data), length)])
        file = pb.FileManifest(
            path="f",
            profile="cdc",
            size_bytes=length,
            segment_count=1,
            segments=[pb.Segment(index=0, entries=entries)],
        )
        put(pusher, upload, file)
        with refused(INVALID, "BAD_LENGTH"):
            pusher.read(upload, "f")
        with refused(INVALID, "BAD_LENGTH"):
            pusher.chunks(upload, ("f", 0, 1))


def test_names_of_uploads_have_one_form(rig: TransferRig) -> None:
    pusher = rig.pusher()
    name = pusher.begin("namespaces/member/datasets/named")
    number = name.rpartition("_")[2]
    with refused(INVALID, "NAME_INVALID"):
        pusher.upload(f"uploads/file_0{number}")
    with refused(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND"):
        pusher.upload(f"uploads/x_{number}")


def test_an_upload_is_watched_by_a_few_at_once() -> None:
    with transfer_rig(TransferLimits(max_watch_streams=2)) as rig:
        pusher = rig.pusher()
        request = pb.WatchUploadRequest(name=pusher.begin())
        watches = [pusher.stub.WatchUpload(request, metadata=pusher.metadata) for _ in range(2)]
        for watch in watches:
            next(watch)
        with refused(EXHAUSTED, "BUSY"):
            next(pusher.stub.WatchUpload(request, metadata=pusher.metadata))
        for watch in watches:
            watch.cancel()


def test_files_of_an_honest_push_are_told_as_before(rig: TransferRig) -> None:
    pusher = rig.pusher()
    upload = pusher.begin("namespaces/member/datasets/honest")
    cuts = {f"f{index}": cut(pattern(str(index), 100)) for index in range(3)}
    reply = put(pusher, upload, *(file_manifest(path, file) for path, file in cuts.items()))
    assert (reply.file_count, reply.size_bytes) == (3, 300)
    assert put(pusher, upload, file_manifest("f1", cut(b"")), reset=False).size_bytes == 200
    assert put(pusher, upload, file_manifest("f1", cut(b"1")), reset=True).file_count == 1
