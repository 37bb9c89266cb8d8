"""What strangers find out about versions that nobody approved: nothing, however they ask."""

import dataclasses
from collections.abc import Iterator

import pytest

from helpers.catalogs import NO_KEY, CatalogRig
from ingot.server.core import texts
from ingot.server.core.artifacts import ArtifactFields, Figures, Version, VersionOrigin, Visibility
from ingot.server.core.identity import Caller, Role
from ingot.server.core.names import Kind, artifact_name
from ingot.server.core.pages import PageTokens
from ingot.server.domain.catalog_asked import ArtifactChange, ArtifactListing
from ingot.server.domain.catalog_search import CatalogSearch, Narrowing
from ingot.server.domain.usage import Usage
from ingot.server.domain.usage_reports import UsageReports
from ingot.server.storage import sql
from ingot.server.storage.usage_sql import UsageSql

TINY = artifact_name("namespaces/sara/models/tiny")
SMALL, LARGE = 10, 42_000


class Rig(CatalogRig):
    """A public model of sara's with an approved small version; mina is a stranger."""

    def __init__(self) -> None:
        super().__init__()
        self.search = CatalogSearch(self.artifacts, self.catalog, self.access)
        self.sara, self.mina = self.user("sara"), self.user("mina")
        self.root = self.user("root", Role.ADMIN)
        self.create(self.sara, "tiny", visibility=Visibility.PUBLIC, license="MIT")
        self.create(self.sara, "other", visibility=Visibility.PUBLIC)
        self.approve(self.push(SMALL, "txt"))

    def push(self, size: int, main_format: str) -> Version:
        return self.commit(self.sara, str(TINY), size=size, format=main_format)

    def approve(self, version: Version) -> None:
        asked = self.write(self.approvals.request, self.sara, version.name, "", NO_KEY)
        self.write(self.approvals.decide, self.root, asked.name, "good", "", NO_KEY, approve=True)

    def show_to(self, visibility: Visibility) -> None:
        change = ArtifactChange(TINY, ArtifactFields(visibility=visibility), ("visibility",))
        self.write(self.catalog.update, self.sara, change, NO_KEY, validate_only=False)

    def found(self, who: Caller, filter: str = "", order_by: str = "") -> list[str]:
        page = self.read(self.catalog.page, who, ArtifactListing(filter=filter, order_by=order_by))
        return [each.name.artifact for each in page.items]

    def told(self, who: Caller) -> list[object]:
        """Return all that lists, facets and totals tell somebody about the numbers of versions."""
        asked = [
            *(f"size_bytes {sign} 1000" for sign in "<>"),
            *(f"size_bytes = {size}" for size in (SMALL, LARGE)),
            *(f"version_count = {count}" for count in range(3)),
            *(f'format = "{each}"' for each in ("txt", "jsonl")),
        ]
        totals = self.read(self.catalog.totals, who, Kind.MODEL)
        return [
            *(self.found(who, each) for each in asked),
            *(self.found(who, order_by=f"{each} desc") for each in ("size_bytes", "version_count")),
            self.read(self.search.facets, who, Narrowing(), ["format"], 0),
            self.read(self.search.facets, who, Narrowing(filter="version_count < 99"), ["format"], 0),
            (totals.artifact_count, totals.version_count, totals.size_bytes),
            {term.value: count for term, count in totals.terms.items() if term.field == "format"},
        ]


@pytest.fixture
def rig() -> Iterator[Rig]:
    found = Rig()
    yield found
    found.database.close()


def test_filters_facets_order_and_totals_know_approved_versions_only(rig: Rig) -> None:
    before = rig.told(rig.mina)
    hidden = rig.push(LARGE, "jsonl")
    assert rig.told(rig.mina) == before
    assert rig.told(rig.sara) == before  # one set of numbers for everybody: nothing to compare with
    own = rig.read(rig.catalog.require_read, rig.sara, TINY)
    assert (own.size_bytes, own.version_count, own.version_bytes, own.format) == (
        LARGE,
        2,
        SMALL + LARGE,
        "jsonl",
    )
    rig.approve(hidden)
    after = rig.told(rig.mina)
    assert after != before
    assert rig.found(rig.mina, 'size_bytes > 1000 format = "jsonl" version_count = 2') == ["tiny"]
    assert after[-2:] == [(2, 2, SMALL + LARGE), {"jsonl": 1}]


def test_numbers_change_with_who_may_see_an_artifact(rig: Rig) -> None:
    rig.push(LARGE, "jsonl")
    public = rig.told(rig.mina)
    rig.show_to(Visibility.INTERNAL)  # every READY version is for everybody signed in
    assert rig.found(rig.mina, f"size_bytes = {LARGE} version_count = 2") == ["tiny"]
    assert rig.told(rig.mina) != public
    rig.show_to(Visibility.PUBLIC)
    assert rig.told(rig.mina) == public
    rig.write(rig.catalog.delete, rig.sara, TINY, NO_KEY, force=True)
    assert rig.read(rig.catalog.totals, rig.root, Kind.MODEL).size_bytes == 0


def test_what_an_older_server_wrote_is_renewed(rig: Rig) -> None:
    rig.push(LARGE, "jsonl")
    wanted = rig.told(rig.mina)

    def as_before() -> None:
        """Write the artifact as a server did that found it by its own numbers."""
        artifact = rig.artifacts.find(TINY)
        assert artifact is not None
        rig.artifacts.index_again([(artifact, "", (), Figures.of(artifact))])
        sql.run("UPDATE artifact SET indexed = ?", texts.SEARCH_FORM - 1)

    rig.write(as_before)
    assert rig.found(rig.mina, f"size_bytes = {LARGE}") == ["tiny"]
    while rig.write(rig.search.renew):
        pass
    assert rig.told(rig.mina) == wanted
    own = rig.read(rig.catalog.require_read, rig.sara, TINY)
    assert (own.size_bytes, own.version_count) == (LARGE, 2)


def test_only_members_are_told_where_a_version_comes_from(rig: Rig) -> None:
    origin = VersionOrigin(upload="uploads/file_1", dataset_version="namespaces/sara/datasets/x/versions/1")
    made = rig.commit(rig.sara, str(TINY), origin=origin)
    rig.approve(made)

    def told(who: Caller) -> list[VersionOrigin]:
        artifact = rig.read(rig.catalog.require_read, who, TINY)
        return [
            rig.read(rig.versions.get, who, made.name).origin,
            rig.read(rig.versions.page, who, TINY, 1, "").items[0].origin,
            rig.read(rig.catalog.newest_versions, who, [artifact])[artifact.uid][0].origin,
        ]

    assert told(rig.mina) == [VersionOrigin()] * 3
    assert told(rig.sara) == told(rig.root) == [origin] * 3


def test_strangers_see_how_often_a_model_was_pulled_and_not_by_whom(rig: Rig) -> None:
    usage = Usage(UsageSql(), PageTokens(b"secret"), rig.clock, activity_days=30)
    artifact = rig.read(rig.catalog.require_read, rig.sara, TINY)
    usage.downloaded(dataclasses.replace(rig.sara, declared_user="root"), artifact.uid, "pull-1", "2")
    rig.write(usage.write, usage.take())
    strange, known = (rig.read(usage.shown, who, [artifact])[artifact.uid] for who in (rig.mina, rig.sara))
    assert (strange.download_count, strange.first_downloaded_by, strange.first_download_time) == (1, "", None)
    assert (known.download_count, known.first_downloaded_by) == (1, "root")
    reports = UsageReports(UsageSql(), rig.catalog, rig.users, rig.clock)
    report = rig.read(reports.of_artifact, rig.mina, TINY, days=1, rows=1)
    assert report.totals == strange
