"""Collection: the space of chunks that no tree holds is freed, in two phases, while everything else goes on.

    condemn    a pack without a needed chunk loses its rows; from that moment its chunks are stored anew
    rewrite    of a pack that is mostly unneeded the needed chunks are copied, then their rows move over
    free       a pack condemned long enough ago, so that no running read knows it any more, is deleted

Whether a chunk is needed is decided inside the write that lets it go, and every lease and reference is taken
inside a write too: there is no moment in between. Rows go before files, so a crash leaves at most a pack that
nobody needs, which recovery finds and the next run condemns. On a full disk packs are still deleted; only
rewriting waits.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ingot.server.core import failpoints
from ingot.server.core.clock import Clock
from ingot.server.core.errors import DataLoss, Exhausted
from ingot.server.core.packs import ChunkPlace, SealedPack
from ingot.server.core.stores import PackStore
from ingot.server.core.transfer_stores import ChunkStore
from ingot.server.core.upkeep_stores import ShelfIndex, ShelfPack

log = logging.getLogger(__name__)

GRACE_SECONDS = 600.0  # longer than a read remembers where its chunks lie
_PAGE = 100
_REWRITE_SHARE = 0.5  # of a pack that must be unneeded before its rest is copied


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be done about one pack: nothing, condemn it, or copy what is needed of it first."""

    pack: ShelfPack
    condemn: bool
    rewrite: bool
    dead_bytes: int  # of its size; records and footer count as dead when nothing else is needed


@dataclass(frozen=True, slots=True)
class Copied:
    """What a rewrite brought: the new packs, or why there are none."""

    packs: tuple[SealedPack, ...] = ()
    damaged: ChunkPlace | None = None
    disk_full: bool = False


class Collection:
    """The steps of a collection. `copy` and `delete` work on files, all others run inside a unit of work."""

    def __init__(self, index: ShelfIndex, packs: PackStore, chunks: ChunkStore, clock: Clock) -> None:
        self._index = index
        self._packs = packs
        self._chunks = chunks
        self._clock = clock

    def due(self, grace: float) -> Sequence[ShelfPack]:
        """Return some packs that were condemned `grace` seconds ago or longer. Inside a read."""
        return self._index.condemned(self._clock.now() - grace, _PAGE)

    def forget(self, pack: ShelfPack) -> None:
        """Drop the row of a condemned pack; then its file may go. Inside a write."""
        self._index.forget(pack.key)

    def delete(self, pack: ShelfPack) -> int:
        """Delete the file of a pack that was forgotten; return the bytes it had. No unit of work."""
        failpoints.hit("collect.forgotten")
        return pack.size if self._packs.delete(pack.id) else 0

    def page(self, after: int) -> Sequence[Judgement]:
        """Judge the next packs after a key; none at the end. Inside a read."""
        return [self._judge(pack) for pack in self._index.packs(after, _PAGE)]

    def condemn(self, pack: ShelfPack) -> bool:
        """Let a pack go that nobody needs; False when somebody does by now. Inside a write."""
        return self._index.condemn(pack.key, self._clock.now())

    def needed(self, pack: ShelfPack) -> Sequence[ChunkPlace]:
        """Return where the needed chunks of a pack lie. Inside a read."""
        return self._index.live_places(pack.key)

    def copy(self, places: Sequence[ChunkPlace]) -> Copied:
        """Copy chunks into new packs, durably. No unit of work."""
        place: ChunkPlace | None = None
        try:
            ingest = self._packs.open_ingest(sum(each.length for each in places), len(places))
        except Exhausted:
            return Copied(disk_full=True)
        try:
            for place in places:
                ingest.append(place.digest, [self._packs.read(place)])
            place = None
            return Copied(tuple(ingest.seal()))
        except DataLoss:
            return Copied(damaged=place)
        except Exhausted:
            return Copied(disk_full=True)
        finally:
            ingest.abort()

    def moved(self, pack: ShelfPack, copies: Sequence[SealedPack]) -> bool:
        """Let the copies count and the old pack go; False when it is still needed. Inside a write."""
        failpoints.hit("collect.copied")
        self._index.move(pack.key, copies, self._clock.now())
        return self._index.condemn(pack.key, self._clock.now())

    def lost(self, place: ChunkPlace) -> None:
        """Note that a chunk is damaged: it counts as missing, the next push heals it. Inside a write."""
        if self._chunks.lose(place.digest, place.pack):
            log.error("chunk.lost digest=%s pack=%s", place.digest.hex(), place.pack)

    def _judge(self, pack: ShelfPack) -> Judgement:
        use = self._index.use(pack.key)
        dead_bytes = pack.size - use.live_bytes
        condemn = not use.live_chunks
        rewrite = not condemn and not pack.missing and dead_bytes > _REWRITE_SHARE * pack.size
        # What a record and a footer take is no waste: with small chunks it is much of a pack.
        return Judgement(pack, condemn, rewrite and use.dead_chunks > 0, dead_bytes)
