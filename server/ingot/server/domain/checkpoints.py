"""What a worker brings in for its job: checkpoints, and in the end the result. Both arrive as uploads.

The transfer calls here twice: when an upload for a job begins, and inside the transaction that commits it.
Both times the attempt must still own the job, so a worker that lost its lease can publish nothing. Lineage is
written here, never by the worker.
"""

import math
from collections.abc import Sequence

from ingot.content import digests
from ingot.server.core.artifacts import NewVersion, VersionOrigin
from ingot.server.core.clock import Clock
from ingot.server.core.errors import IngotError, NotFound, Reason, invalid_field
from ingot.server.core.events import CheckpointNote, LogLevel, LogLine, NewEvent
from ingot.server.core.identity import Caller
from ingot.server.core.manifests import Tree
from ingot.server.core.names import CheckpointName, VersionName, made_id
from ingot.server.core.training import HELD_STATES, Checkpoint, CheckpointKind, NewCheckpoint, TrainingJob
from ingot.server.core.training_stores import CheckpointStore, TreeDropper
from ingot.server.core.workers import outdated
from ingot.server.domain.access import Access
from ingot.server.domain.events import EventLog
from ingot.server.domain.jobs import Jobs

_MOST_METRICS = 256
_METRIC_NAME_LIMIT = 200
EVAL_LOSS = ("eval_loss", "val/loss")  # names under which trainers report the loss on held-out data


class Checkpoints:
    """Checkpoints and results of training jobs. Methods run inside a unit of work."""

    def __init__(
        self,
        store: CheckpointStore,
        jobs: Jobs,
        access: Access,
        log: EventLog,
        trees: TreeDropper,
        clock: Clock,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._access = access
        self._log = log
        self._trees = trees
        self._clock = clock

    def begin(self, caller: Caller, target: NewCheckpoint | NewVersion) -> str:
        """Check that this worker's attempt may upload the target; return the namespace where its bytes count.

        Raises NotFound (TRAINING_JOB_NOT_FOUND), Precondition (ATTEMPT_OUTDATED), Invalid (FIELD_INVALID).
        """
        if isinstance(target, NewCheckpoint):
            _check(target)
            return self._owned(caller, target.job, target.attempt).namespace
        return self._result_job(caller, target).namespace

    def commit(self, caller: Caller, target: NewCheckpoint, tree: Tree) -> Checkpoint:
        """Make a tree a checkpoint of its job, tell watchers, and let go of those above the job's limit.

        Runs inside the write that commits the upload. A step that is saved again replaces its checkpoint.
        Raises NotFound (TRAINING_JOB_NOT_FOUND), Precondition (ATTEMPT_OUTDATED).
        """
        job = self._owned(caller, target.job, target.attempt)
        replaced = self._store.find(target.job, target.step)
        if replaced is not None and replaced.tree != tree.id:
            self._trees.drop(replaced.tree)
        checkpoint = Checkpoint(
            job=target.job,
            step=target.step,
            epoch=target.epoch,
            kind=target.kind,
            attempt=target.attempt,
            world_size=target.world_size,
            metrics=dict(target.metrics),
            tree=tree.id,
            digest=tree.digest,
            size_bytes=tree.size_bytes,
            file_count=tree.file_count,
            create_time=self._clock.now(),
        )
        self._store.put(checkpoint)
        kept = self._store.all(target.job)
        best = best_of(kept)
        further = job.latest_step is None or target.step > job.latest_step
        self._jobs.update(
            job,
            latest_step=target.step,
            best_step=None if best is None else best.step,
            fruitless=0 if further else job.fruitless,
        )
        note = CheckpointNote(
            checkpoint.name, target.step, digests.format_digest(tree.digest), target.kind.value
        )
        self._log.append(job.name, target.attempt, [NewEvent(note)])
        for old in surplus(kept, job.config.save_total_limit or 1, checkpoint):
            self._store.delete(old.job, old.step)
            self._trees.drop(old.tree)
        return checkpoint

    def origin(self, caller: Caller, target: NewVersion) -> VersionOrigin:
        """Return the lineage of a result: its job and the versions that were pinned for it.

        Raises NotFound (TRAINING_JOB_NOT_FOUND), Precondition (ATTEMPT_OUTDATED), Invalid (FIELD_INVALID).
        """
        job = self._result_job(caller, target)
        return VersionOrigin(
            training_job=job.name,
            dataset_version=str(job.dataset.name),
            base_version=str(job.base.name) if job.base else "",
        )

    def commit_result(self, caller: Caller, target: NewVersion, version: VersionName) -> None:
        """Note the version that a job's result became; runs inside the write that commits it.

        Raises as `origin`.
        """
        job = self._result_job(caller, target)
        self._jobs.update(job, output_version=str(version))
        line = LogLine(LogLevel.INFO, -1, f"The result is {version}.")
        self._log.append(job.name, target.attempt, [NewEvent(line)])

    def find(self, caller: Caller, name: CheckpointName) -> Checkpoint:
        """Return a checkpoint that the caller may read. Raises NotFound (CHECKPOINT_NOT_FOUND)."""
        try:
            job = self._jobs.find(name.job)
            self._access.require_job_read(caller, job.name, job.namespace)
        except NotFound:
            raise _not_found(name) from None
        found = self._store.find(name.job, name.step)
        if found is None:
            raise _not_found(name)
        return found

    def _owned(self, caller: Caller, job_id: str, attempt: int) -> TrainingJob:
        job = self._jobs.find(job_id)
        held = self._access.assignment(caller, job.name)
        if held is None or job.attempt != attempt or job.state not in HELD_STATES:
            raise self._refusal(caller, job, attempt)
        return job

    def _refusal(self, caller: Caller, job: TrainingJob, attempt: int) -> IngotError:
        # A worker that had the job is told that its attempt is over; to anybody else the job does not exist.
        if caller.is_worker and attempt and attempt <= job.attempt:
            return outdated(job.name, attempt)
        return NotFound(
            Reason.TRAINING_JOB_NOT_FOUND,
            f"{job.name} is not claimed by a worker of {caller.principal}.",
            next_step="Only the worker that holds a job uploads into it; claim it with ClaimWork.",
            facts={"training_job": job.name},
        )

    def _result_job(self, caller: Caller, target: NewVersion) -> TrainingJob:
        job = self._owned(
            caller, made_id(target.training_job, "trainingJobs", "training_job"), target.attempt
        )
        if str(job.output_artifact).lower() != str(target.artifact).lower():
            raise invalid_field(
                "target.version.artifact",
                f"expected {job.output_artifact}, the output of {job.name}, got {target.artifact}",
            )
        return job


def _check(target: NewCheckpoint) -> None:
    """Check what a worker tells of a checkpoint. A measured value may be NaN: that is what was measured."""
    where = "target.checkpoint"
    if target.step < 1:
        raise invalid_field(f"{where}.step", f"expected 1 or more, got {target.step}")
    if not (math.isfinite(target.epoch) and target.epoch >= 0):
        raise invalid_field(f"{where}.epoch", f"expected a finite number, 0 or more, got {target.epoch}")
    if target.world_size < 0:
        raise invalid_field(f"{where}.world_size", f"expected 0 or more, got {target.world_size}")
    if len(target.metrics) > _MOST_METRICS:
        raise invalid_field(
            f"{where}.metrics", f"expected at most {_MOST_METRICS} values, got {len(target.metrics)}"
        )
    for name in target.metrics:
        if not 0 < len(name) <= _METRIC_NAME_LIMIT or not name.isprintable():
            raise invalid_field(
                f"{where}.metrics",
                f"expected names of 1 to {_METRIC_NAME_LIMIT} printable characters, got {name[:80]!r}",
            )


def best_of(checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
    """Return the checkpoint with the lowest loss on held-out data, the earliest of equals; None without."""
    measured = [(loss, each.step) for each in checkpoints if (loss := eval_loss(each)) is not None]
    if not measured:
        return None
    step = min(measured)[1]
    return next(each for each in checkpoints if each.step == step)


def eval_loss(checkpoint: Checkpoint) -> float | None:
    """Return the loss on held-out data at a checkpoint; None when it was not measured or is no number."""
    found = next((checkpoint.metrics[name] for name in EVAL_LOSS if name in checkpoint.metrics), None)
    return None if found is None or math.isnan(found) else found


def surplus(checkpoints: Sequence[Checkpoint], limit: int, newest: Checkpoint) -> list[Checkpoint]:
    """Return what a job lets go: all but the `limit` committed last, the best, and the last pause."""
    by_time = sorted(checkpoints, key=lambda each: (each.create_time, each.step), reverse=True)
    kept = {each.step for each in by_time[:limit]} | {newest.step}
    best = best_of(checkpoints)
    if best is not None:
        kept.add(best.step)
    pause = next((each for each in by_time if each.kind is CheckpointKind.PAUSE), None)
    if pause is not None:
        kept.add(pause.step)
    return [each for each in checkpoints if each.step not in kept]


def _not_found(name: CheckpointName) -> NotFound:
    return NotFound(
        Reason.CHECKPOINT_NOT_FOUND,
        f"There is no checkpoint {name}, or it is not yours to see.",
        next_step="ListCheckpoints shows those that are kept; older ones go by save_total_limit.",
        facts={"checkpoint": str(name)},
    )
