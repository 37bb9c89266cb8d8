"""TransferService over a real socket: pushes become versions, bytes come back or are missed loudly."""

import pathlib
from collections.abc import Iterator

import grpc
import pytest

from helpers.patterns import pattern
from helpers.pipelines import caller_of
from helpers.transfers import (
    ARTIFACT,
    MIB,
    Cut,
    Pusher,
    TransferRig,
    cut,
    file_manifest,
    refused,
    stream,
    transfer_rig,
    tree_digest,
)
from ingot.content import digests
from ingot.server.core import failpoints
from ingot.server.core.identity import Role, system_caller
from ingot.server.core.names import UploadName, artifact_name
from ingot.server.core.uploads import TransferLimits
from ingot.server.storage import tables
from ingot.v1 import catalog_pb2, errors_pb2, transfer_pb2

NOT_FOUND = grpc.StatusCode.NOT_FOUND
CONFLICT = grpc.StatusCode.FAILED_PRECONDITION
DAY = 24 * 3600.0

LARGE = pattern("large file", 5 * MIB + 123)
TREE = {"data/large.bin": LARGE, "notes.md": b"# notes\n", "empty.txt": b"", "فارسی.txt": "سلام".encode()}


@pytest.fixture(name="rig")
def _rig() -> Iterator[TransferRig]:
    with transfer_rig() as rig:
        yield rig


@pytest.fixture(name="pusher")
def _pusher(rig: TransferRig) -> Pusher:
    return rig.pusher()


def _open(pusher: Pusher, files: dict[str, bytes], **changes: object) -> tuple[str, dict[str, Cut]]:
    """Begin an upload, send all chunks and the manifest; return its name and what to commit."""
    cuts = {path: cut(data) for path, data in files.items()}
    upload = pusher.begin(**changes)  # type: ignore[arg-type]
    pusher.put_missing(upload, cuts)
    pusher.manifest(upload, cuts)
    return upload, cuts


# --- push -----------------------------------------------------------------------------------------------


@pytest.mark.contract("S1-11", "S3-53")
def test_what_is_pushed_comes_back(pusher: Pusher) -> None:
    version = pusher.push(TREE)
    assert version == f"{ARTIFACT}/versions/1"
    for path, data in TREE.items():
        assert pusher.read(version, path) == data
    head, files = pusher.files(ARTIFACT)  # a bare artifact is its latest version
    assert (head.tree, head.file_count, head.size_bytes) == (version, 4, sum(map(len, TREE.values())))
    assert head.digest == tree_digest({path: cut(data) for path, data in TREE.items()})
    assert {path: cut(data).entries for path, data in TREE.items()} == files
    assert list(files) == sorted(files, key=str.encode)
    for path in files:
        assert pusher.files(ARTIFACT, path) == (head, {path: files[path]})
    for path in ("a", "zzz", "sub"):
        with refused(NOT_FOUND, "FILE_NOT_FOUND"):
            pusher.files(ARTIFACT, path)


@pytest.mark.contract("S1-6", "S3-26", "S3-27", "S3-30")
def test_an_upload_tells_how_far_it_is(pusher: Pusher) -> None:
    cuts = {"a.bin": cut(LARGE)}
    half = cuts["a.bin"].chunks[: len(cuts["a.bin"].chunks) // 2]
    version = transfer_pb2.NewVersion(artifact=ARTIFACT, create=catalog_pb2.Artifact())
    begun = pusher.stub.BeginUpload(
        transfer_pb2.BeginUploadRequest(
            target=transfer_pb2.UploadTarget(version=version), size_bytes=len(LARGE), original_name="a.bin"
        ),
        metadata=pusher.metadata,
    ).upload
    assert begun.name == "uploads/file_1"
    assert begun.description == "Uploaded a.bin"
    assert (begun.stage, begun.progress_percent) == (transfer_pb2.UPLOAD_STAGE_UPLOADING, 0)
    pusher.put(stream(begun.name, half))
    now = pusher.upload(begun.name)
    sent = sum(len(data) for _, data in half)
    assert now.progress_percent == pytest.approx(100 * sent / len(LARGE))
    assert (now.stored_bytes, now.stored_chunks, now.received_bytes) == (sent, len(half), sent)
    pusher.put_missing(begun.name, cuts)
    pusher.manifest(begun.name, cuts)
    assert pusher.upload(begun.name).chunk_count == len(cuts["a.bin"].chunks)
    pusher.commit(begun.name, cuts)
    done = pusher.upload(begun.name)
    assert (done.stage, done.progress_percent) == (transfer_pb2.UPLOAD_STAGE_FRESH, 100)
    assert done.size_bytes == len(LARGE)


@pytest.mark.contract("S3-4", "S3-53")
def test_resuming_sends_only_what_was_missing(pusher: Pusher) -> None:
    cuts = {"a.bin": cut(LARGE)}
    first = pusher.begin()
    sent = cuts["a.bin"].chunks[:7]
    pusher.put(stream(first, sent))
    again = pusher.begin()  # another upload of the same namespace
    travelled = pusher.put_missing(again, cuts)
    assert travelled == len(LARGE) - sum(len(data) for _, data in sent)
    assert pusher.upload(again).received_bytes == travelled
    assert pusher.upload(again).stored_bytes == len(LARGE)


def test_the_next_version_sends_only_what_changed(pusher: Pusher) -> None:
    pusher.push({"a.bin": LARGE})
    cuts = {"a.bin": cut(b"one line at the front\n" + LARGE)}
    upload = pusher.begin()
    assert pusher.put_missing(upload, cuts) < 0.25 * len(LARGE)  # a chunk or two of 5 MiB
    pusher.manifest(upload, cuts)
    assert pusher.commit(upload, cuts).version.name == f"{ARTIFACT}/versions/2"
    assert pusher.read(f"{ARTIFACT}/versions/2", "a.bin").startswith(b"one line")
    assert pusher.read(f"{ARTIFACT}/versions/1", "a.bin") == LARGE


def test_a_file_of_more_than_one_segment_in_parts(pusher: Pusher) -> None:
    data = b"".join(index.to_bytes(2, "big") for index in range(digests.SEGMENT_MAX_ENTRIES + 10))
    chunks = [(digests.chunk_digest(data[at : at + 2]), data[at : at + 2]) for at in range(0, len(data), 2)]
    cuts = {"many": Cut(tuple(chunks))}
    upload = pusher.begin()
    pusher.put_missing(upload, cuts)
    whole = file_manifest("many", cuts["many"])
    for segment in reversed(whole.segments):
        part = transfer_pb2.FileManifest()
        part.CopyFrom(whole)
        del part.segments[:]
        part.segments.append(segment)
        pusher.stub.PutManifest(
            transfer_pb2.PutManifestRequest(upload=upload, files=[part]), metadata=pusher.metadata
        )
    version = pusher.commit(upload, cuts).version.name
    assert pusher.files(version)[1] == {"many": cuts["many"].entries}
    assert pusher.read(version, "many") == data
    edge = digests.SEGMENT_MAX_ENTRIES
    assert pusher.read(version, "many", 2 * edge - 3, 6) == data[2 * edge - 3 : 2 * edge + 3]
    assert pusher.chunks(version, ("many", edge - 2, 4)) == chunks[edge - 2 : edge + 2]


def test_a_repeated_commit_gives_the_same_version(pusher: Pusher) -> None:
    upload, cuts = _open(pusher, {"a": b"1"})
    first = pusher.commit(upload, cuts)
    second = pusher.commit(upload, cuts)
    assert first.version == second.version
    assert second.upload.result == f"{ARTIFACT}/versions/1"
    other = {"a": cut(b"2")}
    with refused(CONFLICT, "UPLOAD_CLOSED"):
        pusher.commit(upload, other)


def test_a_commit_that_overlaps_another_is_told_to_ask_again(rig: TransferRig, pusher: Pusher) -> None:
    upload, cuts = _open(pusher, {"a": b"1"})
    caller = caller_of(Role.MEMBER)
    name = UploadName(upload.removeprefix("uploads/"))
    sealed = rig.database.write(rig.parts.commits.seal, caller, name, tree_digest(cuts), 1).result()
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY"):
        pusher.commit(upload, cuts)
    with refused(CONFLICT, "UPLOAD_CLOSED"):
        pusher.manifest(upload, cuts)
    checked = rig.database.read(rig.parts.commits.check, sealed, tree_digest(cuts), 1)
    done = rig.database.write(rig.parts.commits.finish, caller, sealed, checked).result()
    assert pusher.commit(upload, cuts).upload.result == done.upload.result


def test_a_commit_that_fails_leaves_the_upload_open(pusher: Pusher) -> None:
    upload, cuts = _open(pusher, {"a": b"1"})
    for place in ("commit.sealed", "commit.adopted"):  # before anything was checked, and inside the commit
        with failpoints.armed(f"{place}=EIO"), pytest.raises(grpc.RpcError):
            pusher.commit(upload, cuts)
        state = pusher.upload(upload)
        assert state.state == transfer_pb2.UPLOAD_STATE_OPEN
        assert "again" in state.problem.next_step
    assert pusher.commit(upload, cuts).version.name == f"{ARTIFACT}/versions/1"


def test_a_repeated_begin_gives_the_same_upload(pusher: Pusher) -> None:
    key = "0198c5a2-7a4e-7c3b-9d0e-3f6a1b2c4d5e"
    version = transfer_pb2.NewVersion(artifact=ARTIFACT, create=catalog_pb2.Artifact())
    target = transfer_pb2.UploadTarget(version=version)
    request = transfer_pb2.BeginUploadRequest(target=target, request_id=key)
    names = {pusher.stub.BeginUpload(request, metadata=pusher.metadata).upload.name for _ in range(2)}
    assert len(names) == 1
    request.size_bytes = 5
    with refused(CONFLICT, "REQUEST_ID_REUSED"):
        pusher.stub.BeginUpload(request, metadata=pusher.metadata)


def test_missing_chunks_are_counted_and_may_be_sent_afterwards(pusher: Pusher) -> None:
    cuts = {"a.bin": cut(LARGE)}
    upload = pusher.begin()
    pusher.put(stream(upload, cuts["a.bin"].chunks[3:]))
    pusher.manifest(upload, cuts)
    with refused(CONFLICT, "MISSING_CHUNKS") as facts:
        pusher.commit(upload, cuts)
    assert facts["missing"] == "3"
    assert facts["first"] == digests.format_digest(cuts["a.bin"].chunks[0][0])
    state = pusher.upload(upload)
    assert (state.state, state.missing_chunks) == (transfer_pb2.UPLOAD_STATE_OPEN, 3)
    assert state.problem.next_step
    pusher.put_missing(upload, cuts)
    assert pusher.commit(upload, cuts).version.name == f"{ARTIFACT}/versions/1"


@pytest.mark.contract("S0-100", "S0-108")
def test_another_digest_than_the_sender_expects_is_refused(pusher: Pusher) -> None:
    upload, cuts = _open(pusher, {"a": b"1", "b": b"2"})
    with refused(CONFLICT, "DIGEST_MISMATCH"):
        pusher.commit(upload, {"a": cuts["a"], "b": cuts["a"]})
    with refused(CONFLICT, "DIGEST_MISMATCH"):
        pusher.commit(upload, {"a": cuts["a"]})
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        request = transfer_pb2.CommitUploadRequest(upload=upload, expected_digest="md5:1", file_count=2)
        pusher.stub.CommitUpload(request, metadata=pusher.metadata)
    pusher.commit(upload, cuts)


def test_a_manifest_may_be_replaced_and_reset(pusher: Pusher) -> None:
    upload, _ = _open(pusher, {"a": b"1", "b": b"2", "c": b"3"})
    cuts = {"b": cut(b"two"), "d": cut(b"4")}
    pusher.put_missing(upload, cuts)
    pusher.manifest(upload, cuts, reset=True)
    version = pusher.commit(upload, cuts).version.name
    assert sorted(pusher.files(version)[1]) == ["b", "d"]
    assert pusher.read(version, "b") == b"two"


def test_a_length_that_is_not_the_chunks_is_refused(pusher: Pusher) -> None:
    good = cut(b"12345")
    upload = pusher.begin()
    pusher.put_missing(upload, {"a": good})
    lie = file_manifest("a", good)
    lie.size_bytes = 4
    lie.segments[0].entries = digests.segment_bytes([(good.chunks[0][0], 4)])
    pusher.stub.PutManifest(
        transfer_pb2.PutManifestRequest(upload=upload, files=[lie]), metadata=pusher.metadata
    )
    root = digests.file_root("cdc", 4, [digests.segment_digest(lie.segments[0].entries)])
    request = transfer_pb2.CommitUploadRequest(
        upload=upload,
        expected_digest=digests.format_digest(digests.tree_digest([("a", 4, root)])),
        file_count=1,
    )
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "BAD_LENGTH"):
        pusher.stub.CommitUpload(request, metadata=pusher.metadata)


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("blake3", "0" * 64),
        ("blake3", "blake3:" + "F" * 64),
        ("sha256", "zz"),
        ("sha256", "0" * 65),
        ("format", "two words"),
        ("format", "CSV"),
        ("format", "f" * 65),
        ("format", "f" * 1_000_000),
        ("format", "\x1b[2J"),
    ],
)
def test_what_is_told_of_a_file_has_its_form_or_is_refused(pusher: Pusher, field: str, told: str) -> None:
    """It takes space that no quota counts, and others are shown it."""
    upload = pusher.begin()
    file = file_manifest("a", cut(b"12345"))
    setattr(file, field, told)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID") as facts:
        pusher.stub.PutManifest(
            transfer_pb2.PutManifestRequest(upload=upload, files=[file]), metadata=pusher.metadata
        )
    assert facts["field"] == f"files[0].{field}"
    assert len(facts["message"]) < 1000
    new = transfer_pb2.NewVersion(artifact=ARTIFACT, create=catalog_pb2.Artifact())
    header = transfer_pb2.UploadFileHeader(version=new, path="a")
    setattr(header, field, told)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        pusher.stub.UploadFile(
            iter([transfer_pb2.UploadFileRequest(header=header)]), metadata=pusher.metadata
        )


@pytest.mark.parametrize(
    "paths", [["../up"], ["/abs"], ["a\\b"], ["C:x"], ["nul"], ["a", "A"], ["a", "a/b"], ["x" * 1025], [""]]
)
def test_bad_paths_are_refused(pusher: Pusher, paths: list[str]) -> None:
    upload = pusher.begin()
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "BAD_PATH"):
        pusher.manifest(upload, {path: cut(b"") for path in paths})


def test_twins_that_came_in_two_calls_are_refused_at_commit(pusher: Pusher) -> None:
    upload = pusher.begin()
    first, second = {"Readme.md": cut(b"")}, {"README.md": cut(b"")}
    pusher.manifest(upload, first)
    pusher.manifest(upload, second)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "BAD_PATH"):
        pusher.commit(upload, first | second)
    pusher.manifest(upload, second, reset=True)
    pusher.commit(upload, second)


def test_only_one_of_two_that_expect_the_same_latest_wins(pusher: Pusher) -> None:
    first, cuts = _open(pusher, {"a": b"1"}, expected_latest="")
    second, other = _open(pusher, {"a": b"2"}, expected_latest="")
    pusher.commit(first, cuts)
    with refused(grpc.StatusCode.ABORTED, "VERSION_CONFLICT"):
        pusher.commit(second, other)
    failed = pusher.upload(second)
    assert failed.state == transfer_pb2.UPLOAD_STATE_FAILED
    assert failed.problem.reason == errors_pb2.ERROR_REASON_VERSION_CONFLICT
    assert pusher.read(ARTIFACT, "a") == b"1"


def test_an_empty_tree_is_a_version_too(pusher: Pusher) -> None:
    version = pusher.push({})
    assert pusher.files(version)[0].file_count == 0


def test_too_large_is_said_before_and_after() -> None:
    with transfer_rig(TransferLimits(max_dataset_bytes=100, max_model_bytes=0)) as rig:
        pusher = rig.pusher()
        version = transfer_pb2.NewVersion(artifact=ARTIFACT, create=catalog_pb2.Artifact())
        target = transfer_pb2.UploadTarget(version=version)
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE"):
            pusher.stub.BeginUpload(
                transfer_pb2.BeginUploadRequest(target=target, size_bytes=101), metadata=pusher.metadata
            )
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE"):
            pusher.push({"a": bytes(101)})
        pusher.push({"a": bytes(100)})
        pusher.push({"a": bytes(101)}, artifact="namespaces/member/models/m")


def test_open_uploads_of_a_principal_are_limited() -> None:
    with transfer_rig(TransferLimits(max_open_uploads=2)) as rig:
        pusher = rig.pusher()
        pusher.begin()
        upload = pusher.begin()
        with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY"):
            pusher.begin()
        pusher.stub.AbortUpload(transfer_pb2.AbortUploadRequest(name=upload), metadata=pusher.metadata)
        pusher.begin()


# --- who has what ---------------------------------------------------------------------------------------


def _public(**fields: object) -> catalog_pb2.Artifact:
    return catalog_pb2.Artifact(visibility=catalog_pb2.VISIBILITY_INTERNAL, **fields)  # type: ignore[arg-type]


def test_presence_says_nothing_about_other_namespaces(rig: TransferRig) -> None:
    secret = {"secret.bin": LARGE}
    rig.pusher("admin").push(secret, artifact="namespaces/admin/datasets/private")
    member = rig.pusher()
    upload = member.begin()
    cuts = {path: cut(data) for path, data in secret.items()}
    wanted = [digest for digest, _ in cuts["secret.bin"].chunks]
    assert member.missing(upload, wanted) == wanted
    member.manifest(upload, cuts)
    with refused(CONFLICT, "MISSING_CHUNKS") as facts:  # knowing digests gives no bytes
        member.commit(upload, cuts)
    assert facts["missing"] == str(len(wanted))


def test_naming_a_chunk_is_no_way_to_read_it(rig: TransferRig) -> None:
    secret, absent = cut(pattern("secret", 5000)), cut(pattern("absent", 5000))
    rig.pusher("admin").push({"s": pattern("secret", 5000)}, artifact="namespaces/admin/datasets/private")
    member = rig.pusher()
    upload = member.begin()
    member.manifest(upload, {"secret": secret, "absent": absent})
    told = []
    for path in ("secret", "absent"):
        with refused(CONFLICT, "MISSING_CHUNKS") as facts:
            member.read(upload, path)
        with refused(CONFLICT, "MISSING_CHUNKS"):
            member.chunks(upload, (path, 0, 1))
        told.append({name: text.replace(path, "") for name, text in facts.items()})
    assert told[0] == told[1]
    member.put(stream(upload, secret.chunks))  # who has the bytes may read them back
    assert member.read(upload, "secret") == pattern("secret", 5000)


def test_a_refused_commit_does_not_tell_which_missing_chunks_others_have(rig: TransferRig) -> None:
    rig.pusher("admin").push({"s": pattern("secret", 5000)}, artifact="namespaces/admin/datasets/private")
    member = rig.pusher()
    cuts = {"1": cut(pattern("secret", 5000)), "2": cut(pattern("absent", 5000))}
    upload = member.begin()
    member.manifest(upload, cuts)
    with refused(CONFLICT, "MISSING_CHUNKS") as facts:
        member.commit(upload, cuts)
    assert facts["first"] == digests.format_digest(cuts["1"].chunks[0][0])


def test_what_another_namespace_has_is_told_as_new_and_written_once(rig: TransferRig) -> None:
    rig.pusher("admin").push({"a": LARGE}, artifact="namespaces/admin/datasets/private")
    before = sum(pack.size for pack in rig.packs.packs())
    member = rig.pusher()
    reply = member.put(stream(member.begin(), cut(LARGE).chunks))
    assert set(reply.outcomes) == {transfer_pb2.CHUNK_OUTCOME_STORED}
    assert reply.stored_bytes == len(LARGE)
    assert sum(pack.size for pack in rig.packs.packs()) == before


def test_chunks_of_a_public_version_need_not_be_sent(rig: TransferRig) -> None:
    public = "namespaces/admin/datasets/public"
    rig.pusher("admin").push({"a": LARGE}, artifact=public, create=_public())
    member = rig.pusher()
    upload, cuts = member.begin(), {"a": cut(LARGE)}
    assert member.put_missing(upload, cuts) == 0
    member.manifest(upload, cuts)
    assert member.commit(upload, cuts).version.new_bytes == len(LARGE)  # new to its namespace
    again = member.begin()
    assert member.put_missing(again, cuts) == 0
    member.manifest(again, cuts)
    assert member.commit(again, cuts).version.new_bytes == 0


def test_new_bytes_are_those_new_to_the_namespace(rig: TransferRig) -> None:
    rig.pusher("admin").push({"a": LARGE}, artifact="namespaces/admin/datasets/private")
    member, cuts = rig.pusher(), {"a": cut(LARGE), "b": cut(LARGE)}
    told = []
    for _ in range(2):
        upload = member.begin()
        member.put(stream(upload, [*cuts["a"].chunks, *cuts["b"].chunks]))
        member.manifest(upload, cuts)
        told.append(member.commit(upload, cuts).version.new_bytes)
    assert told == [len(LARGE), 0]  # as if nobody else had it


def test_what_is_not_yours_does_not_exist(rig: TransferRig) -> None:
    admin, member = rig.pusher("admin"), rig.pusher()
    version = admin.push({"a": b"1"}, artifact="namespaces/admin/datasets/private")
    upload = admin.begin("namespaces/admin/datasets/private")
    with refused(NOT_FOUND, "ARTIFACT_NOT_FOUND"):
        member.read(version, "a")
    with refused(NOT_FOUND, "UPLOAD_NOT_FOUND"):
        member.upload(upload)
    with refused(NOT_FOUND, "UPLOAD_NOT_FOUND"):
        member.files(upload)
    with refused(NOT_FOUND, "NAMESPACE_NOT_FOUND"):
        member.begin("namespaces/admin/datasets/private")


# --- life of an upload ----------------------------------------------------------------------------------


def test_leases_end_with_the_upload_and_calls_renew_them(rig: TransferRig, pusher: Pusher) -> None:
    upload, cuts = _open(pusher, {"a": LARGE})
    wanted = [digest for digest, _ in cuts["a"].chunks]
    rig.clock.ahead = DAY - 100
    pusher.stub.RenewUpload(transfer_pb2.RenewUploadRequest(name=upload), metadata=pusher.metadata)
    rig.clock.ahead = 2 * DAY - 300
    assert pusher.missing(upload, wanted) == []  # which renews it, too
    rig.clock.ahead = 4 * DAY
    with refused(CONFLICT, "UPLOAD_CLOSED"):
        pusher.missing(upload, wanted)
    assert rig.database.write(rig.parts.uploads.upkeep).result() == 1
    assert rig.database.write(rig.parts.uploads.upkeep).result() == 0
    assert pusher.upload(upload).state == transfer_pb2.UPLOAD_STATE_EXPIRED
    assert pusher.missing(pusher.begin(), wanted) == wanted


def test_an_upload_lives_a_week_at_most(rig: TransferRig, pusher: Pusher) -> None:
    upload = pusher.begin()
    for day in range(1, 7):
        rig.clock.ahead = day * (DAY - 60)
        pusher.stub.RenewUpload(transfer_pb2.RenewUploadRequest(name=upload), metadata=pusher.metadata)
    rig.clock.ahead = 7 * DAY + 60
    with refused(CONFLICT, "UPLOAD_CLOSED"):
        pusher.stub.RenewUpload(transfer_pb2.RenewUploadRequest(name=upload), metadata=pusher.metadata)


def test_an_aborted_upload_keeps_its_chunks_for_a_while(rig: TransferRig, pusher: Pusher) -> None:
    upload, cuts = _open(pusher, {"a": LARGE})
    for _ in range(2):  # aborting again is harmless
        reply = pusher.stub.AbortUpload(
            transfer_pb2.AbortUploadRequest(name=upload), metadata=pusher.metadata
        )
        assert reply.upload.state == transfer_pb2.UPLOAD_STATE_ABORTED
    with refused(CONFLICT, "UPLOAD_CLOSED"):
        pusher.commit(upload, cuts)
    again = pusher.begin()
    assert pusher.put_missing(again, cuts) == 0
    pusher.stub.AbortUpload(transfer_pb2.AbortUploadRequest(name=again), metadata=pusher.metadata)
    rig.clock.ahead = DAY + 60
    assert rig.database.write(rig.parts.uploads.upkeep).result() == 2
    assert rig.database.read(lambda: tables.Hold.select().count()) == 0
    rig.clock.ahead = 9 * DAY
    assert rig.database.write(rig.parts.failed.purge, system_caller(), DAY, all_users=True).result() == 2
    with refused(NOT_FOUND, "UPLOAD_NOT_FOUND"):
        pusher.upload(upload)


def test_a_committed_upload_cannot_be_aborted(pusher: Pusher) -> None:
    upload, cuts = _open(pusher, {"a": b"1"})
    pusher.commit(upload, cuts)
    with refused(CONFLICT, "UPLOAD_CLOSED"):
        pusher.stub.AbortUpload(transfer_pb2.AbortUploadRequest(name=upload), metadata=pusher.metadata)


@pytest.mark.contract("S3-28")
def test_uploads_are_listed_newest_first_by_stage_and_page(rig: TransferRig, pusher: Pusher) -> None:
    upload, cuts = _open(pusher, {"a": b"1"})
    pusher.commit(upload, cuts)
    names = [pusher.begin() for _ in range(3)]
    rig.pusher("admin").begin("namespaces/admin/datasets/own")

    def listed(**fields: object) -> transfer_pb2.ListUploadsResponse:
        request = transfer_pb2.ListUploadsRequest(parent="namespaces/-")
        request.MergeFrom(transfer_pb2.ListUploadsRequest(**fields))  # type: ignore[arg-type]
        return pusher.stub.ListUploads(request, metadata=pusher.metadata)

    assert [each.name for each in listed().uploads] == [*reversed(names), upload]
    assert [each.name for each in listed(stage=transfer_pb2.UPLOAD_STAGE_FRESH).uploads] == [upload]
    first = listed(page_size=3)
    rest = listed(page_size=3, page_token=first.next_page_token)
    assert [each.name for each in rest.uploads] == [upload]
    assert not rest.next_page_token
    assert not listed(parent="namespaces/admin").uploads


# --- reading --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 1), (0, 0), (1, 5 * MIB), (3 * MIB - 7, 14), (len(LARGE) - 1, 100), (len(LARGE), 0), (777, MIB)],
)
def test_ranges(pusher: Pusher, offset: int, length: int) -> None:
    version = pusher.push({"a": LARGE})
    end = offset + length if length else len(LARGE)
    assert pusher.read(version, "a", offset, length) == LARGE[offset:end]


def test_ranges_outside_are_refused(pusher: Pusher) -> None:
    version = pusher.push({"a": b"12345"})
    with refused(grpc.StatusCode.OUT_OF_RANGE, "OFFSET_OUT_OF_RANGE"):
        pusher.read(version, "a", 6)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        pusher.read(version, "a", -1)
    with refused(grpc.StatusCode.OUT_OF_RANGE, "OFFSET_OUT_OF_RANGE"):
        pusher.chunks(version, ("a", 1, 1))
    with refused(NOT_FOUND, "FILE_NOT_FOUND"):
        pusher.read(version, "b")
    with refused(NOT_FOUND, "VERSION_NOT_FOUND"):
        pusher.read(f"{ARTIFACT}/versions/9", "a")


def test_the_size_of_a_file_comes_with_the_first_message(pusher: Pusher) -> None:
    version = pusher.push({"a": LARGE, "empty": b""})
    for path, size in (("a", len(LARGE)), ("empty", 0)):
        request = transfer_pb2.ReadFileRequest(tree=version, path=path)
        messages = list(pusher.stub.ReadFile(request, metadata=pusher.metadata))
        assert [each.total_size_bytes for each in messages] == [size] + [0] * (len(messages) - 1)
        assert max(len(each.data) for each in messages) <= MIB
        assert [each.offset for each in messages] == [
            sum(len(each.data) for each in messages[:index]) for index in range(len(messages))
        ]


def test_chunks_come_in_the_order_asked_small_ones_together(pusher: Pusher) -> None:
    small = {f"s/{index:03}": b"%d" % index for index in range(200)}
    version = pusher.push(small | {"large": LARGE})
    large = cut(LARGE).chunks
    asked = [("large", 3, 2), *((path, 0, 1) for path in sorted(small, reverse=True)), ("large", 0, 3)]
    expected = [
        *large[3:5],
        *(cut(small[path]).chunks[0] for path in sorted(small, reverse=True)),
        *large[:3],
    ]
    assert pusher.chunks(version, *asked) == expected
    ranges = [transfer_pb2.ChunkRange(path=path, first=0, count=1) for path in small]
    request = transfer_pb2.ReadChunksRequest(tree=version, ranges=ranges)
    assert len(list(pusher.stub.ReadChunks(request, metadata=pusher.metadata))) == 1
    assert pusher.chunks(version) == []


def test_a_chunk_above_a_message_goes_on(pusher: Pusher) -> None:
    data = pattern("four", 4 * MIB)
    cuts = {"x": Cut(((digests.chunk_digest(data), data),))}
    upload = pusher.begin()
    parts = [data[at : at + MIB] for at in range(0, len(data), MIB)]
    messages = [
        transfer_pb2.PutChunksRequest(
            header=transfer_pb2.PutChunksHeader(upload=upload, declared_chunks=1, declared_bytes=4 * MIB)
        ),
        *(
            transfer_pb2.PutChunksRequest(
                pieces=transfer_pb2.Pieces(
                    digests=cuts["x"].chunks[0][0] if at == 0 else b"",
                    lengths=[len(data)] if at == 0 else [],
                    data=part,
                    more=at < 3,
                )
            )
            for at, part in enumerate(parts)
        ),
        transfer_pb2.PutChunksRequest(finish=transfer_pb2.PutChunksFinish(chunks=1, bytes=4 * MIB)),
    ]
    pusher.put(messages)
    pusher.manifest(upload, cuts)
    version = pusher.commit(upload, cuts).version.name
    assert pusher.chunks(version, ("x", 0, 1)) == list(cuts["x"].chunks)


def test_an_open_upload_is_a_tree_that_can_be_read(pusher: Pusher) -> None:
    upload, cuts = _open(pusher, {"a": LARGE})
    head, files = pusher.files(upload)
    assert (head.tree, head.digest, head.file_count) == (upload, "", 1)
    assert files == {"a": cuts["a"].entries}
    assert pusher.read(upload, "a") == LARGE


def test_files_are_listed_in_byte_order_by_page(pusher: Pusher) -> None:
    paths = ["B", "a", "c/d", "z", "é", "ز"]
    version = pusher.push(dict.fromkeys(paths, b"x"))
    found: list[str] = []
    token = ""
    while True:
        request = transfer_pb2.ListFilesRequest(tree=ARTIFACT, page_size=4, page_token=token)
        reply = pusher.stub.ListFiles(request, metadata=pusher.metadata)
        assert reply.tree == version
        found += [each.path for each in reply.files]
        token = reply.next_page_token
        if not token:
            break
    assert found == sorted(paths, key=str.encode)


@pytest.mark.contract("S3-22")
def test_a_file_tells_its_facts(pusher: Pusher) -> None:
    pusher.push({"d/train.jsonl": LARGE})
    request = transfer_pb2.StatFileRequest(tree=ARTIFACT, path="d/train.jsonl")
    reply = pusher.stub.StatFile(request, metadata=pusher.metadata)
    entries = cut(LARGE).entries
    assert reply.tree == f"{ARTIFACT}/versions/1"
    assert (reply.file.size_bytes, reply.file.format, reply.file.profile) == (len(LARGE), "jsonl", "cdc")
    assert reply.file.chunk_count == len(entries)
    segments = [digests.segment_digest(each) for each in digests.split_segments(entries)]
    assert reply.file.root == digests.file_root("cdc", len(LARGE), segments)
    assert not reply.file.verified


def _damage(folder: pathlib.Path, data: bytes) -> None:
    """Flip one bit of these bytes in the packs on disk."""
    for pack in folder.glob("packs/*/*.pack"):
        body = bytearray(pack.read_bytes())
        at = bytes(body).find(data)
        if at >= 0:
            body[at + len(data) // 2] ^= 1
            pack.chmod(0o644)
            pack.write_bytes(body)


@pytest.mark.contract("S0-100")
def test_a_flipped_bit_is_data_loss_and_the_next_push_heals_it(tmp_path: pathlib.Path) -> None:
    with transfer_rig(folder=tmp_path) as rig:
        version = rig.pusher().push({"a": LARGE})
    chunks = cut(LARGE).chunks
    _damage(tmp_path, chunks[5][1])
    with transfer_rig(folder=tmp_path) as rig:
        pusher = rig.pusher()
        with refused(grpc.StatusCode.DATA_LOSS, "DATA_LOSS"):
            pusher.read(version, "a")
        assert pusher.chunks(version, ("a", 0, 5)) == list(chunks[:5])  # the others are whole
        upload = pusher.begin()
        assert pusher.missing(upload, [digest for digest, _ in chunks]) == [chunks[5][0]]
        pusher.put(stream(upload, [chunks[5]]))
        assert pusher.read(version, "a") == LARGE


def test_a_download_is_counted_once_for_its_id(rig: TransferRig, pusher: Pusher) -> None:
    version = pusher.push({"a": b"12345"})
    for download_id in ("pull-1", "pull-1", "pull-2"):
        request = transfer_pb2.ReadManifestRequest(tree=version, download_id=download_id)
        list(pusher.stub.ReadManifest(request, metadata=pusher.metadata))
        chunks = transfer_pb2.ReadChunksRequest(
            tree=version,
            ranges=[transfer_pb2.ChunkRange(path="a", first=0, count=1)],
            download_id=download_id,
        )
        list(pusher.stub.ReadChunks(chunks, metadata=pusher.metadata))
    rig.database.write(rig.usage.write, rig.usage.take()).result()
    artifact = rig.database.read(rig.side.artifacts.find, artifact_name(ARTIFACT))
    assert artifact is not None
    assert rig.database.read(rig.usage.of, [artifact.uid])[artifact.uid].download_count == 2


def test_the_limits_are_told(pusher: Pusher) -> None:
    reply = pusher.stub.GetCapabilities(transfer_pb2.GetCapabilitiesRequest(), metadata=pusher.metadata)
    assert list(reply.digest_functions) == ["blake3-256"]
    assert list(reply.profiles) == ["cdc", "tensor"]
    assert (reply.max_chunk_bytes, reply.max_stream_bytes) == (4 * MIB, 256 * MIB)
    assert (reply.max_digests, reply.max_segment_chunks, reply.max_path_bytes) == (8192, 16384, 1024)
    assert (reply.idle_timeout.seconds, reply.max_stream_time.seconds) == (15, 120)
    assert (reply.min_bytes_per_second, reply.max_streams, reply.max_open_uploads) == (65536, 16, 64)
    assert (reply.max_read_streams, reply.read_idle_timeout.seconds) == (32, 60)
    assert not reply.draining
