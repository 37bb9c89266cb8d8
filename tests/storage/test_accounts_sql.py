"""Accounts of namespaces: checkpoints count for the namespace of their job, and nothing is counted twice."""

import contextlib
import dataclasses

from contracts.training_stores_contract import a_job
from helpers.schema import migrated
from ingot.server.core.training import Checkpoint, CheckpointKind
from ingot.server.storage.accounts_sql import AccountsSql
from ingot.server.storage.database import open_database
from ingot.server.storage.training_sql import CheckpointsSql, TrainingSql


def of_size(job: str, step: int, size: int) -> Checkpoint:
    return Checkpoint(
        job=job,
        step=step,
        epoch=1.0,
        kind=CheckpointKind.PERIODIC,
        attempt=1,
        world_size=1,
        metrics={},
        tree=step,
        digest=bytes(32),
        size_bytes=size,
        file_count=1,
        create_time=1.0,
    )


def test_checkpoints_count_for_the_namespace_of_their_job() -> None:
    store, accounts = CheckpointsSql(), AccountsSql()

    def size_after() -> int:
        assert accounts.recount(repair=False) == []
        return accounts.account("sara").size

    def changes() -> list[int]:
        job = dataclasses.replace(a_job(1), namespace="sara")
        TrainingSql().add(job)
        sizes = []
        for step, size in ((10, 300), (20, 50), (10, 400)):
            store.put(of_size(job.id, step, size))
            sizes.append(size_after())
        for step in (20, 30):
            store.delete(job.id, step)
            sizes.append(size_after())
        return sizes

    with contextlib.closing(open_database("sqlite:///:memory:")) as database:
        migrated(database)
        assert database.write(changes).result(60) == [300, 350, 450, 400, 400]
