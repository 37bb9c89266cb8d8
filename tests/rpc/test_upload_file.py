"""UploadFile: a sender without a chunker uploads a file; a stream counts in full or not at all."""

import hashlib
import itertools
import threading
import uuid
from collections.abc import Callable, Iterator

import grpc
import pytest

from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.transfers import ARTIFACT, MIB, Pusher, TransferRig, cut, refused, transfer_rig
from ingot.content import digests
from ingot.server.core.events import Progress
from ingot.server.core.names import artifact_name
from ingot.server.core.uploads import TransferLimits
from ingot.v1 import catalog_pb2, transfer_pb2

INVALID = grpc.StatusCode.INVALID_ARGUMENT
UNMET = grpc.StatusCode.FAILED_PRECONDITION
Request = transfer_pb2.UploadFileRequest
Header = transfer_pb2.UploadFileHeader
SMALL = pattern("small", 3000)


@pytest.fixture(name="rig", scope="module")
def _rig() -> Iterator[TransferRig]:
    with transfer_rig() as rig:
        yield rig


@pytest.fixture(name="pusher")
def _pusher(rig: TransferRig) -> Pusher:
    return rig.pusher()


def new_version(artifact: str = ARTIFACT) -> transfer_pb2.NewVersion:
    return transfer_pb2.NewVersion(artifact=artifact, create=catalog_pb2.Artifact())


def header(**fields: object) -> Request:
    chosen = {"path": "a.txt", **fields}
    if "upload" not in chosen:
        chosen.setdefault("version", new_version())
    return Request(header=Header(**chosen))  # type: ignore[arg-type]  # as the test says


def data(content: bytes) -> Request:
    return Request(data=content)


def finish(**fields: object) -> Request:
    return Request(finish=transfer_pb2.UploadFileFinish(**fields))  # type: ignore[arg-type]


def stream(content: bytes, **fields: object) -> Iterator[Request]:
    """Yield a good stream with messages of a mebibyte."""
    yield header(**fields)
    for start in range(0, len(content), MIB):
        yield data(content[start : start + MIB])
    yield finish(size_bytes=len(content))


def send(pusher: Pusher, messages: Iterator[Request] | list[Request]) -> transfer_pb2.UploadFileResponse:
    return pusher.stub.UploadFile(iter(messages), metadata=pusher.metadata)


def versions(rig: TransferRig, artifact: str) -> int:
    """Return how many versions an artifact has, 0 when it is missing."""
    found = rig.database.read(rig.side.artifacts.find, artifact_name(artifact))
    return found.version_count if found else 0


@pytest.mark.contract("S3-17")
def test_a_file_becomes_a_version_in_one_call(pusher: Pusher) -> None:
    content = pattern("one call", 9 * MIB + 17)
    known = {
        "blake3": digests.format_digest(digests.digest_of(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    reply = send(
        pusher,
        stream(
            content,
            path="",
            original_name="chat.jsonl",
            size_bytes=len(content),
            description="My talks",
            **known,
        ),
    )
    assert reply.upload.state == transfer_pb2.UPLOAD_STATE_COMMITTED
    assert reply.upload.name.startswith("uploads/file_")
    assert (reply.upload.original_name, reply.upload.description) == ("chat.jsonl", "My talks")
    assert reply.version.name == reply.upload.result
    assert (reply.version.format, reply.version.size_bytes) == ("jsonl", len(content))
    assert (reply.file.path, reply.file.size_bytes, reply.file.verified) == ("chat.jsonl", len(content), True)
    assert {"blake3": reply.file.blake3, "sha256": reply.file.sha256} == known
    assert pusher.read(reply.version.name, "chat.jsonl") == content
    request = transfer_pb2.StatFileRequest(tree=reply.version.name, path="chat.jsonl")
    assert pusher.stub.StatFile(request, metadata=pusher.metadata).file == reply.file


def test_the_server_cuts_as_clients_do_so_the_same_bytes_are_stored_once(pusher: Pusher) -> None:
    content = pattern("cut alike", 11 * MIB)
    send(pusher, stream(content))
    upload = pusher.begin()
    assert pusher.missing(upload, [digest for digest, _ in cut(content).chunks]) == []


@pytest.mark.parametrize("size", [0, 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1])
def test_files_of_any_size(pusher: Pusher, size: int) -> None:
    content = pattern("any size", size)
    reply = send(pusher, stream(content))
    assert reply.file.size_bytes == size
    assert pusher.read(reply.version.name, "a.txt") == content


def test_messages_of_any_size_empty_ones_too(pusher: Pusher) -> None:
    messages = [
        header(),
        data(b""),
        *(data(SMALL[at : at + 1]) for at in range(len(SMALL))),
        data(b""),
        finish(),
    ]
    reply = send(pusher, messages)
    assert pusher.read(reply.version.name, "a.txt") == SMALL


def test_files_go_into_an_open_upload_one_by_one(pusher: Pusher) -> None:
    upload = pusher.begin()
    files = {"a.txt": pattern("into a", 2 * MIB), "deep/b.bin": pattern("into b", 5 * MIB)}
    send(pusher, stream(b"replaced below", upload=upload, path="a.txt"))
    for path, content in files.items():
        reply = send(pusher, stream(content, upload=upload, path=path))
        assert (reply.upload.name, reply.HasField("version")) == (upload, False)
        assert pusher.upload(upload).state == transfer_pb2.UPLOAD_STATE_OPEN
    done = pusher.commit(upload, {path: cut(content) for path, content in files.items()})
    for path, content in files.items():
        assert pusher.read(done.version.name, path) == content


def test_the_same_call_again_answers_the_same_without_the_bytes(pusher: Pusher, rig: TransferRig) -> None:
    again, artifact = str(uuid.uuid4()), "namespaces/member/models/again"
    first = send(pusher, stream(SMALL, request_id=again, version=new_version(artifact)))
    second = send(pusher, [header(request_id=again, version=new_version(artifact))])
    assert second.version == first.version
    assert second.file == first.file
    assert versions(rig, artifact) == 1
    with refused(UNMET, "REQUEST_ID_REUSED"):
        send(pusher, stream(SMALL, request_id=again, path="other.txt", version=new_version(artifact)))


def test_the_same_call_with_another_file_is_refused(pusher: Pusher, rig: TransferRig) -> None:
    again, artifact = str(uuid.uuid4()), "namespaces/member/models/another"
    target = new_version(artifact)
    send(pusher, stream(SMALL, request_id=again, version=target))
    assert send(pusher, stream(SMALL, request_id=again, version=target)).file.size_bytes == len(SMALL)
    other = SMALL[:-1] + bytes([SMALL[-1] ^ 1])
    for content in (other, SMALL + b"1", SMALL[:-1]):
        with refused(UNMET, "REQUEST_ID_REUSED"):
            send(pusher, stream(content, request_id=again, version=target))
    told = transfer_pb2.UploadFileFinish(size_bytes=len(SMALL) + 1)
    with refused(UNMET, "REQUEST_ID_REUSED"):
        head = header(request_id=again, version=target)
        send(pusher, [head, data(SMALL), transfer_pb2.UploadFileRequest(finish=told)])
    assert versions(rig, artifact) == 1


def test_a_call_that_broke_off_is_made_again_with_its_request_id(pusher: Pusher, rig: TransferRig) -> None:
    again, artifact = str(uuid.uuid4()), "namespaces/member/models/broken"
    with refused(INVALID, "STREAM_UNFINISHED"):
        send(pusher, [header(request_id=again, version=new_version(artifact)), data(SMALL)])
    (failed,) = [each for each in _uploads(pusher) if each.target.version.artifact == artifact]
    assert failed.state == transfer_pb2.UPLOAD_STATE_FAILED
    assert "finish" in failed.problem.message
    assert versions(rig, artifact) == 0
    reply = send(pusher, stream(SMALL, request_id=again, version=new_version(artifact)))
    assert reply.upload.name == failed.name
    assert not reply.upload.HasField("problem")
    assert versions(rig, artifact) == 1


@pytest.mark.contract("S3-21", "S3-22", "S3-39")
def test_it_flows_in_and_out_in_pieces_of_8192_bytes(pusher: Pusher) -> None:
    content, piece = pattern("8192", 100_000), 8192
    pieces = [data(content[at : at + piece]) for at in range(0, len(content), piece)]
    file_id = send(pusher, [header(path="w.bin"), *pieces, finish()]).upload.name
    tree = pusher.upload(file_id).result
    request = transfer_pb2.StatFileRequest(tree=tree, path="w.bin")
    size = pusher.stub.StatFile(request, metadata=pusher.metadata).file.size_bytes
    found = [pusher.read(tree, "w.bin", at, min(piece, size - at)) for at in range(0, size, piece)]
    assert {len(each) for each in found[:-1]} == {piece}
    assert b"".join(found) == content


Lie = Callable[[], list[Request]]
LIES: dict[str, tuple[grpc.StatusCode, str, Lie]] = {
    "nothing": (INVALID, "STREAM_UNFINISHED", list),
    "header only": (INVALID, "STREAM_UNFINISHED", lambda: [header()]),
    "no finish": (INVALID, "STREAM_UNFINISHED", lambda: [header(), data(SMALL)]),
    "data before the header": (INVALID, "FIELD_INVALID", lambda: [data(SMALL), header(), finish()]),
    "finish before the header": (INVALID, "FIELD_INVALID", lambda: [finish()]),
    "an empty message first": (INVALID, "FIELD_INVALID", lambda: [Request()]),
    "two headers": (INVALID, "FIELD_INVALID", lambda: [header(), header(), finish()]),
    "an empty message": (INVALID, "FIELD_INVALID", lambda: [header(), Request(), finish()]),
    "data after the finish": (INVALID, "FIELD_INVALID", lambda: [header(), finish(), data(SMALL)]),
    "two finishes": (INVALID, "FIELD_INVALID", lambda: [header(), finish(), finish()]),
    "fewer bytes than the header says": (
        INVALID,
        "BAD_LENGTH",
        lambda: [header(size_bytes=3001), data(SMALL), finish()],
    ),
    "more bytes than the header says": (
        INVALID,
        "BAD_LENGTH",
        lambda: [header(size_bytes=2999), data(SMALL), finish()],
    ),
    "nothing for a size": (INVALID, "BAD_LENGTH", lambda: [header(size_bytes=1), finish()]),
    "something for no size": (INVALID, "BAD_LENGTH", lambda: [header(size_bytes=0), data(b"1"), finish()]),
    "a finish that lies": (INVALID, "BAD_LENGTH", lambda: [header(), data(SMALL), finish(size_bytes=1)]),
    "another blake3 in the header": (
        UNMET,
        "DIGEST_MISMATCH",
        lambda: [header(blake3="blake3:" + "0" * 64), data(SMALL), finish()],
    ),
    "another blake3 in the finish": (
        UNMET,
        "DIGEST_MISMATCH",
        lambda: [header(), data(SMALL), finish(blake3="blake3:" + "0" * 64)],
    ),
    "another sha256": (UNMET, "DIGEST_MISMATCH", lambda: [header(sha256="0" * 64), data(SMALL), finish()]),
    "a digest of another form": (INVALID, "FIELD_INVALID", lambda: [header(blake3="abc"), finish()]),
    "a sha256 of another form": (INVALID, "FIELD_INVALID", lambda: [header(sha256="ABC"), finish()]),
    "a digest of another form at the end": (INVALID, "FIELD_INVALID", lambda: [header(), finish(blake3="x")]),
    "a size below zero": (INVALID, "FIELD_INVALID", lambda: [header(size_bytes=-1), finish()]),
    "a size beyond all files": (INVALID, "FIELD_INVALID", lambda: [header(size_bytes=2**62), finish()]),
    "no path": (INVALID, "BAD_PATH", lambda: [header(path=""), finish()]),
    "a path upwards": (INVALID, "BAD_PATH", lambda: [header(path="../etc/passwd"), finish()]),
    "an absolute path": (INVALID, "BAD_PATH", lambda: [header(path="/etc/passwd"), finish()]),
    "a profile nobody knows": (INVALID, "FIELD_INVALID", lambda: [header(profile="zip"), finish()]),
    "no destination": (INVALID, "FIELD_INVALID", lambda: [Request(header=Header(path="a")), finish()]),
    "an upload that is not there": (
        grpc.StatusCode.NOT_FOUND,
        "UPLOAD_NOT_FOUND",
        lambda: [header(upload="uploads/file_999999"), data(SMALL), finish()],
    ),
    "a namespace that is not there": (
        grpc.StatusCode.NOT_FOUND,
        "NAMESPACE_NOT_FOUND",
        lambda: [header(version=new_version("namespaces/nobody/models/x")), data(SMALL), finish()],
    ),
    "a request id that is none": (INVALID, "FIELD_INVALID", lambda: [header(request_id="once"), finish()]),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_named_and_nothing_counts(pusher: Pusher, rig: TransferRig, lie: str) -> None:
    code, reason, make = LIES[lie]
    before = versions(rig, ARTIFACT)
    packs = sum(1 for _ in rig.packs.packs())
    with refused(code, reason) as facts:
        send(pusher, make())
    assert facts["message"]
    assert versions(rig, ARTIFACT) == before
    assert not list(rig.folder.glob("ingest/*/*.open"))
    assert sum(1 for _ in rig.packs.packs()) == packs
    assert not [each for each in _uploads(pusher) if each.state == transfer_pb2.UPLOAD_STATE_SEALING]


def test_a_lie_leaves_an_open_upload_as_it_was(pusher: Pusher) -> None:
    upload = pusher.begin()
    send(pusher, stream(SMALL, upload=upload))
    with refused(UNMET, "DIGEST_MISMATCH"):
        send(pusher, [header(upload=upload, path="a.txt", sha256="0" * 64), data(b"other"), finish()])
    state = pusher.upload(upload)
    assert (state.state, state.size_bytes) == (transfer_pb2.UPLOAD_STATE_OPEN, len(SMALL))


def test_a_sender_that_goes_away_leaves_a_failed_upload_and_nothing_on_disk(
    pusher: Pusher, rig: TransferRig
) -> None:
    artifact, released = "namespaces/member/models/gone", threading.Event()

    def messages() -> Iterator[Request]:
        yield header(version=new_version(artifact))
        for part in range(6):
            yield data(pattern(f"gone {part}", MIB))
        released.wait(100)

    call = pusher.stub.UploadFile.future(messages(), metadata=pusher.metadata)
    eventually(lambda: list(rig.folder.glob("ingest/*/*.open")))
    call.cancel()
    released.set()
    eventually(lambda: not list(rig.folder.glob("ingest/*/*.open")))

    def failed() -> bool:
        found = [each for each in _uploads(pusher) if each.target.version.artifact == artifact]
        return [each.state for each in found] == [transfer_pb2.UPLOAD_STATE_FAILED]

    eventually(failed)
    assert versions(rig, artifact) == 0


@pytest.mark.contract("S3-35", "S3-36", "S3-37")
@pytest.mark.parametrize(("size", "run"), [(9, 4), (29, 8), (48, 16)])
def test_a_file_counts_run_by_run_in_runs_that_fit_its_size(size: int, run: int) -> None:
    limits = TransferLimits(stream_sizes=((10 * MIB, 4 * MIB), (30 * MIB, 8 * MIB), (0, 16 * MIB)))
    content = pattern("runs", size * MIB)
    with transfer_rig(limits) as rig:
        pusher = rig.pusher()
        upload = pusher.begin()
        send(pusher, stream(content, upload=upload, size_bytes=len(content)))
        bodies = [each.body for each in rig.database.read(rig.side.uploads.log.read, upload, 0, 100)]
        grown = [body.done for body in bodies if isinstance(body, Progress)]
        assert grown[-1] == len(content)
        steps = [after - before for before, after in itertools.pairwise([0, *grown])]
        assert len(steps) >= 2
        assert all(run * MIB <= step <= (run + 5) * MIB for step in steps[:-1])
        assert pusher.read(upload, "a.txt") == content


def test_a_slow_sender_is_told_and_one_that_pauses_too() -> None:
    for grace in (0.2, 2.0, 20.0):  # the next where the upload takes longer than that to be begun
        limits = TransferLimits(min_bytes_per_second=MIB, grace_seconds=grace, idle_seconds=100.0)
        with transfer_rig(limits) as rig:
            pusher, stop = rig.pusher(), threading.Event()

            def drops(stop: threading.Event = stop) -> Iterator[Request]:
                yield header()
                while not stop.wait(0.05):
                    yield data(b"x")

            with refused(grpc.StatusCode.DEADLINE_EXCEEDED, "TOO_SLOW") as facts:
                send(pusher, drops())
            stop.set()
            assert "bytes came in" in facts["message"]
            found = [(each.state, each.problem.message) for each in _uploads(pusher)]
        wanted = [(transfer_pb2.UPLOAD_STATE_FAILED, facts["message"])]
        if found == wanted:
            break
    assert found == wanted
    with transfer_rig(TransferLimits(idle_seconds=0.3)) as rig:
        pusher, stop = rig.pusher(), threading.Event()

        def silence() -> Iterator[Request]:
            yield header()
            stop.wait(100)

        with refused(grpc.StatusCode.DEADLINE_EXCEEDED, "TOO_SLOW") as facts:
            send(pusher, silence())
        stop.set()
        assert "nothing came for" in facts["message"]


@pytest.mark.contract("S0-102", "S0-103")
def test_a_file_above_the_limit_of_its_kind_stops_as_soon_as_that_is_known() -> None:
    limits = TransferLimits(max_dataset_bytes=5000, max_model_bytes=2000)
    with transfer_rig(limits) as rig:
        pusher = rig.pusher()
        exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
        dataset, model = new_version(), new_version("namespaces/member/models/big")
        for target, size in ((dataset, 5001), (model, 2001)):
            with refused(exhausted, "TOO_LARGE"):  # by what it says
                send(pusher, [header(version=target, size_bytes=size), finish()])
            with refused(exhausted, "TOO_LARGE"):  # by what comes
                send(pusher, [header(version=target), *[data(b"x" * 100)] * 51, finish()])
        assert send(pusher, stream(b"x" * 5000)).file.size_bytes == 5000
        assert send(pusher, stream(b"x" * 2000, version=model)).file.size_bytes == 2000


def _uploads(pusher: Pusher) -> list[transfer_pb2.Upload]:
    request = transfer_pb2.ListUploadsRequest(parent="namespaces/-", page_size=1000)
    return list(pusher.stub.ListUploads(request, metadata=pusher.metadata).uploads)
