"""Work on lease: claims, heartbeats, reports, ends, silence; and a job that no failure can double or lose."""

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from helpers.jobs import CPU, GPU, OUTPUT, Bench, bench, digest_of, machine, person
from ingot.content import digests
from ingot.server.core.artifacts import NewVersion
from ingot.server.core.errors import (
    IngotError,
    Invalid,
    NotFound,
    Precondition,
    Problem,
    Reason,
)
from ingot.server.core.events import (
    CheckpointNote,
    LogLevel,
    LogLine,
    Metrics,
    Progress,
    StateChange,
    WarningNote,
)
from ingot.server.core.manifests import Tree
from ingot.server.core.names import checkpoint_name
from ingot.server.core.training import (
    HELD_STATES,
    CheckpointKind,
    Desired,
    JobState,
    NewCheckpoint,
    ResumeCertificate,
    TrainingJob,
)
from ingot.server.core.workers import (
    HeldWork,
    ReportedEvent,
    TrainingAssignment,
    Worker,
    WorkerState,
    WorkKind,
    WorkOrder,
    WorkOutcome,
)
from ingot.server.domain.work_reports import Ending, Receipt

LEASE = 20.0
LOST = Problem(Reason.TRAINER_FAILED, "The trainer was killed.", {"signal": "9"}, "", 0.0)


@pytest.fixture
def b() -> Iterator[Bench]:
    with bench() as made:
        yield made


def report(b: Bench, worker: Worker, job: TrainingJob, *events: ReportedEvent) -> Receipt:
    return b.write(b.rules.reports.report, machine(), worker.name, job.name, job.attempt, list(events))


def beat(b: Bench, worker: Worker, job: TrainingJob) -> WorkOrder:
    held = [HeldWork(job.name, job.attempt)]
    return b.write(b.rules.workers.heartbeat, machine(), worker.name, held, 0).orders[0]


def at(seq: int, body: object) -> ReportedEvent:
    return ReportedEvent(seq, 1000.0 + seq, body)  # type: ignore[arg-type]


def running(b: Bench, worker: Worker, job: TrainingJob) -> None:
    report(b, worker, job, at(1, JobState.PREPARING), at(2, JobState.RUNNING))


def commit_result(b: Bench, job: TrainingJob) -> None:
    target = NewVersion(artifact=OUTPUT, training_job=job.name, attempt=job.attempt)
    assert b.read(b.rules.checkpoints.begin, machine(), target) == "sara"
    b.write(b.rules.checkpoints.commit_result, machine(), target, OUTPUT.version("1"))


def states(b: Bench, job: TrainingJob) -> list[str]:
    return [each.body.after for each in b.events(job) if isinstance(each.body, StateChange)]


def outdated() -> contextlib.AbstractContextManager[object]:
    return pytest.raises(Precondition, match="is over")


# --- the straight way ---------------------------------------------------------------------------------


@pytest.mark.contract("S0-48", "S0-49")
def test_a_job_from_the_queue_to_its_result(b: Bench) -> None:
    job = b.create(start=True)
    worker = b.register()
    work = b.claim(worker)
    assert isinstance(work, TrainingAssignment)
    held = work.job
    assert (held.state, held.attempt, held.worker) == (JobState.PREPARING, 1, worker.id)
    assert work.resume_checkpoint == ""
    assert b.claim(worker) is None, "there is one job, and it is taken"
    running(b, worker, held)
    commit_result(b, held)
    done = b.finish(worker, held, Ending(WorkOutcome.SUCCEEDED))
    assert (done.state, done.output_version) == (JobState.SUCCEEDED, f"{OUTPUT}/versions/1")
    assert states(b, job) == ["DRAFT", "QUEUED", "PREPARING", "RUNNING", "SUCCEEDED"]
    assert done.finish_time == b.clock.time
    again = b.finish(worker, held, Ending(WorkOutcome.SUCCEEDED))  # its reply was lost on the way
    assert again == done


def test_success_needs_a_committed_result(b: Bench) -> None:
    b.create(start=True)
    worker = b.register()
    held = b.claimed(worker)
    with pytest.raises(Precondition) as refused:
        b.finish(worker, held, Ending(WorkOutcome.SUCCEEDED))
    assert refused.value.reason is Reason.STATE_INVALID
    assert b.job(held).state is JobState.PREPARING


def test_lineage_of_a_result_is_written_by_the_server(b: Bench) -> None:
    b.create(start=True)
    worker = b.register()
    held = b.claimed(worker)
    target = NewVersion(artifact=OUTPUT, training_job=held.name, attempt=1)
    origin = b.read(b.rules.checkpoints.origin, machine(), target)
    assert (origin.training_job, origin.dataset_version) == (held.name, str(held.dataset.name))
    other = NewVersion(
        artifact=OUTPUT.__class__("sara", OUTPUT.kind, "other"), training_job=held.name, attempt=1
    )
    with pytest.raises(Invalid, match="the output of"):
        b.read(b.rules.checkpoints.origin, machine(), other)


def test_first_come_first_served_among_the_suitable(b: Bench) -> None:
    jobs = [b.create(start=True, use_gpu=True), b.create(start=True), b.create(start=True)]
    small, big = b.register("small", devices=(CPU,)), b.register("big", devices=(CPU, GPU))
    assert b.claimed(small).id == jobs[1].id
    assert b.claimed(big).id == jobs[0].id
    assert b.claimed(small).id == jobs[2].id


def test_many_waiting_gpu_jobs_do_not_starve_a_cpu_worker(b: Bench) -> None:
    for _ in range(201):  # more than one question to the store returns
        b.create(start=True, use_gpu=True)
    mine = b.create(start=True)
    assert b.claimed(b.register("small", devices=(CPU,))).id == mine.id


@pytest.mark.contract("S0-105")
def test_a_worker_that_lacks_software_takes_no_work_and_is_told_why(b: Bench) -> None:
    b.create(start=True)
    bare = b.register("bare", missing=("deepspeed", "torch"))
    with pytest.raises(Precondition, match="lacks deepspeed, torch"):
        b.claim(bare)
    assert b.read(b.rules.workers.hints, machine(), bare.name).waiting == ()
    assert b.write(b.rules.workers.heartbeat, machine(), bare.name, [], 0).drain
    assert b.read(b.rules.workers.page, 0, "").items[0].state is WorkerState.DRAINING
    whole = b.register("bare")  # mended and started again
    assert b.read(b.rules.workers.hints, machine(), whole.name).waiting == (WorkKind.TRAINING,)
    assert b.claim(whole) is not None


# --- whose worker, whose attempt ----------------------------------------------------------------------


def test_the_same_token_and_name_keep_the_same_worker(b: Bench) -> None:
    first = b.register("one")
    b.clock.advance(100)
    assert b.register("one", devices=(GPU,)).name == first.name
    assert b.register("two").name != first.name
    assert b.register("one", caller=machine("tok_7")).name != first.name
    page = b.read(b.rules.workers.page, 2, "")
    assert [view.worker.name for view in page.items] == ["workers/worker_1", "workers/worker_2"]
    assert page.next_token
    with pytest.raises(Invalid):
        b.register("")


def test_a_worker_belongs_to_its_token(b: Bench) -> None:
    worker = b.register()
    for call in (
        lambda: b.write(b.rules.workers.claim, machine("tok_7"), worker.name, None),
        lambda: b.write(b.rules.workers.heartbeat, machine("tok_7"), worker.name, [], 0),
        lambda: b.write(b.rules.workers.claim, machine(), "workers/worker_99", None),
    ):
        with pytest.raises(NotFound) as refused:
            call()
        assert refused.value.reason is Reason.WORKER_NOT_FOUND


def test_workers_are_offline_when_they_are_silent(b: Bench) -> None:
    worker = b.register()
    view = b.read(b.rules.workers.page, 0, "").items[0]
    assert view.state is WorkerState.ONLINE
    b.create(start=True)
    held = b.claimed(worker)
    assert b.read(b.rules.workers.page, 0, "").items[0].assignments == (held.name,)
    b.clock.advance(LEASE + 1)
    assert b.read(b.rules.workers.page, 0, "").items[0].state is WorkerState.OFFLINE
    b.write(b.rules.workers.heartbeat, machine(), worker.name, [], 5)
    view = b.read(b.rules.workers.page, 0, "").items[0]
    assert (view.state, view.worker.facts.free_disk_bytes) == (WorkerState.ONLINE, 5)


def test_a_frozen_worker_that_wakes_up_can_do_nothing(b: Bench) -> None:
    b.create(start=True)
    frozen, fresh = b.register("frozen"), b.register("fresh")
    old = b.claimed(frozen)
    running(b, frozen, old)
    b.clock.advance(LEASE + 1)
    assert b.write(b.rules.workers.reap) == 1
    b.clock.advance(3)  # the pause before the retry
    new = b.claimed(fresh)
    assert (new.id, new.attempt) == (old.id, 2)
    before = b.job(new), len(b.events(new))
    order = beat(b, frozen, old)
    assert order.lost
    with outdated():
        report(b, frozen, old, at(3, LogLine(LogLevel.INFO, 0, "still here?")))
    with outdated():
        b.finish(frozen, old, Ending(WorkOutcome.FAILED, LOST))
    with pytest.raises(IngotError) as refused:
        b.save(old, 10)
    assert refused.value.reason is Reason.ATTEMPT_OUTDATED
    with pytest.raises(IngotError) as refused:
        commit_result(b, old)
    assert refused.value.reason is Reason.ATTEMPT_OUTDATED
    assert (b.job(new), len(b.events(new))) == before
    assert not beat(b, fresh, new).lost


def test_the_other_workers_attempt_number_does_not_help(b: Bench) -> None:
    b.create(start=True)
    holder, other = b.register("holder"), b.register("other")
    held = b.claimed(holder)
    with outdated():
        report(b, other, held, at(1, JobState.RUNNING))
    assert beat(b, other, held).lost


def test_claims_let_a_token_touch_its_inputs_and_end_with_the_lease(b: Bench) -> None:
    job = b.create(start=True)
    worker = b.register()
    held_by = b.shelves.assignments.held_by
    assert b.read(held_by, machine().principal) == []
    held = b.claimed(worker)
    (grant,) = b.read(held_by, machine().principal)
    assert (grant.name, grant.attempt, grant.namespace) == (job.name, 1, "sara")
    assert grant.versions == {job.dataset.name}
    assert grant.output_artifact == str(OUTPUT)
    assert b.read(held_by, machine("tok_7").principal) == []
    commit_result(b, held)
    (grant,) = b.read(held_by, machine().principal)
    assert grant.versions == {job.dataset.name, OUTPUT.version("1")}, "a repeated commit is answered"
    b.finish(worker, held, Ending(WorkOutcome.RELEASED))
    assert b.read(held_by, machine().principal) == []


# --- leases -------------------------------------------------------------------------------------------


def test_heartbeats_keep_a_lease(b: Bench) -> None:
    b.create(start=True)
    worker = b.register()
    held = b.claimed(worker)
    for _ in range(10):
        b.clock.advance(LEASE - 1)
        assert beat(b, worker, held).desired is Desired.RUN
        assert b.write(b.rules.workers.reap) == 0
    assert b.job(held).state is JobState.PREPARING


def test_a_restarted_server_gives_every_lease_a_whole_turn(b: Bench) -> None:
    b.create(start=True)
    worker = b.register()
    held = b.claimed(worker)
    running(b, worker, held)
    b.clock.advance(600)  # the server was down
    b.wire()
    assert b.write(b.rules.workers.recover) == 1
    assert b.write(b.rules.workers.reap) == 0
    b.clock.advance(5)
    assert not beat(b, worker, held).lost
    report(b, worker, held, at(3, Progress(done=5)))
    assert b.job(held).attempt == 1
    b.clock.advance(LEASE + 1)
    assert b.write(b.rules.workers.reap) == 1


def test_an_agent_that_starts_again_frees_its_job_at_once(b: Bench) -> None:
    b.create(start=True)
    worker = b.register()
    held = b.claimed(worker)
    b.register()
    assert b.job(held).state is JobState.QUEUED
    b.clock.advance(3)
    assert b.claimed(worker).attempt == 2


# --- ends ---------------------------------------------------------------------------------------------


def test_released_work_goes_on_elsewhere_without_delay_or_penalty(b: Bench) -> None:
    b.create(start=True)
    one, two = b.register("one"), b.register("two")
    for _ in range(10):
        b.finish(one, b.claimed(one), Ending(WorkOutcome.RELEASED))
    work = b.claimed(two)
    assert (work.attempt, work.fruitless) == (11, 0)


def test_a_poison_job_is_given_up_after_the_retries(b: Bench) -> None:
    job = b.create(start=True)
    worker = b.register()
    for lost in range(1, 4):
        held = b.claimed(worker)
        b.finish(worker, held, Ending(WorkOutcome.FAILED, LOST, retry=True))
        assert b.job(job).state is JobState.QUEUED
        assert b.claim(worker) is None, "it waits before it is tried again"
        assert "tried again in" in b.view(job).pending_reason
        b.clock.advance(2.0**lost - 0.1)
        assert b.claim(worker) is None
        b.clock.advance(0.2)
    b.finish(worker, b.claimed(worker), Ending(WorkOutcome.FAILED, LOST, retry=True))
    failed = b.job(job)
    assert failed.state is JobState.FAILED
    assert failed.problem is not None
    assert "Given up after 4 attempts" in failed.problem.message
    warnings = [each.body for each in b.events(job) if isinstance(each.body, WarningNote)]
    assert warnings == [WarningNote(Reason.TRAINER_FAILED, LOST.message)] * 3
    again = b.steer("resume", job)
    assert (again.state, again.problem, again.fruitless) == (JobState.QUEUED, None, 0)
    assert b.claim(worker) is not None


def test_a_job_that_kills_its_workers_is_given_up_too(b: Bench) -> None:
    job = b.create(start=True)
    for number in range(4):
        b.claimed(b.register(f"victim {number}"))
        b.clock.advance(LEASE + 1)
        b.write(b.rules.workers.reap)
        b.clock.advance(60)
    failed = b.job(job)
    assert failed.state is JobState.FAILED
    assert failed.problem is not None
    assert failed.problem.reason is Reason.PEER_LOST


def test_progress_forgives_lost_attempts(b: Bench) -> None:
    job = b.create(start=True)
    worker = b.register()
    for step in range(1, 10):
        held = b.claimed(worker)
        b.save(held, step * 10)
        b.finish(worker, held, Ending(WorkOutcome.FAILED, LOST, retry=True))
        b.clock.advance(10)
    assert b.job(job).state is JobState.QUEUED
    assert b.job(job).attempt == 9


@pytest.mark.contract("S0-109")
def test_a_failure_names_the_ids_and_the_line_of_the_log(b: Bench) -> None:
    job = b.create(start=True)
    worker = b.register()
    held = b.claimed(worker)
    report(
        b,
        worker,
        held,
        at(1, LogLine(LogLevel.INFO, 0, "reading")),
        at(2, LogLine(LogLevel.ERROR, 0, "line 3: no JSON")),
        at(3, LogLine(LogLevel.INFO, -1, "stopping")),
    )
    problem = Problem(Reason.DATA_INVALID, "Line 3 is no JSON.", {"line": "3"}, "", 0.0)
    failed = b.finish(worker, held, Ending(WorkOutcome.FAILED, problem))
    assert failed.problem is not None
    facts = failed.problem.facts
    named = (
        facts["line"],
        facts["training_job"],
        facts["dataset_version"],
        facts["worker"],
        facts["attempt"],
    )
    assert named == ("3", job.name, str(job.dataset.name), worker.name, "1")
    line = next(each for each in b.events(job) if str(each.seq) == facts["log_seq"])
    assert line.body == LogLine(LogLevel.ERROR, 0, "line 3: no JSON")
    assert facts["log_seq"] in failed.problem.next_step
    assert b.job(job).problem == failed.problem


def test_a_failure_needs_its_problem(b: Bench) -> None:
    b.create(start=True)
    worker = b.register()
    with pytest.raises(Invalid, match="why the work failed"):
        b.finish(worker, b.claimed(worker), Ending(WorkOutcome.FAILED))


# --- pause and cancel ---------------------------------------------------------------------------------


def test_pause_and_resume_go_on_from_the_pause(b: Bench) -> None:
    job = b.create(start=True)
    worker = b.register()
    held = b.claimed(worker)
    running(b, worker, held)
    b.clock.advance(7)
    b.steer("pause", job)
    assert beat(b, worker, held).desired is Desired.PAUSE
    assert report(b, worker, held, at(3, Progress())).order.desired is Desired.PAUSE
    b.save(held, 70, CheckpointKind.PAUSE)
    paused = b.finish(worker, held, Ending(WorkOutcome.PAUSED))
    assert (paused.state, paused.lease_expire_time) == (JobState.PAUSED, None)
    assert b.claim(worker) is None
    assert b.view(job).training_seconds == pytest.approx(7)
    b.steer("resume", job)
    work = b.claim(worker)
    assert work is not None
    assert work.resume_checkpoint == f"{job.name}/checkpoints/70"
    assert work.resume_digest == digests.format_digest(digest_of(70))
    assert work.job.attempt == 2


def test_resume_while_pausing_happens_after_the_pause(b: Bench) -> None:
    job = b.create(start=True)
    worker = b.register()
    held = b.claimed(worker)
    b.steer("pause", job)
    assert b.steer("resume", job).state is JobState.PAUSING
    assert beat(b, worker, held).desired is Desired.PAUSE, "what was begun is finished first"
    b.finish(worker, held, Ending(WorkOutcome.PAUSED))
    assert b.job(job).state is JobState.QUEUED
    assert states(b, job)[-2:] == ["PAUSED", "QUEUED"]


def test_a_worker_lost_while_pausing_or_cancelling_has_done_it(b: Bench) -> None:
    for verb, state in (("pause", JobState.PAUSED), ("cancel", JobState.CANCELLED)):
        job = b.create(start=True)
        b.claimed(b.register())
        b.steer(verb, job)
        b.clock.advance(LEASE + 1)
        b.write(b.rules.workers.reap)
        assert b.job(job).state is state


def test_cancel_reaches_the_worker_and_failing_meanwhile_is_the_end_too(b: Bench) -> None:
    worker = b.register()
    endings = (
        Ending(WorkOutcome.CANCELLED),
        Ending(WorkOutcome.FAILED, LOST),
        Ending(WorkOutcome.FAILED, LOST, retry=True),
        Ending(WorkOutcome.PAUSED),
        Ending(WorkOutcome.RELEASED),
    )
    for ending in endings:
        job = b.create(start=True)
        held = b.claimed(worker)
        b.steer("cancel", job)
        assert beat(b, worker, held).desired is Desired.CANCEL
        assert b.finish(worker, held, ending).state is JobState.CANCELLED


def test_a_result_that_was_committed_before_the_cancel_counts(b: Bench) -> None:
    job = b.create(start=True)
    worker = b.register()
    held = b.claimed(worker)
    commit_result(b, held)
    b.steer("cancel", job)
    assert b.finish(worker, held, Ending(WorkOutcome.SUCCEEDED)).state is JobState.SUCCEEDED


def test_a_worker_lost_after_the_result_has_succeeded(b: Bench) -> None:
    job = b.create(start=True)
    held = b.claimed(b.register())
    commit_result(b, held)
    b.clock.advance(LEASE + 1)
    b.write(b.rules.workers.reap)
    assert b.job(job).state is JobState.SUCCEEDED


def test_a_worker_does_not_cancel_by_itself(b: Bench) -> None:
    b.create(start=True)
    worker = b.register()
    held = b.claimed(worker)
    with pytest.raises(Precondition):
        b.finish(worker, held, Ending(WorkOutcome.CANCELLED))


def test_a_worker_pauses_by_itself_when_its_disk_is_full(b: Bench) -> None:
    job = b.create(start=True)
    worker = b.register()
    full = Problem(Reason.DISK_LOW, "The disk is full.", {}, "Free some space.", 0.0)
    paused = b.finish(worker, b.claimed(worker), Ending(WorkOutcome.PAUSED, full))
    assert paused.state is JobState.PAUSED
    assert paused.problem is not None
    assert paused.problem.next_step == "Free some space."
    assert b.steer("resume", job).problem is None


# --- reports ------------------------------------------------------------------------------------------


@pytest.mark.contract("S0-50", "S0-51")
def test_reports_are_stored_once_and_change_the_job(b: Bench) -> None:
    job = b.create(start=True)
    worker = b.register()
    held = b.claimed(worker)
    batch = [
        at(1, JobState.PREPARING),
        at(2, Progress(phase="training", done=10, total=100, unit="steps", eta=9.5)),
        at(3, JobState.RUNNING),
        at(4, Metrics(10, 0.5, {"loss": 4.0, "grad_norm": float("inf")})),
        at(5, LogLine(LogLevel.INFO, 0, "گام ۱۰")),
        at(6, WarningNote(Reason.DIVERGED, "One step was skipped.")),
        at(7, Metrics(10, 0.0, {"eval_loss": 3.5})),
        at(8, ResumeCertificate(10, "trainingJobs/job_1/checkpoints/9", "blake3:00", True, "")),
    ]
    first = report(b, worker, held, *batch)
    count = len(b.events(job))
    again = report(b, worker, held, *batch)
    assert again.latest_seq == first.latest_seq == count
    overlapping = report(b, worker, held, *batch[3:], at(9, LogLine(LogLevel.INFO, 0, "more")))
    assert overlapping.latest_seq == count + 1
    now = b.job(job)
    assert now.state is JobState.RUNNING
    assert now.progress == batch[1].body
    assert now.latest_metrics is not None
    assert dict(now.latest_metrics.values) == {"loss": 4.0, "grad_norm": float("inf"), "eval_loss": 3.5}
    assert now.latest_metrics.epoch == 0.5
    assert now.certificate == batch[7].body
    log = b.events(job)
    assert [each.seq for each in log] == list(range(1, count + 2))
    assert [each.body for each in log if each.producer_seq == 5] == [batch[4].body]


def test_a_new_attempt_may_use_the_same_producer_numbers(b: Bench) -> None:
    job = b.create(start=True)
    worker = b.register()
    for text in ("first", "second"):
        held = b.claimed(worker)
        report(b, worker, held, at(1, LogLine(LogLevel.INFO, 0, text)))
        b.finish(worker, held, Ending(WorkOutcome.RELEASED))
    lines = [each.body.text for each in b.events(job) if isinstance(each.body, LogLine)]
    assert lines == ["first", "second"]


@pytest.mark.parametrize(
    ("events", "reason", "match"),
    [
        ([at(2, Progress()), at(2, Progress())], Reason.FIELD_INVALID, "above 2"),
        ([at(0, Progress())], Reason.FIELD_INVALID, "above 0"),
        ([at(1, JobState.SUCCEEDED)], Reason.FIELD_INVALID, "PREPARING or RUNNING"),
        ([at(1, LogLine(LogLevel.INFO, 0, "é" * 32769))], Reason.BAD_LENGTH, "65538"),
        ([at(seq, Progress()) for seq in range(1, 1002)], Reason.FIELD_INVALID, "at most 1000"),
        ([at(1, Progress(percent=math.nan))], Reason.FIELD_INVALID, "progress.percent"),
        ([at(1, Progress(percent=math.inf))], Reason.FIELD_INVALID, "progress.percent"),
        ([at(1, Progress(percent=101))], Reason.FIELD_INVALID, "progress.percent"),
        ([at(1, Progress(done=-1))], Reason.FIELD_INVALID, "progress.done"),
        ([at(1, Progress(rate=-1))], Reason.FIELD_INVALID, "progress.rate"),
        ([at(1, Progress(eta=1e12))], Reason.FIELD_INVALID, "progress.eta"),
        ([at(1, Progress(phase="a\nb"))], Reason.FIELD_INVALID, "progress.phase"),
        ([at(1, Progress(message="\x1b[2J"))], Reason.FIELD_INVALID, "progress.message"),
        ([at(1, Metrics(-1, 0.0, {}))], Reason.FIELD_INVALID, "metrics.step"),
        ([at(1, Metrics(1, math.nan, {}))], Reason.FIELD_INVALID, "metrics.epoch"),
        ([at(1, Metrics(1, 0.0, {"": 1.0}))], Reason.FIELD_INVALID, "metrics.values"),
        ([at(1, Metrics(1, 0.0, {"a\nb": 1.0}))], Reason.FIELD_INVALID, "metrics.values"),
        ([at(1, Metrics(1, 0.0, {"x" * 3000: 1.0}))], Reason.FIELD_INVALID, "metrics.values"),
        ([at(1, LogLine(LogLevel.INFO, -2, "x"))], Reason.FIELD_INVALID, "log.rank"),
        ([at(1, WarningNote(Reason.DISK_LOW, "x" * 65537))], Reason.BAD_LENGTH, "65537"),
        ([at(1, ResumeCertificate(-1, "", "", True, ""))], Reason.FIELD_INVALID, "certificate.step"),
        ([ReportedEvent(1, 1e18, Progress())], Reason.FIELD_INVALID, "time"),
    ],
)
def test_reports_that_are_not_well_formed(
    b: Bench, events: list[ReportedEvent], reason: Reason, match: str
) -> None:
    b.create(start=True)
    worker = b.register()
    held = b.claimed(worker)
    with pytest.raises(Invalid, match=match) as refused:
        report(b, worker, held, *events)
    assert refused.value.reason is reason


def test_a_state_tells_its_reason_in_one_short_line(b: Bench) -> None:
    job = b.create(start=True)
    worker = b.register()
    held = b.claimed(worker)
    running(b, worker, held)
    trace = Problem(Reason.TRAINER_FAILED, f"Died: {'x' * 300}\n  File trainer.py", {}, "", 0.0)
    failed = b.finish(worker, held, Ending(WorkOutcome.FAILED, trace))
    told = [each.body for each in b.events(job) if isinstance(each.body, StateChange)]
    assert all(each.message for each in told)
    assert told[1].message == "asked by users/sara"
    assert told[-1].message == f"Died: {'x' * 193}…"
    assert failed.problem is not None
    assert failed.problem.message == trace.message


@pytest.mark.contract("S0-62")
def test_series_are_thinned_with_first_and_last_and_later_attempts_replace_steps(b: Bench) -> None:
    job = b.create(start=True)
    worker = b.register()
    held = b.claimed(worker)
    report(b, worker, held, *(at(step, Metrics(step, 0.1, {"loss": 1.0 / step})) for step in range(1, 1001)))
    report(b, worker, held, at(1001, Metrics(1000, 0.1, {"loss": 7.0, "odd": float("nan")})))
    loss, odd = b.read(b.rules.views.series, person(), job.id, [], 11, 0)
    assert (loss.name, odd.name) == ("loss", "odd")
    assert len(loss.points) == 11
    assert (loss.points[0].step, loss.points[-1].step, loss.points[-1].value) == (1, 1000, 7.0)
    assert loss.points[0].time == 1001.0, "when it was measured, by the worker's clock"
    assert str(odd.points[0].value) == "nan"
    (late,) = b.read(b.rules.views.series, person(), job.id, ["loss"], 0, 990)
    assert [point.step for point in late.points] == list(range(991, 1001))
    (none,) = b.read(b.rules.views.series, person(), job.id, ["absent"], 0, 0)
    assert none.points == []
    with pytest.raises(Invalid):
        b.read(b.rules.views.series, person(), job.id, [], 1, 0)


# --- checkpoints --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("step", {"step": 0}),
        ("epoch", {"epoch": float("nan")}),
        ("epoch", {"epoch": float("inf")}),
        ("epoch", {"epoch": -1.0}),
        ("world_size", {"world_size": -3}),
        ("metrics", {"metrics": {"": 1.0}}),
        ("metrics", {"metrics": {"x" * 201: 1.0}}),
        ("metrics", {"metrics": {"a\nb": 1.0}}),
        ("metrics", {"metrics": {f"m{index}": 1.0 for index in range(257)}}),
    ],
)
def test_a_checkpoint_with_impossible_facts_is_refused(
    b: Bench, field: str, changes: dict[str, object]
) -> None:
    b.create(start=True)
    job = b.claimed(b.register())
    target = NewCheckpoint(
        job.id, 10, job.attempt, 0.5, CheckpointKind.PERIODIC, {"eval_loss": float("nan")}, 1
    )
    assert b.read(b.rules.checkpoints.begin, machine(), target) == "sara"
    wrong = dataclasses.replace(target, **changes)  # type: ignore[arg-type]
    with pytest.raises(Invalid) as caught:
        b.read(b.rules.checkpoints.begin, machine(), wrong)
    assert caught.value.facts["field"] == f"target.checkpoint.{field}"


@pytest.mark.contract("S0-52")
def test_checkpoints_keep_the_newest_the_best_and_the_pause(b: Bench) -> None:
    job = b.create(start=True, save_total_limit=2)
    worker = b.register()
    held = b.claimed(worker)
    losses = {10: 3.0, 20: 1.0, 30: 2.0, 40: 2.0, 50: float("nan"), 60: 2.5}
    for step, loss in losses.items():
        kind = CheckpointKind.PAUSE if step == 30 else CheckpointKind.PERIODIC
        b.save(held, step, kind, eval_loss=loss)
    now = b.job(job)
    assert (now.best_step, now.latest_step) == (20, 60)
    page = b.read(b.rules.views.checkpoints, person(), job.id, 0, "")
    assert [each.step for each in page.items] == [60, 50, 30, 20]
    assert b.trees.released == [10, 40]
    notes = [each.body for each in b.events(job) if isinstance(each.body, CheckpointNote)]
    assert [note.step for note in notes] == list(losses)
    assert notes[0].digest == digests.format_digest(digest_of(10))
    first = b.read(b.rules.views.checkpoints, person(), job.id, 3, "")
    rest = b.read(b.rules.views.checkpoints, person(), job.id, 3, first.next_token)
    assert [each.step for each in (*first.items, *rest.items)] == [60, 50, 30, 20]


def test_a_step_saved_again_replaces_its_checkpoint(b: Bench) -> None:
    job = b.create(start=True)
    worker = b.register()
    b.save(b.claimed(worker), 10)
    b.clock.advance(LEASE)
    b.write(b.rules.workers.reap)
    b.clock.advance(5)
    held = b.claimed(worker)
    target = NewCheckpoint(job.id, 10, held.attempt, 0.1, CheckpointKind.PERIODIC)
    tree = Tree(99, "uploads/file_99", "sara", digest_of("again"), 1, 1)
    b.write(b.rules.checkpoints.commit, machine(), target, tree)
    assert b.trees.released == [10]
    (kept,) = b.read(b.rules.views.checkpoints, person(), job.id, 0, "").items
    assert (kept.tree, kept.digest) == (99, digest_of("again"))


def test_checkpoints_are_for_those_who_see_the_job(b: Bench) -> None:
    job = b.create(start=True)
    held = b.claimed(b.register())
    b.save(held, 10)
    name = checkpoint_name(f"{job.name}/checkpoints/10")
    assert b.read(b.rules.checkpoints.find, person(), name).step == 10
    assert b.read(b.rules.checkpoints.find, machine(), name).step == 10
    absent = checkpoint_name(f"{job.name}/checkpoints/11")
    for caller, wanted in ((person("omid"), name), (machine("tok_7"), name), (person(), absent)):
        with pytest.raises(NotFound) as hidden:
            b.read(b.rules.checkpoints.find, caller, wanted)
        assert hidden.value.reason is Reason.CHECKPOINT_NOT_FOUND
    target = NewCheckpoint(job.id, 20, 1, 0.2, CheckpointKind.FINAL)
    with pytest.raises(NotFound):  # people do not upload into jobs
        b.read(b.rules.checkpoints.begin, person(), target)


# --- everything at once -------------------------------------------------------------------------------


class Chaos(RuleBasedStateMachine):
    """Two workers that freeze, fail and come back, people who change their minds, a server that restarts.

    The model is only this: who believes to hold the job in which attempt. The rules must never let two of
    them through, and the log must tell every change of state in one unbroken chain.
    """

    def __init__(self) -> None:
        super().__init__()
        self.b = Bench()
        self.job = self.b.create(start=True)
        self.workers = [self.b.register("one"), self.b.register("two")]
        self.believed: dict[int, TrainingJob] = {}
        self.seq = 0

    def teardown(self) -> None:
        self.b.database.close()

    @rule(who=some.integers(0, 1))
    def claim(self, who: int) -> None:
        found = self.b.claim(self.workers[who])
        if found is not None:
            self.believed[who] = found.job

    @rule(verb=some.sampled_from(["pause", "resume", "cancel"]))
    def steer(self, verb: str) -> None:
        if verb == "cancel" and self.seq % 3:
            return  # else every run is over too soon
        with contextlib.suppress(Precondition):
            self.b.steer(verb, self.job)

    @precondition(lambda self: self.believed)
    @rule(who=some.integers(0, 1), outcome=some.sampled_from(WorkOutcome), retry=some.booleans())
    def finish(self, who: int, outcome: WorkOutcome, retry: bool) -> None:
        if who in self.believed:
            with contextlib.suppress(Precondition):
                self.b.finish(self.workers[who], self.believed[who], Ending(outcome, LOST, retry))

    @precondition(lambda self: self.believed)
    @rule(who=some.integers(0, 1))
    def report(self, who: int) -> None:
        if who not in self.believed:
            return
        self.seq += 1
        believed, now = self.believed[who], self.b.job(self.job)
        owns = now.attempt == believed.attempt and now.state in HELD_STATES
        try:
            report(self.b, self.workers[who], believed, at(self.seq, JobState.RUNNING))
            assert owns
        except Precondition as refused:
            assert refused.reason is Reason.ATTEMPT_OUTDATED  # noqa: PT017
            assert not owns

    @rule(seconds=some.sampled_from([1.0, 19.0, 25.0, 400.0]))
    def time(self, seconds: float) -> None:
        self.b.clock.advance(seconds)
        self.b.write(self.b.rules.workers.reap)

    @rule()
    def restart(self) -> None:
        self.b.wire()
        self.b.write(self.b.rules.workers.recover)

    @invariant()
    def one_owner_and_an_unbroken_log(self) -> None:
        now = self.b.job(self.job)
        owners = [
            who
            for who, believed in self.believed.items()
            if not beat(self.b, self.workers[who], believed).lost
        ]
        assert len(owners) <= 1
        assert bool(owners) == (now.state in HELD_STATES)
        log = self.b.events(self.job)
        assert [each.seq for each in log] == list(range(1, len(log) + 1))
        changes = [each.body for each in log if isinstance(each.body, StateChange)]
        assert all(one.after == two.before for one, two in itertools.pairwise(changes))
        assert changes[-1].after == now.state
        assert (now.running_since is not None) == (now.state is JobState.RUNNING)
        assert (now.lease_expire_time is not None) == (now.state in HELD_STATES)


TestChaos = Chaos.TestCase
TestChaos.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
