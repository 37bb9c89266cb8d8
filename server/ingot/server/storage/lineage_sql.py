"""The rows that tell of lineage and stand in no other store: the store behind core/lineage.py."""

from collections.abc import Sequence

from ingot.server.core.lineage import Pull
from ingot.server.core.names import VersionName
from ingot.server.storage import sql

_JOBS = "SELECT DISTINCT job FROM job_input WHERE version = ? ORDER BY job DESC LIMIT ?"
# A pull reads the manifest once; the rest of its calls bring the bytes.
_PULLS = (
    "SELECT principal, count(*), min(time) FROM activity INDEXED BY activity_target_id "
    "WHERE target = ? AND method = 'TransferService/ReadManifest' AND code = 'OK' "
    "GROUP BY principal ORDER BY min(id) LIMIT ?"
)


class LineageSql:
    """Implements LineageStore."""

    def jobs_reading(self, name: VersionName, limit: int) -> Sequence[str]:
        return [f"job_{number}" for (number,) in sql.rows(_JOBS, str(name), limit)]

    def pulls(self, name: VersionName, limit: int) -> Sequence[Pull]:
        return [Pull(*row) for row in sql.rows(_PULLS, str(name), limit)]
