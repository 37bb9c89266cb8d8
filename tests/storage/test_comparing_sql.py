"""Files of two trees are compared by lookups in an index, and come in the order of their paths."""

from collections.abc import Iterator

import pytest

from helpers.queries import recorded, scans, sorts
from helpers.schema import migrated
from ingot.server.core.comparing import ChangeKind, FileTotals
from ingot.server.core.contents import FormatShare
from ingot.server.core.manifests import FileDraft
from ingot.server.storage.comparing_sql import ComparingSql
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.trees_sql import TreesSql

TREES, COMPARER = TreesSql(), ComparingSql()


@pytest.fixture(name="units")
def _units() -> Iterator[Database]:
    database = open_database("sqlite:///:memory:")
    migrated(database)
    yield database
    database.close()


def _draft(path: str, content: int, *, profile: str = "cdc", verified: bool = False) -> FileDraft:
    root = bytes([content, profile == "cdc"]) * 16
    digest = f"{content:064x}"
    return FileDraft(path, profile, content, 0, (), digest, digest, "", root, verified)


def _tree(units: Database, name: str, *files: FileDraft) -> int:
    tree: int = units.write(TREES.add, name, "sara", 1.0, 2.0).result()
    units.write(TREES.put_files, tree, files).result()
    return tree


def test_files_are_added_removed_changed_or_the_same(units: Database) -> None:
    base = _tree(units, "a", _draft("a", 1), _draft("b", 2), _draft("d", 4), _draft("é", 5))
    other = _tree(units, "b", _draft("a", 1), _draft("b", 3), _draft("c", 6), _draft("é", 5))
    assert units.read(COMPARER.totals, base, other) == FileTotals(
        added=1,
        removed=1,
        changed=1,
        same=2,
        added_bytes=6,
        removed_bytes=4,
        changed_bytes_before=2,
        changed_bytes_after=3,
        same_bytes=6,
    )
    found = units.read(COMPARER.files, base, other, "", 9, include_same=True)
    kinds = [(each.path, each.kind) for each in found]
    assert kinds == [
        ("a", ChangeKind.SAME),
        ("b", ChangeKind.CHANGED),
        ("c", ChangeKind.ADDED),
        ("d", ChangeKind.REMOVED),
        ("é", ChangeKind.SAME),
    ]
    differing = units.read(COMPARER.files, base, other, "", 9, include_same=False)
    assert [each.path for each in differing] == ["b", "c", "d"]
    assert [each.path for each in units.read(COMPARER.files, base, other, "b", 1, include_same=False)] == [
        "c"
    ]
    assert units.read(COMPARER.totals, other, base).added == 1
    assert units.read(COMPARER.totals, base, base) == FileTotals(same=4, same_bytes=12)


def test_the_same_bytes_cut_in_two_ways_are_the_same_once_the_server_has_read_them(units: Database) -> None:
    told = _tree(units, "a", _draft("a", 1))
    cut = _tree(units, "b", _draft("a", 1, profile="tensor"))
    assert units.read(COMPARER.totals, told, cut).changed == 1
    told, cut = (
        _tree(units, profile, _draft("a", 1, profile=profile, verified=True)) for profile in ("cdc", "tensor")
    )
    assert units.read(COMPARER.totals, told, cut).same == 1
    assert units.read(COMPARER.files, told, cut, "", 9, include_same=False) == []


def test_nothing_is_scanned_and_nothing_sorted(units: Database) -> None:
    base = _tree(units, "a", *(_draft(f"{number:03}", 1) for number in range(200)))
    other = _tree(units, "b", *(_draft(f"{number:03}", 1 + number % 2) for number in range(200)))
    with recorded(units) as asked:
        units.read(COMPARER.totals, base, other)
        units.read(COMPARER.files, base, other, "100", 5, include_same=False)
    assert scans(units, asked) == []
    assert sorts(units, asked) == []


def test_formats_of_a_tree_are_counted(units: Database) -> None:
    files = [_draft("a", 3), _draft("b", 4), _draft("c", 9)]
    named = [
        FileDraft(each.path, each.profile, each.size_bytes, 0, (), format=name, root=each.root)
        for each, name in zip(files, ("jsonl", "jsonl", ""), strict=True)
    ]
    tree = _tree(units, "a", *named)
    assert units.read(TREES.formats, tree) == [FormatShare("", 1, 9), FormatShare("jsonl", 2, 7)]
