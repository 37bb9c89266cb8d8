"""Counts of uploads in SQLite: the UploadTally of core/upload_stats.py."""

import json
from collections.abc import Collection

from ingot.server.core.upload_stats import UploadStats
from ingot.server.storage import sql

_ADD = (
    "INSERT INTO upload_tally(creator, namespace, day, total, successful, failed, files, size_bytes) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(creator, namespace, day) DO UPDATE SET "
    "total = total + excluded.total, successful = successful + excluded.successful, "
    "failed = failed + excluded.failed, files = files + excluded.files, "
    "size_bytes = size_bytes + excluded.size_bytes"
)

_SUM = (
    "SELECT coalesce(sum(total), 0), coalesce(sum(successful), 0), coalesce(sum(failed), 0), "
    "coalesce(sum(files), 0), coalesce(sum(size_bytes), 0) FROM upload_tally"
)


class UploadTallySql:
    """Implements UploadTally."""

    def add(self, creator: str, namespace: str, day: int, counts: UploadStats) -> None:
        sql.run(
            _ADD,
            creator,
            namespace,
            day,
            counts.total,
            counts.successful,
            counts.failed,
            counts.files,
            counts.size,
        )

    def sum(
        self,
        namespaces: Collection[str] | None,
        creator: str | None,
        first_day: int | None,
        last_day: int | None,
    ) -> UploadStats:
        conditions: list[str] = []
        values: list[sql.Value] = []
        for condition, value in (
            ("creator = ?", creator),
            ("namespace IN (SELECT value FROM json_each(?))", _json(namespaces)),
            ("day >= ?", first_day),
            ("day <= ?", last_day),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return UploadStats(*sql.rows(_SUM + where, *values)[0])


def _json(texts: Collection[str] | None) -> str | None:
    return None if texts is None else json.dumps(list(texts))
