"""Rows of namespaces and their members: the MemberStore of core/members.py."""

from collections.abc import Mapping, Sequence

from ingot.server.core.members import Member, MemberRole
from ingot.server.storage import sql

_ROW = "namespace, user, role, created"
# Each question ends at an index of its own. Parameter: the namespace.
_CONTENTS = {
    "models": "artifact WHERE namespace = ? AND live = 1 AND kind = 'models'",
    "datasets": "artifact WHERE namespace = ? AND live = 1 AND kind = 'datasets'",
    "models and datasets in the trash": "artifact WHERE namespace = ? AND live = 0",
    "training jobs": "training_job WHERE namespace = ?",
    "uploads that have not ended": "upload WHERE namespace = ? AND stage IN ('UPLOADING', 'PROCESSING')",
    "operations that have not ended": "operation WHERE namespace = ? AND phase != 'ended'",
}


class MembersSql:
    """Implements MemberStore."""

    def add_namespace(self, namespace: str, now: float) -> bool:
        taken = "SELECT 1 FROM namespace WHERE id = ? UNION ALL SELECT 1 FROM user WHERE id = ?"
        if sql.rows(taken, namespace, namespace):
            return False
        sql.run("INSERT INTO namespace(id, created) VALUES (?, ?)", namespace, now)
        return True

    def remove_namespace(self, namespace: str, now: float) -> None:
        sql.run("DELETE FROM member WHERE namespace = ?", namespace)
        sql.run("UPDATE namespace SET deleted = ? WHERE id = ?", now, namespace)

    def contents(self, namespace: str) -> Mapping[str, int]:
        counts = {
            word: int(sql.rows(f"SELECT count(*) FROM {source}", namespace)[0][0])
            for word, source in _CONTENTS.items()
        }
        return {word: count for word, count in counts.items() if count}

    def find(self, namespace: str, user: str) -> Member | None:
        found = sql.rows(f"SELECT {_ROW} FROM member WHERE namespace = ? AND user = ?", namespace, user)
        return _member(found[0]) if found else None

    def page(self, namespace: str, after: str, size: int) -> Sequence[Member]:
        found = sql.rows(
            f"SELECT {_ROW} FROM member WHERE namespace = ? AND user > ? ORDER BY user LIMIT ?",
            namespace,
            after,
            size,
        )
        return [_member(row) for row in found]

    def put(self, member: Member) -> None:
        sql.run(
            f"INSERT INTO member({_ROW}) VALUES (?, ?, ?, ?) "
            "ON CONFLICT(namespace, user) DO UPDATE SET role = excluded.role",
            member.namespace,
            member.user,
            member.role.value,
            member.create_time,
        )

    def remove(self, namespace: str, user: str) -> bool:
        return bool(sql.run("DELETE FROM member WHERE namespace = ? AND user = ?", namespace, user))

    def other_owners(self, namespace: str, user: str) -> int:
        able = "user.id = member.user AND NOT user.disabled AND user.role != 'VIEWER'"
        found = sql.rows(
            f"SELECT count(*) FROM member JOIN user ON {able} "
            "WHERE member.namespace = ? AND member.role = 'OWNER' AND member.user != ?",
            namespace,
            user,
        )
        return int(found[0][0])

    def owned_count(self, user: str) -> int:
        return _count("user = ? AND role = 'OWNER'", user)

    def member_count(self, namespace: str) -> int:
        return _count("namespace = ?", namespace)


def _count(condition: str, value: str) -> int:
    return int(sql.rows(f"SELECT count(*) FROM member WHERE {condition}", value)[0][0])


def _member(row: sql.Row) -> Member:
    namespace, user, role, created = row
    return Member(namespace, user, MemberRole(role), created)
