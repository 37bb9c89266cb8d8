"""Trees, files and segments in SQLite: the TreeStore of core/transfer_stores.py.

SQLite compares text as UTF-8 bytes, so the order of `path` is the order of trees. A hundred thousand small
files are put with a handful of statements per request.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ingot.content import digests
from ingot.server.core.contents import FormatShare
from ingot.server.core.errors import Conflict, Reason
from ingot.server.core.manifests import FILE_COST, FileDraft, FileFacts, Segment, Tree
from ingot.server.core.transfer_stores import ChunkRun, SegmentRow
from ingot.server.storage import accounts_sql, sql

_ABANDONED = "abandoned/"  # what the names of such trees begin with
_FACTS = "f.path, f.profile, f.size_bytes, f.chunk_count, f.root, f.blake3, f.sha256, f.verified, f.format"
_PUT_FILE = (
    "INSERT INTO tree_file"
    "(tree, path, profile, size_bytes, segment_count, chunk_count, root, blake3, sha256, format, verified) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_PUT_SEGMENT = (
    "INSERT INTO segment(file, position, size_bytes, entries) "
    "VALUES ((SELECT id FROM tree_file WHERE tree = ? AND path = ?), ?, ?, ?)"
)
_COUNT = (
    "UPDATE tree SET file_count = file_count + ?, size_bytes = size_bytes + ?, "
    "chunk_count = chunk_count + ?, cost = cost + ? WHERE id = ? RETURNING namespace"
)
_COUNTED = (  # of one file: its key, and what it counts
    f"f.id, f.size_bytes, f.chunk_count, {FILE_COST} + 2 * length(CAST(f.path AS BLOB)) "
    f"+ {digests.ENTRY_SIZE} * f.chunk_count"
)
_SEGMENTS = (
    f"SELECT {_FACTS}, f.segment_count, s.position, s.entries "
    "FROM tree_file f LEFT JOIN segment s ON s.file = f.id "
    "WHERE f.tree = ? AND f.path >= ? AND (f.path, ifnull(s.position, -1)) > (?, ?) "
    "ORDER BY f.path, s.position"
)
_ENTRIES = (
    "SELECT j.key, f.chunk_count, substr(s.entries, (j.value ->> 2) * 36 + 1, (j.value ->> 3) * 36) "
    "FROM json_each(?) j CROSS JOIN tree_file f ON f.tree = ? AND f.path = j.value ->> 0 "
    "LEFT JOIN segment s ON s.file = f.id AND s.position = j.value ->> 1"
)


class TreesSql:
    """Trees; its methods run inside a unit of work. So much at most is forgotten at once."""

    def __init__(
        self, cleared_files: int = 2000, cleared_chunks: int = 64 * digests.SEGMENT_MAX_ENTRIES
    ) -> None:
        self._cleared_files = cleared_files
        self._cleared_chunks = cleared_chunks

    def add(self, name: str, namespace: str, now: float, expires: float) -> int:
        statement = (
            "INSERT INTO tree(name, namespace, artifact, digest, created, expires) "
            "VALUES (?, ?, '', x'', ?, ?) RETURNING id"
        )
        key: int = sql.rows(statement, name, namespace, now, expires)[0][0]
        return key

    def renew(self, tree: int, expires: float) -> None:
        sql.run("UPDATE tree SET expires = ? WHERE id = ? AND expires IS NOT NULL", expires, tree)

    def put_files(self, tree: int, files: Sequence[FileDraft]) -> None:
        known = self._known(tree, [file.path for file in files if not file.is_whole])
        parts = [file for file in files if _continues(file, known)]
        fresh = [file for file in files if not _continues(file, known)]
        added = fresh + [self._new_segments(tree, file) for file in parts]
        gone = self._drop(tree, [file.path for file in fresh])
        sql.run_many(_PUT_FILE, ((tree, *_columns(file)) for file in fresh))
        sql.run_many(
            _PUT_SEGMENT,
            (
                (tree, file.path, each.position, each.size_bytes, each.entries)
                for file in added
                for each in file.segments
            ),
        )
        sql.run_many(
            "UPDATE tree_file SET chunk_count = chunk_count + ? WHERE tree = ? AND path = ?",
            ((file.chunk_count, tree, file.path) for file in added[len(fresh) :]),
        )
        chunks = sum(file.chunk_count for file in added)
        cost = sum(file.cost for file in fresh)
        cost += digests.ENTRY_SIZE * sum(file.chunk_count for file in added[len(fresh) :])
        size = sum(file.size_bytes for file in fresh)
        _count(tree, _Totals(len(fresh), size, chunks, cost).less(gone))

    def clear(self, tree: int) -> None:
        while self.clear_some(tree):
            pass

    def clear_some(self, tree: int) -> bool:
        statement = f"SELECT {_COUNTED} FROM tree_file f WHERE f.tree = ? ORDER BY f.path LIMIT ?"
        found = sql.rows(statement, tree, self._cleared_files)
        room, some = self._cleared_chunks, 0
        for _, _, chunks, _ in found:
            if chunks > room:
                break
            room -= chunks
            some += 1
        if found and not some:
            _count(tree, _Totals().less(_cut_short(found[0][0], self._cleared_chunks)))
            return True
        _count(tree, _Totals().less(_forget(found[:some])))
        return some < len(found) or len(found) == self._cleared_files

    def totals(self, tree: int) -> tuple[int, int, int]:
        found = sql.rows("SELECT file_count, size_bytes, chunk_count FROM tree WHERE id = ?", tree)
        files, size, chunks = found[0] if found else (0, 0, 0)
        return files, size, chunks

    def segments(self, tree: int, after: tuple[str, int] | None = None) -> Iterator[SegmentRow]:
        path, position = after or ("", -1)
        for *facts, count, at, entries in sql.each_row(_SEGMENTS, tree, path, path, position):
            yield SegmentRow(_facts(facts), count, -1 if at is None else at, entries or b"")

    def entries(self, tree: int, runs: Sequence[ChunkRun]) -> Sequence[tuple[int, bytes] | None]:
        wanted = [(run.path, *divmod(run.first, digests.SEGMENT_MAX_ENTRIES), run.count) for run in runs]
        found: list[tuple[int, bytes] | None] = [None] * len(runs)
        for index, count, entries in sql.rows(_ENTRIES, json.dumps(wanted), tree):
            found[index] = (count, entries or b"")
        return found

    def adopt(
        self,
        tree: int,
        name: str,
        artifact: str,
        digest: bytes,
        roots: Sequence[tuple[str, bytes]],
    ) -> None:
        sql.run_many(
            "UPDATE tree_file SET root = ? WHERE tree = ? AND path = ?",
            ((root, tree, path) for path, root in roots),
        )
        sql.run(
            "UPDATE tree SET name = ?, artifact = ?, digest = ?, expires = NULL WHERE id = ?",
            name,
            artifact,
            digest,
            tree,
        )

    def drop(self, tree: int) -> None:
        self.clear(tree)
        accounts_sql.giving_up(tree)
        sql.run("DELETE FROM hold WHERE tree = ?", tree)
        sql.run("DELETE FROM tree WHERE id = ?", tree)

    def abandon(self, tree: int) -> None:
        sql.run("UPDATE tree SET name = ? || id, artifact = '', expires = 0 WHERE id = ?", _ABANDONED, tree)

    def abandoned(self) -> int | None:
        # By the index of names; "0" is the character behind "/".
        found = sql.rows(
            "SELECT id FROM tree WHERE name >= ? AND name < ? LIMIT 1", _ABANDONED, f"{_ABANDONED[:-1]}0"
        )
        return found[0][0] if found else None

    def find(self, name: str) -> Tree | None:
        statement = "SELECT id, name, namespace, digest, file_count, size_bytes FROM tree WHERE name = ?"
        found = sql.rows(statement, name)
        return Tree(*found[0]) if found else None

    def exists(self, tree: int) -> bool:
        found = sql.rows("SELECT name FROM tree WHERE id = ?", tree)
        return bool(found) and not found[0][0].startswith(_ABANDONED)

    def file(self, tree: int, path: str) -> FileFacts | None:
        found = sql.rows(f"SELECT {_FACTS} FROM tree_file f WHERE f.tree = ? AND f.path = ?", tree, path)
        return _facts(found[0]) if found else None

    def files(self, tree: int, after: str | None, size: int) -> Sequence[FileFacts]:
        found = sql.rows(
            f"SELECT {_FACTS} FROM tree_file f WHERE f.tree = ? AND f.path > ? ORDER BY f.path LIMIT ?",
            tree,
            after or "",
            size,
        )
        return [_facts(row) for row in found]

    def formats(self, tree: int) -> Sequence[FormatShare]:
        found = sql.rows(
            "SELECT format, count(*), sum(size_bytes) FROM tree_file WHERE tree = ? GROUP BY format", tree
        )
        return sorted((FormatShare(*row) for row in found), key=lambda each: (-each.size_bytes, each.format))

    def segment(self, tree: int, path: str, position: int) -> bytes | None:
        found = sql.rows(
            "SELECT s.entries FROM tree_file f CROSS JOIN segment s ON s.file = f.id AND s.position = ? "
            "WHERE f.tree = ? AND f.path = ?",
            position,
            tree,
            path,
        )
        entries: bytes | None = found[0][0] if found else None
        return entries

    def segment_sizes(self, tree: int, path: str) -> Sequence[int]:
        found = sql.rows(
            "SELECT s.size_bytes FROM tree_file f CROSS JOIN segment s ON s.file = f.id "
            "WHERE f.tree = ? AND f.path = ? ORDER BY s.position",
            tree,
            path,
        )
        return [row[0] for row in found]

    def _known(self, tree: int, paths: Sequence[str]) -> dict[str, tuple[str, int, int]]:
        statement = (
            "SELECT f.path, f.profile, f.size_bytes, f.segment_count FROM json_each(?) j "
            "CROSS JOIN tree_file f ON f.tree = ? AND f.path = j.value"
        )
        found = sql.rows(statement, json.dumps(list(paths)), tree) if paths else []
        return {path: (profile, size, count) for path, profile, size, count in found}

    def _drop(self, tree: int, paths: Sequence[str]) -> "_Totals":
        """Forget files of these paths, as far as there are any; return what they counted."""
        found = sql.rows(
            f"SELECT {_COUNTED} FROM json_each(?) j "
            "CROSS JOIN tree_file f ON f.tree = ? AND f.path = j.value",
            json.dumps(list(paths)),
            tree,
        )
        return _forget(found)

    def _new_segments(self, tree: int, file: FileDraft) -> FileDraft:
        """Return the file with those of its segments that are not stored yet. Raises Conflict."""
        new: list[Segment] = []
        for each in file.segments:
            stored = self.segment(tree, file.path, each.position)
            if stored is None:
                new.append(each)
            elif stored != each.entries:
                raise Conflict(
                    Reason.SEGMENT_CONFLICT,
                    f"Segment {each.position} of {file.path!r} was put before with other chunks.",
                    next_step="Send the whole file again to replace it, or use `reset`.",
                    facts={"path": file.path, "segment": str(each.position)},
                )
        return dataclasses.replace(file, segments=tuple(new))


def _continues(file: FileDraft, known: Mapping[str, tuple[str, int, int]]) -> bool:
    """Return whether a partial file adds to what is there instead of replacing it."""
    facts = (file.profile, file.size_bytes, file.segment_count)
    return not file.is_whole and known.get(file.path) == facts


@dataclasses.dataclass(frozen=True, slots=True)
class _Totals:
    """Counts of some files: how many, bytes, chunks, and bytes of their rows."""

    files: int = 0
    size: int = 0
    chunks: int = 0
    cost: int = 0

    def less(self, other: "_Totals") -> "_Totals":
        return _Totals(
            self.files - other.files,
            self.size - other.size,
            self.chunks - other.chunks,
            self.cost - other.cost,
        )

    @classmethod
    def sum(cls, some: Sequence["_Totals"]) -> "_Totals":
        return cls(
            sum(each.files for each in some),
            sum(each.size for each in some),
            sum(each.chunks for each in some),
            sum(each.cost for each in some),
        )


def _forget(found: Sequence[sql.Row]) -> _Totals:
    """Forget files, rows of _COUNTED; return what they counted."""
    if found:
        ids = sql.id_list([row[0] for row in found])
        sql.run("DELETE FROM segment WHERE file IN (SELECT value FROM json_each(?))", ids)
        sql.run("DELETE FROM tree_file WHERE id IN (SELECT value FROM json_each(?))", ids)
    return _Totals.sum([_Totals(1, *row[1:]) for row in found])


def _cut_short(file: int, chunks: int) -> _Totals:
    """Forget segments with so many chunks of a large file; return what they counted."""
    found = sql.rows(
        "SELECT id, length(entries) / ? FROM segment WHERE file = ? ORDER BY position LIMIT ?",
        digests.ENTRY_SIZE,
        file,
        chunks // digests.SEGMENT_MAX_ENTRIES,
    )
    ids = sql.id_list([row[0] for row in found])
    gone = sum(row[1] for row in found)
    sql.run("DELETE FROM segment WHERE id IN (SELECT value FROM json_each(?))", ids)
    # What was known of the whole file is not known of one whose segments may come anew.
    sql.run(
        "UPDATE tree_file SET chunk_count = chunk_count - ?, root = x'', blake3 = '', sha256 = '', "
        "verified = 0 WHERE id = ?",
        gone,
        file,
    )
    return _Totals(chunks=gone, cost=gone * digests.ENTRY_SIZE)


def _count(tree: int, grown: _Totals) -> None:
    """Count for a tree, and for its namespace, what its files have more, or less."""
    if grown == _Totals():
        return
    values = (grown.files, grown.size, grown.chunks, grown.cost, tree)
    for (namespace,) in sql.rows(_COUNT, *values):
        accounts_sql.grow(namespace, overhead=grown.cost)


def _columns(file: FileDraft) -> tuple[sql.Value, ...]:
    return (
        file.path,
        file.profile,
        file.size_bytes,
        file.segment_count,
        file.chunk_count,
        file.root,
        file.blake3,
        file.sha256,
        file.format,
        int(file.verified),
    )


def _facts(row: Sequence[Any]) -> FileFacts:
    path, profile, size, chunks, root, blake3, sha256, verified, format_ = row
    return FileFacts(path, profile, size, chunks, root, blake3, sha256, bool(verified), format_)
