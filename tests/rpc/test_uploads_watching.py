"""WatchUpload tells what happens to an upload until its end, GetUploadStats how uploads ended."""

import threading
from collections.abc import Callable, Iterator

import grpc
import pytest

from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.transfers import ARTIFACT, MIB, Pusher, TransferRig, cut, refused, transfer_rig
from helpers.validations import BAD_ROW, Validator
from ingot.server.core.identity import system_caller
from ingot.v1 import catalog_pb2, transfer_pb2

DAY = 24 * 3600
REQUIRED = catalog_pb2.ValidationPolicy(mode=catalog_pb2.VALIDATION_MODE_REQUIRED)
FILES = {"a.jsonl": b'{"text": "a"}\n' * 100}
Seen = list[transfer_pb2.WatchUploadResponse]


@pytest.fixture(name="rig")
def _rig() -> Iterator[TransferRig]:
    with transfer_rig() as rig:
        yield rig


@pytest.fixture(name="pusher")
def _pusher(rig: TransferRig) -> Pusher:
    return rig.pusher()


class Watch:
    """A watch that runs in a thread until the server ends it."""

    def __init__(self, pusher: Pusher, upload: str, after: int = 0) -> None:
        request = transfer_pb2.WatchUploadRequest(name=upload, after=after)
        self._call = pusher.stub.WatchUpload(request, metadata=pusher.metadata)
        self.seen: Seen = []
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        self.seen.extend(())
        for message in self._call:
            self.seen.append(message)

    def until(self, done: Callable[[Seen], object]) -> None:
        eventually(lambda: done(self.seen))

    def ended(self) -> Seen:
        """Wait for the end of the stream and return all that came."""
        self._thread.join(100)
        assert not self._thread.is_alive()
        return self.seen


def kinds(seen: Seen) -> list[str | None]:
    return [each.WhichOneof("message") for each in seen]


def stages(seen: Seen) -> list[str]:
    return [each.event.state.to for each in seen if each.event.HasField("state")]


def _push(pusher: Pusher, upload: str, files: dict[str, bytes]) -> None:
    cuts = {path: cut(data) for path, data in files.items()}
    pusher.put_missing(upload, cuts)
    pusher.manifest(upload, cuts)
    pusher.commit(upload, cuts)


@pytest.mark.contract("S3-3", "S3-18", "S3-27")
def test_a_watch_tells_progress_and_ends_with_the_upload(pusher: Pusher) -> None:
    files = {"a.bin": pattern("watched", 3 * MIB)}
    upload = pusher.begin()
    watch = Watch(pusher, upload)
    watch.until(lambda seen: "synced" in kinds(seen))
    _push(pusher, upload, files)
    seen = watch.ended()
    assert kinds(seen)[0] == "snapshot"
    assert seen[0].snapshot.name == upload
    assert stages(seen) == ["UPLOADING", "PROCESSING", "FRESH"]
    (grown,) = [each.event.progress for each in seen if each.event.HasField("progress")]
    assert (grown.phase, grown.unit, grown.done) == ("uploading", "bytes", 3 * MIB)
    assert [each.event.seq for each in seen if each.HasField("event")] == [1, 2, 3, 4]
    polled = pusher.upload(upload)
    assert (polled.progress_percent, polled.size_bytes, polled.chunk_count > 1) == (100.0, 3 * MIB, True)


def test_a_watch_goes_on_after_the_last_number_and_replays_nothing(pusher: Pusher) -> None:
    upload = pusher.begin()
    _push(pusher, upload, FILES)
    whole = Watch(pusher, upload).ended()
    rest = Watch(pusher, upload, after=2).ended()
    assert [each.event for each in rest if each.HasField("event")] == [
        each.event for each in whole if each.HasField("event") and each.event.seq > 2
    ]
    assert Watch(pusher, upload, after=4).ended()[-1].HasField("synced")


@pytest.mark.contract("S3-29", "S3-32")
def test_it_follows_the_validation_to_its_verdict(rig: TransferRig, pusher: Pusher) -> None:
    upload = pusher.begin(create=catalog_pb2.Artifact(validation=REQUIRED))
    watch = Watch(pusher, upload)
    _push(pusher, upload, FILES)
    watch.until(lambda seen: "STAGED" in stages(seen))
    validator = Validator(rig.rules.operations, rig.database)
    operation = validator.begin()
    watch.until(lambda seen: "VALIDATING" in stages(seen))
    validator.report(operation, passed=False, findings=(BAD_ROW,))
    seen = watch.ended()
    assert stages(seen) == ["UPLOADING", "PROCESSING", "STAGED", "VALIDATING", "FAILED"]
    assert "did not pass" in seen[-1].event.state.message


def test_it_ends_with_an_upload_that_is_given_up_and_one_that_is_forgotten(
    rig: TransferRig, pusher: Pusher
) -> None:
    upload = pusher.begin()
    watch = Watch(pusher, upload)
    watch.until(lambda seen: "synced" in kinds(seen))
    pusher.stub.AbortUpload(transfer_pb2.AbortUploadRequest(name=upload), metadata=pusher.metadata)
    assert stages(watch.ended()) == ["UPLOADING", "FAILED"]
    rig.database.write(rig.parts.failed.purge, system_caller(), -1.0, all_users=True).result()
    with refused(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND"):
        list(pusher.stub.WatchUpload(transfer_pb2.WatchUploadRequest(name=upload), metadata=pusher.metadata))
    assert rig.database.read(rig.side.uploads.log.bounds, upload).latest == 0


def test_a_watch_says_what_it_cannot_do(rig: TransferRig, pusher: Pusher) -> None:
    upload = pusher.begin()

    def watch(who: Pusher, name: str, after: int = 0) -> None:
        list(
            who.stub.WatchUpload(
                transfer_pb2.WatchUploadRequest(name=name, after=after), metadata=who.metadata
            )
        )

    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        watch(pusher, upload, -1)
    with refused(grpc.StatusCode.OUT_OF_RANGE, "RESUME_TOKEN_EXPIRED"):
        watch(pusher, upload, 99)
    with refused(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND"):
        watch(rig.pusher("viewer"), upload)


# --- counts -------------------------------------------------------------------------------------------------


def stats(
    pusher: Pusher, parent: str = "namespaces/-", **fields: object
) -> transfer_pb2.GetUploadStatsResponse:
    request = transfer_pb2.GetUploadStatsRequest(parent=parent, **fields)  # type: ignore[arg-type]
    return pusher.stub.GetUploadStats(request, metadata=pusher.metadata)


@pytest.mark.contract("S3-42")
def test_uploads_are_counted_by_how_they_ended(rig: TransferRig, pusher: Pusher) -> None:
    none = stats(pusher)
    assert (none.total_uploads, none.total_size, none.average_file_size) == (0, 0, 0.0)
    _push(pusher, pusher.begin(), {"a": b"x" * 1000, "b": b"y" * 500})
    _push(pusher, pusher.begin(), {"c": b"z" * 300})
    given_up = pusher.begin()
    pusher.stub.AbortUpload(transfer_pb2.AbortUploadRequest(name=given_up), metadata=pusher.metadata)
    pusher.begin()
    found = stats(pusher)
    assert (found.total_uploads, found.successful_uploads, found.failed_uploads, found.active_uploads) == (
        4,
        2,
        1,
        1,
    )
    assert (found.total_files, found.total_size, found.average_file_size) == (3, 1800, 600.0)


def test_counts_outlast_the_uploads_and_follow_those_tried_again(rig: TransferRig, pusher: Pusher) -> None:
    upload = pusher.begin()
    _push(pusher, pusher.begin(), FILES)
    rig.clock.ahead = 2 * DAY
    while rig.database.write(rig.parts.uploads.upkeep).result():
        pass
    assert (stats(pusher).failed_uploads, stats(pusher).successful_uploads) == (1, 1)
    pusher.stub.RetryUpload(transfer_pb2.RetryUploadRequest(name=upload), metadata=pusher.metadata)
    assert (stats(pusher).failed_uploads, stats(pusher).active_uploads) == (0, 1)
    _push(pusher, upload, {"a.jsonl": b"{}\n"})
    rig.clock.ahead = 20 * DAY
    while rig.database.write(rig.parts.uploads.upkeep).result():
        pass
    with refused(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND"):
        pusher.upload(upload)
    assert (stats(pusher).total_uploads, stats(pusher).successful_uploads) == (2, 2)


def test_a_rejected_version_is_a_failed_upload(rig: TransferRig, pusher: Pusher) -> None:
    upload = pusher.begin(create=catalog_pb2.Artifact(validation=REQUIRED))
    _push(pusher, upload, FILES)
    assert (stats(pusher).active_uploads, stats(pusher).successful_uploads) == (1, 0)
    validator = Validator(rig.rules.operations, rig.database)
    validator.report(validator.begin(), passed=False)
    assert (stats(pusher).failed_uploads, stats(pusher).total_size) == (1, 0)


def test_everybody_counts_their_own_and_administrators_all(rig: TransferRig, pusher: Pusher) -> None:
    _push(pusher, pusher.begin(), FILES)
    admin = rig.pusher("admin")
    _push(admin, admin.begin("namespaces/admin/models/tiny"), FILES)
    assert stats(pusher).total_uploads == 1
    assert stats(admin).total_uploads == 1
    assert stats(admin, all_users=True).total_uploads == 2
    assert stats(admin, "namespaces/member", all_users=True).total_uploads == 1
    assert stats(admin, "namespaces/member").total_uploads == 0
    with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
        stats(pusher, all_users=True)


def test_counts_can_be_narrowed_to_days(rig: TransferRig, pusher: Pusher) -> None:
    from google.protobuf.timestamp_pb2 import Timestamp

    _push(pusher, pusher.begin(), FILES)
    now = int(rig.clock.now())
    rig.clock.ahead = 2 * DAY
    _push(pusher, pusher.begin(), FILES)

    def at(days: int) -> Timestamp:
        return Timestamp(seconds=now + days * DAY)

    assert stats(pusher, from_time=at(-1), to_time=at(1)).total_uploads == 1
    assert stats(pusher, from_time=at(0), to_time=at(2)).total_uploads == 2
    assert stats(pusher, from_time=at(1)).total_uploads == 1
    assert stats(pusher, to_time=at(-1)).total_uploads == 0
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        stats(pusher, from_time=at(1), to_time=at(0))
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"):
        stats(pusher, ARTIFACT)
