"""What running operations promises, whichever dispatcher says what runs when.

A test class inherits from the contract. Its module gives the fixtures `dispatcher` (its name in the
settings), `rig` (one for all tests, so most of them only wait for their own operation) and `fresh` (one with
two slots for each test that needs it). Bodies are real child processes (helpers/operation_bodies.py).
"""

import os
import signal
from pathlib import Path

import pytest

from helpers.eventually import eventually
from helpers.operation_trials import CASES, begin
from helpers.runners import RunnerRig, alive, runner_rig
from ingot.server.core.errors import Reason
from ingot.server.core.events import LogLine, Progress
from ingot.server.core.operations import OperationState, RetryPolicy

S = OperationState
ENDED = (S.SUCCEEDED, S.FAILED, S.CANCELLED)


class DispatcherContract:
    """Running operations."""

    @pytest.mark.contract("S3-16", "S4-29")
    def test_it_runs_in_a_process_of_its_own(self, rig: RunnerRig) -> None:
        operation = rig.enqueue("succeed")
        done = rig.until(operation, *ENDED)
        assert (done.state, done.attempt) == (S.SUCCEEDED, 1)
        assert done.result == {
            "version": "namespaces/sara/models/tiny/versions/1",
            "fetched_bytes": 5,
            "versions": [],
            "existed": False,
            "source": "",
            "commit": "",
            "digest": "",
            "file_count": 0,
            "size_bytes": 0,
            "free_bytes": 0,
            "needed_bytes": 0,
        }
        assert rig.processes(operation)[1] != os.getpid()
        assert done.progress == Progress("working", 2, 2, "files", 100.0)
        lines = [each.body.text for each in rig.events(operation) if isinstance(each.body, LogLine)]
        assert lines == ["half of it is done"]
        eventually(lambda: not (rig.folder / "staging" / operation.id).exists(), what="its folder being gone")

    @pytest.mark.contract("S3-52", "S4-26", "S4-33")
    def test_what_goes_wrong_ends_as_it_should(self, dispatcher: str, tmp_path: Path) -> None:
        """All cases of the trials at once: killed, frozen, poison, late, cancelled, talking nonsense."""
        # On a busy machine whoever works is silent for seconds, too.
        with (
            runner_rig(tmp_path / "short", dispatcher, lease=5.0) as short,
            runner_rig(tmp_path / "long", dispatcher, lease=60.0) as long,
        ):
            rigs = [short if case.silent else long for case in CASES]
            begun = [(case, rig, begin(rig, case)) for case, rig in zip(CASES, rigs, strict=True)]
            for case, rig, operation in begun:
                ended = rig.until(operation, *ENDED)
                reason = ended.problem.reason if ended.problem else None
                assert (ended.state, ended.attempt, reason) == (case.state, case.attempts, case.reason), (
                    case.name,
                    ended,
                )
                left = [process for process in rig.processes(operation).values() if alive(process)]
                assert left == [], case.name
                assert (0 in rig.processes(operation)) == (case.mode == "orphan")

    @pytest.mark.contract("S3-11")
    def test_a_killed_body_starts_again_where_its_folder_is(self, rig: RunnerRig) -> None:
        operation = rig.enqueue("wait*1")
        process = rig.begun(operation)
        kept = rig.folder / "staging" / operation.id / "kept"
        kept.write_text("half")
        os.killpg(process, signal.SIGKILL)
        assert rig.begun(operation, 2)
        assert rig.until(operation, *ENDED).attempt == 2
        assert rig.story(operation) == ["QUEUED", "RUNNING", "RETRYING", "RUNNING", "SUCCEEDED"]

    def test_a_failed_one_keeps_its_folder_for_a_retry_by_hand(self, rig: RunnerRig) -> None:
        operation = rig.enqueue("fail*1", policy=RetryPolicy(1))
        rig.until(operation, S.FAILED)
        assert (rig.folder / "staging" / operation.id).exists()
        rig.retry(operation)
        assert rig.until(operation, *ENDED).attempt == 2

    def test_it_waits_between_tries(self, rig: RunnerRig) -> None:
        operation = rig.enqueue("fail*1", policy=RetryPolicy(2, 3600.0))
        waiting = rig.until(operation, S.RETRYING)
        assert waiting.due_time > rig.clock.now() + 3000
        other = rig.enqueue("succeed")
        rig.until(other, S.SUCCEEDED)
        assert rig.now(operation) == waiting
        rig.clock.ahead += 3601
        assert rig.until(operation, *ENDED).state is S.SUCCEEDED

    def test_a_clock_that_jumps_starts_nothing_twice(self, rig: RunnerRig) -> None:
        operation = rig.enqueue("wait")
        process = rig.begun(operation)
        for jump in (7200, -14400, 7200):
            rig.clock.ahead += jump
            rig.until_beaten(operation)
        assert alive(process)
        assert rig.now(operation).attempt == 1
        rig.cancel(operation)
        assert rig.until(operation, *ENDED).attempt == 1

    def test_one_with_the_same_key_runs_once(self, rig: RunnerRig) -> None:
        first = rig.enqueue("wait", key="the same")
        rig.begun(first)
        assert rig.enqueue("wait", key="the same").id == first.id
        rig.cancel(first)
        rig.until(first, S.CANCELLED)
        second = rig.enqueue("succeed", key="the same")
        assert second.id != first.id
        rig.until(second, S.SUCCEEDED)
        assert list(rig.processes(first)) == [1]

    @pytest.mark.contract("S3-10")
    def test_a_queue_runs_as_many_as_it_has_slots_the_most_urgent_first(self, fresh: RunnerRig) -> None:
        running = [fresh.enqueue("wait"), fresh.enqueue("wait")]
        for each in running:
            fresh.begun(each)
        waiting = [fresh.enqueue("wait", priority=priority) for priority in (0, 7, 3)]
        done = fresh.enqueue("succeed", priority=-1)
        fresh.cancel(running[0])
        fresh.begun(waiting[1])
        assert [fresh.now(each).state for each in (*waiting, done)] == [
            S.QUEUED,
            S.RUNNING,
            S.QUEUED,
            S.QUEUED,
        ]
        fresh.cancel(running[1])
        fresh.begun(waiting[2])
        assert fresh.now(waiting[0]).state is S.QUEUED
        for each in (waiting[1], waiting[2], waiting[0]):
            fresh.begun(each)
            fresh.cancel(each)
        fresh.until(done, S.SUCCEEDED)

    def test_nobody_is_starved_by_who_asked_for_more(self, fresh: RunnerRig) -> None:
        crowd = [fresh.enqueue("wait", requester="bobby") for _ in range(6)]
        for each in crowd[:2]:
            fresh.begun(each)
        late = [fresh.enqueue("wait", requester=who) for who in ("alix", "alix", "omid")]
        fresh.cancel(crowd[0])
        fresh.begun(late[0])
        fresh.cancel(crowd[1])
        fresh.begun(late[2])
        fresh.cancel(late[0])
        fresh.begun(crowd[2])
        fresh.cancel(crowd[2])
        fresh.begun(late[1])
        assert [fresh.now(each).state for each in crowd[3:]] == [S.QUEUED] * 3
        for each in (*crowd, late[1], late[2]):
            if fresh.now(each).state in (S.QUEUED, S.RUNNING):
                fresh.cancel(each)

    def test_what_waits_can_be_cancelled_and_never_runs(self, fresh: RunnerRig) -> None:
        running = [fresh.enqueue("wait"), fresh.enqueue("wait")]
        waiting = fresh.enqueue("succeed")
        fresh.cancel(waiting)
        for each in running:
            fresh.begun(each)
            fresh.cancel(each)
        last = fresh.enqueue("succeed")
        fresh.until(last, S.SUCCEEDED)
        assert (fresh.now(waiting).state, fresh.processes(waiting)) == (S.CANCELLED, {})

    @pytest.mark.contract("S4-30")
    def test_a_stopped_runner_gives_back_what_it_had(self, fresh: RunnerRig) -> None:
        running = fresh.enqueue("wait*1", policy=RetryPolicy(1))
        process = fresh.begun(running)
        other, queued = fresh.enqueue("stubborn*1", policy=RetryPolicy(1)), fresh.enqueue("succeed")
        stubborn = fresh.begun(other)
        fresh.restart()
        assert not alive(process)
        assert not alive(stubborn)
        for each in (running, other, queued):
            done = fresh.until(each, *ENDED)
            assert (done.state, done.tries) == (S.SUCCEEDED, 1), "a try that was given back does not count"
        assert fresh.story(running) == ["QUEUED", "RUNNING", "QUEUED", "RUNNING", "SUCCEEDED"]

    def test_a_body_that_talks_without_end_hurts_nobody(self, rig: RunnerRig) -> None:
        operation = rig.enqueue("flood")
        rig.begun(operation)
        rig.until(rig.enqueue("succeed"), S.SUCCEEDED)
        eventually(lambda: rig.now(operation).progress == Progress(done=1), what="progress")
        rig.cancel(operation)
        rig.until(operation, S.CANCELLED)
        assert len(rig.events(operation)) < 50_000

    def test_the_end_of_its_output_is_told_without_secrets(self, rig: RunnerRig) -> None:
        lost = rig.until(rig.enqueue("exit", policy=RetryPolicy(1)), S.FAILED)
        assert lost.problem is not None
        assert lost.problem.reason is Reason.BODY_LOST
        assert "ended with exit status 7 before it gave a result" in lost.problem.message
        assert lost.problem.facts["output"] == "the token is [secret]"
