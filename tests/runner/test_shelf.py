"""Bodies inside the server: steps, progress, cancelling, timeouts, failures, and turns by themselves."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import loops
from helpers.eventually import eventually
from helpers.runners import ADMIN, SERVER, RunnerRig, runner_rig
from ingot.server.core.artifacts import JsonObject
from ingot.server.core.errors import Exhausted, Precondition, Reason
from ingot.server.core.events import LogLine, Progress
from ingot.server.core.identity import system_caller
from ingot.server.core.operation_stores import OperationFilter
from ingot.server.core.operations import (
    NewOperation,
    Operation,
    OperationOptions,
    OperationState,
    RetryPolicy,
)
from ingot.server.runner.shelf import ShelfHandler, ShelfWork
from ingot.server.storage import tables

S = OperationState
ENDED = (S.SUCCEEDED, S.FAILED, S.CANCELLED)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[RunnerRig]:
    with runner_rig(tmp_path) as made:
        yield made


def enqueue(rig: RunnerRig, handler: ShelfHandler, kind: str = "scrub", **options: object) -> Operation:
    rig.bench.operations.shelf.add(kind, handler)
    chosen = OperationOptions(**options)  # type: ignore[arg-type]
    new = NewOperation(kind, options=chosen)
    return rig.bench.write(rig.bench.operations.operations.enqueue, system_caller(), new)


def cancel(rig: RunnerRig, operation: Operation) -> None:
    rig.bench.write(rig.bench.operations.operations.cancel, ADMIN, operation.id)


async def for_ever(work: ShelfWork) -> JsonObject:
    while True:
        await work.step()


async def stuck(work: ShelfWork) -> JsonObject:
    await asyncio.Event().wait()
    return {}


def test_what_it_found_is_the_result(rig: RunnerRig) -> None:
    async def handler(work: ShelfWork) -> JsonObject:
        for number in range(3):
            await work.step()
            work.progress(Progress(phase="reading", done=number, total=3))
        work.log("three of them")
        return {"packs": 3, "needed_by": ["a"]}

    done = rig.until(enqueue(rig, handler), *ENDED)
    assert (done.state, done.queue) == (S.SUCCEEDED, "maintenance")
    assert (done.result["packs"], done.result["needed_by"]) == (3, ["a"])
    assert done.progress == Progress(phase="reading", done=2, total=3)
    assert "three of them" in [e.body.text for e in rig.events(done) if isinstance(e.body, LogLine)]


@pytest.mark.parametrize("handler", [for_ever, stuck])
def test_it_stops_when_it_is_cancelled(rig: RunnerRig, handler: ShelfHandler) -> None:
    operation = enqueue(rig, handler)
    rig.until(operation, S.RUNNING)
    cancel(rig, operation)
    assert rig.until(operation, *ENDED).state is S.CANCELLED


def test_it_stops_when_its_time_is_up(rig: RunnerRig) -> None:
    operation = enqueue(rig, for_ever, timeout=0.2, policy=RetryPolicy(2, 0.0))
    late = rig.until(operation, *ENDED)
    assert late.problem is not None
    assert (late.state, late.attempt, late.problem.reason) == (S.FAILED, 2, Reason.TIMED_OUT)


def test_it_goes_on_after_the_server_was_stopped(rig: RunnerRig) -> None:
    operation = enqueue(rig, for_ever)
    rig.until(operation, S.RUNNING)
    loops.run(rig.runner.stop(5.0))
    assert (rig.now(operation).state, rig.now(operation).tries) == (S.QUEUED, 0)
    assert rig.runner.running == frozenset()


def test_failures_are_tried_again_or_not_by_what_they_are(rig: RunnerRig) -> None:
    async def no_room(work: ShelfWork) -> JsonObject:
        raise Exhausted(Reason.DISK_LOW, "The disk is full.", next_step="Free some.", retry_after=77.0)

    async def refused(work: ShelfWork) -> JsonObject:
        raise Precondition(Reason.IN_USE, "It is in use.")

    async def broken(work: ShelfWork) -> JsonObject:
        raise OSError("disk on fire")

    later = rig.until(enqueue(rig, no_room), S.RETRYING)
    assert later.problem is not None
    assert (later.problem.reason, later.problem.next_step) == (Reason.DISK_LOW, "Free some.")
    assert later.due_time > rig.clock.now() + 60
    never = rig.until(enqueue(rig, refused, "verify"), *ENDED)
    assert (never.state, never.attempt) == (S.FAILED, 1)
    again = rig.until(enqueue(rig, broken, "backup"), S.RETRYING)
    assert again.problem is not None
    assert again.problem.reason is Reason.INTERNAL
    assert "on fire" not in again.problem.message, "what went wrong inside is for the log"


def test_one_can_be_run_here_and_now(rig: RunnerRig) -> None:
    async def good(work: ShelfWork) -> JsonObject:
        return {"leases": 2}

    async def bad(work: ShelfWork) -> JsonObject:
        raise Precondition(Reason.IN_USE, "Not today.")

    rig.bench.operations.shelf.add("recover", good)
    assert loops.run(rig.runner.now("recover")).result["leases"] == 2
    rig.bench.operations.shelf.add("recover", bad)
    with pytest.raises(Precondition, match="Not today"):
        loops.run(rig.runner.now("recover"))


def test_a_periodic_kind_runs_by_itself(rig: RunnerRig) -> None:
    turns: list[str] = []

    async def handler(work: ShelfWork) -> JsonObject:
        turns.append(work.operation.requester)
        return {}

    def planned() -> bool:
        return rig.bench.read(rig.bench.operations.schedules.of, "clean")[1] is not None

    rig.bench.operations.shelf.add("clean", handler)
    eventually(planned, what="the first turn being planned")
    assert turns == []
    rig.clock.ahead += 3600
    eventually(lambda: turns, what="the first turn")
    assert turns == ["system"]
    page = rig.bench.read(rig.bench.operations.operations.page, ADMIN, OperationFilter("clean"), 0, "")
    assert [each.key for each in page.items] == ["clean"]


def test_periodic_kinds_are_planned_before_anything_is_served(rig: RunnerRig) -> None:
    loops.run(rig.runner.stop(0.0))
    rig.bench.write(tables.Schedule.delete().execute)
    loops.run(rig.runner.recover(SERVER))
    period, next_time = rig.bench.read(rig.bench.operations.schedules.of, "clean")
    assert next_time is not None
    assert rig.clock.now() < next_time <= rig.clock.now() + period


def test_files_of_forgotten_operations_go(rig: RunnerRig) -> None:
    done, failed = rig.enqueue("succeed"), rig.enqueue("refuse")
    rig.until(done, S.SUCCEEDED)
    rig.until(failed, S.FAILED)
    log, folder = rig.folder / "logs" / "operations" / f"{done.id}.log", rig.folder / "staging" / failed.id
    assert log.exists()
    loops.run(rig.runner.sweep())
    assert folder.exists()
    rig.clock.ahead += 25 * 3600
    loops.run(rig.runner.sweep())
    assert (log.exists(), folder.exists()) == (True, False)
    rig.clock.ahead += 91 * 24 * 3600
    rig.bench.write(rig.bench.operations.operations.forget_old)
    loops.run(rig.runner.sweep())
    assert not log.exists()


def test_one_that_cannot_be_taken_back_holds_up_no_other(rig: RunnerRig) -> None:
    parts = rig.bench.operations

    class Hook:
        def moved(self, operation: Operation) -> None:
            if operation.id == "op_1" and operation.state is S.RETRYING:
                raise LookupError("a hook is broken")

    def claimed_before_the_kill(kind: str) -> Operation:
        queued = parts.operations.enqueue(system_caller(), NewOperation(kind))
        claimed = parts.claims.claim(f"{SERVER}/before", queued.id, None)
        assert claimed is not None
        return claimed

    async def handler(work: ShelfWork) -> JsonObject:
        return {}

    for kind in ("scrub", "verify"):
        parts.shelf.add(kind, handler)
        parts.operations.on(kind, Hook())
    broken, whole = (rig.bench.write(claimed_before_the_kill, kind) for kind in ("scrub", "verify"))
    assert loops.run(rig.runner.recover(SERVER)) == 2
    assert rig.until(whole, S.SUCCEEDED).attempt == 2
    assert _given_up(rig.now(broken))


@pytest.mark.parametrize("dispatcher", ["rows", "memory"])
@pytest.mark.parametrize("when", [S.RUNNING, S.SUCCEEDED, S.RETRYING, S.FAILED, S.CANCELLED])
def test_a_feature_that_fails_when_it_hears_of_an_operation_holds_it_never(
    tmp_path: Path, dispatcher: str, when: OperationState
) -> None:
    class Hook:
        def moved(self, operation: Operation) -> None:
            if operation.state in ((S.SUCCEEDED, S.RETRYING) if when is S.SUCCEEDED else (when,)):
                raise Precondition(Reason.STATE_INVALID, "a hook is broken")

    async def handler(work: ShelfWork) -> JsonObject:
        if when is S.CANCELLED:
            await for_ever(work)
        if when is S.SUCCEEDED:
            return {}
        raise Exhausted(Reason.DISK_LOW, "no room") if when is S.RETRYING else LookupError("broken")

    async def good(work: ShelfWork) -> JsonObject:
        return {}

    with runner_rig(tmp_path, dispatcher, slots=1) as rig:
        rig.bench.operations.operations.on("scrub", Hook())
        policy = RetryPolicy(3 if when in (S.RETRYING, S.SUCCEEDED) else 1, 0.0)
        broken = enqueue(rig, handler, policy=policy)
        whole = enqueue(rig, good, "verify")
        if when is S.CANCELLED:
            rig.until(broken, S.RUNNING)
            cancel(rig, broken)
        ended = rig.until(broken, *ENDED)
        assert ended.state is (S.CANCELLED if when is S.CANCELLED else S.FAILED)
        assert when is S.CANCELLED or _given_up(ended)
        rig.until(whole, S.SUCCEEDED)


def _given_up(operation: Operation) -> bool:
    """Return whether an operation is FAILED and says that its feature is to blame."""
    problem = operation.problem
    assert problem is not None
    return (operation.state, problem.reason, "was given up" in problem.message) == (
        S.FAILED,
        Reason.INTERNAL,
        True,
    )
