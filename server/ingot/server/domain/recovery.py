"""What the server does first: bring index, packs and uploads together after whatever happened before.

    left-over streams          their files are deleted: nobody was told that they had arrived
    packs the index misses     entered, held by nobody: a sender that asks again need not write them again.
                               Collection spares them for some days, since a restored database that is older
                               than the packs may be replaced by a newer one
    packs missing on disk      their chunks count as lost: reads say DATA_LOSS, the next push heals them
    packs that came back       their chunks count again; one that a scrub had set aside may be among them, so
                               chunks are read before that, unless they are too many
    half-made commits          their uploads are open again

Nothing is deleted here but left-over streams. A damaged pack that the index does not know is set aside.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar

from ingot.server.core import failpoints
from ingot.server.core.clock import Clock
from ingot.server.core.errors import DataLoss, Unavailable
from ingot.server.core.packs import ChunkPlace, PackFile, PackId, SealedPack
from ingot.server.core.stores import PackStore
from ingot.server.core.transfer_stores import ChunkStore
from ingot.server.domain.uploads import Uploads

log = logging.getLogger(__name__)

_READ_BYTES = 1 << 30  # of packs that came back, before the first call is served

P = ParamSpec("P")
T = TypeVar("T")


class Units(Protocol):
    """The part of a database that runs rules."""

    def read(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` inside a read."""
        ...

    def write(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Call `fn` inside a write; the future resolves when it is durable."""
        ...


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """What was found and done; `lost_chunks` is the number of chunks that are lost now. Times in seconds."""

    leftovers: int
    found_packs: int
    damaged_packs: int
    missing_packs: int
    returned_packs: int
    reopened_uploads: int
    lost_chunks: int
    seconds: float

    @property
    def is_healthy(self) -> bool:
        """Return whether everything that was ever acknowledged can be read."""
        return self.lost_chunks == 0 and self.missing_packs == 0


class Recovery:
    """The steps of a start; `run` waits for the database and the disk, so call it on a thread of its own."""

    def __init__(
        self, units: Units, packs: PackStore, chunks: ChunkStore, uploads: Uploads, clock: Clock
    ) -> None:
        self._units = units
        self._packs = packs
        self._chunks = chunks
        self._uploads = uploads
        self._clock = clock

    def run(self) -> RecoveryReport:
        """Do all of it, before the first call is served; doing it again finds nothing to do."""
        started = self._clock.monotonic()
        leftovers = self._packs.recover()
        shelf = {pack.id: pack for pack in self._packs.packs()}
        known = {pack.id: pack for pack in self._units.read(lambda: list(self._chunks.packs()))}
        found, damaged = self._enter([pack for name, pack in shelf.items() if name not in known])
        missing = [name for name, pack in known.items() if name not in shelf and not pack.condemned]
        newly_missing = [name for name in missing if not known[name].missing]
        returned = [
            name for name, pack in known.items() if pack.missing and name in shelf and self._secured(name)
        ]
        report = RecoveryReport(
            leftovers=leftovers,
            found_packs=found,
            damaged_packs=damaged,
            missing_packs=len(missing),
            returned_packs=len(returned),
            reopened_uploads=self._units.write(self._uploads.reopen_interrupted).result(),
            lost_chunks=self._units.write(
                self._mark, newly_missing, returned, self._damaged_in(returned)
            ).result(),
            seconds=self._clock.monotonic() - started,
        )
        level = logging.INFO if report.is_healthy else logging.ERROR
        log.log(
            level,
            "recovery.done leftovers=%d found=%d damaged=%d missing=%d returned=%d reopened=%d lost=%d",
            report.leftovers,
            report.found_packs,
            report.damaged_packs,
            report.missing_packs,
            report.returned_packs,
            report.reopened_uploads,
            report.lost_chunks,
        )
        return report

    def _enter(self, unknown: list[PackFile]) -> tuple[int, int]:
        """Index packs that were sealed and never indexed; return how many, and how many were damaged."""
        damaged = unreadable = 0
        for pack in unknown:
            try:
                sealed = SealedPack(pack.id, pack.size, self._packs.entries(pack.id))
                self._packs.secure(pack.id)  # a kill may have come before the sync of its name
            except DataLoss as error:
                log.error("recovery.pack_damaged pack=%s error=%s", pack.id, error.message)
                self._packs.quarantine(pack.id)
                damaged += 1
                continue
            except Unavailable as error:  # its key is not there: nothing is wrong with it
                log.error("recovery.pack_unreadable pack=%s error=%s", pack.id, error.message)
                unreadable += 1
                continue
            self._units.write(self._chunks.add_pack, sealed, self._clock.now(), found=True).result()
            failpoints.hit("recovery.entered")
        return len(unknown) - damaged - unreadable, damaged

    def _secured(self, pack: PackId) -> bool:
        """Bring a pack that came back to the disk; False when the disk cannot."""
        try:
            self._packs.secure(pack)
        except (DataLoss, Unavailable) as error:
            log.error("recovery.pack_unreadable pack=%s error=%s", pack, error.message)
            return False
        return True

    def _damaged_in(self, returned: list[PackId]) -> list[ChunkPlace]:
        """Return the chunks of packs that came back which are damaged, among so many that can be read now."""
        found: list[ChunkPlace] = []
        left = _READ_BYTES
        for pack in returned:
            places = self._units.read(self._chunks.lost_in, pack)
            left -= sum(place.length for place in places)
            if left < 0:
                break  # as when a disk was not mounted; a scrub reads the others in its time
            found += self._packs.damaged(pack, places)
        return found

    def _mark(self, missing: list[PackId], returned: list[PackId], damaged: list[ChunkPlace]) -> int:
        self._chunks.mark_packs(missing, missing=True)
        self._chunks.mark_packs(returned, missing=False)
        for place in damaged:
            self._chunks.lose(place.digest, place.pack)
        return self._chunks.lost()
