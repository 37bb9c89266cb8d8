"""What the operations `recover` and `clean` do in each feature, wired for app.py.

Cleaning(hops, transfer, catalog, training, operations, used, sweep, clock, trash_days).add_to(shelf)
"""

import asyncio
from collections.abc import Awaitable, Callable

from ingot.server.core.artifacts import JsonObject
from ingot.server.core.clock import Clock
from ingot.server.parts.catalog import CatalogParts
from ingot.server.parts.operations import OperationParts
from ingot.server.parts.training import TrainingRules
from ingot.server.parts.transfer import TransferParts
from ingot.server.parts.usage import UsageParts
from ingot.server.rpc.hops import Hops
from ingot.server.runner.shelf import ShelfBodies, ShelfWork

_DAY = 24 * 3600.0


class Cleaning:
    """Puts right what an earlier run left, and drops what is too old; `trash_days` 0 keeps the trash."""

    def __init__(
        self,
        hops: Hops,
        transfer: TransferParts,
        catalog: CatalogParts,
        training: TrainingRules,
        operations: OperationParts,
        used: UsageParts,
        sweep: Callable[[], Awaitable[int]],
        clock: Clock,
        trash_days: float,
    ) -> None:
        """`sweep` drops what bodies left, and says of how many."""
        self._hops = hops
        self._transfer = transfer
        self._catalog = catalog
        self._training = training
        self._operations = operations
        self._used = used
        self._sweep = sweep
        self._clock = clock
        self._trash_days = trash_days

    def add_to(self, shelf: ShelfBodies) -> None:
        """Let the shelf do this work."""
        shelf.add("recover", self._recover)
        shelf.add("clean", self._clean)

    async def _recover(self, work: ShelfWork) -> JsonObject:
        report = await asyncio.to_thread(self._transfer.recovery.run)
        return {
            "leases": await self._hops.write(self._training.workers.recover),
            "leftover_files": report.leftovers,
            "found_packs": report.found_packs,
            "damaged_packs": report.damaged_packs,
            "missing_packs": report.missing_packs,
            "returned_packs": report.returned_packs,
            "reopened_uploads": report.reopened_uploads,
            "lost_chunks": report.lost_chunks,
        }

    async def _clean(self, work: ShelfWork) -> JsonObject:
        operations = 0
        while forgotten := await self._hops.write(self._operations.operations.forget_old):
            operations += len(forgotten)
            await work.step()
        return {
            "uploads": await self._transfer.tidy(self._hops),
            "activities": await self._used.forget(self._hops, work),
            "operations": operations,
            "bodies": await self._sweep(),
            "trash": await self._empty_trash(),
            "words": await self._hops.read(self._catalog.search.look_for_common_words),
        }

    async def _empty_trash(self) -> int:
        if not self._trash_days:
            return 0
        trash = self._catalog.trash
        before = self._clock.now() - self._trash_days * _DAY
        gone = await self._hops.write(trash.purge_artifacts, before)
        while await self._hops.write(trash.purge_version, before):
            gone += 1
        return gone
