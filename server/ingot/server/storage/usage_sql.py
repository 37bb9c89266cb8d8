"""Rows of usage: the store behind core/usage_stores.py."""

from collections.abc import Mapping, Sequence

import peewee

from ingot.server.core.usage import Activity, ActivityFilter, ArtifactUsage, Use
from ingot.server.storage import keyset
from ingot.server.storage.tables import ActivityRow, UsageCounter, UsageSeen

_ROWS_AT_ONCE = 500  # 10 columns each: far below the number of variables SQLite takes in one statement


class UsageSql:
    """Implements UsageStore."""

    def add_activities(self, activities: Sequence[Activity]) -> None:
        for start in range(0, len(activities), _ROWS_AT_ONCE):
            rows = [_row(activity) for activity in activities[start : start + _ROWS_AT_ONCE]]
            ActivityRow.insert_many(rows).execute()

    def activities(
        self, wanted: ActivityFilter, before: int | None, limit: int
    ) -> tuple[list[Activity], int | None]:
        query = ActivityRow.select()
        for column, value in (
            (ActivityRow.principal, wanted.principal),
            (ActivityRow.target, wanted.target),
            (ActivityRow.action, wanted.action),
        ):
            if value:
                query = query.where(column == value)
        after = None if before is None else (before,)
        rows, following = keyset.page(query, [ActivityRow.id], after, limit, descending=True)
        return [_activity(row) for row in rows], None if following is None else int(following[0])

    def forget_activities(self, before: float) -> int:
        return int(ActivityRow.delete().where(ActivityRow.time < before).execute())

    def count(self, uses: Sequence[Use]) -> None:
        for use in uses:
            _count(use)

    def of(self, artifact_uids: Sequence[str]) -> Mapping[str, ArtifactUsage]:
        rows = UsageCounter.select().where(UsageCounter.artifact_uid.in_(list(artifact_uids)))
        return {row.artifact_uid: _usage(row) for row in rows}


def _count(use: Use) -> None:
    if use.download_id and not _first_time(use.artifact_uid, "download", use.download_id):
        return
    UsageCounter.insert(artifact_uid=use.artifact_uid).on_conflict_ignore().execute()
    mine = UsageCounter.artifact_uid == use.artifact_uid
    who = f"{use.principal} {use.declared_user}".strip()
    changes: dict[peewee.Field[int], object] = {}
    if _first_time(use.artifact_uid, "user", who):
        changes[UsageCounter.unique_users] = UsageCounter.unique_users + 1
    counter = UsageCounter.download_count if use.download_id else UsageCounter.access_count
    changes[counter] = counter + 1
    UsageCounter.update(changes).where(mine).execute()
    if use.download_id:
        UsageCounter.update(
            first_downloaded_by=use.declared_user or use.principal,
            first_downloaded_from=use.address,
            first_download_time=use.time,
        ).where(mine, UsageCounter.first_download_time.is_null()).execute()


def _usage(row: UsageCounter) -> ArtifactUsage:
    return ArtifactUsage(
        download_count=row.download_count,
        access_count=row.access_count,
        unique_users=row.unique_users,
        first_downloaded_by=row.first_downloaded_by,
        first_downloaded_from=row.first_downloaded_from,
        first_download_time=row.first_download_time,
    )


def _first_time(artifact_uid: str, kind: str, key: str) -> bool:
    """Remember the key; return whether it was new."""
    seen = UsageSeen.insert(artifact_uid=artifact_uid, kind=kind, key=key).on_conflict_ignore()
    return bool(seen.as_rowcount().execute())


def _row(activity: Activity) -> dict[str, object]:
    return {
        "time": activity.time,
        "action": activity.action,
        "method": activity.method,
        "target": activity.target,
        "principal": activity.principal,
        "declared_user": activity.declared_user,
        "address": activity.address,
        "code": activity.code,
        "seconds": activity.seconds,
        "call_id": activity.call_id,
    }


def _activity(row: ActivityRow) -> Activity:
    return Activity(
        time=row.time,
        action=row.action,
        method=row.method,
        target=row.target,
        principal=row.principal,
        declared_user=row.declared_user,
        address=row.address,
        code=row.code,
        seconds=row.seconds,
        call_id=row.call_id,
    )
