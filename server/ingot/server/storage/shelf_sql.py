"""The rows about packs as upkeep sees them: the ShelfIndex of core/upkeep_stores.py.

A chunk is needed when any tree holds it; the hold of a tree that has run out goes with the tree.
"""

from collections.abc import Collection, Sequence

from ingot.server.core.packs import ChunkPlace, PackEntry, PackId, SealedPack
from ingot.server.core.upkeep_stores import IndexFaults, PackUse, ShelfPack
from ingot.server.storage import sql

_PACK = "SELECT id, name, size_bytes, created, checked, missing, punched, adopted FROM pack"
_NEEDED = "EXISTS(SELECT 1 FROM hold h WHERE h.chunk = c.id)"
_USE = (
    f"SELECT coalesce(sum({_NEEDED}), 0), coalesce(sum({_NEEDED} * c.length), 0), count(*) "
    "FROM chunk c WHERE c.pack = ?"
)
_PLACES = (
    "SELECT p.name, c.position, c.length, c.digest FROM chunk c CROSS JOIN pack p ON p.id = c.pack "
    "WHERE c.pack = ? AND c.lost = 0"
)
_IN_ORDER = " ORDER BY c.position"
# A tree of a version has that one's uid for a name.
_OF = "coalesce(t.artifact || '/versions/' || (SELECT v.version FROM version v WHERE v.uid = t.name), t.name)"
_HOLDERS = (
    f"SELECT DISTINCT {_OF} AS holder "
    "FROM json_each(?) j CROSS JOIN chunk c ON c.digest = unhex(j.value) "
    "CROSS JOIN hold h ON h.chunk = c.id CROSS JOIN tree t ON t.id = h.tree ORDER BY holder"
)
_LEASE_WITHOUT_UPLOAD = (
    "tree WHERE expires IS NOT NULL AND NOT EXISTS(SELECT 1 FROM upload u WHERE u.tree = tree.id)"
)
_HOLD_WITHOUT_CHUNK = "hold WHERE NOT EXISTS(SELECT 1 FROM chunk c WHERE c.id = hold.chunk)"
_HOLD_WITHOUT_TREE = "hold WHERE NOT EXISTS(SELECT 1 FROM tree t WHERE t.id = hold.tree)"
_WITHOUT_PACK = "NOT EXISTS(SELECT 1 FROM pack p WHERE p.id = chunk.pack)"
_UNHELD = "NOT EXISTS(SELECT 1 FROM hold h WHERE h.chunk = chunk.id)"


class ShelfSql:
    """Implements ShelfIndex."""

    def packs(self, after: int, size: int) -> Sequence[ShelfPack]:
        statement = f"{_PACK} WHERE id > ? AND condemned IS NULL ORDER BY id LIMIT ?"
        return [_pack(*row) for row in sql.rows(statement, after, size)]

    def find(self, pack: PackId) -> ShelfPack | None:
        found = sql.rows(f"{_PACK} WHERE name = ?", pack)
        return _pack(*found[0]) if found else None

    def use(self, pack: int) -> PackUse:
        live, live_bytes, count = sql.rows(_USE, pack)[0]
        return PackUse(live, live_bytes, count - live)

    def live_places(self, pack: int) -> Sequence[ChunkPlace]:
        return [ChunkPlace(*row) for row in sql.rows(f"{_PLACES} AND {_NEEDED}{_IN_ORDER}", pack)]

    def places(self, pack: int) -> Sequence[ChunkPlace]:
        return [ChunkPlace(*row) for row in sql.rows(_PLACES + _IN_ORDER, pack)]

    def condemn(self, pack: int, now: float) -> bool:
        if self.use(pack).live_chunks:
            return False
        # A chunk that comes again from now on is stored anew: its row must not point to a pack that goes.
        sql.run("DELETE FROM chunk WHERE pack = ?", pack)
        sql.run("UPDATE pack SET condemned = ? WHERE id = ? AND condemned IS NULL", now, pack)
        return True

    def trim(self, pack: int, now: float) -> int:
        sql.run("UPDATE pack SET trimmed = ? WHERE id = ?", now, pack)
        return sql.run(
            f"DELETE FROM chunk WHERE pack = ? AND {_UNHELD}",
            pack,
        )

    def trimmed(self, before: float, size: int) -> Sequence[ShelfPack]:
        due = "trimmed <= ? AND condemned IS NULL AND missing = 0"
        return [
            _pack(*row) for row in sql.rows(f"{_PACK} WHERE {due} ORDER BY trimmed LIMIT ?", before, size)
        ]

    def offsets(self, pack: int) -> Collection[int]:
        return {row[0] for row in sql.rows("SELECT position FROM chunk WHERE pack = ?", pack)}

    def punched(self, pack: int, size: int) -> None:
        sql.run("UPDATE pack SET punched = coalesce(punched, 0) + ?, trimmed = NULL WHERE id = ?", size, pack)

    def move(self, pack: int, copies: Sequence[SealedPack], now: float) -> int:
        moved = 0
        for copy in copies:
            sql.run(
                "INSERT INTO pack(name, size_bytes, created, missing, checked) VALUES (?, ?, ?, 0, ?)",
                copy.id,
                copy.size,
                now,
                now,
            )
            key = sql.rows("SELECT id FROM pack WHERE name = ?", copy.id)[0][0]
            for each in copy.entries:
                moved += sql.run(
                    "UPDATE chunk SET pack = ?, position = ? WHERE digest = ? AND pack = ?",
                    key,
                    each.offset,
                    each.digest,
                    pack,
                )
        return moved

    def condemned(self, before: float, size: int) -> Sequence[ShelfPack]:
        statement = f"{_PACK} WHERE condemned < ? ORDER BY condemned LIMIT ?"
        return [_pack(*row) for row in sql.rows(statement, before, size)]

    def forget(self, pack: int) -> None:
        sql.run("DELETE FROM pack WHERE id = ? AND condemned IS NOT NULL", pack)

    def unchecked(self, before: float, size: int) -> Sequence[ShelfPack]:
        due = "checked < ? AND condemned IS NULL AND missing = 0"
        statement = f"{_PACK} WHERE {due} ORDER BY checked LIMIT ?"
        return [_pack(*row) for row in sql.rows(statement, before, size)]

    def mark_checked(self, pack: int, now: float) -> None:
        sql.run("UPDATE pack SET checked = ? WHERE id = ?", now, pack)

    def suspect(self, pack: PackId) -> None:
        sql.run("UPDATE pack SET checked = -1 WHERE name = ?", pack)

    def holders(self, digests: Sequence[bytes]) -> Sequence[str]:
        listed = "[" + ",".join(f'"{digest.hex()}"' for digest in digests) + "]"
        return [row[0] for row in sql.rows(_HOLDERS, listed)]

    def forget_lost(self, pack: int) -> None:
        sql.run(f"DELETE FROM chunk WHERE pack = ? AND lost != 0 AND {_UNHELD}", pack)

    def faults(self) -> IndexFaults:
        return IndexFaults(
            leases_without_upload=_count(f"{_LEASE_WITHOUT_UPLOAD} AND name NOT LIKE 'abandoned/%'"),
            holds_without_chunk=_count(_HOLD_WITHOUT_CHUNK),
            holds_without_tree=_count(_HOLD_WITHOUT_TREE),
            chunks_without_pack=_count(f"chunk WHERE {_WITHOUT_PACK}"),
        )

    def stale_leases(self, size: int) -> Sequence[int]:
        return [row[0] for row in sql.rows(f"SELECT id FROM {_LEASE_WITHOUT_UPLOAD} LIMIT ?", size)]

    def mend(self) -> None:
        sql.run(f"DELETE FROM {_HOLD_WITHOUT_TREE}")
        sql.run(f"DELETE FROM {_HOLD_WITHOUT_CHUNK}")
        sql.run(f"DELETE FROM chunk WHERE {_WITHOUT_PACK} AND {_UNHELD}")
        # Its row must stay, since holds name it; a pack that is missing and has no file is what it lies in.
        sql.run(
            "INSERT INTO pack(id, name, size_bytes, created, missing, checked) "
            f"SELECT DISTINCT chunk.pack, 'gone-' || chunk.pack, 0, 0, 1, 0 FROM chunk WHERE {_WITHOUT_PACK}"
        )
        sql.run("UPDATE chunk SET lost = 1 WHERE pack IN (SELECT id FROM pack WHERE size_bytes = 0)")

    def lost_digests(self, size: int) -> Collection[bytes]:
        return {row[0] for row in sql.rows("SELECT digest FROM chunk WHERE lost != 0 LIMIT ?", size)}

    def found(self, entry: PackEntry, pack: PackId) -> bool:
        key = sql.rows("SELECT id FROM pack WHERE name = ?", pack)
        statement = (
            "UPDATE chunk SET lost = 0, position = ?, pack = ? WHERE digest = ? AND length = ? AND lost != 0"
        )
        return bool(key) and sql.run(statement, entry.offset, key[0][0], entry.digest, entry.length) > 0

    def trees(self, after: int, size: int) -> Sequence[tuple[int, str]]:
        statement = (
            f"SELECT t.id, {_OF} FROM tree t WHERE t.id > ? AND t.expires IS NULL ORDER BY t.id LIMIT ?"
        )
        return [(key, name) for key, name in sql.rows(statement, after, size)]


def _pack(
    key: int,
    name: str,
    size: int,
    created: float,
    checked: float,
    missing: int,
    punched: int | None,
    adopted: float | None,
) -> ShelfPack:
    return ShelfPack(key, name, size, created, checked, bool(missing), punched or 0, adopted)


def _count(source: str) -> int:
    found: int = sql.rows(f"SELECT count(*) FROM {source}")[0][0]
    return found
