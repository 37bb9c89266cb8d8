"""dashboard and settings: what an administrator wants to see of the server."""

from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.output import Listing, Output
from ingot.client.cli.shell import Shell
from ingot.client.cli.usage import ACTIVITY, activity_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf import duration_pb2

    from ingot.v1 import system_pb2

_MESSAGE = 60  # characters of the last failure


class Dashboard(Command):
    """Show totals, sizes, requests, queues, problems and response times; for administrators."""

    examples = ("ingot dashboard", "ingot dashboard --days 30 --json")
    days: int
    limit: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("--days", type=int, default=7, metavar="N", help="days up to today (7)")
        parser.add_argument(
            "--limit", type=int, default=10, metavar="N", help="calls, artifacts and methods, at most (10)"
        )

    def run(self, shell: Shell) -> int:
        for name, value in (("--days", self.days), ("--limit", self.limit)):
            if value < 1:
                raise Invalid(f"{name}: expected 1 or more, got {value}.", reason="USAGE")
        found = shell.client.system.dashboard(days=self.days, activity_size=self.limit)
        shell.out.document(found, str(found.total_requests), lambda: _show(shell.out, found, self.limit))
        return 0


class Settings(Command):
    """Show every setting of the server, its value and where that came from; for administrators."""

    examples = ("ingot settings", "ingot settings --set --json")
    set_only: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument(
            "--set", dest="set_only", action="store_true", help="only those that somebody has set"
        )

    def run(self, shell: Shell) -> int:
        found = shell.client.system.settings()
        shown = [each for each in found if not self.set_only or each.origin != "default"]
        Listing(shell.out, 0).show(
            shown, ("SETTING", "VALUE", "FROM"), _setting_row, lambda setting: setting.name
        )
        return 0


def _setting_row(setting: "system_pb2.SettingValue") -> tuple[str, ...]:
    value = setting.value or "-"
    if setting.secret:
        value = "(set, not shown)" if setting.populated else "(not set)"
    return (setting.name, value, setting.origin)


def _show(out: Output, found: "system_pb2.GetDashboardResponse", limit: int) -> None:
    out.facts(_facts(found))
    days = [
        (
            day.start_time.ToDatetime().strftime("%Y-%m-%d"),
            formats.count(day.call_count),
            formats.count(day.download_count),
            formats.count(day.access_count),
        )
        for day in found.days
    ]
    _table(out, ("DAY (UTC)", "CALLS", "DOWNLOADS", "ACCESSES"), days)
    _table(out, ("QUEUE", "STATE", "OPERATIONS"), _operations(found))
    most = [
        (
            named.short(each.name),
            formats.count(each.usage.download_count),
            formats.count(each.usage.unique_users),
            named.first_by(each.usage) or "-",
            each.usage.first_downloaded_from or "-",
        )
        for each in found.most_downloaded
    ]
    _table(out, ("MOST DOWNLOADED", "DOWNLOADS", "USERS", "FIRST BY", "FROM"), most)
    _table(out, ("PROBLEM", "COUNT", "LAST", "METHOD", "MESSAGE"), _problems(found)[:limit])
    _table(out, ("METHOD", "CALLS", "FAILED", "P50", "P95", "P99"), _methods(found)[:limit])
    _table(out, ACTIVITY, [activity_row(each) for each in found.recent_activity])


def _facts(found: "system_pb2.GetDashboardResponse") -> dict[str, str]:
    models = formats.plural(found.model_version_count, "version")
    datasets = formats.plural(found.dataset_version_count, "version")
    uploads = f"{formats.count(found.active_uploads)} open, {formats.count(found.failed_uploads)} failed"
    return {
        "models": f"{formats.count(found.total_models)} ({models}, {formats.size(found.model_size_bytes)})",
        "datasets": f"{formats.count(found.total_datasets)} "
        f"({datasets}, {formats.size(found.dataset_size_bytes)})",
        "all files": formats.size(found.total_size_bytes),
        "stored": formats.size(found.stored_bytes),
        "folder": formats.size(found.folder_bytes),
        "disk": f"{formats.size(found.disk_free_bytes)} free of {formats.size(found.disk_total_bytes)}",
        "requests": f"{formats.count(found.total_requests)} "
        f"({formats.plural(found.download_count, 'download')}, "
        f"{formats.plural(found.access_count, 'access', 'accesses')})",
        "users": f"{formats.count(found.unique_users)} seen, {formats.plural(found.user_count, 'account')}",
        "calls": f"{formats.count(found.call_count)} in {formats.plural(len(found.days), 'day')}",
        "uploads": uploads,
        "training": _states(found),
        "approvals": f"{formats.count(found.pending_approvals)} pending",
    }


def _states(found: "system_pb2.GetDashboardResponse") -> str:
    from ingot.v1 import training_pb2, workers_pb2

    jobs = [
        (each.count, formats.word(training_pb2.TrainingJobState.Name(each.state), "TRAINING_JOB_STATE"))
        for each in found.training_jobs
    ]
    workers = [
        (each.count, formats.word(workers_pb2.WorkerState.Name(each.state), "WORKER_STATE"))
        for each in found.workers
    ]
    parts = [
        f"{what} {', '.join(f'{formats.count(count)} {state}' for count, state in states)}"
        for what, states in (("jobs", jobs), ("workers", workers))
        if states
    ]
    return "; ".join(parts) or "no jobs, no workers"


def _operations(found: "system_pb2.GetDashboardResponse") -> list[tuple[str, ...]]:
    from ingot.v1 import operations_pb2

    return [
        (
            each.queue,
            formats.word(operations_pb2.OperationState.Name(each.state), "OPERATION_STATE"),
            formats.count(each.count),
        )
        for each in found.operations
    ]


def _problems(found: "system_pb2.GetDashboardResponse") -> list[tuple[str, ...]]:
    from ingot.v1 import errors_pb2

    return [
        (
            errors_pb2.ErrorReason.Name(each.reason).removeprefix("ERROR_REASON_"),
            formats.count(each.count),
            formats.moment(each.last_time),
            each.last_method.rpartition("/")[2],
            each.last_message
            if len(each.last_message) <= _MESSAGE
            else f"{each.last_message[: _MESSAGE - 1]}…",
        )
        for each in found.problems
    ]


def _methods(found: "system_pb2.GetDashboardResponse") -> list[tuple[str, ...]]:
    """Return the methods that were called most, the first first."""
    ordered = sorted(found.methods, key=lambda each: (-each.count, each.method))
    return [
        (
            each.method,
            formats.count(each.count),
            formats.count(each.failed_count),
            *(_milliseconds(span) for span in (each.p50, each.p95, each.p99)),
        )
        for each in ordered
    ]


def _milliseconds(span: "duration_pb2.Duration") -> str:
    """Return a response time: `0.85 ms`, `1,200 ms`; `-` for methods without times."""
    count = span.seconds * 1e3 + span.nanos / 1e6
    if not count:
        return "-"
    return f"{count:.2f} ms" if count < 10 else f"{formats.count(count)} ms"


def _table(out: Output, heading: tuple[str, ...], rows: "Sequence[tuple[str, ...]]") -> None:
    if rows:
        out.line()
        out.table([heading, *rows])
