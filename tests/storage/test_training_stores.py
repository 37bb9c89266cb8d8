"""The stores of training on SQLite: in memory, and in a file with its writer thread."""

import pathlib
from collections.abc import Iterator

import pytest

from contracts import training_stores_contract as contracts
from helpers.schema import migrated
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.events_sql import EventsSql, MetricsSql
from ingot.server.storage.training_sql import CheckpointsSql, TrainingSql
from ingot.server.storage.workers_sql import WorkersSql


@pytest.fixture(params=["memory", "file"])
def units(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Database]:
    url = ":memory:" if request.param == "memory" else str(tmp_path / "ingot.db")
    database = open_database(f"sqlite:///{url}")
    migrated(database)
    yield database
    database.close()


class TestTraining(contracts.TrainingStoreContract):
    @pytest.fixture
    def store(self) -> TrainingSql:
        return TrainingSql()


class TestCheckpoints(contracts.CheckpointStoreContract):
    @pytest.fixture
    def store(self) -> CheckpointsSql:
        return CheckpointsSql()


class TestEvents(contracts.EventStoreContract):
    @pytest.fixture
    def store(self) -> EventsSql:
        return EventsSql()


class TestMetrics(contracts.MetricStoreContract):
    @pytest.fixture
    def store(self) -> MetricsSql:
        return MetricsSql()


class TestWorkers(contracts.WorkerStoreContract):
    @pytest.fixture
    def store(self) -> WorkersSql:
        return WorkersSql()


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("SELECT * FROM training_job WHERE state = 'QUEUED' AND not_before <= 5 ORDER BY number", "state"),
        ("SELECT * FROM training_job WHERE namespace = 'a' ORDER BY number DESC", "namespace"),
        ("SELECT * FROM training_job WHERE worker IN ('worker_1')", "worker"),
        ("SELECT * FROM event WHERE log = 1 AND seq > 5 ORDER BY seq", "PRIMARY KEY"),
        (
            # As events_sql asks.
            "SELECT * FROM event INDEXED BY event_log_kind_seq WHERE log = 1 AND kind = 'log' AND seq > 5",
            "(log=? AND kind=? AND seq>?)",
        ),
        (
            "SELECT * FROM metric_point WHERE log = 1 AND series = 'loss' AND step > 5 ORDER BY step",
            "PRIMARY KEY",
        ),
        ("SELECT * FROM worker WHERE heard >= 5", "heard"),
    ],
)
def test_lists_are_answered_from_an_index_without_sorting(
    units: Database, statement: str, index: str
) -> None:
    with units.direct() as connection:
        plan = " ".join(row[3] for row in connection.execute_sql(f"EXPLAIN QUERY PLAN {statement}"))
    assert "SEARCH" in plan
    assert index in plan
    assert "TEMP B-TREE" not in plan
