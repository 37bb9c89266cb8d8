"""The stores of users, tokens and the catalog on SQLite: in memory, and in a file with its writer thread."""

import pathlib
from collections.abc import Iterator

import pytest

from contracts import catalog_stores_contract as contracts
from helpers.schema import migrated
from ingot.server.core.artifacts import Artifact
from ingot.server.storage.aliases_sql import AliasesSql
from ingot.server.storage.catalog_sql import ArtifactsSql
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.facts_sql import FactsSql
from ingot.server.storage.identity_sql import CountersSql, RequestsSql, TokensSql, UsersSql
from ingot.server.storage.versions_sql import VersionsSql


@pytest.fixture(params=["memory", "file"])
def units(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Database]:
    url = ":memory:" if request.param == "memory" else str(tmp_path / "ingot.db")
    database = open_database(f"sqlite:///{url}")
    migrated(database)
    yield database
    database.close()


@pytest.fixture
def artifacts() -> ArtifactsSql:
    return ArtifactsSql()


class TestArtifacts(contracts.ArtifactStoreContract):
    @pytest.fixture(params=[(4000, 20_000, 4096), (0, 3, 0)], ids=["rare", "common"])
    def store(self, request: pytest.FixtureRequest) -> ArtifactsSql:
        few, steps, common = request.param
        return ArtifactsSql(few, steps, common)


class TestVersions(contracts.VersionStoreContract):
    @pytest.fixture
    def store(self) -> VersionsSql:
        return VersionsSql()


class TestAliases(contracts.AliasStoreContract):
    @pytest.fixture
    def store(self) -> AliasesSql:
        return AliasesSql()

    @pytest.fixture
    def versions(self) -> VersionsSql:
        return VersionsSql()

    @pytest.fixture
    def tiny(self, units: Database, artifacts: ArtifactsSql, versions: VersionsSql) -> Artifact:
        made = contracts.artifact("tiny")
        units.write(artifacts.add, made, "", ()).result()
        for version_id in ("1", "2"):
            units.write(versions.add, made, contracts.version(made, version_id)).result()
        return made


class TestFacts(contracts.FactsStoreContract):
    @pytest.fixture
    def store(self) -> FactsSql:
        return FactsSql()

    @pytest.fixture
    def versions(self) -> VersionsSql:
        return VersionsSql()


class TestUsers(contracts.UserStoreContract):
    @pytest.fixture
    def store(self) -> UsersSql:
        return UsersSql()


class TestTokens(contracts.TokenStoreContract):
    @pytest.fixture
    def store(self) -> TokensSql:
        return TokensSql()

    @pytest.fixture
    def users(self) -> UsersSql:
        return UsersSql()


class TestRequests(contracts.RequestStoreContract):
    @pytest.fixture
    def store(self) -> RequestsSql:
        return RequestsSql()


class TestCounters(contracts.CounterStoreContract):
    @pytest.fixture
    def store(self) -> CountersSql:
        return CountersSql()
