"""Many at once: the same file, the same version, an upload that is closed or collected under its sender.

After all of them `doctor --deep` finds nothing wrong in the data folder.
"""

import functools
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf import duration_pb2

from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.servers import Server, running_server
from helpers.transfers import MIB, Pusher, cut, refused, stream, transfer_rig, tree_digest
from ingot.content import digests
from ingot.server import cli
from ingot.server.core.uploads import TransferLimits
from ingot.server.storage.chunks_sql import ChunksSql
from ingot.v1 import operations_pb2, transfer_pb2

ARTIFACT = "namespaces/sara/datasets/crowd"
CLIENTS = 32
BUSY = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("crowds")
    with running_server(folder, collect_grace_seconds=0.0) as server:
        yield server
    assert cli.main(["doctor", "--deep", "--data", str(folder / "data")]) == 0


def clients(server: Server, count: int) -> list[Pusher]:
    """Return clients of one member, each with a connection of its own."""
    return [Pusher(server.member("sara").transfer, ()) for _ in range(count)]


def all_at_once(calls: Sequence[Callable[[], str]]) -> list[str]:
    """Make all calls from one moment on, each in a thread."""
    barrier = threading.Barrier(len(calls))

    def call(index: int) -> str:
        barrier.wait(100)
        return calls[index]()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(call, range(len(calls))))


def patient(call: Callable[[], str]) -> str:
    """Make a call again while the server is busy, as its answer says."""

    def attempt() -> str:
        try:
            return call()
        except grpc.RpcError as error:
            if error.code() is not BUSY:
                raise
            return ""

    return eventually(attempt, timeout=100, what="a place for a stream")


@pytest.mark.contract("S3-60")
def test_many_clients_push_the_same_file_at_once(server: Server) -> None:
    """All succeed, and the store holds it once."""
    files = {"same.bin": pattern("the same file", 3 * MIB)}
    crowd = clients(server, CLIENTS)

    def push(pusher: Pusher) -> str:
        return patient(lambda: pusher.push(files, ARTIFACT))

    versions = all_at_once([functools.partial(push, pusher) for pusher in crowd])
    assert len(set(versions)) == CLIENTS
    for version in versions[:3]:
        assert crowd[0].read(version, "same.bin") == files["same.bin"]
    rows = server.app.database.read(chunk_rows, digests_of(files["same.bin"]))
    assert rows == len(cut(files["same.bin"]).chunks)


def digests_of(data: bytes) -> bytes:
    return b"".join(dict.fromkeys(digest for digest, _ in cut(data).chunks))


def chunk_rows(packed: bytes) -> int:
    return len(ChunksSql().stored(packed))


@pytest.mark.contract("S3-60")
def test_of_many_that_expect_the_same_latest_version_one_wins(server: Server) -> None:
    artifact = "namespaces/sara/datasets/contested"
    crowd = clients(server, 8)
    contents = [{"one.bin": pattern(f"contested {index}", 50_000)} for index in range(len(crowd))]

    def push(index: int) -> str:
        try:
            return crowd[index].push(contents[index], artifact, expected_latest="")
        except grpc.RpcError as error:
            return error.code().name

    answers = all_at_once([functools.partial(push, index) for index in range(len(crowd))])
    won = [index for index, answer in enumerate(answers) if "/versions/" in answer]
    assert len(won) == 1, answers
    assert set(answers) - {answers[won[0]]} <= {"ABORTED", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED"}
    assert crowd[0].read(answers[won[0]], "one.bin") == contents[won[0]]["one.bin"]


def collect(server: Server) -> None:
    started = server.admin.operations.StartUpkeep(
        operations_pb2.StartUpkeepRequest(kind=operations_pb2.UPKEEP_KIND_COLLECT)
    )

    def ended() -> bool:
        request = operations_pb2.GetOperationRequest(name=started.operation.name)
        state = server.admin.operations.GetOperation(request).operation.state
        return state == operations_pb2.OPERATION_STATE_SUCCEEDED

    eventually(ended, what="the collection")


@pytest.mark.contract("S3-59", "S3-60")
@pytest.mark.parametrize("times", [5, pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_a_commit_that_races_an_abort_and_collection_is_whole_or_not_at_all(
    server: Server, times: int
) -> None:
    pusher, other, purger = clients(server, 3)
    moments, longest = random.Random(times), 0.01
    outcomes = []
    for turn in range(times):
        files = {"raced.bin": pattern(f"raced {times} {turn}", 200_000)}
        cuts = {path: cut(data) for path, data in files.items()}
        upload = pusher.begin(ARTIFACT)
        pusher.put_missing(upload, cuts)
        pusher.manifest(upload, cuts)

        def commit(upload: str = upload, files: dict[str, bytes] = files) -> str:
            request = transfer_pb2.CommitUploadRequest(
                upload=upload,
                expected_digest=tree_digest({p: cut(d) for p, d in files.items()}),
                file_count=1,
            )
            call = pusher.stub.CommitUpload.future(request)
            return call.result().version.name if call.code() is grpc.StatusCode.OK else ""

        def abort(upload: str = upload, pause: float = moments.uniform(0, longest)) -> str:
            threading.Event().wait(pause)
            request = transfer_pb2.AbortUploadRequest(name=upload)
            code = other.stub.AbortUpload.future(request).code()
            purger.stub.PurgeUploads(transfer_pb2.PurgeUploadsRequest(older_than=duration_pb2.Duration()))
            collect(server)
            return str(code)

        version, _ = all_at_once([commit, abort])
        collect(server)
        outcomes.append(bool(version))
        longest *= 2 / 3 if version else 3 / 2  # as long as a commit takes here, so that each side wins
        if version:
            assert pusher.read(version, "raced.bin") == files["raced.bin"]
        again = pusher.push(files, ARTIFACT)
        assert pusher.read(again, "raced.bin") == files["raced.bin"]
    assert times < 50 or set(outcomes) == {True, False}, "one side won each time: the race proves nothing"


def test_what_was_found_present_is_kept_until_the_commit(server: Server) -> None:
    """FindMissing says present; what held it is given up and collected; the upload that asked has it."""
    (pusher,) = clients(server, 1)
    content = {"leased.bin": pattern("leased", 400_000)}
    cuts = {path: cut(data) for path, data in content.items()}
    first, second = pusher.begin(ARTIFACT), pusher.begin(ARTIFACT)
    pusher.put(stream(first, cuts["leased.bin"].chunks))
    assert pusher.put_missing(second, cuts) == 0
    pusher.stub.AbortUpload(transfer_pb2.AbortUploadRequest(name=first))
    pusher.stub.PurgeUploads(transfer_pb2.PurgeUploadsRequest(older_than=duration_pb2.Duration()))
    for _ in range(3):
        collect(server)
    pusher.manifest(second, cuts)
    version = pusher.commit(second, cuts).version.name
    assert pusher.read(version, "leased.bin") == content["leased.bin"]


def test_an_upload_that_expires_before_its_commit_is_refused_and_costs_nobody_anything() -> None:
    with transfer_rig() as rig:
        pusher = rig.pusher()
        files = {"late.bin": pattern("late", 300_000)}
        cuts = {path: cut(data) for path, data in files.items()}
        upload = pusher.begin()
        pusher.put_missing(upload, cuts)
        pusher.manifest(upload, cuts)
        rig.clock.ahead += 8 * 24 * 3600
        with refused(grpc.StatusCode.FAILED_PRECONDITION, "UPLOAD_CLOSED"):
            pusher.commit(upload, cuts)
        version = pusher.push(files)
        assert pusher.read(version, "late.bin") == files["late.bin"]


@pytest.mark.long
def test_a_thousand_open_uploads_hold_up_nobody() -> None:
    with transfer_rig(TransferLimits(max_open_uploads=1000)) as rig:
        hoarder = rig.pusher()
        names = {hoarder.begin() for _ in range(1000)}
        assert len(names) == 1000
        with refused(BUSY, "BUSY"):
            hoarder.begin()
        other = rig.pusher("admin")
        files = {"a.bin": pattern("beside a hoard", 200_000)}
        version = other.push(files, "namespaces/admin/datasets/calm")
        assert other.read(version, "a.bin") == files["a.bin"]


def test_guessing_digests_tells_nothing_of_other_namespaces(server: Server) -> None:
    """However often it is asked: another's chunk, and one that nobody has, get the same answer."""
    (sara,) = clients(server, 1)
    omid = Pusher(server.member("omid").transfer, ())
    secret = cut(pattern("a secret", 500_000))
    sara.push({"secret.bin": pattern("a secret", 500_000)}, ARTIFACT)
    nobodys = [digests.chunk_digest(b"guess %d" % index) for index in range(8000)]
    asked = [digest for digest, _ in secret.chunks] + nobodys
    upload = omid.begin("namespaces/omid/datasets/guesses")
    for _ in range(5):
        assert omid.missing(upload, asked) == asked
