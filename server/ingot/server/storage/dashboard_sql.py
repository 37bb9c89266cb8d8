"""Counts for the dashboard: the store behind core/dashboard.py. Each is one row, or a range of an index."""

from collections.abc import Mapping

from ingot.server.core.operations import OperationState
from ingot.server.core.training import JobState
from ingot.server.storage import sql


class DashboardSql:
    """Implements DashboardStore."""

    def users(self) -> int:
        return _one("SELECT count(*) FROM user")

    def logical_bytes(self) -> int:
        return _one("SELECT sum(size_bytes) FROM account")

    def pack_bytes(self) -> int:
        return _one("SELECT sum(size_bytes - coalesce(punched, 0)) FROM pack WHERE NOT missing")

    def uploads(self) -> tuple[int, int]:
        return (
            _one("SELECT count(*) FROM upload WHERE state IN ('OPEN', 'SEALING')"),
            _one("SELECT count(*) FROM upload WHERE stage = 'FAILED'"),
        )

    def operations(self) -> Mapping[tuple[str, OperationState], int]:
        return {
            (queue, OperationState(state)): count
            for queue, state, count in sql.rows(
                "SELECT queue, state, count(*) FROM operation GROUP BY queue, state"
            )
        }

    def training_jobs(self) -> Mapping[JobState, int]:
        return {
            JobState(state): count
            for state, count in sql.rows("SELECT state, count(*) FROM training_job GROUP BY state")
        }

    def pending_approvals(self) -> int:
        return _one("SELECT count(*) FROM approval WHERE state = 'PENDING'")


def _one(question: str) -> int:
    return int(sql.rows(question)[0][0] or 0)
