"""The stores of members and of grants on SQLite."""

from collections.abc import Iterator

import pytest

from contracts import member_stores_contract as contracts
from helpers.schema import migrated
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.grants_sql import GrantsSql
from ingot.server.storage.members_sql import MembersSql


@pytest.fixture
def units() -> Iterator[Database]:
    database = open_database("sqlite:///:memory:")
    migrated(database)
    yield database
    database.close()


class TestMembers(contracts.MemberStoreContract):
    @pytest.fixture
    def store(self) -> MembersSql:
        return MembersSql()


class TestGrants(contracts.GrantStoreContract):
    @pytest.fixture
    def store(self) -> GrantsSql:
        return GrantsSql()
