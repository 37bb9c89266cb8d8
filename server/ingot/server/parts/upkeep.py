"""Upkeep of the shelf: collect, scrub, verify and backup, as operations that run inside the server.

Each goes in small steps, a pack at a time, through the same threads as everybody's calls, and stops between
two steps when it is asked to. What they did is the result of their operation.

    upkeep = UpkeepParts(hops, database, packs, home, settings, clock)
    upkeep.add_to(operations.shelf)
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ingot.server.core.artifacts import JsonObject, JsonValue
from ingot.server.core.checkup import CheckupReport, Fault
from ingot.server.core.clock import Clock
from ingot.server.core.events import Progress
from ingot.server.core.packs import ChunkPlace
from ingot.server.core.stores import PackStore
from ingot.server.core.upkeep_stores import ShelfPack
from ingot.server.domain import scrubbing
from ingot.server.domain.checkup import Checkup
from ingot.server.domain.collection import Collection, Judgement
from ingot.server.domain.scrubbing import Scrubbing
from ingot.server.rpc.hops import Hops
from ingot.server.runner.shelf import ShelfBodies, ShelfWork, Stopped
from ingot.server.settings.fields import Settings
from ingot.server.storage import ballast, compacting
from ingot.server.storage.accounts_sql import AccountsSql
from ingot.server.storage.backups import FolderBackups
from ingot.server.storage.chunks_sql import ChunksSql
from ingot.server.storage.database import Database
from ingot.server.storage.disk_space import FolderDisk
from ingot.server.storage.shelf_sql import ShelfSql
from ingot.server.storage.trees_sql import TreesSql

_DAY = 24 * 3600.0
_NAMED = 100  # digests and names that a result lists
_MUCH_UNUSED = 64 * 1024 * 1024  # bytes of the database file
_COMPACT = (
    "An earlier version made this database, which cannot shrink by itself: stop the server once and run "
    "`ingot-server compact`."
)
_NEXT = (
    "Push the files of the versions in needed_by again: damaged chunks count as missing, a push heals them."
)


@dataclass(slots=True)
class _Collected:
    """What a collection has done so far."""

    seen_packs: int = 0
    condemned_packs: int = 0
    condemned_bytes: int = 0  # free once the grace is over
    rewritten_packs: int = 0
    postponed_packs: int = 0  # whose rest could not be copied, because the disk is full
    trimmed_packs: int = 0  # partly unneeded: that space is given back once the grace is over
    punched_packs: int = 0
    damaged_chunks: int = 0
    freed_packs: int = 0
    freed_bytes: int = 0  # of disk, as the file system counts them
    database_freed_bytes: int = 0  # of the database file
    database_unused_bytes: int = 0  # that its file keeps
    next_step: str = ""
    disk_free_before: int = 0
    disk_free_after: int = 0


@dataclass(slots=True)
class _Checked:
    """What a scrub has found so far."""

    packs: int = 0
    bytes: int = 0
    damaged_chunks: int = 0
    quarantined_packs: int = 0
    digests: list[str] = field(default_factory=list)
    needed_by: set[str] = field(default_factory=set)

    def result(self) -> dict[str, JsonValue]:
        return {
            "packs": self.packs,
            "bytes": self.bytes,
            "damaged_chunks": self.damaged_chunks,
            "quarantined_packs": self.quarantined_packs,
            "damaged_digests": self.digests[:_NAMED],
            "needed_by": sorted(self.needed_by)[:_NAMED],
            "next_step": _NEXT if self.damaged_chunks else "",
        }


class UpkeepParts:
    """The bodies of upkeep: `home` is the data folder, `units` the database with its rows."""

    def __init__(
        self, hops: Hops, units: Database, packs: PackStore, home: Path, settings: Settings, clock: Clock
    ) -> None:
        self._index, self._chunks = index, chunks = ShelfSql(), ChunksSql()
        self._packs = packs
        self._hops = hops
        self._home = home
        self._units = units
        self._database = units.path
        self._settings = settings
        self._clock = clock
        self._packs_stay = asyncio.Lock()  # held by whoever deletes packs, or needs all of them to stay
        spare = settings.adopted_pack_days * _DAY
        self._collection = Collection(index, packs, chunks, clock, spare)
        self._disk = FolderDisk(home)
        self._scrubbing = Scrubbing(index, packs, chunks, TreesSql(), clock)

    def add_to(self, shelf: ShelfBodies) -> None:
        """Let these bodies do the work of their kinds."""
        shelf.add("collect", self.collect)
        shelf.add("scrub", self.scrub)
        shelf.add("verify", self.verify)
        shelf.add("backup", self.backup)

    # --- collect ----------------------------------------------------------------------------------------

    async def collect(self, work: ShelfWork) -> JsonObject:
        """Free what nobody needs: delete packs condemned before, then condemn and rewrite."""
        found = _Collected(disk_free_before=self._disk.space().free)
        async with self._packs_stay:
            await self._free(work, found)
            await self._punch(work, found)
        after = 0
        while page := await self._hops.read(self._collection.page, after):
            for judgement in page:
                await work.step()
                await self._carry_out(judgement, found)
                after = judgement.pack.key
            work.progress(Progress(phase="collecting", done=found.seen_packs, unit="packs"))
        await self._shrink_database(work, found)
        await self._hops.io(ballast.keep, self._database)
        found.disk_free_after = self._disk.space().free
        return asdict(found)

    async def _shrink_database(self, work: ShelfWork, found: "_Collected") -> None:
        """Give the space of deleted rows back, some in each write."""
        while freed := await self._hops.write(compacting.give_back):
            found.database_freed_bytes += freed
            await work.step()
        if found.database_freed_bytes:
            await self._hops.io(compacting.settle, self._units)
            found.freed_bytes += found.database_freed_bytes
        unused = await self._hops.read(compacting.free_space)
        found.database_unused_bytes = unused.size
        if not unused.can_shrink and unused.size > _MUCH_UNUSED:
            found.next_step = _COMPACT

    async def _free(self, work: ShelfWork, found: "_Collected") -> None:
        grace = self._settings.collect_grace_seconds
        while due := await self._hops.read(self._collection.due, grace):
            for pack in due:
                await work.step()
                await self._hops.write(self._collection.forget, pack)
                found.freed_bytes += await self._hops.io(self._collection.delete, pack)
                found.freed_packs += 1

    async def _punch(self, work: ShelfWork, found: "_Collected") -> None:
        while due := await self._hops.read(self._collection.trimmed, self._settings.collect_grace_seconds):
            for pack in due:
                await work.step()
                known = await self._hops.read(self._collection.known, pack)
                done = await self._hops.io(self._collection.punch, pack, known)
                await self._hops.write(self._collection.punched, pack, done)
                found.freed_bytes += done.freed_bytes
                found.punched_packs += 1

    async def _trim(self, pack: ShelfPack, found: "_Collected") -> None:
        if await self._hops.io(self._collection.can_trim, pack):
            await self._hops.write(self._collection.trim, pack)
            found.trimmed_packs += 1

    async def _carry_out(self, judgement: Judgement, found: "_Collected") -> None:
        pack = judgement.pack
        found.seen_packs += 1
        gone = False
        if judgement.condemn:
            gone = await self._hops.write(self._collection.condemn, pack)
        elif judgement.rewrite:
            places = await self._hops.read(self._collection.needed, pack)
            copied = await self._hops.io(self._collection.copy, places)
            if copied.damaged is not None:
                await self._hops.write(self._collection.lost, copied.damaged)
                found.damaged_chunks += 1
            elif copied.disk_full:
                found.postponed_packs += 1
                await self._trim(pack, found)
            else:
                gone = await self._hops.write(self._collection.moved, pack, copied.packs)
                found.rewritten_packs += gone
        elif judgement.trim:
            await self._trim(pack, found)
        if gone:
            found.condemned_packs += 1
            found.condemned_bytes += pack.size

    # --- scrub and verify -------------------------------------------------------------------------------

    async def scrub(self, work: ShelfWork) -> JsonObject:
        """Read again what was not read for longest, at the pace that is set."""
        found = _Checked()
        before = self._clock.now() - self._settings.scrub_days * _DAY  # else with 0 days there is no end
        started = time.monotonic()
        while due := await self._hops.read(self._scrubbing.due, before):
            for pack in due:
                await work.step()
                await self._check(pack, found)
                work.progress(Progress(phase="scrubbing", done=found.bytes, unit="bytes"))
                await self._keep_pace(found.bytes, time.monotonic() - started)
        return found.result()

    async def verify(self, work: ShelfWork) -> JsonObject:
        """Read everything again, and compare rows with packs and manifests with what is stored."""

        def step(report: CheckupReport) -> None:
            if work.cancelled():
                raise Stopped
            work.progress(Progress(phase="verifying", done=report.bytes, unit="bytes"))

        checkup = Checkup(
            self._units,
            self._index,
            self._packs,
            self._chunks,
            TreesSql(),
            AccountsSql(),
            self._clock,
            deep=True,
            repair=True,
            alone=False,
        )
        async with self._packs_stay:
            report = await asyncio.to_thread(checkup.run, step)
        counts = report.counts
        damaged = [each.subject for each in report.findings if each.fault is Fault.DAMAGED_CHUNK]
        return {
            "packs": report.packs,
            "bytes": report.bytes,
            "damaged_chunks": counts[Fault.DAMAGED_CHUNK] + counts[Fault.MISPLACED_CHUNK],
            "damaged_digests": damaged[:_NAMED],
            "needed_by": sorted({name for each in report.findings for name in each.needed_by})[:_NAMED],
            "healed_chunks": report.healed_chunks,
            "missing_packs": counts[Fault.MISSING_PACK],
            "broken_packs": counts[Fault.BROKEN_PACK],
            "unknown_packs": counts[Fault.UNKNOWN_PACK],
            "incomplete_trees": [
                each.subject for each in report.findings if each.fault is Fault.INCOMPLETE_TREE
            ],
            "leases_without_upload": counts[Fault.LEASE_WITHOUT_UPLOAD],
            "holds_without_chunk": counts[Fault.HOLD_WITHOUT_CHUNK],
            "holds_without_tree": counts[Fault.HOLD_WITHOUT_TREE],
            "chunks_without_pack": counts[Fault.CHUNK_WITHOUT_PACK],
            "wrong_accounts": counts[Fault.WRONG_ACCOUNT],
            "next_step": "" if report.is_clean else _NEXT,
            "healthy": report.is_clean,
        }

    async def _check(self, pack: ShelfPack, found: "_Checked") -> None:
        places = await self._hops.read(self._scrubbing.places, pack)
        damaged = await self._hops.io(self._scrubbing.damaged, places)
        found.needed_by.update(await self._hops.write(self._scrubbing.conclude, pack, damaged))
        found.packs += 1
        found.bytes += sum(place.length for place in places)
        found.damaged_chunks += len(damaged)
        found.digests += scrubbing.short(damaged)
        if damaged:
            await self._set_aside(pack, [place for place in places if place not in set(damaged)], found)

    async def _set_aside(self, pack: ShelfPack, intact: Sequence[ChunkPlace], found: "_Checked") -> None:
        """Save what is intact of a damaged pack, and put the pack away; on a full disk it stays."""
        async with self._packs_stay:
            copied = await self._hops.io(self._scrubbing.salvage, intact)
            if copied.disk_full or copied.damaged:
                return
            if await self._hops.write(self._scrubbing.salvaged, pack, copied.packs):
                await self._hops.io(self._scrubbing.set_aside, pack)
                await self._hops.write(self._scrubbing.note_set_aside, pack)
                found.quarantined_packs += 1

    async def _keep_pace(self, done: int, seconds: float) -> None:
        rate = self._settings.scrub_bytes_per_second
        if rate:
            await asyncio.sleep(max(0.0, done / rate - seconds))

    # --- backup -----------------------------------------------------------------------------------------

    async def backup(self, work: ShelfWork) -> JsonObject:
        """Copy rows and packs to the backup folder and drop copies that are too old."""
        folder = self._settings.backup_folder
        store = FolderBackups(self._home, self._database, folder)
        async with self._packs_stay:
            return await self._copy(work, store, folder)

    async def _copy(self, work: ShelfWork, store: FolderBackups, folder: Path) -> JsonObject:
        try:
            needed = await self._hops.io(store.begin, self._clock.now())
            for done, pack in enumerate(needed, start=1):
                await work.step()
                await self._hops.io(store.copy, pack)
                work.progress(Progress(phase="copying", done=done, total=len(needed), unit="packs"))
            backup = await self._hops.io(store.finish)
        finally:
            await self._hops.io(store.abandon)
        freed = await self._hops.io(store.prune, self._settings.backup_keep)
        return {
            "path": str(folder / backup.name),
            "packs": backup.packs,
            "pack_bytes": backup.pack_bytes,
            "copied_packs": backup.copied_packs,
            "copied_bytes": backup.copied_bytes,
            "database_bytes": backup.database_bytes,
            "freed_bytes": freed,
            "lost_chunks": backup.lost_chunks,
        }
