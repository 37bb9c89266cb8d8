"""Rows of grants: the GrantStore of core/grants.py. Lists ask for them in catalog_sql.py."""

from collections.abc import Sequence, Set

from ingot.server.core.artifacts import Artifact
from ingot.server.core.grants import Grant
from ingot.server.storage import sql

_ARTIFACT = "(SELECT id FROM artifact WHERE uid = ?)"


class GrantsSql:
    """Implements GrantStore."""

    def has(self, artifact: Artifact, user: str) -> bool:
        statement = f"SELECT 1 FROM access_grant WHERE user = ? AND artifact_id = {_ARTIFACT}"
        return bool(sql.rows(statement, user, artifact.uid))

    def among(self, artifacts: Sequence[Artifact], user: str) -> Set[str]:
        statement = (
            "SELECT uid FROM artifact WHERE uid IN (SELECT value FROM json_each(?)) "
            "AND id IN (SELECT artifact_id FROM access_grant WHERE user = ?)"
        )
        uids = sql.text_list(each.uid for each in artifacts)
        return {uid for (uid,) in sql.rows(statement, uids, user)}

    def has_any(self, user: str) -> bool:
        return bool(sql.rows("SELECT 1 FROM access_grant WHERE user = ? LIMIT 1", user))

    def of(self, artifact: Artifact) -> Sequence[Grant]:
        which = f"artifact_id = {_ARTIFACT}"
        statement = f"SELECT user, granted_by, created FROM access_grant WHERE {which} ORDER BY user"
        return [Grant(*row) for row in sql.rows(statement, artifact.uid)]

    def add(self, artifact: Artifact, grant: Grant) -> bool:
        return bool(
            sql.run(
                "INSERT OR IGNORE INTO access_grant(user, artifact_id, granted_by, created) "
                f"VALUES (?, {_ARTIFACT}, ?, ?)",
                grant.user,
                artifact.uid,
                grant.granted_by,
                grant.create_time,
            )
        )

    def remove(self, artifact: Artifact, user: str) -> bool:
        statement = f"DELETE FROM access_grant WHERE user = ? AND artifact_id = {_ARTIFACT}"
        return bool(sql.run(statement, user, artifact.uid))

    def forget(self, user: str) -> None:
        sql.run("DELETE FROM access_grant WHERE user = ?", user)
