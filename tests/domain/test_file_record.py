"""A file of very many chunks: its record gives its manifest in turns, which replace what was there."""

import contextlib
from collections.abc import Iterator

import pytest

from helpers.schema import migrated
from ingot.content import digests
from ingot.server.core import manifests
from ingot.server.domain.file_record import FileRecord
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.trees_sql import TreesSql

COUNT = 5 * digests.SEGMENT_MAX_ENTRIES + 7


@pytest.fixture(name="database")
def _database() -> Iterator[Database]:
    database = open_database("sqlite:///:memory:")
    migrated(database)
    yield database
    database.close()


def entries(seed: int, count: int) -> list[tuple[bytes, int]]:
    return [((seed * 10**6 + each).to_bytes(32, "big"), 1 + each % 1000) for each in range(count)]


def record_of(found: list[tuple[bytes, int]]) -> FileRecord:
    record = FileRecord("big.bin", "bin")
    for start in range(0, len(found), 1000):
        record.add(found[start : start + 1000])
    return record


def test_root_and_manifest_are_those_of_the_whole(database: Database) -> None:
    trees = TreesSql()
    tree = database.write(trees.add, "uploads/file_1", "sara", 1.0, 2.0).result()
    for seed in (1, 2):  # the second file is as long as the first and replaces it
        found = entries(seed, COUNT)
        with contextlib.closing(record_of(found)) as record:
            facts = record.facts("cdc", "blake3:" + "0" * 64, "")
            turns = 0
            for draft in record.drafts(facts, 2):
                database.write(trees.put_files, tree, [manifests.with_root(draft)]).result()
                turns += 1
        assert turns == 4  # an empty file first, then 2 + 2 + 2 segments
        whole = digests.split_segments(found)
        assert facts.root == manifests.root_of("cdc", facts.size_bytes, whole)
        stored = database.read(lambda: [row.entries for row in trees.segments(tree)])
        assert stored == whole
        (file,) = database.read(trees.files, tree, None, 10)
        assert (file.chunk_count, file.size_bytes, file.verified) == (COUNT, facts.size_bytes, True)


def test_a_small_file_goes_whole_with_its_root_and_an_empty_one_too(database: Database) -> None:
    for count in (0, 1, 5):
        with contextlib.closing(record_of(entries(3, count))) as record:
            facts = record.facts("cdc", "blake3:" + "0" * 64, "")
            (draft,) = list(record.drafts(facts, 4))
        assert draft.is_whole
        assert manifests.with_root(draft).root == facts.root
