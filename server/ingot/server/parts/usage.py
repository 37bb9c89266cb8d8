"""The parts of usage, figures of calls, metrics, traces and the dashboard, wired for app.py.

    parts = UsageParts(settings, tokens, clock, server_id, version)
    hops = parts.hops(database, journaling)
    Pipeline(…, parts.usage.record, …, watchers=parts.watchers)
    parts.rules(catalog, workers, folder, shown)     # what SystemService needs
    parts.begin()                                    # metrics are served from here on
    await parts.store(hops)                          # again and again
    await parts.measure(hops, …)                     # likewise, where there are metrics
    await parts.end(hops)

Metrics and traces are imported only where a setting asks for them.
"""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ingot.content import malloc
from ingot.server.core.clock import Clock
from ingot.server.core.dashboard import Gauges
from ingot.server.core.pages import PageTokens
from ingot.server.core.shown_settings import ShownSetting
from ingot.server.domain.call_figures import CallFigures
from ingot.server.domain.dashboard import Dashboard
from ingot.server.domain.usage import Usage
from ingot.server.domain.workers import Workers
from ingot.server.parts.catalog import CatalogParts
from ingot.server.rpc import usage_storing
from ingot.server.rpc.call_watchers import CallWatcher, FiguresWatcher
from ingot.server.rpc.dashboard import DashboardRules
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.idle_memory import IdleMemory
from ingot.server.rpc.journaling import Journaling
from ingot.server.runner.shelf import ShelfWork
from ingot.server.settings.fields import Settings, SettingsError
from ingot.server.storage.call_figures_sql import CallFiguresSql
from ingot.server.storage.dashboard_sql import DashboardSql
from ingot.server.storage.database import Database
from ingot.server.storage.folder_size import FolderSize
from ingot.server.storage.usage_sql import UsageSql

if TYPE_CHECKING:
    from ingot.server.rpc.metrics import Metrics
    from ingot.server.rpc.metrics_http import MetricsServer
    from ingot.server.rpc.traces import Traces

log = logging.getLogger(__name__)

MEASURE_SECONDS = 10.0


class UsageParts:
    """What gathers and tells how the server is used."""

    def __init__(
        self, settings: Settings, tokens: PageTokens, clock: Clock, server_id: str, version: str
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._dashboard: Dashboard | None = None
        self._metrics_server: MetricsServer | None = None
        self.usage = Usage(
            UsageSql(),
            tokens,
            clock,
            activity_days=settings.activity_days,
            usage_days=settings.usage_days,
        )
        self.figures = CallFigures(CallFiguresSql())
        self.metrics = _metrics() if settings.metrics else None
        self.traces = _traces(settings.traces, version, server_id) if settings.traces else None
        always = (FiguresWatcher(self.figures, clock), IdleMemory(malloc.trim))
        wanted = (*always, self.metrics, self.traces)
        self.watchers: tuple[CallWatcher, ...] = tuple(each for each in wanted if each is not None)

    def hops(self, database: Database, journal: Journaling) -> Hops:
        """Return the hops of this server, with spans where there are traces."""
        threads = {"read_threads": self._settings.read_threads, "io_threads": self._settings.io_threads}
        if self.traces is None:
            return Hops(database, journal, **threads)
        from ingot.server.rpc.traces import TracedHops

        return TracedHops(self.traces, database, journal, **threads)

    def rules(
        self, catalog: CatalogParts, workers: Workers, folder: Path, settings: Sequence[ShownSetting]
    ) -> DashboardRules:
        """Return what the dashboard's calls need."""
        self._dashboard = Dashboard(
            DashboardSql(),
            CallFiguresSql(),
            catalog.usage_reports,
            catalog.catalog,
            workers,
            FolderSize(folder, self._clock),
            self._clock,
        )
        return DashboardRules(self._dashboard, self.usage, self.figures, settings)

    @property
    def metrics_address(self) -> str:
        """Where metrics are served, with the real port; empty where they are not."""
        return self._metrics_server.address if self._metrics_server else ""

    def begin(self) -> None:
        """Serve metrics, where that is wanted. Raises AddressError."""
        if self.metrics is None:
            return
        from ingot.server.rpc.metrics_http import Certificates, MetricsServer

        chosen = self._settings
        tls = None
        if chosen.has_tls:
            client_ca = None if chosen.tls_client_ca == Path() else chosen.tls_client_ca
            tls = Certificates(chosen.tls_cert, chosen.tls_key, client_ca)
        self._metrics_server = MetricsServer(chosen.metrics, self.metrics.registry, tls)
        log.info("metrics.served address=%s", self._metrics_server.address)

    async def measure(self, hops: Hops, database: Database) -> None:
        """Look up what metrics show besides calls."""
        if self.metrics is None or self._dashboard is None:
            return
        found: Gauges = await hops.read(self._dashboard.gauges)
        total, free = await hops.io(self._dashboard.disk)
        queue = database.queue()
        self.metrics.show(
            {
                **found,
                "write_queue_length": queue.waiting,
                "write_queue_longest_wait_seconds": queue.longest_wait_seconds,
                "disk_total_bytes": total,
                "disk_free_bytes": free,
            }
        )

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

    async def end(self, hops: Hops) -> None:
        """Stop serving metrics, and send the traces that wait; a few seconds at most."""
        if self._metrics_server is not None:
            await hops.io(self._metrics_server.close)
        if self.traces is not None:
            await hops.io(self.traces.close)


def _metrics() -> "Metrics":
    from ingot.server.rpc.metrics import Metrics

    return Metrics()


def _traces(endpoint: str, version: str, server_id: str) -> "Traces":
    """Return what sends traces there. Raises SettingsError without the packages for it."""
    try:
        from ingot.server.rpc.traces import Traces
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"traces: expected the package {error.name}, which is missing. Install it: "
            "pip install 'ingot[otel]', or leave the setting out."
        ) from error
    return Traces.to(endpoint, version, server_id)
