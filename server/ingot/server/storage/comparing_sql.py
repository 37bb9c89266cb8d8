"""Compares the files of two trees inside the database: the TreeComparer of core/comparing.py.

Each path of one tree is looked up in the other's index, so a hundred thousand files cost one statement and
no rows in Python. Files are the same when their roots are, or when the server has read both and found the
same digest: two profiles cut the same bytes differently.
"""

from collections.abc import Sequence

from ingot.server.core.comparing import ChangeKind, FileChange, FileTotals
from ingot.server.storage import sql

_SAME = "(a.root = b.root OR (a.verified AND b.verified AND a.blake3 = b.blake3))"
_TOTALS = (
    "SELECT count(*), coalesce(sum(a.size_bytes), 0), "
    "count(b.id), coalesce(sum(iif(b.id IS NULL, 0, a.size_bytes)), 0), "
    "coalesce(sum(b.size_bytes), 0), "
    f"coalesce(sum({_SAME}), 0), coalesce(sum(iif({_SAME}, a.size_bytes, 0)), 0) "
    "FROM tree_file a LEFT JOIN tree_file b ON b.tree = ? AND b.path = a.path WHERE a.tree = ?"
)
_OF_TREE = "SELECT count(*), coalesce(sum(size_bytes), 0) FROM tree_file WHERE tree = ?"
# Both halves come in the order of their paths, so SQLite merges them without a sort.
_FILES = (
    "SELECT a.path AS path, a.size_bytes, b.size_bytes, a.root, b.root, "
    f"iif(b.id IS NULL, 'REMOVED', iif({_SAME}, 'SAME', 'CHANGED')) "
    "FROM tree_file a LEFT JOIN tree_file b ON b.tree = ?2 AND b.path = a.path "
    f"WHERE a.tree = ?1 AND a.path > ?3 AND (?5 OR b.id IS NULL OR NOT {_SAME}) "
    "UNION ALL "
    "SELECT b.path, 0, b.size_bytes, x'', b.root, 'ADDED' FROM tree_file b "
    "WHERE b.tree = ?2 AND b.path > ?3 "
    "AND NOT EXISTS (SELECT 1 FROM tree_file a WHERE a.tree = ?1 AND a.path = b.path) "
    "ORDER BY path LIMIT ?4"
)


class ComparingSql:
    """Implements TreeComparer."""

    def totals(self, base: int, other: int) -> FileTotals:
        count, size, common, before, after, same, same_bytes = sql.rows(_TOTALS, other, base)[0]
        other_count, other_size = sql.rows(_OF_TREE, other)[0]
        return FileTotals(
            added=other_count - common,
            removed=count - common,
            changed=common - same,
            same=same,
            added_bytes=other_size - after,
            removed_bytes=size - before,
            changed_bytes_before=before - same_bytes,
            changed_bytes_after=after - same_bytes,
            same_bytes=same_bytes,
        )

    def files(
        self, base: int, other: int, after: str, size: int, *, include_same: bool
    ) -> Sequence[FileChange]:
        rows = sql.rows(_FILES, base, other, after, size, int(include_same))
        return [
            FileChange(path, ChangeKind(kind), before or 0, later or 0, root_before or b"", root_after or b"")
            for path, before, later, root_before, root_after, kind in rows
        ]
