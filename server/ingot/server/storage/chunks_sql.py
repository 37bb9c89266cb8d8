"""The index of chunks in SQLite: the ChunkStore of core/transfer_stores.py.

Everything is set-based: packed digests go in as one blob, and SQLite joins them with the chunk table by its
unique index.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

from ingot.content import digests
from ingot.server.core.packs import ChunkPlace, PackId, SealedPack
from ingot.server.core.transfer_stores import ChunkOwner, ChunkState, KnownChunk, PackSummary
from ingot.server.storage import accounts_sql, sql

_VISIBLE = (
    "EXISTS(SELECT 1 FROM hold h CROSS JOIN tree t ON t.id = h.tree "
    "WHERE h.chunk = c.id AND t.namespace = ? AND (t.expires IS NULL OR t.expires > ?))"
)
_KNOWN = (
    sql.EACH + f"SELECT each.i, c.id, c.length, {_VISIBLE} "
    "FROM each CROSS JOIN chunk c ON c.digest = substr(?, each.i * 32 + 1, 32) WHERE c.lost = 0 "
    "ORDER BY each.i"
)
_STORED = (
    sql.EACH + "SELECT c.digest FROM each CROSS JOIN chunk c ON c.digest = substr(?, each.i * 32 + 1, 32) "
    "WHERE c.lost = 0"
)
_STATES = (
    sql.EACH + "SELECT c.id, c.length, EXISTS(SELECT 1 FROM hold h WHERE h.chunk = c.id AND h.tree = ?) "
    "FROM each LEFT JOIN chunk c ON c.digest = substr(?, each.i * 36 + 1, 32) AND c.lost = 0 ORDER BY each.i"
)
_PLACES = (
    sql.EACH + "SELECT each.i, p.name, c.position, c.length, c.digest "
    "FROM each CROSS JOIN chunk c ON c.digest = substr(?, each.i * 36 + 1, 32) "
    "CROSS JOIN pack p ON p.id = c.pack WHERE c.lost = 0 "
    "AND EXISTS(SELECT 1 FROM hold h WHERE h.chunk = c.id AND h.tree = ?)"
)
_OWNERS = (  # a tree of a version has that one's uid for a name
    "SELECT DISTINCT h.chunk, a.uid, v.approval = 'APPROVED' "
    "FROM json_each(?) j CROSS JOIN hold h ON h.chunk = j.value CROSS JOIN tree t ON t.id = h.tree "
    "CROSS JOIN version v ON v.uid = t.name CROSS JOIN artifact a ON a.id = v.artifact_id "
    "WHERE t.expires IS NULL AND v.state = 'READY' AND v.deleted IS NULL AND a.live = 1"
)
_ADD_CHUNK = (
    "INSERT INTO chunk(digest, pack, position, length, lost) VALUES (?, ?, ?, ?, 0) "
    "ON CONFLICT(digest) DO UPDATE SET pack = excluded.pack, position = excluded.position, lost = 0 "
    "WHERE lost != 0"
)
_HOLD = "INSERT OR IGNORE INTO hold(chunk, tree) SELECT value, ? FROM json_each(?) RETURNING chunk"


class ChunksSql:
    """The index; its methods run inside a unit of work."""

    def known(self, packed: bytes, namespace: str, now: float) -> Sequence[KnownChunk]:
        count = len(packed) // digests.DIGEST_SIZE
        if not count:
            return ()
        found = sql.rows(_KNOWN, count, namespace, now, packed)
        return [KnownChunk(position, id_, length, bool(seen)) for position, id_, length, seen in found]

    def stored(self, packed: bytes) -> frozenset[bytes]:
        count = len(packed) // digests.DIGEST_SIZE
        return frozenset(row[0] for row in sql.rows(_STORED, count, packed)) if count else frozenset()

    def states(self, entries: bytes, tree: int) -> Sequence[ChunkState]:
        count = len(entries) // digests.ENTRY_SIZE
        return sql.rows(_STATES, count, tree, entries) if count else ()

    def owners(self, chunks: Collection[int]) -> Mapping[int, Collection[ChunkOwner]]:
        found: dict[int, set[ChunkOwner]] = defaultdict(set)
        for chunk, artifact, approved in sql.rows(_OWNERS, sql.id_list(chunks)):
            found[chunk].add(ChunkOwner(artifact, bool(approved)))
        return found

    def hold(self, tree: int, chunks: Collection[int]) -> Collection[int]:
        fresh = [row[0] for row in sql.rows(_HOLD, tree, sql.id_list(chunks))]
        accounts_sql.held(tree, fresh)
        return fresh

    def held(self, tree: int) -> int:
        count: int = sql.rows("SELECT count(*) FROM hold WHERE tree = ?", tree)[0][0]
        return count

    def hold_only(self, tree: int, chunks: Collection[int]) -> None:
        accounts_sql.giving_up_all_but(tree, chunks)
        sql.run(
            "DELETE FROM hold WHERE tree = ? AND chunk NOT IN (SELECT value FROM json_each(?))",
            tree,
            sql.id_list(chunks),
        )

    def add_pack(self, pack: SealedPack, now: float, *, found: bool = False) -> None:
        sql.run(
            "INSERT INTO pack(name, size_bytes, created, missing, checked, adopted) "
            "VALUES (?, ?, ?, 0, 0, ?) ON CONFLICT(name) DO NOTHING",
            pack.id,
            pack.size,
            now,
            now if found else None,
        )
        key = sql.rows("SELECT id FROM pack WHERE name = ?", pack.id)[0][0]
        sql.run_many(_ADD_CHUNK, ((each.digest, key, each.offset, each.length) for each in pack.entries))

    def packs(self) -> Iterator[PackSummary]:
        for name, missing, condemned in sql.rows("SELECT name, missing, condemned FROM pack"):
            yield PackSummary(name, bool(missing), condemned is not None)

    def mark_packs(self, packs: Collection[PackId], *, missing: bool) -> int:
        affected = 0
        for name in packs:
            sql.run("UPDATE pack SET missing = ? WHERE name = ?", int(missing), name)
            affected += sql.run(
                "UPDATE chunk SET lost = ? WHERE lost != ? AND pack = (SELECT id FROM pack WHERE name = ?)",
                int(missing),
                int(missing),
                name,
            )
        return affected

    def lose(self, digest: bytes, pack: PackId) -> bool:
        return (
            sql.run(
                "UPDATE chunk SET lost = 1 WHERE digest = ? AND lost = 0 "
                "AND pack = (SELECT id FROM pack WHERE name = ?)",
                digest,
                pack,
            )
            > 0
        )

    def lost(self) -> int:
        count: int = sql.rows("SELECT count(*) FROM chunk WHERE lost != 0")[0][0]
        return count

    def lost_in(self, pack: PackId) -> Sequence[ChunkPlace]:
        statement = (
            "SELECT p.name, c.position, c.length, c.digest FROM pack p CROSS JOIN chunk c ON c.pack = p.id "
            "WHERE p.name = ? AND c.lost != 0"
        )
        return [ChunkPlace(*row) for row in sql.rows(statement, pack)]

    def places(self, entries: bytes, tree: int) -> Sequence[ChunkPlace | None]:
        count = len(entries) // digests.ENTRY_SIZE
        places: list[ChunkPlace | None] = [None] * count
        found = sql.rows(_PLACES, count, entries, tree) if count else ()
        for position, pack, offset, length, digest in found:
            places[position] = ChunkPlace(pack, offset, length, digest)
        return places
