"""Counters of artifacts: each download once, each access, each user once, and who was first."""

import dataclasses
import pathlib
from collections.abc import Iterator

import pytest

from helpers.catalogs import NO_KEY, CatalogRig
from helpers.schema import earlier, migrated
from ingot.server.core.names import Kind
from ingot.server.core.usage import SERVER, Activity, ActivityFilter, ArtifactUsage, UsageDay, Use
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.migration_runner import migrate
from ingot.server.storage.usage_sql import UsageSql, forget

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


DAY = 24 * 3600.0


def test_days_are_kept_apart_and_a_resumed_download_is_of_its_first(database: Database) -> None:
    uses = [_use(at=1), _use("d1", at=DAY - 1), _use("d1", at=DAY + 1), _use("d2", at=DAY + 2)]
    for use in uses:
        database.write(STORE.count, [use]).result()
    assert database.read(STORE.days, "a", 0, 5) == [UsageDay(0, 1, 1), UsageDay(1, 1, 0)]
    assert database.read(STORE.days, "a", 1, 1) == [UsageDay(1, 1, 0)]
    assert database.read(STORE.days, SERVER, 0, 5) == [UsageDay(0, 1, 1), UsageDay(1, 1, 0)]


def test_users_are_told_the_latest_first_and_downloads_of_a_version_apart(database: Database) -> None:
    uses = [
        dataclasses.replace(_use("d1", user="omid", at=1), version="1"),
        dataclasses.replace(_use("d2", user="sara", at=2), version="2"),
        _use(user="omid", at=3),
    ]
    database.write(STORE.count, uses).result()
    found = database.read(STORE.users, "a", "", 10)
    assert [(user.declared_user, user.downloads, user.accesses) for user in found] == [
        ("omid", 1, 1),
        ("sara", 1, 0),
    ]
    assert (found[0].first_time, found[0].last_time, found[0].address) == (1, 3, "10.0.0.3")
    assert [user.declared_user for user in database.read(STORE.users, "a", "2", 10)] == ["sara"]
    assert len(database.read(STORE.users, "a", "", 1)) == 1


def test_names_that_a_client_makes_up_are_bounded(database: Database) -> None:
    for start in range(0, 1200, 400):
        uses = [_use(user=f"name-{number}") for number in range(start, start + 400)]
        database.write(STORE.count, uses).result()
    assert database.read(STORE.of, ["a"])["a"].access_count == 1200
    assert database.read(STORE.of, ["a"])["a"].unique_users == 1001, "what is more counts for the principal"
    (rest,) = [user for user in database.read(STORE.users, "a", "", 2000) if not user.declared_user]
    assert rest.accesses == 200


def test_artifacts_are_ranked_by_downloads_and_those_in_the_trash_are_left_out() -> None:
    rig = CatalogRig()
    sara = rig.user("sara")
    made = {name: rig.create(sara, name, Kind.MODEL) for name in ("few", "more", "gone")}
    for name, count in (("few", 1), ("more", 3), ("gone", 5)):
        uses = [_use(f"d{number}", uid=made[name].uid) for number in range(count)]
        rig.database.write(STORE.count, uses).result()
    rig.write(rig.catalog.delete, sara, made["gone"].name, NO_KEY)
    assert [(name, usage.download_count) for name, usage in rig.read(STORE.most_downloaded, 10)] == [
        ("namespaces/sara/models/more", 3),
        ("namespaces/sara/models/few", 1),
    ]
    summed = rig.read(STORE.of, ["namespaces/sara"])["namespaces/sara"]
    assert summed.download_count == 9
    assert [day.downloads for day in rig.read(STORE.days, "namespaces/sara", 0, 1)] == [9]


def test_what_is_gone_for_good_leaves_no_counters(database: Database) -> None:
    database.write(STORE.count, [_use("d1"), _use(uid="b")]).result()
    database.write(forget, "a").result()
    assert list(database.read(STORE.of, ["a", "b"])) == ["b"]
    assert database.read(STORE.days, "a", 0, 1) == []
    assert database.read(STORE.users, "a", "", 10) == []


def test_counts_of_old_days_and_ids_of_old_downloads_are_forgotten(database: Database) -> None:
    for day in (1, 40, 41):
        database.write(STORE.count, [_use("d1" if day != 41 else "d2", at=day * DAY)]).result()
    assert database.write(STORE.forget_counts, 40, 41).result() == 3, "a day of two subjects, and one id"
    assert [each.day for each in database.read(STORE.days, "a", 0, 50)] == [41]
    assert database.read(STORE.of, ["a"])["a"].download_count == 2
    assert database.write(STORE.forget_counts, 40, 41).result() == 0


def test_a_call_whose_row_its_write_made_is_changed_not_added(database: Database) -> None:
    begun = Activity(1.0, "create", "m", "t", "users/a", "", "local", "OK", 0.1, "c")
    row = database.write(STORE.begin_activity, begun).result()
    ended = dataclasses.replace(begun, code="INTERNAL", seconds=2.0, reason="INTERNAL", row=row)
    database.write(STORE.add_activities, [ended]).result()
    found, following = database.read(STORE.activities, ActivityFilter(), None, 10)
    assert [(each.code, each.seconds, each.reason) for each in found] == [("INTERNAL", 2.0, "INTERNAL")]
    assert following is None


def test_what_was_counted_before_days_were_kept_stays(tmp_path: pathlib.Path) -> None:
    opened = earlier(open_database(f"sqlite:///{tmp_path / 'ingot.db'}"), 20)
    target = "namespaces/sara/models/Tiny/versions/1"
    call = (
        "INSERT INTO activity(time, action, method, target, principal, declared_user, address, code, "
        f"seconds, call_id) VALUES (1, 'get', 'm', '{target}', 'users/omid', '', '', 'OK', 1, 'c')"
    )
    with opened.direct() as connection:
        for statement in (
            "INSERT INTO usage_counter VALUES ('a', 2, 3, 2, 'omid', '10.0.0.1', 5.0)",
            "INSERT INTO usage_seen VALUES ('a', 'user', 'users/omid omid k')",
            "INSERT INTO usage_seen VALUES ('a', 'user', 'users/sara')",
            "INSERT INTO usage_seen VALUES ('a', 'download', 'd1')",
            call,
        ):
            connection.execute_sql(statement)
    migrate(opened)
    found = opened.read(STORE.of, ["a"])["a"]
    assert (found.download_count, found.access_count, found.unique_users) == (2, 3, 2)
    assert (found.first_downloaded_by, found.first_download_time) == ("omid", 5.0)
    users = {(user.principal, user.declared_user) for user in opened.read(STORE.users, "a", "", 10)}
    assert users == {("users/omid", "omid k"), ("users/sara", "")}
    calls, _ = opened.read(STORE.activities, ActivityFilter(artifact="namespaces/sara/models/tiny"), None, 5)
    assert [call.call_id for call in calls] == ["c"]
    opened.write(STORE.count, [_use("d1"), Use("a", "users/omid", "omid k", "", 9.0)]).result()
    after = opened.read(STORE.of, ["a"])["a"]
    assert (after.download_count, after.access_count, after.unique_users) == (2, 4, 2), (
        "d1 was counted before"
    )
    opened.close()
