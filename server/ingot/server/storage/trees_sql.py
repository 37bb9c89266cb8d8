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
from ingot.server.core.manifests import FileDraft, FileFacts, Segment, Tree
from ingot.server.core.transfer_stores import ChunkRun, SegmentRow
from ingot.server.storage import accounts_sql, sql

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
    """Trees; its methods run inside a unit of work."""

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
        self._drop(tree, [file.path for file in fresh])
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
            ((_chunks(file), tree, file.path) for file in added[len(fresh) :]),
        )

    def clear(self, tree: int) -> None:
        sql.run("DELETE FROM segment WHERE file IN (SELECT id FROM tree_file WHERE tree = ?)", tree)
        sql.run("DELETE FROM tree_file WHERE tree = ?", tree)

    def totals(self, tree: int) -> tuple[int, int, int]:
        found = sql.rows(
            "SELECT count(*), coalesce(sum(size_bytes), 0), coalesce(sum(chunk_count), 0) "
            "FROM tree_file WHERE tree = ?",
            tree,
        )[0]
        return found[0], found[1], found[2]

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

    def find(self, name: str) -> Tree | None:
        found = sql.rows("SELECT id, name, namespace, digest FROM tree WHERE name = ?", name)
        if not found:
            return None
        key, name, namespace, digest = found[0]
        files, size, _ = self.totals(key)
        return Tree(key, name, namespace, digest, files, size)

    def exists(self, tree: int) -> bool:
        return bool(sql.rows("SELECT 1 FROM tree WHERE id = ?", tree))

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

    def _drop(self, tree: int, paths: Sequence[str]) -> None:
        wanted = json.dumps(list(paths))
        inside = "SELECT f.id FROM json_each(?) j CROSS JOIN tree_file f ON f.tree = ? AND f.path = j.value"
        sql.run(f"DELETE FROM segment WHERE file IN ({inside})", wanted, tree)
        sql.run(f"DELETE FROM tree_file WHERE id IN ({inside})", wanted, tree)

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


def _chunks(file: FileDraft) -> int:
    return sum(each.chunk_count for each in file.segments)


def _columns(file: FileDraft) -> tuple[sql.Value, ...]:
    return (
        file.path,
        file.profile,
        file.size_bytes,
        file.segment_count,
        _chunks(file),
        file.root,
        file.blake3,
        file.sha256,
        file.format,
        int(file.verified),
    )


def _facts(row: Sequence[Any]) -> FileFacts:
    path, profile, size, chunks, root, blake3, sha256, verified, format_ = row
    return FileFacts(path, profile, size, chunks, root, blake3, sha256, bool(verified), format_)
