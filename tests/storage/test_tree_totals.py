"""Running totals of trees: whatever is put, replaced or forgotten, they are what counting gives."""

import contextlib
import dataclasses
import importlib
import random
from collections.abc import Iterator

import pytest

from helpers.schema import migrated
from ingot.content import digests
from ingot.server.core.manifests import FileDraft, FileFacts, Segment, with_root
from ingot.server.storage import sql
from ingot.server.storage.accounts_sql import AccountsSql
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.shelf_sql import ShelfSql
from ingot.server.storage.trees_sql import TreesSql

SEGMENT = digests.SEGMENT_MAX_ENTRIES
COUNTED = (
    "SELECT count(*), ifnull(sum(size_bytes), 0), ifnull(sum(chunk_count), 0) FROM tree_file WHERE tree = ?"
)


@pytest.fixture(name="database")
def _database() -> Iterator[Database]:
    with contextlib.closing(open_database("sqlite:///:memory:")) as database:
        yield migrated(database)


def draft(path: str, chunks: int, only: tuple[int, ...] | None = None) -> FileDraft:
    """Return a file of chunks of one byte, whole or with some of its segments."""
    entries = (b"d" * 32 + b"\1\0\0\0") * chunks
    segments = digests.split_segments([(b"d" * 32, 1)] * chunks) if chunks else []
    assert sum(map(len, segments)) == len(entries)
    chosen = [Segment(at, each) for at, each in enumerate(segments) if only is None or at in only]
    return FileDraft(path, "cdc", chunks, len(segments), tuple(chosen))


def check(tree: int) -> None:
    store = TreesSql()
    assert store.totals(tree) == sql.rows(COUNTED, tree)[0]
    assert AccountsSql().recount(repair=False) == []


def test_totals_are_what_counting_gives(database: Database) -> None:
    chance = random.Random(3)

    def run() -> None:
        store = TreesSql()
        tree = store.add("uploads/file_1", "sara", 0.0, 9.0)
        for _ in range(60):
            match chance.randrange(5):
                case 0:
                    store.put_files(tree, [draft("large", SEGMENT + 5, (chance.randrange(2),))])
                case 1:
                    store.put_files(tree, [draft(f"é{chance.randrange(4)}", 3), draft("b", 0)])
                case 2:
                    store.put_files(tree, [draft(f"b{chance.randrange(3)}", chance.randrange(9))])
                case 3:
                    store.put_files(tree, [draft("large", SEGMENT + chance.randrange(2, 4))])
                case _:
                    if chance.random() < 0.3:
                        store.clear(tree)
            check(tree)
        store.drop(tree)
        assert AccountsSql().account("sara").taken == 0

    database.write(run).result(60)


def test_a_large_manifest_is_forgotten_in_turns(database: Database) -> None:
    def run() -> list[tuple[int, int, int]]:
        store = TreesSql(cleared_files=3, cleared_chunks=SEGMENT)
        tree = store.add("uploads/file_1", "sara", 0.0, 9.0)
        store.put_files(tree, [draft("large", 2 * SEGMENT + 7), *(draft(f"s{at}", 2) for at in range(5))])
        seen = []
        while store.clear_some(tree):
            check(tree)
            seen.append(store.totals(tree))
        check(tree)
        assert store.totals(tree) == (0, 0, 0)
        assert sql.rows("SELECT count(*) FROM segment")[0] == (0,)
        return seen

    chunks = [each[2] for each in database.write(run).result(60)]
    assert chunks[:2] == [SEGMENT + 17, 17]
    assert len(chunks) >= 3


def test_what_was_known_of_a_file_goes_with_its_first_segments(database: Database) -> None:
    """A reset that a crash cut off: what is put then may have other chunks and the same size."""

    def run() -> FileFacts | None:
        store = TreesSql(cleared_chunks=SEGMENT)
        tree = store.add("uploads/file_1", "sara", 0.0, 9.0)
        whole = dataclasses.replace(
            with_root(draft("large", 2 * SEGMENT)), blake3="blake3:x", sha256="y", verified=True
        )
        store.put_files(tree, [whole])
        assert store.clear_some(tree)
        return store.file(tree, "large")

    left = database.write(run).result(60)
    assert left is not None
    assert (left.root, left.blake3, left.sha256, left.verified) == (b"", "", "", False)


def test_an_abandoned_tree_is_found_no_more_and_goes_in_turns(database: Database) -> None:
    def run() -> None:
        store = TreesSql(cleared_files=2)
        for number in range(2):
            tree = store.add(f"uploads/file_{number}", "sara", 0.0, 9.0)
            store.put_files(tree, [draft(f"s{at}", 1) for at in range(5)])
            store.adopt(tree, f"uid{number}", "namespaces/sara/models/tiny", b"d" * 32, ())
        assert store.abandoned() is None
        store.abandon(tree)
        assert (store.find("uid1"), store.exists(tree), store.abandoned()) == (None, False, tree)
        assert store.find("uid0") is not None
        assert ShelfSql().faults().leases_without_upload == 0  # whoever removes it goes on
        turns = 0
        while store.clear_some(tree):
            check(tree)
            turns += 1
        store.drop(tree)
        assert (turns, store.abandoned()) == (2, None)
        assert AccountsSql().recount(repair=False) == []

    database.write(run).result(60)


def test_an_older_database_is_counted_when_it_is_migrated(database: Database) -> None:
    step = importlib.import_module("ingot.server.storage.migrations.0026_manifest_costs")

    def run() -> None:
        store = TreesSql()
        for number, namespace in ((1, "sara"), (2, "sara"), (3, "omid")):
            tree = store.add(f"uploads/file_{number}", namespace, 0.0, 9.0)
            store.put_files(tree, [draft("é", 3), draft("b" * number, 0)])
        sql.run("INSERT INTO pack(name, size_bytes, created, missing, checked) VALUES ('p', 1, 0, 0, 0)")
        sql.run("INSERT INTO chunk(id, digest, pack, position, length, lost) VALUES (1, x'00', 1, 0, 5, 0)")
        for tree in (1, 2, 3):
            sql.run("INSERT INTO hold(chunk, tree) VALUES (1, ?)", tree)
        sql.run("UPDATE tree SET file_count = 0, size_bytes = 0, chunk_count = 0, cost = 0")
        sql.run("DELETE FROM account WHERE namespace = 'omid'")
        sql.run("UPDATE account SET stored_bytes = 5, overhead_bytes = 0")
        sql.run(step._TOTALS)
        sql.run(step._OVERHEAD)
        assert AccountsSql().recount(repair=False) == ["omid"], "what it stores was not counted before"
        assert AccountsSql().account("omid").overhead > 256
        for tree in (1, 2, 3):
            assert store.totals(tree) == (2, 3, 3)

    database.write(run).result(60)
