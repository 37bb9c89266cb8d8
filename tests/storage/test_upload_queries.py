"""How uploads are looked for: by searches in indexes, and lists by stage in order."""

from collections.abc import Collection, Iterator

import pytest

from helpers.queries import recorded, scans, sorts
from helpers.schema import migrated
from ingot.server.core.names import UploadName
from ingot.server.core.uploads import UploadStage, UploadState
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.uploads_sql import UploadsSql


@pytest.fixture(name="database")
def _database() -> Iterator[Database]:
    database = open_database("sqlite:///:memory:")
    migrated(database)
    yield database
    database.close()


@pytest.mark.parametrize("stage", [*UploadStage, None])
@pytest.mark.parametrize("after", [None, 7])
@pytest.mark.parametrize(
    ("namespaces", "creator"), [(None, None), ({"sara"}, None), (None, "users/admin/tokens/tok_1")]
)
def test_lists_search_in_order(
    database: Database,
    stage: UploadStage | None,
    after: int | None,
    namespaces: Collection[str] | None,
    creator: str | None,
) -> None:
    with recorded(database) as asked:
        database.read(UploadsSql().page, namespaces, creator, stage, after, 50)
    assert asked
    assert sorts(database, asked) == []
    if stage or namespaces or creator:
        assert scans(database, asked) == []


def test_upkeep_searches(database: Database) -> None:
    store = UploadsSql()
    with recorded(database) as asked:
        database.read(store.due, 1.0, 10)
        database.read(store.failed, 1.0, None, 10)
        database.read(store.in_state, UploadState.SEALING)
        database.read(store.count_open, "users/sara")
        database.read(store.find, UploadName("file_1"))
        database.write(store.forget, 1.0, 10).result()
    assert len(asked) >= 5
    assert scans(database, asked) == []
