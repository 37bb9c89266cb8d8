"""Collection: the space of chunks that no tree holds is freed, in two phases, while everything else goes on.

    condemn    a pack without a needed chunk loses its rows; from that moment its chunks are stored anew
    rewrite    of a pack that is mostly unneeded the needed chunks are copied, then their rows move over
    trim       of one that is partly unneeded, or that cannot be copied, the unneeded chunks lose their rows
    free       a pack condemned long enough ago, so that no running read knows it any more, is deleted;
               of one trimmed long enough ago, the space of all chunks without a row is given back (holes)

Whether a chunk is needed is decided inside the write that lets it go, and every lease and reference is taken
inside a write too: there is no moment in between. Rows go before files, so a crash leaves at most a pack that
nobody needs, which recovery finds and a later run condemns, or chunks without rows that still take space.
On a full disk packs are still deleted and holes made, which need no space; only rewriting waits.
"""

import logging
from collections.abc import Collection as Some
from collections.abc import Sequence
from dataclasses import dataclass

from ingot.server.core import failpoints, journal
from ingot.server.core.clock import Clock
from ingot.server.core.errors import DataLoss
from ingot.server.core.packs import ChunkPlace, SealedPack
from ingot.server.core.stores import PackStore
from ingot.server.core.transfer_stores import ChunkStore
from ingot.server.core.upkeep_stores import ShelfIndex, ShelfPack
from ingot.server.domain import copying
from ingot.server.domain.copying import Copied

log = logging.getLogger(__name__)

_PAGE = 100
_REWRITE_SHARE = 0.5  # of a pack that must be unneeded before its rest is copied
_TRIM_SHARE = 1 / 16  # … before it is worth while to give their space back


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be done about one pack: nothing, condemn it, copy what is needed of it first, or trim it."""

    pack: ShelfPack
    condemn: bool
    rewrite: bool
    trim: bool
    dead_bytes: int  # of its size; records and footer count as dead when nothing else is needed


@dataclass(frozen=True, slots=True)
class Punched:
    """What giving space back brought: bytes of disk, and the bytes of the chunks that are gone."""

    freed_bytes: int = 0
    chunk_bytes: int = 0


class Collection:
    """The steps of a collection. `copy` and `delete` work on files, all others run inside a unit of work."""

    def __init__(
        self, index: ShelfIndex, packs: PackStore, chunks: ChunkStore, clock: Clock, spare_seconds: float
    ) -> None:
        """`spare_seconds` is how long a pack stays that was found on the shelf and that nobody needs."""
        self._index = index
        self._spare_seconds = spare_seconds
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
        """Delete the file of a pack that was forgotten; return the bytes of disk it had. No unit of work."""
        failpoints.hit("collect.forgotten")
        allocated = self._packs.allocated(pack.id)
        return allocated if self._packs.delete(pack.id) else 0

    def trimmed(self, grace: float) -> Sequence[ShelfPack]:
        """Return some packs that were trimmed `grace` seconds ago or longer. Inside a read."""
        return self._index.trimmed(self._clock.now() - grace, _PAGE)

    def known(self, pack: ShelfPack) -> Some[int]:
        """Return where the chunks of a pack lie that must stay. Inside a read."""
        return self._index.offsets(pack.key)

    def punch(self, pack: ShelfPack, known: Some[int]) -> Punched:
        """Give the space of all other chunks of a pack back. No unit of work."""
        try:
            gone = [entry for entry in self._packs.entries(pack.id) if entry.offset not in known]
            freed = self._packs.punch(pack.id, gone)
        except DataLoss as error:
            log.error("collect.pack_damaged pack=%s error=%s", pack.id, error.message)
            return Punched()
        return Punched() if freed is None else Punched(freed, sum(entry.length for entry in gone))

    def punched(self, pack: ShelfPack, done: Punched) -> None:
        """Note that the space was given back. Inside a write."""
        self._index.punched(pack.key, done.chunk_bytes)

    def can_trim(self, pack: ShelfPack) -> bool:
        """Return whether the shelf can give space back inside a pack. No unit of work."""
        try:
            return self._packs.punch(pack.id, ()) is not None
        except DataLoss:
            return False

    def trim(self, pack: ShelfPack) -> int:
        """Forget the unneeded chunks of a pack; return how many. Inside a write."""
        return self._index.trim(pack.key, self._clock.now())

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
        return copying.copy(self._packs, places)

    def moved(self, pack: ShelfPack, copies: Sequence[SealedPack]) -> bool:
        """Let the copies count and the old pack go; False when it is still needed. Inside a write."""
        failpoints.hit("collect.copied")
        self._index.move(pack.key, copies, self._clock.now())
        return self._index.condemn(pack.key, self._clock.now())

    def lost(self, place: ChunkPlace) -> None:
        """Note that a chunk is damaged: it counts as missing, the next push heals it. Inside a write."""
        if self._chunks.lose(place.digest, place.pack):
            log.error("chunk.lost digest=%s pack=%s", place.digest.hex(), place.pack)
            journal.act("lose", f"packs/{place.pack}", chunks=1, digest=place.digest.hex())

    def _judge(self, pack: ShelfPack) -> Judgement:
        use = self._index.use(pack.key)
        left = pack.size - pack.punched
        dead_bytes = left - use.live_bytes
        if pack.adopted is not None and pack.adopted > self._clock.now() - self._spare_seconds:
            return Judgement(pack, condemn=False, rewrite=False, trim=False, dead_bytes=dead_bytes)
        condemn = not use.live_chunks
        # What a record and a footer take is no waste: with small chunks it is much of a pack.
        partly = not condemn and not pack.missing and use.dead_chunks > 0
        rewrite = partly and dead_bytes > _REWRITE_SHARE * left
        trim = partly and dead_bytes > _TRIM_SHARE * pack.size
        return Judgement(pack, condemn, rewrite, trim, dead_bytes)
