"""The parts of usage, of figures of calls and of the dashboard, wired for app.py.

parts = UsageParts(settings, tokens, clock)
Pipeline(…, parts.usage.record, …, watchers=parts.watchers)
parts.rules(catalog, workers, folder, shown)     # what SystemService needs
await parts.store(hops)                          # again and again
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from ingot.server.catalog_parts import CatalogParts
from ingot.server.core.clock import Clock
from ingot.server.core.pages import PageTokens
from ingot.server.core.shown_settings import ShownSetting
from ingot.server.domain.call_figures import CallFigures
from ingot.server.domain.dashboard import Dashboard
from ingot.server.domain.usage import Usage
from ingot.server.domain.workers import Workers
from ingot.server.rpc import usage_storing
from ingot.server.rpc.call_watchers import CallWatcher, FiguresWatcher
from ingot.server.rpc.dashboard import DashboardRules
from ingot.server.rpc.hops import Hops
from ingot.server.runner.shelf import ShelfWork
from ingot.server.settings import Settings
from ingot.server.storage.call_figures_sql import CallFiguresSql
from ingot.server.storage.dashboard_sql import DashboardSql
from ingot.server.storage.folder_size import FolderSize
from ingot.server.storage.usage_sql import UsageSql


class UsageParts:
    """What gathers and tells how the server is used."""

    def __init__(self, settings: Settings, tokens: PageTokens, clock: Clock) -> None:
        self._clock = clock
        self.usage = Usage(
            UsageSql(),
            tokens,
            clock,
            activity_days=settings.activity_days,
            usage_days=settings.usage_days,
        )
        self.figures = CallFigures(CallFiguresSql())
        self.watchers: tuple[CallWatcher, ...] = (FiguresWatcher(self.figures, clock),)

    def rules(
        self, catalog: CatalogParts, workers: Workers, folder: Path, settings: Sequence[ShownSetting]
    ) -> DashboardRules:
        """Return what the dashboard's calls need."""
        dashboard = Dashboard(
            DashboardSql(),
            CallFiguresSql(),
            catalog.usage_reports,
            catalog.catalog,
            workers,
            FolderSize(folder, self._clock),
            self._clock,
        )
        return DashboardRules(dashboard, self.usage, self.figures, settings)

    async def store(self, hops: Hops) -> None:
        """Write what was gathered; what cannot be written is kept. Raises what the writes do."""
        await asyncio.gather(usage_storing.store(hops, self.usage), usage_storing.store(hops, self.figures))

    async def forget(self, hops: Hops, work: ShelfWork) -> int:
        """Drop what is older than the settings say, some at a time; return how many rows."""
        gone = 0
        while forgotten := await hops.keep(self.usage.forget_old):
            gone += forgotten
            await work.step()
        return gone
