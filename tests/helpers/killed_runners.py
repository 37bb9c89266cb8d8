"""Kill a process that runs operations again and again, until all of them have ended all the same.

    outcome = kill_until_done(tmp_path, "rows", pauses=[0.4, 0.9, …])

The process is this file as a program: the runner over a database in a file, with bodies that work in ten
steps and notice when another attempt of the same operation is at work at the same time.
"""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # as a program it finds its modules itself
    root = Path(__file__).parents[2]
    sys.path[:0] = [str(root / part) for part in ("tests", "server", "clients/python", "generated/python")]

from helpers.eventually import eventually
from helpers.runners import ADMIN, AT_ONCE, RunnerRig, runner_rig
from ingot.server.core.operation_stores import OperationFilter
from ingot.server.core.operations import Operation, RetryPolicy

OPERATIONS = 6
SLOTS = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    kills: int
    states: tuple[str, ...]  # one an operation
    attempts: int  # of all operations
    overlaps: int  # attempts that met another one of their operation at work


def kill_until_done(folder: Path, dispatcher: str, pauses: Sequence[float]) -> Outcome:
    """Start the process, kill it after each pause, once more at work, and let it finish the last time."""
    folder.mkdir(parents=True, exist_ok=True)
    kills = 0
    for pause in pauses:
        process = _start(folder, dispatcher)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            process.wait(pause)
        except subprocess.TimeoutExpired:
            process.kill()
            kills += 1
        process.communicate()
    kills += _kill_at_work(_start(folder, dispatcher), folder)
    output, _ = _start(folder, dispatcher).communicate(timeout=250)
    states, attempts = json.loads(output.splitlines()[-1])
    return Outcome(kills, tuple(states), attempts, len(list(folder.glob("staging/*.overlap"))))


def _kill_at_work(process: "subprocess.Popen[str]", folder: Path) -> int:
    """Kill a process once it has begun an attempt; return 0 if there was none left to begin."""

    def begun() -> int:
        return sum(len(each.read_text().splitlines()) for each in folder.glob("staging/*.attempts"))

    before = begun()
    eventually(lambda: process.poll() is not None or begun() > before, what="an attempt that has begun")
    killed = process.poll() is None
    process.kill()
    process.communicate()
    return int(killed)


def _start(folder: Path, dispatcher: str) -> "subprocess.Popen[str]":
    command = [sys.executable, __file__, str(folder), dispatcher]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _serve(folder: Path, dispatcher: str) -> None:
    """Run what there is to its end; the first time that is made first."""
    url = f"sqlite:///{folder / 'ingot.db'}"
    with runner_rig(folder, dispatcher, slots=SLOTS, url=url) as rig:
        for _ in range(OPERATIONS - len(_all(rig))):
            rig.enqueue("steps", policy=RetryPolicy(100, AT_ONCE.delay))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        rig.all_ended()
        ended = _all(rig)
        sys.stdout.write(json.dumps([[each.state for each in ended], sum(each.attempt for each in ended)]))


def _all(rig: RunnerRig) -> Sequence[Operation]:
    wanted = OperationFilter(kind="import")
    return rig.bench.read(rig.bench.operations.operations.page, ADMIN, wanted, 100, "").items


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.argv[2])
