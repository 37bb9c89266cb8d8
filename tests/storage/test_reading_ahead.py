"""Rows that are not in memory are read together; which pages those are, the trees of a real catalog tell."""

import itertools
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import pytest

from contracts.catalog_stores_contract import artifact, version
from helpers.schema import migrated
from ingot.server.core.artifacts import Artifact
from ingot.server.domain import catalog_fields
from ingot.server.storage import reading_ahead, sql
from ingot.server.storage.catalog_sql import ArtifactsSql
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.reading_ahead import (
    ARTIFACT_MARKS,
    ARTIFACT_ORDER,
    ARTIFACT_UIDS,
    ARTIFACTS,
    VERSIONS,
    VERSIONS_OF,
    Tree,
)
from ingot.server.storage.versions_sql import VersionsSql

COUNT = 600
WANTED = [3, 77, 100, 101, 222, 333, 444, 599]


def always() -> Callable[[], int]:
    """Return what counts a read of the disk whenever it is asked."""
    return itertools.count().__next__


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A catalog in a file, all of it written out of the WAL."""
    database = migrated(open_database(f"sqlite:///{tmp_path_factory.mktemp('ahead') / 'ingot.db'}"))
    pick = random.Random(3)

    def made(number: int) -> Artifact:
        return artifact(f"n{number}x", description="many words " * pick.randrange(30), tags=(f"tag{number}",))

    def fill() -> None:
        all_ = [made(number) for number in range(1, COUNT + 1)]
        ArtifactsSql().add_many(
            [(each, catalog_fields.search_text_of(each), catalog_fields.terms_of(each)) for each in all_]
        )
        for each in all_:
            VersionsSql().add_many(each, [version(each, "1"), version(each, "2")])

    database.write(fill).result()
    with database.direct() as connection:
        connection.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    yield database
    database.close()


def brought(database: Database, tree: Tree, keys: Sequence[int | str] = WANTED) -> bytes:
    """Return what stands in the pages that were brought for rows, as if each look read from the disk."""
    return content_of(database, database.read(reading_ahead.bring, tree, keys, always()))


def content_of(database: Database, numbers: Collection[int]) -> bytes:
    """Return what stands in these pages, which are not the whole file."""
    content = Path(database.path).read_bytes()
    size = int.from_bytes(content[16:18], "big")
    assert 1 < len(numbers) < len(content) // size // 4
    return b"".join(content[(number - 1) * size : number * size] for number in numbers)


@pytest.mark.parametrize("tree", [ARTIFACTS, ARTIFACT_ORDER])
def test_the_rows_and_their_order_are_brought(database: Database, tree: Tree) -> None:
    found = brought(database, tree)
    names = database.read(sql.rows, "SELECT id, name FROM artifact")
    wanted = [name.encode() for number, name in names if number in WANTED]
    assert len(wanted) == len(WANTED)
    assert all(name in found for name in wanted)


def test_the_values_of_artifacts_are_brought(database: Database) -> None:
    found = brought(database, ARTIFACT_MARKS)
    marks = database.read(sql.rows, "SELECT artifact, sets FROM artifact_marks")
    assert all(packed in found for number, packed in marks if number in WANTED)


def test_what_is_found_by_its_text_is_brought(database: Database) -> None:
    uids = [
        uid for number, uid in database.read(sql.rows, "SELECT id, uid FROM artifact") if number in WANTED
    ]
    found = brought(database, ARTIFACT_UIDS, uids)
    assert all(uid.encode() in found for uid in uids)


def test_versions_are_brought(database: Database) -> None:
    rows = database.read(sql.rows, "SELECT id, artifact_id, uid FROM version")
    wanted = {number: uid for number, artifact_id, uid in rows if artifact_id in WANTED}
    found = brought(database, VERSIONS, list(wanted))
    assert all(uid.encode() in found for uid in wanted.values())
    assert brought(database, VERSIONS_OF)


def test_the_newest_versions_of_artifacts_are_brought(database: Database) -> None:
    rows = database.read(sql.rows, "SELECT id, uid FROM artifact")
    uids = [uid for number, uid in rows if number in WANTED]
    found = content_of(database, database.read(reading_ahead.bring_newest, uids, 1, always()))
    assert all(f"uid-{uid}-2".encode() in found for uid in uids)


def test_rows_in_memory_are_left_alone(database: Database) -> None:
    assert database.read(reading_ahead.bring, ARTIFACTS, WANTED, lambda: 7) == ()


def test_a_few_rows_and_very_many_are_read_as_they_are(database: Database) -> None:
    for keys in (WANTED[:3], list(range(5000))):
        assert database.read(reading_ahead.bring, ARTIFACTS, keys, always()) == ()


def test_nothing_is_brought_where_there_is_no_file() -> None:
    memory = migrated(open_database("sqlite:///:memory:"))
    assert memory.read(reading_ahead.bring, ARTIFACTS, WANTED, always()) == ()
    memory.close()


def test_reads_of_the_disk_are_counted_up() -> None:
    before = reading_ahead.disk_reads()
    assert reading_ahead.disk_reads() >= before >= 0
