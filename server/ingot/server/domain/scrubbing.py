"""Scrubbing: stored chunks are read again and compared with their digests, so that damage is found in time.

A damaged chunk counts as missing from then on: reads say DATA_LOSS at once, and the next push of the same
content stores a new copy, which heals all versions that need it. What is told are these versions.

    damaged      read the chunks of a pack, past the page cache and twice if need be
    conclude     those that are damaged are lost
    salvage      all others are copied into a new pack, and their rows moved
    set aside    the pack goes to quarantine, for people to look at: a disk that failed there will fail again
"""

import logging
from collections.abc import Sequence

from ingot.content import digests
from ingot.server.core import failpoints, journal
from ingot.server.core.clock import Clock
from ingot.server.core.packs import ChunkPlace, SealedPack
from ingot.server.core.stores import PackStore
from ingot.server.core.transfer_stores import ChunkStore, TreeStore
from ingot.server.core.upkeep_stores import IndexFaults, ShelfIndex, ShelfPack
from ingot.server.domain import copying
from ingot.server.domain.copying import Copied

log = logging.getLogger(__name__)

_PAGE = 50
_NAMED = 100  # artifacts that a report names


class Scrubbing:
    """The steps of scrubbing. `damaged`, `salvage`, `set_aside` work on files, others in a unit of work."""

    def __init__(
        self, index: ShelfIndex, packs: PackStore, chunks: ChunkStore, trees: TreeStore, clock: Clock
    ) -> None:
        self._index = index
        self._packs = packs
        self._chunks = chunks
        self._trees = trees
        self._clock = clock

    def due(self, before: float) -> Sequence[ShelfPack]:
        """Return some packs that were last checked before a time, the oldest check first. Inside a read."""
        return self._index.unchecked(before, _PAGE)

    def page(self, after: int) -> Sequence[ShelfPack]:
        """Return the next packs after a key; none at the end. Inside a read."""
        return self._index.packs(after, _PAGE)

    def places(self, pack: ShelfPack) -> Sequence[ChunkPlace]:
        """Return where the chunks of a pack lie. Inside a read."""
        return self._index.places(pack.key)

    def damaged(self, places: Sequence[ChunkPlace]) -> list[ChunkPlace]:
        """Read chunks of one pack from the disk and return those that are damaged. No unit of work."""
        return self._packs.damaged(places[0].pack, places) if places else []

    def conclude(self, pack: ShelfPack, damaged: Sequence[ChunkPlace]) -> Sequence[str]:
        """Note what was found in a pack; return who needs its damaged chunks. Inside a write."""
        self._index.mark_checked(pack.key, self._clock.now())
        lost = [place for place in damaged if self._chunks.lose(place.digest, place.pack)]
        if not lost:
            return ()
        names = self._index.holders([place.digest for place in lost])
        log.error("scrub.damaged pack=%s chunks=%d needed_by=%s", pack.id, len(lost), ",".join(names))
        journal.act("lose", f"packs/{pack.id}", chunks=len(lost), needed_by=", ".join(names))
        return names[:_NAMED]

    def salvage(self, places: Sequence[ChunkPlace]) -> Copied:
        """Copy the chunks of a pack that are intact. No unit of work."""
        return copying.copy(self._packs, places)

    def salvaged(self, pack: ShelfPack, copies: Sequence[SealedPack]) -> bool:
        """Let the copies count; tell whether nothing readable is left in the pack. Inside a write."""
        failpoints.hit("scrub.copied")
        self._index.move(pack.key, copies, self._clock.now())
        self._index.forget_lost(pack.key)
        return not self._index.places(pack.key)

    def set_aside(self, pack: ShelfPack) -> None:
        """Move the file to quarantine. No unit of work."""
        failpoints.hit("scrub.salvaged")
        if self._packs.quarantine(pack.id):
            log.error("pack.quarantined pack=%s", pack.id)

    def note_set_aside(self, pack: ShelfPack) -> None:
        """Note that a pack is not on the shelf any more. Inside a write."""
        failpoints.hit("scrub.set_aside")
        self._chunks.mark_packs([pack.id], missing=True)
        journal.act("quarantine", f"packs/{pack.id}")

    def faults(self) -> IndexFaults:
        """Count rows that point to nothing. Inside a read."""
        return self._index.faults()

    def trees(self, after: int) -> Sequence[tuple[int, str]]:
        """Return the next trees of versions and checkpoints after a key, with their owners. Inside a read."""
        return self._index.trees(after, _PAGE)

    def incomplete(self, tree: int) -> int:
        """Count the chunks that a tree names and that are not stored, or that it does not hold. In a read."""
        missing = 0
        for segment in self._trees.segments(tree):
            if segment.entries:
                missing += sum(not held for *_, held in self._chunks.states(segment.entries, tree))
        return missing


def short(places: Sequence[ChunkPlace]) -> list[str]:
    """Return the digests of chunks as people see them, at most a hundred."""
    return [digests.format_digest(place.digest) for place in places[:_NAMED]]
