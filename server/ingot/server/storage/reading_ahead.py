"""Rows that are needed next and are not in memory, read from the disk together (file_pages.py).

    reading_ahead.bring(reading_ahead.ARTIFACTS, ids)
    rows = sql.rows("SELECT … FROM artifact WHERE id IN …", …)      # the same answer, sooner

Two of the rows are looked up first: when that took no read of the disk, which the kernel counts for each
thread, nothing more is done, so rows in memory cost next to nothing extra.
"""

import resource
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ingot.server.storage import sql, unit_of_work
from ingot.server.storage.artifact_sets import Ids

_FEW = 6  # rows that are read one by one as soon
_MOST = 1000  # beyond them the pages are told of one by one for longer than they take to read


@dataclass(frozen=True, slots=True)
class Tree:
    """A tree of the file by its name in the schema, and a look at two of its keys."""

    name: str
    look: str


ARTIFACTS = Tree("artifact", "SELECT count(*) FROM artifact NOT INDEXED WHERE id IN (?, ?)")
ARTIFACT_ORDER = Tree(
    "artifact_order", "SELECT count(*) FROM artifact INDEXED BY artifact_order WHERE id IN (?, ?)"
)
ARTIFACT_MARKS = Tree("artifact_marks", "SELECT count(*) FROM artifact_marks WHERE artifact IN (?, ?)")
ARTIFACT_UIDS = Tree("artifact_uid", "SELECT count(*) FROM artifact WHERE uid IN (?, ?)")
VERSIONS = Tree("version", "SELECT count(*) FROM version NOT INDEXED WHERE id IN (?, ?)")
VERSIONS_OF = Tree(
    "version_artifact_id",
    "SELECT count(*) FROM version INDEXED BY version_artifact_id WHERE artifact_id IN (?, ?)",
)
TREES = (ARTIFACTS, ARTIFACT_ORDER, ARTIFACT_MARKS, ARTIFACT_UIDS, VERSIONS, VERSIONS_OF)


def disk_reads() -> int:
    """Return how much this thread has read from disks so far; 0 where the system does not count it."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock if _COUNTED else 0


_COUNTED = hasattr(resource, "RUSAGE_THREAD")


def bring(
    tree: Tree, keys: Sequence[int | str] | Ids, reads: Callable[[], int] = disk_reads
) -> Collection[int]:
    """Bring the rows of these keys into memory if they are not there; return the pages that were brought."""
    pages = unit_of_work.pages()
    if pages is None or not _FEW <= len(keys) <= _MOST:
        return ()
    before = reads()
    sql.rows(tree.look, keys[0], keys[len(keys) // 2])
    if reads() == before:
        return ()
    if tree.name not in pages.roots:
        prepare()
    return pages.bring(
        pages.roots[tree.name], [key.encode() if isinstance(key, str) else key for key in keys]
    )


def bring_newest(uids: Sequence[str], size: int, reads: Callable[[], int] = disk_reads) -> Collection[int]:
    """Bring the newest versions of artifacts into memory if they are not there; return their pages."""
    if unit_of_work.pages() is None or len(uids) < _FEW:
        return ()
    bring(ARTIFACT_UIDS, uids, reads)
    found = sql.rows(
        "SELECT id FROM artifact WHERE uid IN (SELECT value FROM json_each(?))", sql.text_list(uids)
    )
    if not bring(VERSIONS_OF, [row_id for (row_id,) in found], reads):
        return ()
    newest = "SELECT id FROM version WHERE artifact_id = ? ORDER BY id DESC LIMIT ?"
    ids = [each for (row_id,) in found for (each,) in sql.rows(newest, row_id, size)]
    return bring(VERSIONS, ids, reads)


def prepare() -> None:
    """Find the trees in the schema, which else the first to need one would do."""
    pages = unit_of_work.pages()
    if pages is not None:
        names = sql.text_list(tree.name for tree in TREES)
        found = "SELECT name, rootpage FROM sqlite_schema WHERE name IN (SELECT value FROM json_each(?))"
        pages.roots.update(dict(sql.rows(found, names)))
