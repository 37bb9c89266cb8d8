"""A checkup of the whole store: rows against packs both ways, holds, leases, and what versions need.

One sequence serves `ingot-server doctor` (no server runs: `alone`) and the operation `verify` (one does).
Both use the steps of scrubbing. Whatever can be put right is, where `repair` says so:

    pack in no row              entered, nobody's; one that is broken gives its intact chunks to a new pack
    row without its pack        its chunks are lost: they count as missing, and the next push heals them
    broken or damaged pack      intact chunks are copied to a new pack, the file goes to quarantine
    row that points elsewhere   its chunk is lost, unless it lies in a pack all the same: then it is found
    holds, leases of nothing    forgotten
    account that is wrong       counted anew, so that quotas are right

Run with an empty database it builds the index from packs alone. Versions that need lost chunks are named;
what then helps is to push their files again, or to put the packs back.
"""

import logging
from collections.abc import Callable, Sequence

from ingot.content import digests
from ingot.server.core.checkup import CheckupReport, Fault, Finding
from ingot.server.core.clock import Clock
from ingot.server.core.errors import DataLoss, Unavailable
from ingot.server.core.namespaces import AccountStore
from ingot.server.core.packs import ChunkPlace, PackEntry, PackId, SealedPack
from ingot.server.core.stores import PackStore
from ingot.server.core.transfer_stores import ChunkStore, TreeStore
from ingot.server.core.upkeep_stores import ShelfIndex, ShelfPack
from ingot.server.domain import copying
from ingot.server.domain.recovery import Units
from ingot.server.domain.scrubbing import Scrubbing

log = logging.getLogger(__name__)

HEAL = "push the files of these versions again, or put the pack back from a backup"
_PAGE = 100
_MOST_LOST = 100_000  # lost chunks that are looked for in one run

Step = Callable[[CheckupReport], None]  # called after every pack and tree; may raise to stop here


class Checkup:
    """One checkup; `run` waits for rows and files, so call it on a thread of its own."""

    def __init__(
        self,
        units: Units,
        index: ShelfIndex,
        packs: PackStore,
        chunks: ChunkStore,
        trees: TreeStore,
        accounts: AccountStore,
        clock: Clock,
        *,
        deep: bool,
        repair: bool,
        alone: bool,
    ) -> None:
        self._units = units
        self._index = index
        self._packs = packs
        self._chunks = chunks
        self._trees = trees
        self._accounts = accounts
        self._clock = clock
        self._scrubbing = Scrubbing(index, packs, chunks, trees, clock)
        self._deep = deep  # read the bytes of all chunks, not only headers and footers
        self._repair = repair
        self._alone = alone
        self._report = CheckupReport()

    def run(self, step: Step = lambda report: None) -> CheckupReport:
        """Look at everything once, and put right what is to be put right."""
        shelf = {pack.id: pack.size for pack in self._packs.packs()}
        if self._alone:
            self._leftovers()
        known = self._known_packs(shelf, step)
        self._unknown_packs([pack for pack in shelf if pack not in known], shelf, step)
        if self._repair:
            self._find_lost()
        self._faults()
        self._wrong_accounts()
        self._incomplete_trees(step)
        return self._report

    # --- packs ------------------------------------------------------------------------------------------

    def _leftovers(self) -> None:
        count = self._packs.recover() if self._repair else self._packs.leftovers()
        if count:
            self._note(
                Fault.LEFTOVER_STREAM,
                "ingest",
                f"{count} files of streams that were cut off; nobody was told that they had arrived",
                "the next start deletes them",
                count=count,
            )

    def _known_packs(self, shelf: dict[PackId, int], step: Step) -> set[PackId]:
        condemned = self._units.read(lambda: self._index.condemned(float("inf"), 1 << 30))
        known, after = {pack.id for pack in condemned}, 0
        while page := self._units.read(self._scrubbing.page, after):
            for pack in page:
                after = pack.key
                known.add(pack.id)
                if pack.id in shelf or self._packs.allocated(pack.id):  # it may have come since
                    self._known_pack(pack)
                else:
                    self._missing_pack(pack)
                step(self._report)
        return known

    def _missing_pack(self, pack: ShelfPack) -> None:
        holders = self._holders(self._units.read(self._scrubbing.places, pack))
        if pack.missing and not holders:
            return  # known, and nothing that is stored is in it any more
        if self._repair:
            self._units.write(self._scrubbing.note_set_aside, pack).result()
        self._note(
            Fault.MISSING_PACK,
            pack.id,
            f"the pack is in the rows and not on the shelf ({pack.size} bytes)",
            HEAL,
            needed_by=holders,
        )

    def _known_pack(self, pack: ShelfPack) -> None:
        places = self._units.read(self._scrubbing.places, pack)
        self._report.packs += 1
        try:
            entries = self._packs.entries(pack.id)
            wrong = _misplaced(places, entries)
        except DataLoss as error:
            self._replace(Fault.BROKEN_PACK, pack, places, error.message)
            return
        except Unavailable as error:  # a key is missing: nothing is wrong with the pack
            self._note(Fault.UNREADABLE_PACK, pack.id, error.message, error.next_step, repaired=False)
            return
        if wrong:
            self._lose(Fault.MISPLACED_CHUNK, pack, wrong, "the pack has no such chunk where its row says")
        if not self._deep:
            return
        gone = set(wrong)
        right = [place for place in places if place not in gone]
        damaged = self._scrubbing.damaged(right)
        self._report.bytes += sum(place.length for place in right)
        if damaged:
            self._replace(Fault.DAMAGED_CHUNK, pack, right, "its bytes do not have its digest", damaged)
        elif not self._alone or self._repair:
            self._units.write(self._scrubbing.conclude, pack, ()).result()

    def _lose(self, fault: Fault, pack: ShelfPack, places: Sequence[ChunkPlace], why: str) -> None:
        holders = self._holders(places)
        if self._repair:
            self._units.write(self._scrubbing.conclude, pack, places).result()
        for place in places:
            self._note(
                fault,
                digests.format_digest(place.digest),
                f"{why} (pack {pack.id}, byte {place.offset})",
                HEAL if holders else "nobody needs it",
                needed_by=holders,
            )

    def _replace(
        self,
        fault: Fault,
        pack: ShelfPack,
        places: Sequence[ChunkPlace],
        why: str,
        damaged: Sequence[ChunkPlace] | None = None,
    ) -> None:
        """Tell of a pack that is broken or holds damage; copy what is intact and set it aside."""
        if damaged is None:
            damaged = self._scrubbing.damaged(places)
            holders = self._holders(damaged)
            self._note(fault, pack.id, why, HEAL if holders else "its chunks were saved", needed_by=holders)
            if self._repair:
                self._units.write(self._scrubbing.conclude, pack, damaged).result()
        else:
            self._lose(fault, pack, damaged, why)
        if self._repair:
            self._set_aside(pack, places, damaged)

    def _set_aside(
        self, pack: ShelfPack, places: Sequence[ChunkPlace], damaged: Sequence[ChunkPlace]
    ) -> None:
        bad = set(damaged)
        copied = self._scrubbing.salvage([place for place in places if place not in bad])
        if copied.disk_full or copied.damaged:
            log.error("checkup.pack_stays pack=%s disk_full=%s", pack.id, copied.disk_full)
        elif self._units.write(self._scrubbing.salvaged, pack, copied.packs).result():
            self._scrubbing.set_aside(pack)
            self._units.write(self._scrubbing.note_set_aside, pack).result()

    def _unknown_packs(self, unknown: Sequence[PackId], shelf: dict[PackId, int], step: Step) -> None:
        for pack in unknown:
            if not self._alone:  # a stream may just have sealed it
                self._note(Fault.UNKNOWN_PACK, pack, "the pack is in no row (yet)", "none", repaired=False)
                continue
            try:
                sealed = SealedPack(pack, shelf[pack], self._packs.entries(pack))
                self._note(
                    Fault.UNKNOWN_PACK,
                    pack,
                    f"the pack is in no row; it has {len(sealed.entries)} chunks",
                    "the next start enters it, nobody's; a push that needs its chunks finds them",
                )
                if self._repair:
                    self._adopt(sealed)
            except DataLoss as error:
                self._note(
                    Fault.BROKEN_PACK,
                    pack,
                    f"it is in no row, and {error.message}",
                    "its intact chunks can be saved: run with --repair",
                )
                if self._repair:
                    self._save(pack)
            except Unavailable as error:
                self._note(Fault.UNREADABLE_PACK, pack, error.message, error.next_step, repaired=False)
            self._report.packs += 1
            step(self._report)

    def _adopt(self, pack: SealedPack) -> None:
        """Enter a pack that is in no row; chunks that were lost are found again in it."""
        self._packs.secure(pack.id)
        lost = self._units.read(self._chunks.lost)
        self._units.write(self._chunks.add_pack, pack, self._clock.now(), found=True).result()
        self._report.healed_chunks += lost - self._units.read(self._chunks.lost)

    def _save(self, pack: PackId) -> None:
        """Copy what can be read of a broken pack that is in no row, and set it aside."""
        places: list[ChunkPlace] = []
        try:
            for found in self._packs.scan(pack):
                if found.intact:
                    entry = found.entry
                    places.append(ChunkPlace(pack, entry.offset, entry.length, entry.digest))
        except DataLoss:
            pass  # behind this nothing can be read
        copied = copying.copy(self._packs, places)
        if copied.disk_full or copied.damaged:
            log.error("checkup.pack_stays pack=%s disk_full=%s", pack, copied.disk_full)
            return
        for sealed in copied.packs:
            self._units.write(self._chunks.add_pack, sealed, self._clock.now(), found=True).result()
        self._packs.quarantine(pack)

    def _find_lost(self) -> None:
        """Look in all packs for chunks that are lost: copies of them may lie elsewhere, or be back."""
        lost = set(self._units.read(lambda: self._index.lost_digests(_MOST_LOST)))
        for pack in list(self._packs.packs()) if lost else ():
            try:
                entries = [entry for entry in self._packs.entries(pack.id) if entry.digest in lost]
            except (DataLoss, Unavailable):
                continue  # told of already
            for entry in entries:
                place = ChunkPlace(pack.id, entry.offset, entry.length, entry.digest)
                if (
                    not self._packs.damaged(pack.id, [place])
                    and self._units.write(self._index.found, entry, pack.id).result()
                ):
                    lost.discard(entry.digest)
                    self._report.healed_chunks += 1

    # --- rows -------------------------------------------------------------------------------------------

    def _faults(self) -> None:
        faults = self._units.read(self._index.faults)
        for fault, count, what in (
            (Fault.LEASE_WITHOUT_UPLOAD, faults.leases_without_upload, "trees of uploads that are no more"),
            (Fault.HOLD_WITHOUT_TREE, faults.holds_without_tree, "holds of trees that are no more"),
            (Fault.HOLD_WITHOUT_CHUNK, faults.holds_without_chunk, "holds of chunks that are not known"),
            (Fault.CHUNK_WITHOUT_PACK, faults.chunks_without_pack, "chunks whose pack is not known"),
        ):
            if count:
                self._note(fault, "rows", f"{count} {what}", "run with --repair", count=count)
        if self._repair:
            while stale := self._units.read(lambda: self._index.stale_leases(_PAGE)):
                for tree in stale:
                    self._units.write(self._trees.drop, tree).result()
            self._units.write(self._index.mend).result()

    def _wrong_accounts(self) -> None:
        """Count anew what each namespace has; inside a write where it is put right."""
        if self._repair:
            wrong = self._units.write(lambda: self._accounts.recount(repair=True)).result()
        else:
            wrong = self._units.read(lambda: self._accounts.recount(repair=False))
        for namespace in wrong:
            said = "what it has is not what was counted for its quotas"
            self._note(Fault.WRONG_ACCOUNT, f"namespaces/{namespace}", said, "run with --repair")

    def _incomplete_trees(self, step: Step) -> None:
        after = 0
        while page := self._units.read(self._scrubbing.trees, after):
            for tree, name in page:
                after = tree
                self._report.trees += 1
                missing = self._units.read(self._scrubbing.incomplete, tree)
                if missing:
                    self._note(
                        Fault.INCOMPLETE_TREE,
                        name,
                        f"{missing} of its chunks are not stored",
                        f"push its files again: {_push(name)}",
                        needed_by=(name,),
                        repaired=False,
                    )
                step(self._report)

    # --- telling ----------------------------------------------------------------------------------------

    def _holders(self, places: Sequence[ChunkPlace]) -> Sequence[str]:
        return self._units.read(lambda: self._index.holders([place.digest for place in places]))

    def _note(
        self,
        fault: Fault,
        subject: str,
        message: str,
        next_step: str,
        *,
        needed_by: Sequence[str] = (),
        repaired: bool | None = None,
        count: int = 1,
    ) -> None:
        done = self._repair if repaired is None else repaired
        self._report.add(Finding(fault, subject, message, next_step, needed_by, done), count)
        if not fault.is_harmless:
            log.error("checkup.found fault=%s subject=%s repaired=%s", fault, subject, done)


def _misplaced(places: Sequence[ChunkPlace], entries: Sequence[PackEntry]) -> list[ChunkPlace]:
    there = {(entry.offset, entry.length, entry.digest) for entry in entries}
    return [place for place in places if (place.offset, place.length, place.digest) not in there]


def _push(name: str) -> str:
    """Return the command that brings the files of a version back."""
    parts = name.split("/")
    if len(parts) == 6:  # namespaces/<n>/<kind>/<artifact>/versions/<v>
        return f"ingot push {'/'.join(parts[:4])} FOLDER"
    return "from where they came"
