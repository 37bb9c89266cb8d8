"""A runner over a database in memory, with bodies of operation_bodies.py in real child processes.

    with runner_rig(tmp_path, "rows") as rig:
        operation = rig.enqueue("freeze*1", policy=RetryPolicy(3, 0.0))
        rig.until(operation, OperationState.SUCCEEDED)

The clock is the machine's until a test moves it.
"""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

from helpers import loops
from helpers.clocks import ShiftedClock
from helpers.eventually import eventually
from helpers.jobs import Bench, person
from ingot.server.core.artifacts import JsonObject
from ingot.server.core.events import Event, StateChange
from ingot.server.core.identity import Role
from ingot.server.core.operation_stores import OperationFilter
from ingot.server.core.operations import (
    NewOperation,
    Operation,
    OperationOptions,
    OperationState,
    RetryPolicy,
)
from ingot.server.rpc.hops import Hops
from ingot.server.runner.bodies import BodyMeans
from ingot.server.runner.runner import Runner
from ingot.server.runner.seams import Patience
from ingot.server.settings.fields import Settings

BODIES = (sys.executable, "-I", "-S", str(Path(__file__).with_name("operation_bodies.py")))
TOKEN = "token-of-this-attempt"
MEMORY = 512 << 20  # bytes
AT_ONCE = RetryPolicy(5, 0.0)
SERVER = "this-server"
ADMIN = person("root", Role.ADMIN)
PARAMS: JsonObject = {
    "source": {"kind": "urls", "files": [{"urls": ["https://a/b"]}]},
    "target": {"artifact": "namespaces/sara/models/tiny"},
}


@dataclasses.dataclass(slots=True)
class RunnerRig:
    """A runner and what it runs on."""

    folder: Path
    bench: Bench
    clock: ShiftedClock
    hops: Hops
    patience: Patience
    runner: Runner

    def enqueue(
        self,
        mode: str,
        *,
        key: str = "",
        priority: int = 0,
        policy: RetryPolicy = AT_ONCE,
        timeout: float = 60.0,
        requester: str = "sara",
    ) -> Operation:
        """Queue an import whose body behaves as `mode` says; a priority above 0 is an administrator's."""
        options = OperationOptions(priority, policy, timeout)
        new = NewOperation("import", PARAMS, target=mode, key=key, options=options)
        caller = ADMIN if priority > 0 else person(requester)
        return self.bench.write(self.bench.operations.operations.enqueue, caller, new)

    def now(self, operation: Operation) -> Operation:
        """Return an operation as it is now."""
        return self.bench.read(self.bench.operations.operations.get, ADMIN, operation.id)

    def until(self, operation: Operation, *states: OperationState, timeout: float = 100.0) -> Operation:
        """Wait until an operation is in one of these states."""

        def look() -> Operation | None:
            found = self.now(operation)
            assert found.state in states, found
            return found

        found = eventually(look, timeout=timeout, what=f"{operation.name} being {states}")
        assert found is not None
        return found

    def all_ended(self) -> None:
        """Wait until no operation waits or runs."""
        wanted = OperationFilter(active_only=True)
        look = self.bench.operations.operations.since

        def left() -> bool:
            assert not self.bench.read(look, ADMIN, wanted, 0, 10)
            return True

        eventually(left, timeout=100.0, what="the end of all operations")

    def until_beaten(self, operation: Operation) -> None:
        """Wait until the lease of an operation is extended."""
        before = self.now(operation).lease_time
        eventually(lambda: self.now(operation).lease_time != before, timeout=100, what="a beat")

    def cancel(self, operation: Operation) -> None:
        """Ask an operation to stop."""
        self.bench.write(self.bench.operations.operations.cancel, ADMIN, operation.id)

    def retry(self, operation: Operation) -> None:
        """Queue an operation that ended again."""
        self.bench.write(self.bench.operations.operations.retry, person(), operation.id)

    def events(self, operation: Operation) -> list[Event]:
        """Return the log of an operation."""
        return list(self.bench.read(self.bench.shelves.log.read, operation.name, 0, 100_000))

    def story(self, operation: Operation) -> list[str]:
        """Return the states that an operation went through."""
        return [each.body.after for each in self.events(operation) if isinstance(each.body, StateChange)]

    def processes(self, operation: Operation) -> dict[int, int]:
        """Return the process of each attempt whose body ever began."""
        path = self.folder / "staging" / f"{operation.id}.attempts"
        lines = path.read_text().splitlines() if path.exists() else []
        return {int(attempt): int(pid) for attempt, pid in (line.split() for line in lines)}

    def begun(self, operation: Operation, attempt: int = 1) -> int:
        """Wait until the body of an attempt has begun, and return its process."""

        def told() -> int | None:
            return self.processes(operation).get(attempt)

        found = eventually(told, timeout=100, what=f"attempt {attempt} of {operation.name}")
        assert found is not None
        return found

    def restart(self) -> None:
        """Stop the runner in order and let another take its place, as a restarted server does."""
        loops.run(self.runner.stop(5.0))
        self.bench.wire()
        self.runner = _runner(self.folder, self.bench, self.hops, self.patience)
        loops.run(_started(self.runner))


def alive(process: int) -> bool:
    """Return whether a process exists and has not ended."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


async def _started(runner: Runner) -> None:
    await runner.recover(SERVER)
    runner.start()


def _runner(folder: Path, bench: Bench, hops: Hops, patience: Patience) -> Runner:
    means = BodyMeans(
        "unix:/nowhere",
        lambda operation: TOKEN,
        bench.operations.secrets.whole,
        lambda operation: {"host": "s3cret-word"},
        {},
        MEMORY,
    )
    return bench.operations.runner(hops, folder, SERVER, means, BODIES, patience)


@contextlib.contextmanager
def runner_rig(
    folder: Path,
    dispatcher: str = "rows",
    *,
    lease: float = 10.0,
    slots: int = 20,
    url: str = "sqlite:///:memory:",
) -> Iterator[RunnerRig]:
    """Run operations for the length of a with block."""
    settings = Settings(
        operation_dispatcher=dispatcher,
        operation_queues=(f"download={slots}", f"maintenance={slots}"),
        operation_lease_seconds=lease,
    )
    patience = Patience(lease=lease, grace=1.0, poll=0.1)
    clock = ShiftedClock()
    bench = Bench(settings, url, clock)
    with contextlib.closing(bench.database), contextlib.closing(Hops(bench.database)) as hops:
        rig = RunnerRig(folder, bench, clock, hops, patience, _runner(folder, bench, hops, patience))
        loops.run(_started(rig.runner))
        try:
            yield rig
        finally:
            loops.run(rig.runner.stop(0.0))
