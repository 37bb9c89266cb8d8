"""When something unapproved comes, strangers do not hear that it did; and workers see only what they hold."""

import dataclasses
from collections.abc import Iterator

import pytest

from helpers.catalogs import NO_KEY, CatalogRig, machine
from ingot.server.core.artifacts import ArtifactFields, Version, Visibility
from ingot.server.core.grants import Grant
from ingot.server.core.identity import Caller, Role
from ingot.server.core.names import Kind, artifact_name
from ingot.server.core.pages import PageTokens
from ingot.server.core.usage import ArtifactUsage
from ingot.server.core.workers import WorkGrant
from ingot.server.domain.catalog_asked import ArtifactChange, ArtifactListing
from ingot.server.domain.catalog_search import CatalogSearch, Narrowing
from ingot.server.domain.usage import Usage
from ingot.server.storage.grants_sql import GrantsSql
from ingot.server.storage.usage_sql import UsageSql

TINY = artifact_name("namespaces/sara/models/tiny")


class Rig(CatalogRig):
    """A public model of sara's with an approved version, and a newer one of omid's; mina is a stranger."""

    def __init__(self) -> None:
        super().__init__()
        self.search = CatalogSearch(self.artifacts, self.catalog, self.access)
        self.sara, self.omid, self.mina = self.user("sara"), self.user("omid"), self.user("mina")
        self.root = self.user("root", Role.ADMIN)
        self.create(self.sara, "tiny", visibility=Visibility.PUBLIC, license="MIT")
        self.approve(self.commit(self.sara, str(TINY)))
        self.clock.time += 60
        self.create(self.omid, "other", visibility=Visibility.PUBLIC)
        self.clock.time += 60

    def approve(self, version: Version) -> None:
        asked = self.write(self.approvals.request, self.sara, version.name, "", NO_KEY)
        self.write(self.approvals.decide, self.root, asked.name, "good", "", NO_KEY, approve=True)

    def change(self, **fields: object) -> None:
        said = dataclasses.replace(ArtifactFields(), **fields)  # type: ignore[arg-type]  # as the test says
        change = ArtifactChange(TINY, said, tuple(fields))
        self.write(self.catalog.update, self.sara, change, NO_KEY, validate_only=False)

    def watched(self, who: Caller, after: int) -> list[str]:
        """Return what a watch tells that has seen everything up to a change; uids of what is gone."""
        found = self.read(self.search.changes, who, Narrowing(), after, after, 50)
        return [each if isinstance(each, str) else each.name.artifact for _, each in found.items]

    def told(self, who: Caller) -> list[object]:
        """Return what somebody can tell the time of a change by."""
        artifact = self.read(self.catalog.require_read, who, TINY)
        page = self.read(self.catalog.page, who, ArtifactListing(order_by="update_time desc"))
        return [artifact.etag, artifact.update_time, [each.name for each in page.items]]


@pytest.fixture
def rig() -> Iterator[Rig]:
    found = Rig()
    yield found
    found.database.close()


def test_strangers_hear_of_what_they_see_and_of_nothing_else(rig: Rig) -> None:
    before, latest = rig.told(rig.mina), rig.read(rig.search.latest_change)
    hidden = rig.commit(rig.sara, str(TINY), size=42_000)
    assert rig.told(rig.mina) == before
    assert rig.watched(rig.mina, latest) == []
    assert rig.watched(rig.sara, latest) == rig.watched(rig.root, latest) == ["tiny"]
    assert rig.told(rig.sara)[1] == rig.clock.time
    rig.clock.time += 60
    latest = rig.read(rig.search.latest_change)
    rig.approve(hidden)
    after = rig.told(rig.mina)
    assert after[0] != before[0]
    assert after[1] == rig.clock.time
    assert after[2] == [TINY, artifact_name("namespaces/omid/models/other")] != before[2]
    assert rig.watched(rig.mina, latest) == ["tiny"]


def test_what_members_change_of_a_public_artifact_is_told_at_once(rig: Rig) -> None:
    for change in ({"description": "a small one"}, {"visibility": Visibility.INTERNAL}):
        latest, before = rig.read(rig.search.latest_change), rig.told(rig.mina)
        rig.clock.time += 60
        rig.change(**change)
        assert rig.watched(rig.mina, latest) == ["tiny"]
        assert rig.told(rig.mina)[0] != before[0]
        assert rig.told(rig.mina)[1] == rig.clock.time
    latest = rig.read(rig.search.latest_change)
    rig.commit(rig.sara, str(TINY))  # of an internal one everybody sees every version
    assert rig.watched(rig.mina, latest) == ["tiny"]


def test_who_lost_sight_of_an_artifact_hears_it_once(rig: Rig) -> None:
    uid, latest = rig.read(rig.catalog.uid_of, TINY), rig.read(rig.search.latest_change)
    rig.change(visibility=Visibility.PRIVATE)
    assert rig.watched(rig.mina, latest) == [uid]
    latest = rig.read(rig.search.latest_change)
    rig.commit(rig.sara, str(TINY))
    rig.change(description="nobody's business")
    assert rig.watched(rig.mina, latest) == []
    assert rig.watched(rig.sara, latest) == ["tiny"]


def test_who_is_shown_an_artifact_hears_of_every_change(rig: Rig) -> None:
    artifact = rig.read(rig.catalog.require_read, rig.sara, TINY)
    for visibility in (Visibility.PUBLIC, Visibility.PRIVATE):
        rig.change(visibility=visibility)
        rig.write(GrantsSql().add, artifact, Grant("mina", "users/sara", rig.clock.time))
        latest = rig.read(rig.search.latest_change)
        rig.commit(rig.sara, str(TINY))
        assert rig.watched(rig.mina, latest) == ["tiny"], visibility


def test_a_watch_that_looks_at_few_at_a_time_misses_nothing(rig: Rig) -> None:
    start = rig.read(rig.search.latest_change)
    rig.change(description="seen by everybody")  # then hidden changes push it further and further back
    for number in range(4):
        rig.commit(rig.sara, str(TINY))
        rig.create(rig.omid, f"new-{number}", visibility=Visibility.PUBLIC)
    told: list[str] = []
    place: int | None = start
    while place is not None:
        found = rig.read(rig.search.changes, rig.mina, Narrowing(), place, start, 2)
        told += [each.name.artifact for _, each in found.items if not isinstance(each, str)]
        place = found.more
    assert sorted(told) == ["new-0", "new-1", "new-2", "new-3", "tiny"]


def test_totals_of_administrators_count_everything(rig: Rig) -> None:
    def totals(who: Caller) -> tuple[int, int]:
        found = rig.read(rig.catalog.totals, who, Kind.MODEL)
        return found.version_count, found.size_bytes

    seen = totals(rig.mina)
    hidden = rig.commit(rig.sara, str(TINY), size=42_000)
    assert totals(rig.mina) == seen == (1, 100)
    assert totals(rig.root) == (2, 42_100)
    rig.change(visibility=Visibility.PRIVATE)
    assert (totals(rig.mina), totals(rig.root), totals(rig.sara)) == ((0, 0), (2, 42_100), (2, 42_100))
    rig.change(visibility=Visibility.PUBLIC)
    rig.approve(hidden)
    assert totals(rig.mina) == totals(rig.root) == (2, 42_100)
    rig.write(rig.catalog.delete, rig.sara, TINY, NO_KEY, force=True)
    assert totals(rig.root) == (0, 0)


def test_a_worker_sees_the_figures_of_what_it_holds(rig: Rig) -> None:
    held = rig.commit(rig.sara, str(TINY), size=700)
    rig.commit(rig.sara, str(TINY), size=42_000)
    worker = machine()
    grant = WorkGrant("trainingJobs/job_1", 1, "sara", frozenset({held.name}), "namespaces/sara/models/out")
    rig.work.grants[worker.principal] = [grant]
    seen = rig.read(rig.catalog.require_read, worker, TINY)
    assert (seen.current_version, seen.version_count, seen.size_bytes) == ("2", 1, 700)
    assert (seen.version_bytes, seen.stored_bytes, seen.update_time) == (700, 0, held.create_time)
    rig.clock.time += 60
    rig.commit(rig.sara, str(TINY))
    assert rig.read(rig.catalog.require_read, worker, TINY) == seen
    assert rig.read(rig.versions.get, worker, held.name).aliases == ()
    usage = Usage(UsageSql(), PageTokens(b"secret"), rig.clock, activity_days=30)
    usage.accessed(rig.sara, seen.uid)
    rig.write(usage.write, usage.take())
    assert rig.read(usage.shown, worker, [seen]) == {seen.uid: ArtifactUsage()}
