"""Rows of usage: the store behind core/usage_stores.py. What is counted together is summed up first."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ingot.server.core.usage import (
    SERVER,
    Activity,
    ActivityFilter,
    ArtifactUsage,
    UsageDay,
    Use,
    UserOfArtifact,
    day_of,
    namespace_subject,
)
from ingot.server.storage import sql, tables
from ingot.server.storage.tables import UsageCounter

_WINDOW = 20_000
_MOST_NAMES = 1000  # declared names of one principal that are told apart
Who = tuple[str, str]  # principal and declared name

# In the order of the fields of Activity, for lists; what is looked for besides stands in columns of its own.
_COLUMNS = "time, action, method, target, principal, declared_user, address, code, seconds, call_id, reason"
_ADD = f"INSERT INTO activity({_COLUMNS}, artifact, namespace) VALUES ({', '.join('?' * 13)})"
_END = (
    "UPDATE activity SET code = ?, seconds = ?, reason = ?, target = ?, artifact = ?, namespace = ? "
    "WHERE id = ?"
)
_COUNT = (
    "INSERT INTO usage_counter(subject, is_artifact, download_count, access_count, unique_users, "
    "first_downloaded_by, first_downloaded_from, first_download_time, first_principal) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT(subject) DO UPDATE SET download_count = download_count + excluded.download_count, "
    "access_count = access_count + excluded.access_count, "
    "unique_users = unique_users + excluded.unique_users, "
    # All of these see the row as it was: the first time is the one that decides.
    "first_downloaded_by = iif(first_download_time IS NULL, excluded.first_downloaded_by, "
    "first_downloaded_by), first_downloaded_from = iif(first_download_time IS NULL, "
    "excluded.first_downloaded_from, first_downloaded_from), "
    "first_principal = iif(first_download_time IS NULL, excluded.first_principal, first_principal), "
    "first_download_time = coalesce(first_download_time, excluded.first_download_time)"
)
_DAY = (
    "INSERT INTO usage_day(subject, day, downloads, accesses) VALUES (?, ?, ?, ?) ON CONFLICT(subject, day) "
    "DO UPDATE SET downloads = downloads + excluded.downloads, accesses = accesses + excluded.accesses"
)
_USER = (
    "INSERT INTO usage_user(subject, version, principal, declared_user, address, downloads, accesses, "
    "first_time, last_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT(subject, version, principal, declared_user) DO UPDATE SET address = excluded.address, "
    "downloads = downloads + excluded.downloads, accesses = accesses + excluded.accesses, "
    "last_time = max(last_time, excluded.last_time)"
)
_KNOWN = (
    "SELECT u.principal, u.declared_user FROM json_each(?) AS each CROSS JOIN usage_user u "
    "WHERE u.subject = ? AND u.version = '' AND u.principal = each.value ->> 0 "
    "AND u.declared_user = each.value ->> 1"
)
_NAMES = (
    "SELECT count(*) FROM (SELECT 1 FROM usage_user WHERE subject = ? AND version = '' AND principal = ? "
    "LIMIT ?)"
)


class UsageSql:
    """Implements UsageStore; `window` is how many rows a page with several conditions looks at."""

    def __init__(self, window: int = _WINDOW) -> None:
        self._window = window

    def begin_activity(self, activity: Activity) -> int:
        return sql.insert(_ADD, *_row(activity))

    def add_activities(self, activities: Sequence[Activity]) -> None:
        sql.run_many(_END, [_end(each) for each in activities if each.row])
        sql.run_many(_ADD, [_row(each) for each in activities if not each.row])
        callers: dict[Who, _Sum] = {}
        for each in activities:
            if each.principal:
                callers.setdefault((each.principal, each.declared_user), _Sum()).seen(each.address, each.time)
        _count_users(SERVER, callers)

    def activities(
        self, wanted: ActivityFilter, before: int | None, limit: int
    ) -> tuple[list[Activity], int | None]:
        where, values, index = _conditions(wanted)
        start, bottom = before, 0
        if index and len(where) > 1:  # no index has the rows in order: look at a bounded part
            start = before if before is not None else _newest() + 1
            bottom = max(0, start - self._window)
            where.append("id >= ?")
            values.append(bottom)
        if start is not None:
            where.append("id < ?")
            values.append(start)
        found = sql.rows(
            f"SELECT id, {_COLUMNS} FROM activity {f'INDEXED BY {index} ' if index else ''}"
            f"{'WHERE ' if where else ''}{' AND '.join(where)} ORDER BY id DESC LIMIT ?",
            *values,
            limit + 1,
        )
        shown = [Activity(*row[1:]) for row in found[:limit]]
        if len(found) > limit:
            return shown, int(found[limit - 1][0])
        return shown, bottom if bottom > 1 else None

    def forget_activities(self, before: float, limit: int) -> int:
        return sql.run(
            "DELETE FROM activity WHERE id IN (SELECT id FROM activity ORDER BY id LIMIT ?) AND time < ?",
            limit,
            before,
        )

    def forget_counts(self, day: int, download_day: int) -> int:
        return (
            sql.run("DELETE FROM usage_day WHERE day < ?", day)
            + sql.run("DELETE FROM call_day WHERE day < ?", day)
            + sql.run("DELETE FROM problem_day WHERE day < ?", day)
            + sql.run("DELETE FROM usage_download WHERE day < ?", download_day)
        )

    def count(self, uses: Sequence[Use]) -> None:
        counted = [use for use in uses if not use.download_id or _first_time(use)]
        namespaces = _namespaces_of({use.artifact_uid for use in counted})
        subjects: dict[str, list[Use]] = {}
        for use in counted:
            subjects.setdefault(use.artifact_uid, []).append(use)
            if namespace := namespaces.get(use.artifact_uid):
                subjects.setdefault(namespace_subject(namespace), []).append(use)
            subjects.setdefault(SERVER, []).append(use)
        for subject, mine in subjects.items():
            _count(subject, mine, is_artifact=subject != SERVER and "/" not in subject)

    def of(self, subjects: Sequence[str]) -> Mapping[str, ArtifactUsage]:
        condition = "subject IN (SELECT value FROM json_each(?))"
        rows = sql.rows_where(UsageCounter, condition, sql.text_list(subjects))
        return {row.subject: _usage(row) for row in rows}

    def days(self, subject: str, first: int, last: int) -> Sequence[UsageDay]:
        found = sql.rows(
            "SELECT day, downloads, accesses FROM usage_day WHERE subject = ? AND day BETWEEN ? AND ? "
            "ORDER BY day",
            subject,
            first,
            last,
        )
        return [UsageDay(*row) for row in found]

    def users(self, subject: str, version: str, limit: int) -> Sequence[UserOfArtifact]:
        found = sql.rows(
            "SELECT principal, declared_user, address, downloads, accesses, first_time, last_time "
            "FROM usage_user WHERE subject = ? AND version = ? ORDER BY last_time DESC LIMIT ?",
            subject,
            version,
            limit,
        )
        return [UserOfArtifact(*row) for row in found]

    def most_downloaded(self, limit: int) -> Sequence[tuple[str, ArtifactUsage]]:
        found = tables.UsageCounter.raw(
            "SELECT c.*, a.namespace || '/' || a.kind || '/' || a.artifact AS name "
            "FROM usage_counter c CROSS JOIN artifact a ON a.uid = c.subject "
            "WHERE c.is_artifact = 1 AND c.download_count > 0 AND a.live "
            "ORDER BY c.download_count DESC LIMIT ?",
            limit,
        )
        return [(f"namespaces/{row.name}", _usage(row)) for row in found]


def forget(artifact_uid: str) -> None:
    """Forget how an artifact was used that is gone for good; inside a write."""
    for table, column in (
        ("usage_counter", "subject"),
        ("usage_day", "subject"),
        ("usage_user", "subject"),
        ("usage_download", "artifact_uid"),
    ):
        sql.run(f"DELETE FROM {table} WHERE {column} = ?", artifact_uid)


def _conditions(wanted: ActivityFilter) -> tuple[list[str], list[sql.Value], str]:
    """Return what a filter asks for: conditions, their values, and the index to go along.

    The index is the most selective one where several fit: SQLite knows nothing of how values are spread, and
    would rather take any. It is empty where one index answers all conditions, which SQLite finds by itself.
    """
    where: list[str] = []
    values: list[sql.Value] = []
    index = ""
    for name, value in (
        ("artifact", wanted.artifact),
        ("target", wanted.target),
        ("principal", wanted.principal),
        ("namespace", wanted.namespace),
        ("action", wanted.action),
    ):
        if value:
            where.append(f"{name} = ?")
            values.append(value)
            index = index or f"activity_{name}_id"
    if wanted.failed:
        where.append("reason != ''")
        index = index or "activity_failed"
    if len(where) == 1 or where == ["principal = ?", "action = ?"]:
        index = ""
    return where, values, index


@dataclass(slots=True)
class _Sum:
    """What one user did since the last time."""

    address: str = ""
    downloads: int = 0
    accesses: int = 0
    first: float = 0.0
    last: float = 0.0

    def add_all(self, other: "_Sum") -> None:
        self.seen(other.address, other.last)
        self.first = min(self.first, other.first)
        self.downloads += other.downloads
        self.accesses += other.accesses

    def seen(self, address: str, time: float) -> None:
        self.address = address
        self.first = min(self.first or time, time)
        self.last = max(self.last, time)

    def add(self, use: Use) -> None:
        self.seen(use.address, use.time)
        self.downloads += bool(use.download_id)
        self.accesses += not use.download_id


def _count(subject: str, uses: Sequence[Use], *, is_artifact: bool) -> None:
    days: dict[int, Counter[bool]] = {}
    users: dict[Who, _Sum] = {}
    versions: dict[str, dict[Who, _Sum]] = {}
    for use in uses:
        days.setdefault(day_of(use.time), Counter())[bool(use.download_id)] += 1
        who = (use.principal, use.declared_user)
        users.setdefault(who, _Sum()).add(use)
        if is_artifact and use.version and use.download_id:
            versions.setdefault(use.version, {}).setdefault(who, _Sum()).add(use)
    sql.run_many(_DAY, [(subject, day, each[True], each[False]) for day, each in days.items()])
    # The users of the server are all who call, and counted with what they call.
    new = 0 if subject == SERVER else _count_users(subject, users)
    for version, mine in versions.items():
        _add_users(subject, version, mine)
    _add_counts(subject, uses, new, is_artifact=is_artifact)


def _add_counts(subject: str, uses: Sequence[Use], new_users: int, *, is_artifact: bool) -> None:
    downloads = [use for use in uses if use.download_id]
    first = downloads[0] if downloads else None
    sql.run(
        _COUNT,
        subject,
        int(is_artifact),
        len(downloads),
        len(uses) - len(downloads),
        new_users,
        (first.declared_user or first.principal) if first else "",
        first.address if first else "",
        first.time if first else None,
        first.principal if first else "",
    )


def _count_users(subject: str, users: Mapping[Who, _Sum]) -> int:
    """Add to what users did, and count those who are new; return how many they are.

    A client may declare any name, so each principal has a bounded number of them; what it does under more
    counts for the principal alone.
    """
    known = _known(subject, users)
    names: dict[str, int] = {}
    kept: dict[Who, _Sum] = {}
    new = 0
    for who, each in users.items():
        principal, declared = who
        if who not in known and principal not in names:
            names[principal] = _names(subject, principal)
        if declared and who not in known and names[principal] >= _MOST_NAMES:
            who = (principal, "")  # under this one it is kept
            known |= _known(subject, [who])
        if who not in known:
            new, names[principal] = new + 1, names[principal] + 1
            known.add(who)
        kept.setdefault(who, _Sum()).add_all(each)
    _add_users(subject, "", kept)
    if subject == SERVER and new:
        sql.run(_COUNT, SERVER, 0, 0, 0, new, "", "", None, "")
    return new


def _known(subject: str, users: Iterable[Who]) -> set[Who]:
    """Return those of the users who used the subject before."""
    return set(sql.rows(_KNOWN, json.dumps(list(users)), subject))


def _names(subject: str, principal: str) -> int:
    """Return how many names of a principal are told apart, counting no further than there may be."""
    return int(sql.rows(_NAMES, subject, principal, _MOST_NAMES)[0][0])


def _add_users(subject: str, version: str, users: Mapping[Who, _Sum]) -> None:
    sql.run_many(
        _USER,
        [
            (subject, version, *who, each.address, each.downloads, each.accesses, each.first, each.last)
            for who, each in users.items()
        ],
    )


def _first_time(use: Use) -> bool:
    """Remember the id of a download; return whether it was new."""
    return bool(
        sql.run(
            "INSERT OR IGNORE INTO usage_download(artifact_uid, download_id, day) VALUES (?, ?, ?)",
            use.artifact_uid,
            use.download_id,
            day_of(use.time),
        )
    )


def _namespaces_of(uids: Iterable[str]) -> dict[str, str]:
    found = sql.rows(
        "SELECT uid, namespace FROM artifact WHERE uid IN (SELECT value FROM json_each(?))",
        json.dumps(list(uids)),
    )
    return dict(found)


def _newest() -> int:
    return int(sql.rows("SELECT max(id) FROM activity")[0][0] or 0)


def _usage(row: UsageCounter) -> ArtifactUsage:
    return ArtifactUsage(
        download_count=row.download_count,
        access_count=row.access_count,
        unique_users=row.unique_users,
        first_downloaded_by=row.first_downloaded_by,
        first_downloaded_from=row.first_downloaded_from,
        first_download_time=row.first_download_time,
        first_principal=row.first_principal,
    )


def _end(activity: Activity) -> tuple[sql.Value, ...]:
    """Return the parameters of `_END`: how a call ended whose row was written with its change."""
    place = activity.place
    return (
        activity.code,
        activity.seconds,
        activity.reason,
        activity.target,
        place.artifact,
        place.namespace,
        activity.row,
    )


def _row(activity: Activity) -> tuple[sql.Value, ...]:
    """Return the parameters of `_ADD`."""
    place = activity.place
    return (
        activity.time,
        activity.action,
        activity.method,
        activity.target,
        activity.principal,
        activity.declared_user,
        activity.address,
        activity.code,
        activity.seconds,
        activity.call_id,
        activity.reason,
        place.artifact,
        place.namespace,
    )
