"""Damage that a reader meets: the chunk is missing from then on, and its pack is looked through at once.

Where one chunk of a pack is broken, others may be. Until they are known to be, a push that brings them again
is told that they are here. So the pack is scrubbed now: after that a push heals all that was damaged in it.
"""

import logging

from ingot.server.core import journal
from ingot.server.core.identity import system_caller
from ingot.server.core.operations import NewOperation
from ingot.server.core.packs import ChunkPlace
from ingot.server.core.transfer_stores import ChunkStore
from ingot.server.core.upkeep_stores import ShelfIndex
from ingot.server.domain.operations import Operations

SCRUB = "scrub"

log = logging.getLogger(__name__)


class Damage:
    """Notes damaged chunks; its method runs inside a write."""

    def __init__(self, chunks: ChunkStore, index: ShelfIndex, operations: Operations) -> None:
        self._chunks = chunks
        self._index = index
        self._operations = operations

    def met(self, place: ChunkPlace) -> None:
        """Note that a chunk could not be read, and have the rest of its pack read by a scrub."""
        if not self._chunks.lose(place.digest, place.pack):
            return
        log.error("chunk.lost digest=%s pack=%s", place.digest.hex(), place.pack)
        journal.act("lose", f"packs/{place.pack}", chunks=1, digest=place.digest.hex())
        self._index.suspect(place.pack)
        self._operations.enqueue(system_caller(), NewOperation(SCRUB, key=SCRUB))  # as its periodic turns
