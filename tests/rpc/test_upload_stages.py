"""Where an upload stands for people: its stage at each step, failures with their reason, retry and purge."""

import contextlib
from collections.abc import Iterator, Mapping

import grpc
import pytest

from helpers import loops
from helpers.transfers import ARTIFACT, Pusher, TransferRig, cut, refused, transfer_rig
from helpers.validations import BAD_ROW, Validator
from ingot.server.core.identity import system_caller
from ingot.server.core.names import UploadName, artifact_name
from ingot.server.core.uploads import TransferLimits, UploadMove
from ingot.server.rpc.hops import Hops
from ingot.server.storage import tables
from ingot.server.storage.vitals import SqliteVitals
from ingot.v1 import catalog_pb2, errors_pb2, transfer_pb2

CONFLICT = grpc.StatusCode.FAILED_PRECONDITION
HOUR = 3600.0
DAY = 24 * HOUR
REQUIRED = catalog_pb2.ValidationPolicy(mode=catalog_pb2.VALIDATION_MODE_REQUIRED)
CREATE = catalog_pb2.Artifact(validation=REQUIRED)
FILES = {"a.jsonl": b'{"text": "a"}\n' * 100}


@pytest.fixture(name="rig")
def _rig() -> Iterator[TransferRig]:
    with transfer_rig() as rig:
        yield rig


@pytest.fixture(name="pusher")
def _pusher(rig: TransferRig) -> Pusher:
    return rig.pusher()


@pytest.fixture(name="validator")
def _validator(rig: TransferRig) -> Validator:
    return Validator(rig.rules.operations, rig.database)


def _stage(pusher: Pusher, name: str) -> str:
    return transfer_pb2.UploadStage.Name(pusher.upload(name).stage).removeprefix("UPLOAD_STAGE_")


def _sent(pusher: Pusher, files: Mapping[str, bytes] = FILES, **target: object) -> str:
    """Return an open upload to which everything was sent."""
    cuts = {path: cut(data) for path, data in files.items()}
    upload = pusher.begin(**target)  # type: ignore[arg-type]
    pusher.put_missing(upload, cuts)
    pusher.manifest(upload, cuts)
    return upload


def _commit(
    pusher: Pusher, upload: str, files: Mapping[str, bytes] = FILES
) -> transfer_pb2.CommitUploadResponse:
    return pusher.commit(upload, {path: cut(data) for path, data in files.items()})


def _staged(pusher: Pusher, **target: object) -> str:
    """Return an upload whose version waits for its validation."""
    upload = _sent(pusher, FILES, create=CREATE, **target)
    _commit(pusher, upload)
    return upload


def _retry(pusher: Pusher, name: str, request_id: str = "") -> transfer_pb2.Upload:
    request = transfer_pb2.RetryUploadRequest(name=name, request_id=request_id)
    return pusher.stub.RetryUpload(request, metadata=pusher.metadata).upload


def _purge(pusher: Pusher, *, seconds: int | None = None, all_users: bool = False) -> int:
    request = transfer_pb2.PurgeUploadsRequest(all_users=all_users)
    if seconds is not None:
        request.older_than.seconds = seconds
    return pusher.stub.PurgeUploads(request, metadata=pusher.metadata).purged


def _tidied(rig: TransferRig) -> int:
    with contextlib.closing(Hops(rig.database)) as hops:
        return loops.run(rig.parts.tidy(hops))


def _listed(pusher: Pusher, stage: str, size: int = 0) -> list[str]:
    names: list[str] = []
    token = ""
    while True:
        request = transfer_pb2.ListUploadsRequest(
            parent="namespaces/-",
            stage=transfer_pb2.UploadStage.Value(f"UPLOAD_STAGE_{stage}"),
            page_size=size,
            page_token=token,
        )
        page = pusher.stub.ListUploads(request, metadata=pusher.metadata)
        names += [each.name for each in page.uploads]
        token = page.next_page_token
        if not token:
            return names


# --- stages -------------------------------------------------------------------------------------------


@pytest.mark.contract("S3-6", "S3-7", "S3-29")
def test_an_upload_goes_through_its_stages(rig: TransferRig, pusher: Pusher, validator: Validator) -> None:
    upload = _sent(pusher, create=CREATE)
    seen = [_stage(pusher, upload)]
    reply = _commit(pusher, upload)
    assert reply.version.state == catalog_pb2.VERSION_STATE_STAGED
    assert reply.version.last_validation.startswith("operations/op_")
    seen.append(_stage(pusher, upload))
    operation = validator.begin()
    seen.append(_stage(pusher, upload))
    validator.report(operation, passed=True)
    seen.append(_stage(pusher, upload))
    assert seen == ["UPLOADING", "STAGED", "VALIDATING", "FRESH"]


def test_while_it_is_committed_it_is_processed(rig: TransferRig, pusher: Pusher) -> None:
    upload = _sent(pusher)
    row = tables.Upload.update(state="SEALING", stage="PROCESSING")
    rig.database.write(row.execute).result()
    assert _stage(pusher, upload) == "PROCESSING"
    assert _listed(pusher, "PROCESSING") == [upload]


@pytest.mark.contract("S3-8")
def test_a_rejected_version_is_told_with_its_first_finding(pusher: Pusher, validator: Validator) -> None:
    upload = _staged(pusher)
    validator.run(passed=False, findings=(BAD_ROW,))
    found = pusher.upload(upload)
    assert _stage(pusher, upload) == "FAILED"
    assert found.state == transfer_pb2.UPLOAD_STATE_COMMITTED
    assert found.problem.reason == errors_pb2.ERROR_REASON_VALIDATION_FAILED
    assert "a.jsonl, row 7: expected a value" in found.problem.message
    assert found.problem.facts["version"] == found.result
    assert found.problem.facts["operation"].startswith("operations/op_")


def test_a_validation_without_verdict_fails_the_upload(pusher: Pusher, validator: Validator) -> None:
    upload = _staged(pusher)
    validator.fail(validator.begin())
    assert _stage(pusher, upload) == "FAILED"
    assert pusher.upload(upload).problem.message == "The body died."
    _retry(pusher, upload)
    assert (_stage(pusher, upload), pusher.upload(upload).problem.message) == ("STAGED", "")
    validator.run()
    assert _stage(pusher, upload) == "FRESH"


@pytest.mark.contract("S3-19")
def test_uploads_are_listed_by_stage(pusher: Pusher, validator: Validator) -> None:
    fresh = [_sent(pusher, {"a": b"%d" % number}) for number in range(3)]
    for number, upload in enumerate(fresh):
        _commit(pusher, upload, {"a": b"%d" % number})
    staged = [_staged(pusher, artifact=f"{ARTIFACT}-2") for _ in range(3)]
    open_one = pusher.begin()
    validator.run(passed=False)
    running = validator.begin()
    assert running.state == "RUNNING"
    assert _listed(pusher, "FRESH", size=2) == fresh[::-1]
    assert _listed(pusher, "FAILED", size=1) == [staged[0]]
    assert _listed(pusher, "VALIDATING") == [staged[1]]
    assert _listed(pusher, "STAGED") == [staged[2]]
    assert _listed(pusher, "UPLOADING") == [open_one]
    assert len(_listed(pusher, "UNSPECIFIED", size=2)) == 7


@pytest.mark.contract("S3-5")
def test_what_is_not_ready_lies_in_the_staging_area(
    rig: TransferRig, pusher: Pusher, validator: Validator
) -> None:
    vitals = SqliteVitals(rig.database, rig.folder)

    def staging() -> tuple[int, int]:
        (area,) = (each for each in vitals.storage().areas if each.name == "staging")
        return area.item_count, area.logical_bytes

    assert staging() == (0, 0)
    size = len(FILES["a.jsonl"])
    _sent(pusher)
    assert staging() == (1, size)
    _staged(pusher)
    _staged(pusher)
    assert staging() == (3, 3 * size)
    validator.run()
    assert staging() == (2, 2 * size)
    validator.run(passed=False)
    assert staging() == (2, 2 * size)
    assert vitals.tallies().failed_uploads == 1
    _purge(pusher, seconds=0)
    assert staging() == (1, size)


# --- who reads what waits -----------------------------------------------------------------------------


@pytest.mark.contract("S3-5")
def test_only_writers_read_the_files_of_what_waits(
    rig: TransferRig, pusher: Pusher, validator: Validator
) -> None:
    public = catalog_pb2.Artifact(visibility=catalog_pb2.VISIBILITY_INTERNAL, validation=REQUIRED)
    upload = _sent(pusher, create=public)
    version = _commit(pusher, upload).version.name
    other = rig.pusher("viewer")
    assert pusher.read(version, "a.jsonl") == FILES["a.jsonl"]
    with refused(grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND"):
        other.read(version, "a.jsonl")
    with refused(grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND"):
        other.read(ARTIFACT, "a.jsonl")
    validator.run()
    assert other.read(ARTIFACT, "a.jsonl") == FILES["a.jsonl"]


# --- failing for good, and trying again ---------------------------------------------------------------


@pytest.mark.contract("S3-23", "S3-56")
def test_a_rejected_upload_is_tried_again(pusher: Pusher, validator: Validator) -> None:
    upload = _staged(pusher, aliases=["prod"])
    validator.run(passed=False)
    request_id = "0198c5a2-7a4e-7c3b-9d0e-3f6a1b2c4d5e"
    assert _retry(pusher, upload, request_id).stage == transfer_pb2.UPLOAD_STAGE_STAGED
    assert _retry(pusher, upload, request_id).name == upload
    with refused(CONFLICT, "STATE_INVALID"):
        _retry(pusher, upload)
    validator.run()
    assert _stage(pusher, upload) == "FRESH"
    assert pusher.read(f"{ARTIFACT}/aliases/prod", "a.jsonl") == FILES["a.jsonl"]
    with refused(CONFLICT, "STATE_INVALID"):
        _retry(pusher, upload)


@pytest.mark.contract("S3-23", "S3-8")
def test_an_expired_upload_is_open_again(rig: TransferRig, pusher: Pusher) -> None:
    upload = _sent(pusher)
    rig.clock.ahead = 8 * DAY  # no upload stays open longer than a week
    while rig.database.write(rig.parts.uploads.upkeep).result():
        pass
    assert pusher.upload(upload).state == transfer_pb2.UPLOAD_STATE_EXPIRED
    opened = _retry(pusher, upload)
    assert opened.state == transfer_pb2.UPLOAD_STATE_OPEN
    assert opened.stored_bytes == opened.chunk_count == 0
    assert opened.expire_time.seconds > rig.clock.now() + DAY - 600
    cuts = {path: cut(data) for path, data in FILES.items()}
    with refused(CONFLICT, "DIGEST_MISMATCH"):
        pusher.commit(upload, cuts)
    assert pusher.put_missing(upload, cuts) > 0
    pusher.manifest(upload, cuts)
    assert pusher.commit(upload, cuts).version.name


@pytest.mark.contract("S3-8")
def test_what_cannot_be_committed_fails_and_may_be_tried_again() -> None:
    with transfer_rig(TransferLimits(max_dataset_bytes=100)) as rig:
        pusher = rig.pusher()
        upload = _sent(pusher)
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE"):
            _commit(pusher, upload)
        found = pusher.upload(upload)
        assert found.state == transfer_pb2.UPLOAD_STATE_FAILED
        assert found.problem.reason == errors_pb2.ERROR_REASON_TOO_LARGE
        with refused(CONFLICT, "UPLOAD_CLOSED"):
            pusher.missing(upload, [bytes(32)])
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE"):
            _retry(pusher, upload)
        folder = rig.folder
        with transfer_rig(folder=folder) as generous:  # the limit was raised
            again = generous.pusher()
            assert _retry(again, upload).state == transfer_pb2.UPLOAD_STATE_OPEN
            assert _commit(again, upload).version.name  # nothing had to be sent again


def test_a_taken_version_fails_the_upload_until_it_is_free(
    rig: TransferRig, pusher: Pusher, validator: Validator
) -> None:
    blocker = _staged(pusher, version_id="1.0.0")
    validator.run(passed=False)
    loser = pusher.begin(f"{ARTIFACT}-2", version_id="1.0.0")
    winner = _sent(pusher, artifact=f"{ARTIFACT}-2", version_id="1.0.0")
    _commit(pusher, winner)
    cuts = {path: cut(data) for path, data in FILES.items()}
    pusher.put_missing(loser, cuts)
    pusher.manifest(loser, cuts)
    with refused(grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN"):
        pusher.commit(loser, cuts)
    assert _stage(pusher, loser) == "FAILED"
    with refused(grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN"):
        _retry(pusher, loser)
    assert _purge(pusher, seconds=0) == 2  # the loser, and the rejected one: its id is free again
    with refused(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND"):
        pusher.upload(blocker)
    assert _commit(pusher, _sent(pusher, version_id="1.0.0")).version.name == f"{ARTIFACT}/versions/1.0.0"


def test_an_aborted_or_open_upload_is_not_tried_again(pusher: Pusher) -> None:
    upload = pusher.begin()
    with refused(CONFLICT, "STATE_INVALID"):
        _retry(pusher, upload)
    pusher.stub.AbortUpload(transfer_pb2.AbortUploadRequest(name=upload), metadata=pusher.metadata)
    with refused(CONFLICT, "STATE_INVALID"):
        _retry(pusher, upload)
    with refused(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND"):
        _retry(pusher, "uploads/file_99")


def test_what_was_deleted_is_not_validated_again(
    rig: TransferRig, pusher: Pusher, validator: Validator
) -> None:
    upload = _staged(pusher)
    validator.run(passed=False)
    row = tables.Artifact.update(name=None, live=0, audience=None, deleted=1.0)
    rig.database.write(row.execute).result()
    with refused(grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND"):
        _retry(pusher, upload)


# --- purging ------------------------------------------------------------------------------------------


@pytest.mark.contract("S3-24")
def test_purging_forgets_failed_uploads_of_a_certain_age(
    rig: TransferRig, pusher: Pusher, validator: Validator
) -> None:
    rejected = _staged(pusher)
    validator.run(passed=False)
    version = pusher.upload(rejected).result
    aborted, kept = pusher.begin(), _sent(pusher, {"b": b"b"})
    pusher.stub.AbortUpload(transfer_pb2.AbortUploadRequest(name=aborted), metadata=pusher.metadata)
    assert (_purge(pusher), _purge(pusher, seconds=3600)) == (0, 0)
    rig.clock.ahead = 23 * HOUR
    assert _purge(pusher) == 0
    rig.clock.ahead = 24 * HOUR + 60
    assert _purge(pusher) == 2
    assert _listed(pusher, "UNSPECIFIED") == [kept]
    with refused(grpc.StatusCode.NOT_FOUND, "VERSION_NOT_FOUND"):
        pusher.read(version, "a.jsonl")
    trees = rig.database.read(lambda: tables.Upload.select(tables.Upload.tree).count())
    assert trees == 1
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        _purge(pusher, seconds=-1)


def test_what_is_purged_leaves_no_files_and_holds_no_chunks(
    rig: TransferRig, pusher: Pusher, validator: Validator
) -> None:
    _staged(pusher)
    validator.run(passed=False)
    failed = _sent(pusher, {f"f{number}": b"%d" % number for number in range(2100)}, version_id="7")
    _sent(pusher, {"a.jsonl": b"{}"}, version_id="7")
    rig.database.write(_fail, rig, failed).result()
    assert _purge(pusher, seconds=0) == 2
    left = rig.database.read(lambda: [tables.Tree.select().count(), tables.TreeFile.select().count()])
    assert left == [1, 1]  # of the upload that is open
    assert rig.database.read(lambda: tables.Hold.select().count()) == 1


def _fail(rig: TransferRig, name: str) -> None:
    upload = rig.parts.uploads.find(system_caller(), UploadName(name.removeprefix("uploads/")))
    rig.parts.uploads.move(upload, UploadMove.FAIL)


def test_everybody_purges_their_own_and_administrators_all(rig: TransferRig, pusher: Pusher) -> None:
    admin = rig.pusher("admin")
    for one, artifact in ((pusher, ARTIFACT), (admin, "namespaces/admin/models/m")):
        upload = one.begin(artifact)
        one.stub.AbortUpload(transfer_pb2.AbortUploadRequest(name=upload), metadata=one.metadata)
    with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
        _purge(pusher, seconds=0, all_users=True)
    assert _purge(admin, seconds=0) == 1
    assert _purge(admin, seconds=0, all_users=True) == 1
    assert _purge(pusher, seconds=0) == 0


@pytest.mark.contract("S3-12", "S3-41")
def test_the_hourly_clean_purges_by_the_same_rule(
    rig: TransferRig, pusher: Pusher, validator: Validator, caplog: pytest.LogCaptureFixture
) -> None:
    _staged(pusher)
    validator.run(passed=False)
    pusher.begin()
    assert _tidied(rig) == 0
    rig.clock.ahead = 25 * HOUR  # the open one expires now, and is failed from now on
    caplog.set_level("INFO", logger="ingot.server.parts.transfer")
    assert _tidied(rig) == 2
    assert "uploads.tidied count=2 purged=1" in caplog.text
    rig.clock.ahead = 50 * HOUR
    assert _tidied(rig) == 1
    assert _listed(pusher, "UNSPECIFIED") == []


def _begin(pusher: Pusher, request_id: str) -> transfer_pb2.Upload:
    new = transfer_pb2.NewVersion(artifact=ARTIFACT, create=catalog_pb2.Artifact())
    target = transfer_pb2.UploadTarget(version=new)
    request = transfer_pb2.BeginUploadRequest(target=target, request_id=request_id)
    return pusher.stub.BeginUpload(request, metadata=pusher.metadata).upload


@pytest.mark.contract("S3-4")
def test_who_begins_again_after_days_goes_on_or_anew_but_never_fails(
    rig: TransferRig, pusher: Pusher
) -> None:
    request_id = "0198c5a2-7a4e-7c3b-9d0e-3f6a1b2c4d5f"
    cuts = {path: cut(data) for path, data in FILES.items()}
    first = _begin(pusher, request_id)
    pusher.put_missing(first.name, cuts)
    rig.clock.ahead = 25 * HOUR  # its time is over, and nothing has closed it yet
    again = _begin(pusher, request_id)
    assert (again.name, again.state) == (first.name, transfer_pb2.UPLOAD_STATE_OPEN)
    assert again.expire_time.seconds > rig.clock.now() + DAY - 600
    assert pusher.put_missing(again.name, cuts) == 0  # what had come is still there
    rig.clock.ahead = 50 * HOUR
    _tidied(rig)
    assert _begin(pusher, request_id).state == transfer_pb2.UPLOAD_STATE_EXPIRED
    rig.clock.ahead = 75 * HOUR
    _tidied(rig)
    with refused(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND"):
        pusher.upload(first.name)
    fresh = _begin(pusher, request_id)
    assert fresh.name != first.name
    assert _begin(pusher, request_id).name == fresh.name


def test_results_of_trainings_outlive_their_upload(rig: TransferRig, validator: Validator) -> None:
    """A result is dear: that it was rejected is no reason to throw days of a GPU away."""
    pusher = rig.pusher()
    upload = _staged(pusher)
    validator.run(passed=False)
    row = tables.Upload.get_by_id
    with_job = rig.database.read(lambda: str(row(int(upload.rpartition("_")[2])).target)).replace(
        '"training_job": ""', '"training_job": "trainingJobs/job_1"'
    )
    rig.database.write(tables.Upload.update(target=with_job).execute).result()
    rig.database.write(rig.parts.failed.purge, system_caller(), -1.0, all_users=True).result()
    artifact = rig.database.read(rig.rules.artifacts.find, artifact_name(ARTIFACT))
    assert artifact is not None
    assert rig.database.read(rig.rules.version_rows.find, artifact, "1") is not None
