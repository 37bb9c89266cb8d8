"""The dashboard of administrators: figures of every feature, gathered in one read."""

from collections import Counter

from ingot.server.core.call_figures import CallFiguresStore
from ingot.server.core.clock import Clock
from ingot.server.core.dashboard import Bytes, DashboardStore, Gauges, Measured, Overview, Work
from ingot.server.core.errors import invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.names import Kind
from ingot.server.core.operations import CLAIMED_STATES, WAITING_STATES, OperationState
from ingot.server.core.training import HELD_STATES, JobState
from ingot.server.core.usage import day_of
from ingot.server.core.workers import WorkerState
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.usage_reports import UsageReports
from ingot.server.domain.workers import Workers

_STANDARD_DAYS, _MOST_DAYS = 7, 90


class Dashboard:
    """Gathers the figures; who may see them all is asked by the scope of the RPC."""

    def __init__(
        self,
        store: DashboardStore,
        figures: CallFiguresStore,
        reports: UsageReports,
        catalog: Catalog,
        workers: Workers,
        measured: Measured,
        clock: Clock,
    ) -> None:
        self._store = store
        self._figures = figures
        self._reports = reports
        self._catalog = catalog
        self._workers = workers
        self._measured = measured
        self._clock = clock

    def overview(self, caller: Caller, *, days: int, rows: int) -> Overview:
        """Return what rows tell, for so many days up to today; inside a read. Raises Invalid (FIELD_INVALID).

        Each figure is one row, or grows with what a day may hold, never with the age of the server.
        """
        if days < 0:
            raise invalid_field("days", f"expected 0 or more, got {days}", next_step="Leave it out for 7.")
        span = min(days or _STANDARD_DAYS, _MOST_DAYS)
        last = day_of(self._clock.now())
        first = last - span + 1
        usage = self._reports.of_everything(days=span, rows=rows)
        return Overview(
            totals={kind: self._catalog.totals(caller, kind) for kind in Kind},
            users=self._store.users(),
            logical_bytes=self._store.logical_bytes(),
            pack_bytes=self._store.pack_bytes(),
            usage=usage,
            most_downloaded=self._reports.most_downloaded(rows),
            work=self._work(),
            calls=self._figures.days(first, last),
            problems=self._figures.problems(first, last),
            methods=self._figures.methods(first, last),
        )

    def gauges(self) -> Gauges:
        """Return what metrics show of rows; inside a read."""
        work = self._work()
        operations: Counter[OperationState] = Counter()
        for (_, state), count in work.operations.items():
            operations[state] += count
        jobs = work.training_jobs
        return {
            "uploads_active": work.active_uploads,
            "uploads_failed": work.failed_uploads,
            "operations_waiting": sum(operations[state] for state in WAITING_STATES),
            "operations_running": sum(operations[state] for state in CLAIMED_STATES),
            "training_jobs_queued": jobs.get(JobState.QUEUED, 0),
            "training_jobs_running": sum(jobs.get(state, 0) for state in HELD_STATES),
            "workers_online": work.workers.get(WorkerState.ONLINE, 0),
            "logical_bytes": self._store.logical_bytes(),
            "pack_bytes": self._store.pack_bytes(),
        }

    def disk(self) -> tuple[int, int]:
        """Return the size of the disk and what is free of it; in no unit of work."""
        return self._measured.disk()

    def bytes(self, overview: Overview) -> Bytes:
        """Return what takes how much space; runs on an I/O thread, in no unit of work."""
        rest, time = self._measured.folder()
        total, free = self._measured.disk()
        return Bytes(
            logical=overview.logical_bytes,
            packs=overview.pack_bytes,
            folder=overview.pack_bytes + rest,
            folder_time=time,
            disk_total=total,
            disk_free=free,
        )

    def _work(self) -> Work:
        active, failed = self._store.uploads()
        return Work(
            active_uploads=active,
            failed_uploads=failed,
            operations=self._store.operations(),
            training_jobs=self._store.training_jobs(),
            workers=self._workers.counts(),
            pending_approvals=self._store.pending_approvals(),
        )
