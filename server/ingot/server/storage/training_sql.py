"""Rows of training jobs and of their checkpoints."""

import json
from collections.abc import Collection, Sequence

import peewee

from ingot.server.core.catalog_stores import Rows
from ingot.server.core.errors import Conflict, Reason
from ingot.server.core.lineage import Relation
from ingot.server.core.names import ArtifactName, VersionName
from ingot.server.core.training import (
    FINAL_STATES,
    HELD_STATES,
    Checkpoint,
    CheckpointKind,
    JobState,
    TrainingJob,
    TrainingStats,
)
from ingot.server.storage import accounts_sql, keyset, sql, tables, training_json

_Row = tables.TrainingJob
_HELD = sorted(HELD_STATES)
_FINAL = sorted(FINAL_STATES)


class TrainingSql:
    """Implements TrainingStore."""

    def find(self, job: str) -> TrainingJob | None:
        row = _Row.get_or_none(_Row.number == number_of(job, "job_"))
        return None if row is None else _job(row)

    def add(self, job: TrainingJob) -> None:
        _Row.insert(
            number=job.number,
            uid=job.uid,
            namespace=job.namespace,
            definition=training_json.definition(job),
            **_changing(job),
        ).execute()
        inputs = [(job.dataset, Relation.DATASET), *([(job.base, Relation.BASE)] if job.base else [])]
        sql.run_many(
            "INSERT INTO job_input(version, job, relation) VALUES (?, ?, ?)",
            [(str(version.name), job.number, relation.value) for version, relation in inputs],
        )

    def save(self, before: TrainingJob, after: TrainingJob) -> None:
        changed = (
            _Row.update(**_changing(after))
            .where(
                _Row.number == before.number,
                _Row.state == before.state,
                _Row.attempt == before.attempt,
                _Row.revision == before.revision,
            )
            .execute()
        )
        if not changed:
            raise Conflict(
                Reason.ETAG_MISMATCH,
                f"{before.name} changed while it was being changed.",
                next_step="Read the job again and decide anew.",
                facts={"name": before.name},
            )

    def delete(self, job: TrainingJob) -> None:
        _Row.delete().where(_Row.number == job.number).execute()
        sql.run("DELETE FROM job_input WHERE job = ?", job.number)

    def page(
        self, namespaces: Collection[str] | None, state: JobState | None, after: int | None, size: int
    ) -> Rows[TrainingJob]:
        query = _Row.select()
        if namespaces is not None:
            query = query.where(_Row.namespace.in_(sorted(namespaces)))
        if state is not None:
            query = query.where(_Row.state == state)
        rows, key = keyset.page(
            query, (_Row.number,), None if after is None else (after,), size, descending=True
        )
        return Rows([_job(row) for row in rows], None if key is None else (int(key[0]),))

    def claimable(self, now: float, after: int, limit: int) -> Sequence[TrainingJob]:
        query = _Row.select().where(
            _Row.state == JobState.QUEUED, _Row.number > after, _Row.not_before <= now
        )
        return [_job(row) for row in query.order_by(_Row.number).limit(limit)]

    def next_due(self, now: float) -> float | None:
        query = _Row.select(peewee.fn.MIN(_Row.not_before)).where(
            _Row.state == JobState.QUEUED, _Row.not_before > now
        )
        due: float | None = query.scalar()
        return due

    def held_by(self, workers: Collection[str]) -> Sequence[TrainingJob]:
        query = _Row.select().where(_Row.worker.in_(sorted(workers)), _Row.state.in_(_HELD))
        return [_job(row) for row in query.order_by(_Row.number)]

    def expired(self, now: float) -> Sequence[TrainingJob]:
        query = _Row.select().where(_Row.state.in_(_HELD), _Row.lease_expires <= now)
        return [_job(row) for row in query.order_by(_Row.number)]

    def extend_all(self, expire_time: float) -> int:
        held = _Row.state.in_(_HELD)
        _Row.update(lease_expires=expire_time).where(held, _Row.lease_expires < expire_time).execute()
        return int(_Row.select().where(held).count())

    def stats(self, namespaces: Collection[str] | None, now: float) -> TrainingStats:
        chosen = "" if namespaces is None else "WHERE namespace IN (SELECT value FROM json_each(?))"
        found = sql.rows(
            "SELECT state, COUNT(*), SUM(training_seconds), SUM(MAX(0, ? - running_since)) "
            f"FROM training_job {chosen} GROUP BY state",
            now,
            *(() if namespaces is None else (json.dumps(sorted(namespaces)),)),
        )
        return TrainingStats(
            {JobState(str(state)): int(count or 0) for state, count, _, _ in found},
            sum(float(done or 0) + float(running or 0) for _, _, done, running in found),
        )

    def dependants(self, artifact: ArtifactName) -> Sequence[str]:
        live = _Row.select().where(_Row.state.not_in(_FINAL)).order_by(_Row.number)
        return [job.name for job in map(_job, live) if _needs(job, str(artifact))]

    def reading(self, version: VersionName) -> Sequence[str]:
        live = _Row.select().where(_Row.state.not_in(_FINAL)).order_by(_Row.number)
        return [job.name for job in map(_job, live) if version in _read_by(job)]


class CheckpointsSql:
    """Implements CheckpointStore."""

    def find(self, job: str, step: int) -> Checkpoint | None:
        table = tables.Checkpoint
        row = table.get_or_none(table.job == number_of(job, "job_"), table.step == step)
        return None if row is None else _checkpoint(row)

    def put(self, checkpoint: Checkpoint) -> None:
        number = number_of(checkpoint.job, "job_")
        accounts_sql.grow_checkpoints(number, checkpoint.step, -1)  # the one that it replaces, if any
        tables.Checkpoint.insert(
            job=number,
            step=checkpoint.step,
            epoch=checkpoint.epoch,
            kind=checkpoint.kind,
            attempt=checkpoint.attempt,
            world_size=checkpoint.world_size,
            metrics=json.dumps(dict(checkpoint.metrics)),
            tree=checkpoint.tree,
            digest=checkpoint.digest,
            size_bytes=checkpoint.size_bytes,
            file_count=checkpoint.file_count,
            created=checkpoint.create_time,
        ).on_conflict_replace().execute()
        accounts_sql.grow_checkpoints(number, checkpoint.step, 1)

    def delete(self, job: str, step: int) -> None:
        table = tables.Checkpoint
        accounts_sql.grow_checkpoints(number_of(job, "job_"), step, -1)
        table.delete().where(table.job == number_of(job, "job_"), table.step == step).execute()

    def all(self, job: str) -> Sequence[Checkpoint]:
        table = tables.Checkpoint
        query = table.select().where(table.job == number_of(job, "job_")).order_by(table.step)
        return [_checkpoint(row) for row in query]


def number_of(made_id: str, prefix: str) -> int:
    """Return the number in an id such as `job_12`, -1 (the number of nothing) for an id of another kind."""
    digits = made_id.removeprefix(prefix)
    return int(digits) if made_id.startswith(prefix) and digits.isdecimal() else -1


def _read_by(job: TrainingJob) -> set[VersionName]:
    return {job.dataset.name} | ({job.base.name} if job.base is not None else set())


def _needs(job: TrainingJob, artifact: str) -> bool:
    names = {str(job.dataset.name.artifact), str(job.output_artifact)}
    if job.base is not None:
        names.add(str(job.base.name.artifact))
    return artifact.lower() in {name.lower() for name in names}


def _changing(job: TrainingJob) -> dict[str, object]:
    return {
        "state": job.state,
        "attempt": job.attempt,
        "revision": job.revision,
        "worker": job.worker,
        "lease_expires": job.lease_expire_time,
        "not_before": job.not_before,
        "training_seconds": job.training_seconds,
        "running_since": job.running_since,
        "condition": training_json.condition(job),
    }


def _job(row: tables.TrainingJob) -> TrainingJob:
    columns = {
        "number": row.number,
        "uid": row.uid,
        "namespace": row.namespace,
        "state": row.state,
        "attempt": row.attempt,
        "revision": row.revision,
        "worker": row.worker,
        "lease_expire_time": row.lease_expires,
        "not_before": row.not_before,
        "training_seconds": row.training_seconds,
        "running_since": row.running_since,
    }
    return training_json.job_of(columns, row.definition, row.condition)


def _checkpoint(row: tables.Checkpoint) -> Checkpoint:
    return Checkpoint(
        job=f"job_{row.job}",
        step=row.step,
        epoch=row.epoch,
        kind=CheckpointKind(row.kind),
        attempt=row.attempt,
        world_size=row.world_size,
        metrics=json.loads(row.metrics),
        tree=row.tree,
        digest=bytes(row.digest),
        size_bytes=row.size_bytes,
        file_count=row.file_count,
        create_time=row.created,
    )
