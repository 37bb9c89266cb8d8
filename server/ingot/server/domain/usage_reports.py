"""How an artifact, a namespace or everything was used: the rules behind GetUsage and the dashboard.

Counters and days are kept as uses are written, so that a report costs the same however much was used.
"""

from collections.abc import Sequence
from dataclasses import replace

from ingot.server.core.catalog_stores import UserStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.names import ArtifactName
from ingot.server.core.usage import (
    SERVER,
    ActivityFilter,
    ArtifactUsage,
    UsageDay,
    UsageReport,
    day_of,
    namespace_subject,
    newest_first,
)
from ingot.server.core.usage_stores import UsageStore
from ingot.server.domain.access import namespace_not_found
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.usage import is_strange

_STANDARD_DAYS, _MOST_DAYS = 30, 366
_STANDARD_ROWS, _MOST_ROWS = 10, 100


class UsageReports:
    """Tells how things were used; its methods run inside a unit of work."""

    def __init__(self, store: UsageStore, catalog: Catalog, users: UserStore, clock: Clock) -> None:
        self._store = store
        self._catalog = catalog
        self._users = users
        self._clock = clock

    def of_artifact(self, caller: Caller, name: ArtifactName, *, days: int, rows: int) -> UsageReport:
        """Return how an artifact that the caller reads was used.

        Who else used it, and from where, is for those who may change it; others see what they did themselves.
        Raises NotFound (ARTIFACT_NOT_FOUND), Invalid (FIELD_INVALID).
        """
        artifact = self._catalog.require_read(caller, name)
        wanted = ActivityFilter(artifact=str(artifact.name).lower())
        if not caller.may_write(artifact.name.namespace):
            wanted = ActivityFilter(caller.principal, artifact=wanted.artifact)
        report = self._report(artifact.uid, wanted, days, rows)
        if is_strange(caller, artifact):
            return replace(report, totals=report.totals.seen_by(owner=False, stranger=True))
        return report

    def of_namespace(self, caller: Caller, namespace: str, *, days: int, rows: int) -> UsageReport:
        """Return how everything in a namespace that the caller belongs to was used.

        As `of_artifact`; raises NotFound (NAMESPACE_NOT_FOUND), Invalid (FIELD_INVALID).
        """
        if not caller.may_read(namespace) or not self._users.namespace_exists(namespace):
            raise namespace_not_found(namespace)
        mine = "" if caller.may_write(namespace) else caller.principal
        return self._report(
            namespace_subject(namespace), ActivityFilter(mine, namespace=namespace), days, rows
        )

    def of_everything(self, *, days: int, rows: int) -> UsageReport:
        """Return how everything was used; for administrators. Raises Invalid (FIELD_INVALID)."""
        return self._report(SERVER, ActivityFilter(), days, rows)

    def most_downloaded(self, rows: int) -> Sequence[tuple[str, ArtifactUsage]]:
        """Return the names of the artifacts that were downloaded most, with their counters."""
        return self._store.most_downloaded(_bounded("activity_size", rows, _STANDARD_ROWS, _MOST_ROWS))

    def _report(self, subject: str, wanted: ActivityFilter, days: int, rows: int) -> UsageReport:
        span = _bounded("days", days, _STANDARD_DAYS, _MOST_DAYS)
        limit = _bounded("activity_size", rows, _STANDARD_ROWS, _MOST_ROWS)
        last = day_of(self._clock.now())
        first = last - span + 1
        found = {each.day: each for each in self._store.days(subject, first, last)}
        recent, _ = self._store.activities(wanted, None, limit)
        totals = self._store.of([subject]).get(subject, ArtifactUsage())
        return UsageReport(
            totals=totals.seen_by(owner=not wanted.principal),
            days=[found.get(day, UsageDay(day)) for day in range(first, last + 1)],
            users=() if wanted.principal else self._store.users(subject, "", limit),
            recent=newest_first(recent),
        )


def _bounded(field: str, given: int, standard: int, most: int) -> int:
    """Return how many were asked for, never above `most`. Raises Invalid (FIELD_INVALID) below 0."""
    if given < 0:
        raise invalid_field(
            field, f"expected 0 or more, got {given}", next_step=f"Leave it out for {standard}."
        )
    return min(given or standard, most)
