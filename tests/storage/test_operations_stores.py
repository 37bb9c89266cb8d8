"""The stores of operations on SQLite: their promises, their indexes, and rows from before the queues."""

import json
import pathlib
from collections.abc import Iterator

import pytest

from contracts import operation_stores_contract as contracts
from helpers import queries
from helpers.schema import earlier, migrated
from ingot.server.core.operation_stores import OperationFilter
from ingot.server.core.operations import Operation, OperationState
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.migration_runner import migrate
from ingot.server.storage.operations_sql import OperationsSql, SchedulesSql

STORE = OperationsSql()


@pytest.fixture(params=["memory", "file"])
def units(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Database]:
    url = ":memory:" if request.param == "memory" else str(tmp_path / "ingot.db")
    database = migrated(open_database(f"sqlite:///{url}"))
    yield database
    database.close()


@pytest.fixture
def memory() -> Iterator[Database]:
    database = migrated(open_database("sqlite:///:memory:"))
    yield database
    database.close()


class TestOperations(contracts.OperationStoreContract):
    @pytest.fixture
    def store(self) -> OperationsSql:
        return OperationsSql()


class TestSchedules(contracts.ScheduleStoreContract):
    @pytest.fixture
    def store(self) -> SchedulesSql:
        return SchedulesSql()


@pytest.mark.parametrize("requester", [None, "users/sara"])
@pytest.mark.parametrize(
    "wanted",
    [
        OperationFilter(),
        OperationFilter(kind="import"),
        OperationFilter(state=OperationState.QUEUED),
        OperationFilter(queue="download"),
        OperationFilter(target="x"),
        OperationFilter(namespace="sara"),
        OperationFilter(namespace="sara", kind="import"),
        OperationFilter(shared=("lab", "sara")),
        OperationFilter(shared=("lab", "sara"), kind="import", active_only=True),
    ],
    ids=str,
)
def test_pages_and_changes_come_in_order_from_an_index(
    memory: Database, requester: str | None, wanted: OperationFilter
) -> None:
    with queries.recorded(memory) as asked:
        memory.read(STORE.page, requester, wanted, 50, 10)
        memory.read(STORE.since, requester, wanted, 50, 10)
    assert len(asked) == 2 * (1 + len(wanted.shared))
    assert queries.scans(memory, asked) == []
    assert queries.sorts(memory, asked) == []


def test_claims_come_in_order_from_an_index(memory: Database) -> None:
    with queries.recorded(memory) as asked:
        memory.read(STORE.next_waiting, "download", 5.0)
        memory.read(STORE.next_due, 5.0)
        memory.read(STORE.claimed_in, "download")
        memory.read(STORE.claimed)
        memory.read(STORE.requesters, "download", 0)
        memory.read(STORE.next_of, "users/sara", "download", 0, 5.0)
        memory.read(STORE.unfinished_of, "users/sara")
        memory.read(STORE.unfinished, "key")
        memory.write(STORE.forget, 5.0, 10).result()
    assert len(asked) == 9
    assert queries.scans(memory, asked) == []
    assert queries.sorts(memory, asked) == []
    assert "operation_claim (phase=? AND queue=?)" in " ".join(queries.plan(memory, asked[0]))


def test_rows_of_older_servers_are_taken_over() -> None:
    database = earlier(open_database("sqlite:///:memory:"), 5)
    document = {
        "create_time": 1.0,
        "target": "x",
        "queue": "maintenance",
        "attempt": 1,
        "progress": None,
        "problem": None,
        "params": {},
        "result": {"uploads": 3},
        "start_time": 2.0,
    }
    row = (
        "INSERT INTO operation(number, kind, state, requester, finished, revision, document) "
        "VALUES (?, ?, ?, 'system', ?, 2, ?)"
    )
    with database.direct() as connection:
        connection.execute_sql(row, (4, "clean", "SUCCEEDED", 3.0, json.dumps(document)))
        connection.execute_sql(row, (9, "clean", "RUNNING", None, json.dumps(document)))
    migrate(database)
    found = database.read(STORE.find, "op_4")
    assert isinstance(found, Operation)
    assert (found.state, found.target, found.attempt, found.finish_time, found.result) == (
        OperationState.SUCCEEDED,
        "x",
        1,
        3.0,
        {"uploads": 3},
    )
    assert [(each.number, each.tries, each.policy.max_attempts) for each in database.read(STORE.claimed)] == [
        (9, 1, 1)
    ]
    with database.direct() as connection:
        assert connection.execute_sql("SELECT value FROM counter WHERE word = 'change'").fetchone() == (9,)
    database.close()
