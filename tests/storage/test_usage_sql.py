"""Counters of artifacts: each download once, each access, each user once, and who was first."""

from collections.abc import Iterator

import pytest

from helpers.schema import migrated
from ingot.server.core.usage import ArtifactUsage, Use
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.usage_sql import UsageSql

STORE = UsageSql()


@pytest.fixture
def database() -> Iterator[Database]:
    opened = open_database("sqlite:///:memory:")
    migrated(opened)
    yield opened
    opened.close()


def _use(download: str = "", *, user: str = "sara", at: float = 1.0, uid: str = "a") -> Use:
    return Use(uid, "users/admin", user, f"10.0.0.{int(at)}", at, download)


def _count(database: Database, *uses: Use) -> ArtifactUsage:
    database.write(STORE.count, uses).result()
    return database.read(STORE.of, ["a"])["a"]


def test_an_unused_artifact_has_no_counters(database: Database) -> None:
    _count(database, _use())
    assert list(database.read(STORE.of, ["a", "b"])) == ["a"]


def test_a_resumed_download_counts_once(database: Database) -> None:
    assert _count(database, _use("d1"), _use("d1"), _use("d2")).download_count == 2
    assert _count(database, _use("d2")).download_count == 2


def test_the_same_download_id_of_another_artifact_is_another_download(database: Database) -> None:
    assert _count(database, _use("d1"), _use("d1", uid="b")).download_count == 1
    assert database.read(STORE.of, ["b"])["b"].download_count == 1


def test_accesses_count_each_time_and_add_up_with_downloads(database: Database) -> None:
    found = _count(database, _use(), _use(), _use("d1"))
    assert (found.access_count, found.download_count, found.total_requests) == (2, 1, 3)


def test_users_are_told_apart_by_credential_and_declared_name(database: Database) -> None:
    assert (
        _count(database, _use(), _use(user="omid"), _use("d1", user="omid"), _use(user="")).unique_users == 3
    )


def test_the_first_download_is_remembered_and_never_replaced(database: Database) -> None:
    found = _count(database, _use(at=1), _use("d1", user="omid", at=2), _use("d2", user="sara", at=3))
    assert (found.first_downloaded_by, found.first_downloaded_from) == ("omid", "10.0.0.2")
    assert found.first_download_time == 2
    again = _count(database, _use("d3", user="", at=4))
    assert again.first_downloaded_by == "omid"


def test_without_a_declared_name_the_credential_is_the_first_downloader(database: Database) -> None:
    assert _count(database, _use("d1", user="")).first_downloaded_by == "users/admin"
