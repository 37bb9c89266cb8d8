"""usage and activity: how things are used, and who did what."""

from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser, declare_limit
from ingot.client.cli.output import Listing, Output
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingot.v1 import catalog_pb2, common_pb2

_BAR = 30  # columns of the longest


class Usage(Command):
    """Show how a model, a dataset or a namespace is used: counters, days, users and the latest calls.

    Users, and calls of others, are shown to those who may change it.
    """

    examples = ("ingot usage datasets/chat", "ingot usage --days 7")
    ref: str | None
    days: int
    limit: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument(
            "ref",
            nargs="?",
            metavar="REF",
            help="a model or dataset, or namespaces/NAME; without it all that is yours",
        )
        parser.add_argument("--days", type=int, default=30, metavar="N", help="days up to today (30)")
        parser.add_argument(
            "--limit", type=int, default=10, metavar="N", help="users and calls, at most (10)"
        )

    def run(self, shell: Shell) -> int:
        for name, value in (("--days", self.days), ("--limit", self.limit)):
            if value < 1:
                raise Invalid(f"{name}: expected 1 or more, got {value}.", reason="USAGE")
        found = shell.client.catalog.usage(self.ref, days=self.days, activity_size=self.limit)
        shell.out.document(found, str(found.usage.total_requests), lambda: _show(shell.out, found))
        return 0


class Activity(Command):
    """Show who did what, when and from where, newest first: one's own, or everyone's for administrators."""

    examples = ("ingot activity --limit 20", "ingot activity datasets/chat --action download")
    ref: str | None
    action: str
    by: str
    failed: bool
    limit: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("ref", nargs="?", metavar="REF", help="only on this model, dataset or version")
        parser.add_argument(
            "--action", default="", metavar="WORD", help="only list, get, download, delete, …"
        )
        parser.add_argument("--by", default="", metavar="USER", help="only by this user (administrators)")
        parser.add_argument("--failed", action="store_true", help="only what failed")
        declare_limit(parser)

    def run(self, shell: Shell) -> int:
        listing = Listing(shell.out, self.limit)
        target = shell.client.names.version(self.ref) if self.ref else ""
        found = shell.client.system.activity(
            target=target,
            action=self.action,
            principal=self.by if not self.by or "/" in self.by else f"users/{self.by}",
            failed_only=self.failed,
            limit=listing.wanted,
        )
        listing.show(found, ACTIVITY, activity_row, lambda activity: activity.method)
        return 0


ACTIVITY = ("TIME", "ACTION", "METHOD", "TARGET", "WHO", "DECLARED", "FROM", "CODE", "TOOK")


def activity_row(activity: "common_pb2.Activity") -> tuple[str, ...]:
    """Return a call as a row under the heading ACTIVITY."""
    return (
        formats.moment(activity.time),
        activity.action,
        activity.method.rpartition("/")[2],
        named.short(activity.target) or "-",
        named.user(activity.principal) or "-",
        activity.declared_user or "-",
        activity.address or "-",
        activity.code,
        formats.duration(activity.duration),
    )


def counters(usage: "catalog_pb2.Usage") -> dict[str, str]:
    """Return the counters as facts."""
    first = ""
    if usage.first_download_time.seconds:
        where = f" from {usage.first_downloaded_from}" if usage.first_downloaded_from else ""
        first = f"{named.first_by(usage)}{where}, {formats.moment(usage.first_download_time)}"
    return {
        "requests": formats.count(usage.total_requests),
        "downloads": formats.count(usage.download_count),
        "accesses": formats.count(usage.access_count),
        "users": formats.count(usage.unique_users),
        "first download": first,
    }


def days_table(out: Output, days: "Sequence[catalog_pb2.UsageDay]") -> None:
    """Print the days on which there was something, with bars."""
    most = max((day.total_requests for day in days), default=0)
    rows = [
        (
            day.start_time.ToDatetime().strftime("%Y-%m-%d"),
            formats.count(day.download_count),
            formats.count(day.access_count),
            "#" * max(1, round(_BAR * day.total_requests / most)),
        )
        for day in days
        if day.total_requests
    ]
    if rows:
        out.line()
        out.table([("DAY (UTC)", "DOWNLOADS", "ACCESSES", ""), *rows])


def _show(out: Output, found: "catalog_pb2.GetUsageResponse") -> None:
    out.facts(counters(found.usage))
    days_table(out, found.days)
    if found.users:
        out.line()
        rows = [
            (
                named.user(user.principal),
                user.declared_user or "-",
                formats.count(user.download_count),
                formats.count(user.access_count),
                user.address or "-",
                formats.moment(user.last_time),
            )
            for user in found.users
        ]
        out.table([("WHO", "DECLARED", "DOWNLOADS", "ACCESSES", "FROM", "LAST"), *rows])
    if found.recent_activity:
        out.line()
        out.table([ACTIVITY, *map(activity_row, found.recent_activity)])
