"""The rows that tell of lineage and stand in no other store: the store behind core/lineage.py."""

from collections.abc import Sequence

from ingot.server.core.names import VersionName
from ingot.server.storage import sql

_JOBS = "SELECT DISTINCT job FROM job_input WHERE version = ? ORDER BY job DESC LIMIT ?"


class LineageSql:
    """Implements LineageStore."""

    def jobs_reading(self, name: VersionName, limit: int) -> Sequence[str]:
        return [f"job_{number}" for (number,) in sql.rows(_JOBS, str(name), limit)]
