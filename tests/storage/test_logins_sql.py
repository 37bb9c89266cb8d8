"""Passwords and logins in rows: each change tells whether it was made, and lists use an index."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.catalogs import add_user
from helpers.schema import migrated
from ingot.server.core.identity import Role
from ingot.server.core.logins import Login
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.identity_sql import UsersSql
from ingot.server.storage.logins_sql import LoginsSql

STORE = LoginsSql()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = migrated(open_database(f"sqlite:///{tmp_path / 'ingot.db'}"))
    for user in ("sara", "omid"):
        found.write(add_user, UsersSql(), user).result()
    yield found
    found.close()


def login(number: int, user: str = "sara") -> Login:
    return Login(number, user, bytes(range(16)), 1, 10.5, 10.5, 100.5 + number)


def added(database: Database, *logins: Login) -> None:
    for each in logins:
        database.write(STORE.add, each).result()


def ended(database: Database) -> list[int]:
    found = [database.read(STORE.find, number) for number in range(1, 10)]
    return [each.number for each in found if each is not None and each.end_time is not None]


def test_a_password_replaces_the_one_before(database: Database) -> None:
    assert database.read(STORE.password, "sara") is None
    for hashed in ("first", "second"):
        database.write(STORE.set_password, "sara", hashed, 1.5).result()
    assert database.read(STORE.password, "sara") == "second"
    assert database.read(STORE.password, "omid") is None
    assert database.read(STORE.password, "nobody") is None


def test_a_login_is_found_as_it_was_added(database: Database) -> None:
    added(database, login(1))
    assert database.read(STORE.find, 1) == login(1)
    assert database.read(STORE.find, 2) is None


def test_a_refresh_token_is_used_up_once(database: Database) -> None:
    added(database, login(1))
    assert database.write(STORE.renew, login(1), 20.5).result()
    assert not database.write(STORE.renew, login(1), 21.5).result()
    expected = dataclasses.replace(login(1), generation=2, refresh_time=20.5)
    assert database.read(STORE.find, 1) == expected


def test_a_login_ends_once(database: Database) -> None:
    added(database, login(1), login(2))
    assert database.write(STORE.end, 1, 20.5).result()
    assert not database.write(STORE.end, 1, 21.5).result()
    assert not database.write(STORE.end, 9, 21.5).result()
    assert ended(database) == [1]


def test_all_of_a_user_end_but_one_or_but_the_newest(database: Database) -> None:
    added(database, *(login(number) for number in (1, 2, 3, 4)), login(5, "omid"))
    assert database.write(STORE.end_all, "sara", 20.5, newest=3).result() == 1
    assert ended(database) == [1]
    assert database.write(STORE.end_all, "sara", 20.5, but=3).result() == 2
    assert ended(database) == [1, 2, 4]
    assert database.write(STORE.end_all, "sara", 20.5).result() == 1
    assert ended(database) == [1, 2, 3, 4]


def test_what_ran_out_is_dropped(database: Database) -> None:
    added(database, login(1), login(2), login(3))
    assert database.write(STORE.forget, 103.0).result() == 2
    assert [database.read(STORE.find, number) is None for number in (1, 2, 3)] == [True, True, False]


def test_a_removed_user_leaves_no_row(database: Database) -> None:
    added(database, login(1), login(2, "omid"))
    database.write(STORE.set_password, "sara", "hashed", 1.5).result()
    database.write(UsersSql().remove, "sara").result()
    assert database.read(STORE.password, "sara") is None
    assert database.read(STORE.find, 1) is None
    assert database.read(STORE.find, 2) is not None
    assert database.read(UsersSql().find, "sara") is None


def test_a_changed_user_keeps_id_and_time(database: Database) -> None:
    before = database.read(UsersSql().find, "sara")
    assert before is not None
    after = dataclasses.replace(before, display_name="سارا", role=Role.VIEWER, disabled=True)
    database.write(UsersSql().change, after).result()
    assert database.read(UsersSql().find, "sara") == after
    assert after.etag != before.etag


@pytest.mark.parametrize(
    "question",
    [
        "SELECT number FROM login WHERE user = 'sara' AND ended IS NULL ORDER BY number DESC",
        "DELETE FROM login WHERE expires < 5",
        "SELECT hashed FROM password WHERE user = 'sara'",
    ],
)
def test_every_question_uses_an_index(database: Database, question: str) -> None:
    with database.direct() as connection:
        plan = [str(row[-1]) for row in connection.execute_sql(f"EXPLAIN QUERY PLAN {question}").fetchall()]
    assert plan
    assert all("SEARCH" in step for step in plan)
