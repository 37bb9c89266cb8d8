"""The rows about packs as upkeep sees them: the ShelfIndex of core/upkeep_stores.py.

A chunk is needed when any tree holds it; the hold of a tree that has run out goes with the tree.
"""

from collections.abc import Collection, Sequence

from ingot.server.core.packs import ChunkPlace, PackId, SealedPack
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
_HOLDERS = (
    "SELECT DISTINCT CASE WHEN t.artifact = '' THEN t.name ELSE t.artifact END AS holder "
    "FROM json_each(?) j CROSS JOIN chunk c ON c.digest = unhex(j.value) "
    "CROSS JOIN hold h ON h.chunk = c.id CROSS JOIN tree t ON t.id = h.tree ORDER BY holder"
)


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
            "DELETE FROM chunk WHERE pack = ? AND NOT EXISTS(SELECT 1 FROM hold h WHERE h.chunk = chunk.id)",
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

    def holders(self, digests: Sequence[bytes]) -> Sequence[str]:
        listed = "[" + ",".join(f'"{digest.hex()}"' for digest in digests) + "]"
        return [row[0] for row in sql.rows(_HOLDERS, listed)]

    def faults(self) -> IndexFaults:
        return IndexFaults(
            holds_without_chunk=_count("hold h WHERE NOT EXISTS(SELECT 1 FROM chunk c WHERE c.id = h.chunk)"),
            holds_without_tree=_count("hold h WHERE NOT EXISTS(SELECT 1 FROM tree t WHERE t.id = h.tree)"),
            chunks_without_pack=_count("chunk c WHERE NOT EXISTS(SELECT 1 FROM pack p WHERE p.id = c.pack)"),
        )

    def trees(self, after: int, size: int) -> Sequence[tuple[int, str]]:
        statement = (
            "SELECT id, CASE WHEN artifact = '' THEN name ELSE artifact END FROM tree "
            "WHERE id > ? AND expires IS NULL ORDER BY id LIMIT ?"
        )
        return [(key, owner) for key, owner in sql.rows(statement, after, size)]


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
