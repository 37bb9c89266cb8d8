"""Kill a server again and again at chosen steps while everything runs, and look at what is left each time.

    with KillTrials(tmp_path, seed=1) as trials:
        trials.kill("pack.renamed")          # once everything runs: kill -9 at that step
        trials.kill(MOMENT)                  # … or at a random moment
        trials.finish()
        trials.hits                          # Counter of the steps that the kills hit

One trial: the server starts over what the last kill left, some of the versions that were ever acknowledged
(all of them at the end) are read and compared, what was cut off is pushed again and succeeds. Then two
clients push, one makes garbage and collects it, one scrubs and makes backups, until the server is dead.
After each kill `doctor --deep` reads every chunk and finds nothing wrong in the folder.
"""

import contextlib
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from pathlib import Path
from types import TracebackType

import grpc
from google.protobuf import duration_pb2

from helpers.eventually import eventually
from helpers.forked_servers import KILLED, ForkedServers
from helpers.patterns import pattern
from helpers.transfers import Pusher, cut, stream
from ingot.server import cli
from ingot.v1 import operations_pb2, operations_pb2_grpc, transfer_pb2, transfer_pb2_grpc

MOMENT = "a random moment"
START = "recovery.entered"  # hit while the server starts
STEPS = (
    "pack.reserved",
    "pack.appended",
    "pack.footer",
    "pack.synced",
    "pack.renamed",
    "pack.folder_synced",
    "intake.indexed",
    "stream.durable",
    "commit.sealed",
    "commit.adopted",
    "commit.durable",
    "database.committing",
    "database.committed",
    "collect.copied",
    "collect.forgotten",
    "pack.punching",
    "backup.copied",
    START,
)
ARTIFACT = "namespaces/admin/datasets/trials"
_COMMON = (
    "pack.",
    "intake.",
    "stream.",
    "commit.",
    "database.",
)  # these come often enough to wait for a later one
_READ_AT_START = 12  # versions that are read in each trial; at the end all are
_GIVEN_UP = 200.0  # seconds in which a step must be reached
_KIB = 1024
_FLAGS = (
    *("--collect-grace-seconds", "0", "--adopted-pack-days", "0"),
    *("--operation-retry-seconds", "0", "--operation-attempts", "100", "--backup-keep", "1"),
    *("--no-health", "--no-reflection"),
)
_ENDED = (
    operations_pb2.OPERATION_STATE_SUCCEEDED,
    operations_pb2.OPERATION_STATE_FAILED,
    operations_pb2.OPERATION_STATE_CANCELLED,
)

Files = Mapping[str, bytes]


class KillTrials:
    """One data folder and the servers that die over it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.hits: Counter[str] = Counter()
        self.versions: dict[str, Files] = {}  # acknowledged, with what they hold
        self._cut_off: list[Files] = []
        self._data = folder / "data"
        self._random = random.Random(seed)
        self._seed = seed
        self._made = 0
        self._lock = threading.Lock()
        self._servers = ForkedServers(folder / "errors")

    def __enter__(self) -> "KillTrials":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._servers.close()

    def kill(self, step: str) -> None:
        """Make one trial, which ends with a kill at this step, or at a random moment."""
        if step == START:
            self._die("pack.folder_synced")  # leaves a pack that the next start enters
            self.hits["pack.folder_synced"] -= 1  # it is there for this trial's own kill
            assert self._servers.start(self._data, START, _FLAGS) == {"ended": KILLED}
            self._count(START)
        else:
            self._die(step)

    def finish(self) -> None:
        """Start once more, read everything, stop in peace; then the folder is as if nothing had been."""
        with self._serving() as server:
            self._push_what_was_cut_off(server)
            for name in self.versions:
                self._compare(server, name)
            server.collect()
            for name in self.versions:
                self._compare(server, name)
            server.signal(signal.SIGTERM)
        assert not list(self._data.glob("ingest/*/*.open"))
        self._examine()

    # --- one trial --------------------------------------------------------------------------------------

    def _die(self, step: str) -> None:
        with self._serving(KILLED) as server:
            for name in self._random.sample(sorted(self.versions), min(_READ_AT_START, len(self.versions))):
                self._compare(server, name)
            self._push_what_was_cut_off(server)
            work = [self._pushing, self._pushing, self._collecting, self._guarding]
            if step != MOMENT:
                later = (
                    self._random.randrange(1, 4)
                    if step.startswith(_COMMON) and step != "pack.punching"
                    else 1
                )
                self._servers.arm(f"{step}:{later}")
            with futures.ThreadPoolExecutor(len(work)) as threads:
                running = [threads.submit(_until_dead, each, server) for each in work]
                if step == MOMENT:
                    futures.wait(running, self._random.uniform(0, 0.7))
                    server.signal(signal.SIGKILL)
                done, alive = futures.wait(running, _GIVEN_UP, futures.FIRST_EXCEPTION)
                if alive:
                    server.signal(signal.SIGKILL)  # so that the others end too
                for each in done:
                    each.result()
                assert not alive, f"{step} was never reached"
        self._count(step)

    def _count(self, step: str) -> None:
        self._examine()
        self.hits[step] += 1

    def _examine(self) -> None:
        arguments = ["doctor", "--deep", "--json", "--data", str(self._data)]
        assert cli.main(arguments) == 0, "doctor found something; see its output"

    def _compare(self, server: "_Running", name: str) -> None:
        for path, content in self.versions[name].items():
            assert server.pusher.read(name, path) == content, f"{name} {path} is not what was pushed"

    def _push_what_was_cut_off(self, server: "_Running") -> None:
        """Push each again, as its sender does; it succeeds, whatever was stored of it."""
        for files in self._cut_off:
            self.versions[server.pusher.push(files, ARTIFACT)] = files
        self._cut_off = []

    # --- what goes on meanwhile -------------------------------------------------------------------------

    def _pushing(self, server: "_Running") -> None:
        while True:
            files = {"large.bin": self._new(200 * _KIB), "small.txt": self._new(100)}
            with self._lock:
                self._cut_off.append(files)
            name = server.pusher.push(files, ARTIFACT)
            with self._lock:
                self._cut_off.remove(files)
                self.versions[name] = files

    def _collecting(self, server: "_Running") -> None:
        """Make packs of which most, some and nothing is needed, and collect what is not."""
        while True:
            for kept, gone in ((60, 200), (200, 90), (0, 60)):
                wanted, unwanted = self._new(kept * _KIB), self._new(gone * _KIB)
                upload = server.pusher.begin(ARTIFACT)
                server.pusher.put(stream(upload, [*cut(wanted).chunks, *cut(unwanted).chunks]))
                if wanted:
                    name = server.pusher.push({"kept.bin": wanted}, ARTIFACT)
                    with self._lock:
                        self.versions[name] = {"kept.bin": wanted}
                server.forget(upload)
            server.collect()

    def _guarding(self, server: "_Running") -> None:
        while True:
            server.upkeep(operations_pb2.UPKEEP_KIND_BACKUP)
            server.upkeep(operations_pb2.UPKEEP_KIND_SCRUB)

    def _new(self, size: int) -> bytes:
        with self._lock:
            self._made += 1
            return pattern(f"trials {self._seed} {self._made}", size)

    # --- the server -------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _serving(self, end: int = 0) -> Iterator["_Running"]:
        facts = self._servers.start(self._data, flags=_FLAGS)
        assert facts.get("event") == "ready", facts
        token = (self._data / "admin.token").read_text(encoding="ascii").strip()
        with grpc.insecure_channel(f"unix:{facts['socket']}") as channel:
            yield _Running(int(str(facts["pid"])), channel, token)
        assert self._servers.answer() == {"ended": end}


class _Running:
    """A server that runs, and its administrator."""

    def __init__(self, pid: int, channel: grpc.Channel, token: str) -> None:
        self._pid = pid
        metadata = (("authorization", f"Bearer {token}"),)
        self.pusher = Pusher(transfer_pb2_grpc.TransferServiceStub(channel), metadata)
        self._operations = operations_pb2_grpc.OperationsServiceStub(channel)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._pid, number)

    def forget(self, upload: str) -> None:
        """Give an upload up, and drop its record with its leases."""
        stub, metadata = self.pusher.stub, self.pusher.metadata
        stub.AbortUpload(transfer_pb2.AbortUploadRequest(name=upload), metadata=metadata)
        request = transfer_pb2.PurgeUploadsRequest(older_than=duration_pb2.Duration())
        stub.PurgeUploads(request, metadata=metadata)

    def collect(self) -> None:
        """Collect as often as it takes from judging a pack to deleting it."""
        for _ in range(2):
            self.upkeep(operations_pb2.UPKEEP_KIND_COLLECT)

    def upkeep(self, kind: operations_pb2.UpkeepKind.ValueType) -> None:
        """Run upkeep of a kind to its end."""
        request = operations_pb2.StartUpkeepRequest(kind=kind)
        name = self._operations.StartUpkeep(request, metadata=self.pusher.metadata).operation.name

        def ended() -> bool:
            asked = operations_pb2.GetOperationRequest(name=name)
            operation = self._operations.GetOperation(asked, metadata=self.pusher.metadata).operation
            assert operation.state in _ENDED, operation
            return True

        eventually(ended, timeout=_GIVEN_UP, what=f"the end of {name}")


def _until_dead(work: Callable[[_Running], None], server: _Running) -> None:
    """Work until the server does not answer any more; that it died is seen in how its process ended."""
    try:
        work(server)
    except grpc.RpcError as error:
        if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
            raise
