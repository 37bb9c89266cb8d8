"""No question about usage reads a whole table or sorts it, and a page looks at bounded parts."""

from collections.abc import Iterator

import pytest

from helpers.queries import recorded, scans, sorts
from helpers.schema import migrated
from ingot.server.core.usage import SERVER, Activity, ActivityFilter
from ingot.server.storage.call_figures_sql import CallFiguresSql
from ingot.server.storage.dashboard_sql import DashboardSql
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.usage_sql import UsageSql

STORE, FIGURES = UsageSql(), CallFiguresSql()
FILTERS = {
    "nothing": ActivityFilter(),
    "principal": ActivityFilter(principal="users/a"),
    "target": ActivityFilter(target="t"),
    "action": ActivityFilter(action="get"),
    "artifact": ActivityFilter(artifact="namespaces/a/models/b"),
    "namespace": ActivityFilter(namespace="a"),
    "failed": ActivityFilter(failed=True),
    "principal and action": ActivityFilter(principal="users/a", action="get"),
    "principal and target": ActivityFilter(principal="users/a", target="t"),
    "all": ActivityFilter("users/a", "t", "get", "namespaces/a/models/b", "a", failed=True),
}


@pytest.fixture
def database() -> Iterator[Database]:
    opened = open_database("sqlite:///:memory:")
    migrated(opened)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("before", [None, 100])
def test_every_list_of_calls_goes_along_an_index(database: Database, name: str, before: int | None) -> None:
    with recorded(database) as asked:
        database.read(STORE.activities, FILTERS[name], before, 50)
    assert asked
    # Newest first, of all or of all that failed, is a scan that ends after a page.
    assert [each for each in scans(database, asked) if name not in ("nothing", "failed")] == []
    assert sorts(database, asked) == []


def test_counters_days_users_and_figures_are_looked_up(database: Database) -> None:
    with recorded(database) as asked:
        database.read(STORE.of, [SERVER])
        database.read(STORE.days, SERVER, 1, 30)
        database.read(STORE.users, SERVER, "", 10)
        database.read(STORE.most_downloaded, 10)
        database.read(FIGURES.methods, 1, 7)
        database.read(FIGURES.days, 1, 7)
    assert len(asked) == 6
    assert scans(database, asked) == []
    assert sorts(database, asked) == []


def test_counts_of_the_dashboard_read_indexes_alone(database: Database) -> None:
    store = DashboardSql()
    with recorded(database) as asked:
        database.read(store.operations)
        database.read(store.training_jobs)
        database.read(store.uploads)
        database.read(store.users)
    found = scans(database, asked)
    assert [step for step in found if "USING COVERING INDEX" not in step] == []


def _call(number: int, principal: str) -> Activity:
    return Activity(float(number), "get", "m", f"t{number % 3}", principal, "", "", "OK", 0.0, str(number))


def test_several_conditions_find_everything_in_bounded_steps(database: Database) -> None:
    store = UsageSql(window=10)
    calls = [_call(number, "users/rare" if number in (3, 77) else "users/a") for number in range(100)]
    database.write(STORE.add_activities, calls).result()
    wanted = ActivityFilter(principal="users/rare", action="get", target="t0")
    other = ActivityFilter(principal="users/rare", target="t2")
    for each, expected in ((wanted, ["3"]), (other, ["77"])):
        found: list[str] = []
        before: int | None = None
        pages = 0
        while True:
            page, before = database.read(store.activities, each, before, 5)
            found += [call.call_id for call in page]
            pages += 1
            if before is None:
                break
        assert found == expected
        assert pages == 10
