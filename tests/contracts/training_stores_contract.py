"""What every store of training, workers and event logs promises, whatever database is below.

A test class inherits from a contract and gives the fixtures `units` (a Database) and `store`.
"""

import dataclasses
import math
from collections.abc import Callable

import pytest

from ingot.server.core.errors import Conflict, Problem, Reason
from ingot.server.core.events import (
    Body,
    Bounds,
    CheckpointNote,
    EventKind,
    LogLevel,
    LogLine,
    Metrics,
    NewEvent,
    Progress,
    StateChange,
    WarningNote,
)
from ingot.server.core.names import ArtifactName, Kind
from ingot.server.core.training import (
    Checkpoint,
    CheckpointKind,
    Desired,
    JobState,
    PinnedVersion,
    ResumeCertificate,
    TrainingJob,
    TrainingPlan,
)
from ingot.server.core.training_config import DeepSpeedConfig, TrainingConfig
from ingot.server.core.training_stores import (
    CheckpointStore,
    EventStore,
    MetricStore,
    TrainingStore,
    WorkerStore,
)
from ingot.server.core.workers import Device, Worker, WorkerFacts
from ingot.server.storage.database import Database

DATASET = ArtifactName("sara", Kind.DATASET, "Chat")
MODEL = ArtifactName("sara", Kind.MODEL, "tiny")
PROBLEM = Problem(Reason.DISK_LOW, "دیسک پر است.", {"free": "0"}, "Free some space.", 5.0)
LOG = "trainingJobs/job_1"


def a_job(number: int, state: JobState = JobState.QUEUED, **fields: object) -> TrainingJob:
    job = TrainingJob(
        number=number,
        uid=f"uid-{number}",
        namespace="sara",
        creator="users/sara",
        display_name="گفت‌وگو",
        dataset=PinnedVersion(DATASET.version("3"), b"d" * 32),
        base=None,
        config=TrainingConfig(epochs=2, learning_rate=1e-4, use_gpu=False),
        deepspeed=DeepSpeedConfig(1, "none", None),
        output_artifact=MODEL,
        plan=TrainingPlan(steps=9, warnings=("odd",), problems=(PROBLEM,), missing_software=("torch",)),
        create_time=1.5,
        update_time=2.5,
        state=state,
    )
    return dataclasses.replace(job, **fields)  # type: ignore[arg-type]


class TrainingStoreContract:
    """Jobs."""

    def test_a_job_comes_back_as_it_was(self, units: Database, store: TrainingStore) -> None:
        full = a_job(
            1,
            JobState.RUNNING,
            base=PinnedVersion(MODEL.version("1"), b"b" * 32),
            desired=Desired.RUN,
            attempt=2,
            worker="worker_1",
            lease_expire_time=30.0,
            last_outcome="",
            not_before=4.0,
            fruitless=1,
            output_version="x",
            progress=Progress("training", 1, 2, "steps", 50.0, 3.0, None, "…"),
            latest_metrics=Metrics(7, 0.5, {"loss": math.inf}),
            best_step=5,
            latest_step=6,
            certificate=ResumeCertificate(5, "c", "d", True, ""),
            problem=PROBLEM,
            training_seconds=8.0,
            running_since=9.0,
            start_time=10.0,
            finish_time=11.0,
            revision=12,
        )
        units.write(store.add, a_job(2)).result()
        units.write(store.add, full).result()
        assert units.read(store.find, "job_1") == full
        assert units.read(store.find, "job_2") == a_job(2)
        for absent in ("job_3", "op_1", "job_", "job_x"):
            assert units.read(store.find, absent) is None

    @pytest.mark.parametrize(
        "stale",
        [
            {"revision": 2},
            {"attempt": 1},
            {"state": JobState.PAUSED},
        ],
    )
    def test_a_save_that_decided_on_something_old_changes_nothing(
        self, units: Database, store: TrainingStore, stale: dict[str, object]
    ) -> None:
        job = a_job(1)
        units.write(store.add, job).result()
        old = dataclasses.replace(job, **stale)  # type: ignore[arg-type]
        with pytest.raises(Conflict):
            units.write(store.save, old, dataclasses.replace(job, fruitless=3)).result()
        assert units.read(store.find, "job_1") == job
        after = dataclasses.replace(job, state=JobState.PREPARING, attempt=1, revision=2)
        units.write(store.save, job, after).result()
        assert units.read(store.find, "job_1") == after

    def test_pages(self, units: Database, store: TrainingStore) -> None:
        for number in range(1, 6):
            namespace = "sara" if number % 2 else "omid"
            state = JobState.PAUSED if number == 3 else JobState.QUEUED
            units.write(store.add, a_job(number, state, namespace=namespace)).result()

        def listed(*query: object) -> tuple[list[int], object]:
            rows = units.read(store.page, *query)  # type: ignore[arg-type]
            return [job.number for job in rows.items], rows.next_key

        assert listed(None, None, None, 2) == ([5, 4], (4,))
        assert listed(None, None, 4, 9) == ([3, 2, 1], None)
        assert listed(["sara"], JobState.QUEUED, None, 9) == ([5, 1], None)
        assert listed([], None, None, 9) == ([], None)

    def test_queue_and_leases(self, units: Database, store: TrainingStore) -> None:
        rows = (
            a_job(1, not_before=50.0),
            a_job(2),
            a_job(3, JobState.RUNNING, worker="worker_1", lease_expire_time=10.0),
            a_job(4, JobState.PAUSED, worker="worker_1"),
            a_job(5, JobState.CANCELLING, worker="worker_2", lease_expire_time=30.0),
        )
        for job in rows:
            units.write(store.add, job).result()

        def numbers(jobs: object) -> list[int]:
            return [job.number for job in jobs]  # type: ignore[attr-defined]

        assert numbers(units.read(store.claimable, 20.0, 0, 9)) == [2]
        assert numbers(units.read(store.claimable, 50.0, 0, 1)) == [1]
        assert numbers(units.read(store.claimable, 50.0, 1, 1)) == [2]
        assert units.read(store.next_due, 20.0) == 50.0
        assert units.read(store.next_due, 50.0) is None
        assert numbers(units.read(store.held_by, ["worker_1", "worker_2"])) == [3, 5]
        assert numbers(units.read(store.held_by, [])) == []
        assert numbers(units.read(store.expired, 10.0)) == [3]
        assert units.write(store.extend_all, 20.0).result() == 2
        assert numbers(units.read(store.expired, 19.9)) == []
        assert numbers(units.read(store.expired, 20.0)) == [3], "a longer lease is not cut"

    def test_dependants_and_totals(self, units: Database, store: TrainingStore) -> None:
        units.write(store.add, a_job(1, JobState.RUNNING, running_since=5.0, training_seconds=2.0)).result()
        units.write(store.add, a_job(2, JobState.FAILED, training_seconds=3.0)).result()
        units.write(store.add, a_job(3, JobState.PAUSED, namespace="omid")).result()
        found = units.read(store.dependants, ArtifactName("sara", Kind.DATASET, "chat"))
        assert found == ["trainingJobs/job_1", "trainingJobs/job_3"]
        assert units.read(store.dependants, ArtifactName("sara", Kind.DATASET, "other")) == []
        assert units.read(store.reading, DATASET.version("3")) == ["trainingJobs/job_1", "trainingJobs/job_3"]
        assert units.read(store.reading, DATASET.version("4")) == []
        stats = units.read(store.stats, ["sara"], 9.0)
        assert stats.by_state == {JobState.RUNNING: 1, JobState.FAILED: 1}
        assert stats.training_seconds == pytest.approx(9.0)
        assert sum(units.read(store.stats, None, 9.0).by_state.values()) == 3
        units.write(store.delete, a_job(1)).result()
        assert units.read(store.find, "job_1") is None


class CheckpointStoreContract:
    """Checkpoints."""

    def test_put_replaces_and_all_is_by_step(self, units: Database, store: CheckpointStore) -> None:
        first = Checkpoint(
            "job_1", 20, 0.2, CheckpointKind.PERIODIC, 1, 1, {"eval_loss": math.nan}, 7, b"x" * 32, 10, 3, 1.0
        )
        again = dataclasses.replace(first, tree=8, metrics={"eval_loss": 1.0})
        other = dataclasses.replace(first, step=10, kind=CheckpointKind.PAUSE, metrics={})
        for each in (first, again, other, dataclasses.replace(other, job="job_2")):
            units.write(store.put, each).result()
        assert units.read(store.all, "job_1") == [other, again]
        assert units.read(store.find, "job_1", 20) == again
        units.write(store.delete, "job_1", 20).result()
        assert units.read(store.find, "job_1", 20) is None
        assert units.read(store.find, "job_2", 10) is not None


def line(seq: int, text: str, level: LogLevel = LogLevel.INFO, rank: int = 0) -> NewEvent:
    return NewEvent(LogLine(level, rank, text), seq)


class EventStoreContract:
    """Event logs."""

    @pytest.fixture
    def append(self, units: Database, store: EventStore) -> Callable[..., list[int]]:
        def call(*events: NewEvent, attempt: int = 1, subject: str = LOG) -> list[int]:
            return [each.seq for each in units.write(store.append, subject, attempt, events, 5.0).result()]

        return call

    def test_every_kind_comes_back_as_it_was(self, units: Database, store: EventStore) -> None:
        bodies: list[Body] = [
            StateChange("DRAFT", "QUEUED", "asked"),
            Progress("training", 1, 2, "steps", 50.0, 3.5, 9.0, "…"),
            Metrics(7, 0.5, {"loss": math.inf}),
            LogLine(LogLevel.ERROR, -1, "خط\n"),
            CheckpointNote("c", 7, "blake3:00", "best"),
            WarningNote(Reason.DIVERGED, "odd"),
        ]
        stored = units.write(store.append, LOG, 3, [NewEvent(body) for body in bodies], 5.0).result()
        read = units.read(store.read, LOG, 0, 100)
        assert list(read) == list(stored)
        assert [(each.body, each.seq, each.attempt, each.time) for each in read] == [
            (body, seq, 3, 5.0) for seq, body in enumerate(bodies, 1)
        ]

    def test_numbers_are_given_without_gaps_and_repetitions_are_skipped(
        self, units: Database, store: EventStore, append: Callable[..., list[int]]
    ) -> None:
        assert append(line(1, "a"), line(2, "b")) == [1, 2]
        assert append(line(2, "b"), line(3, "c")) == [3]
        assert append(line(1, "a"), line(2, "b"), line(3, "c")) == []
        assert append(line(1, "a"), attempt=2) == [4]
        assert append(line(0, "server"), line(0, "server")) == [5, 6]
        assert append(line(1, "other"), subject="trainingJobs/job_2") == [1]
        assert append() == []
        assert units.read(store.bounds, LOG) == Bounds(1, 6)
        assert units.read(store.bounds, "trainingJobs/job_9") == Bounds(1, 0)

    def test_a_rolled_back_append_takes_its_numbers_back(
        self, units: Database, store: EventStore, append: Callable[..., list[int]]
    ) -> None:
        def fail() -> None:
            store.append(LOG, 1, [line(1, "lost")], 5.0)
            raise ValueError

        with pytest.raises(ValueError):
            units.write(fail).result()
        assert append(line(1, "kept")) == [1]

    def test_reading_by_kind_level_and_rank(
        self, units: Database, store: EventStore, append: Callable[..., list[int]]
    ) -> None:
        append(
            line(1, "one"),
            NewEvent(Progress(), 2),
            line(3, "two", LogLevel.WARNING, 1),
            line(4, "three", LogLevel.ERROR, 0),
        )

        def seqs(after: int = 0, limit: int = 100, **chosen: object) -> list[int]:
            return [each.seq for each in units.read(store.read, LOG, after, limit, **chosen)]  # type: ignore[arg-type]

        assert seqs() == [1, 2, 3, 4]
        assert seqs(after=1, limit=2) == [2, 3]
        assert seqs(kind=EventKind.LOG) == [1, 3, 4]
        assert seqs(kind=EventKind.LOG, min_level=LogLevel.WARNING) == [3, 4]
        assert seqs(kind=EventKind.LOG, rank=0) == [1, 4]
        assert units.read(store.before_last, LOG, 1) == 3
        assert units.read(store.before_last, LOG, 2) == 1
        assert units.read(store.before_last, LOG, 3) == 0
        assert units.read(store.before_last, LOG, 1, min_level=LogLevel.WARNING, rank=1) == 0
        assert units.read(store.before_last, "nothing", 1) == 0

    def test_trim_and_delete(
        self, units: Database, store: EventStore, append: Callable[..., list[int]]
    ) -> None:
        append(*(line(seq, "x") for seq in range(1, 11)))
        units.write(store.trim, LOG, 20).result()
        assert units.read(store.bounds, LOG) == Bounds(1, 10)
        units.write(store.trim, LOG, 3).result()
        assert units.read(store.bounds, LOG) == Bounds(8, 10)
        assert [each.seq for each in units.read(store.read, LOG, 0, 100)] == [8, 9, 10]
        assert append(line(11, "x")) == [11]
        units.write(store.delete, LOG).result()
        assert units.read(store.bounds, LOG) == Bounds(1, 0)
        assert append(line(1, "anew")) == [1]


class MetricStoreContract:
    """Series."""

    def test_points_are_thinned_evenly_with_both_ends(self, units: Database, store: MetricStore) -> None:
        for step in range(1, 101):
            units.write(store.record, LOG, Metrics(step, 0.0, {"loss": 1 / step}), 10.0 + step).result()
        points = units.read(store.points, LOG, "loss", 0, 5)
        assert [point.step for point in points] == [1, 26, 51, 75, 100]
        assert points[-1].time == 110.0
        assert [point.step for point in units.read(store.points, LOG, "loss", 97, 5)] == [98, 99, 100]
        assert [point.step for point in units.read(store.points, LOG, "loss", 0, 2)] == [1, 100]
        assert units.read(store.points, LOG, "other", 0, 5) == []
        assert units.read(store.points, "nothing", "loss", 0, 5) == []

    def test_a_step_measured_again_replaces_its_point_and_odd_numbers_survive(
        self, units: Database, store: MetricStore
    ) -> None:
        odd = {"loss": math.nan, "grad_norm": math.inf, "eval_loss": 2.0}
        units.write(store.record, LOG, Metrics(1, 0.0, {"loss": 4.0}), 1.0).result()
        units.write(store.record, LOG, Metrics(1, 0.0, odd), 2.0).result()
        assert units.read(store.names, LOG) == ["eval_loss", "grad_norm", "loss"]
        (loss,) = units.read(store.points, LOG, "loss", 0, 5)
        assert math.isnan(loss.value)
        (norm,) = units.read(store.points, LOG, "grad_norm", 0, 5)
        assert math.isinf(norm.value)


class WorkerStoreContract:
    """Workers."""

    def test_workers(self, units: Database, store: WorkerStore) -> None:
        facts = WorkerFacts("one", (Device("cpu", "x", 1, 2),), {"python": "3.11"}, ("torch",), 5)
        one = Worker(1, "tok_1", facts, "192.0.2.1", 1.0, 10.0)
        two = Worker(2, "tok_1", WorkerFacts("two", ()), "", 2.0, 20.0)
        three = Worker(3, "tok_2", WorkerFacts("one", ()), "", 3.0, 30.0)
        for each in (one, two, three):
            units.write(store.put, each).result()
        later = dataclasses.replace(one, last_heartbeat_time=25.0)
        units.write(store.put, later).result()
        assert units.read(store.find, "worker_1") == later
        assert units.read(store.find, "worker_9") is None
        assert units.read(store.by_name, "tok_2", "one") == three
        assert units.read(store.by_name, "tok_2", "two") is None
        assert units.read(store.of_token, "tok_1") == [later, two]
        assert units.read(store.heard_since, 25.0) == [later, three]
        rows = units.read(store.page, 1, 1)
        assert (rows.items, rows.next_key) == ([two], (2,))
