"""What namespaces have, in SQLite: the AccountStore of core/namespaces.py, and the counting behind it.

One row a namespace is kept up to date by whoever adds or removes what counts, in the same transaction: the
stores of versions and checkpoints count its size, those of trees and chunks what is stored and the overhead.
"""

import json
from collections.abc import Collection, Sequence

from ingot.server.core.approval_policies import ApprovalPolicy
from ingot.server.core.namespaces import CHUNK_COST, Account, Namespace
from ingot.server.storage import policies, sql

_GROW = (
    "INSERT INTO account(namespace, size_bytes, stored_bytes, overhead_bytes, revision) "
    "VALUES (?, ?, ?, ?, 0) "
    "ON CONFLICT(namespace) DO UPDATE SET size_bytes = size_bytes + excluded.size_bytes, "
    "stored_bytes = stored_bytes + excluded.stored_bytes, "
    "overhead_bytes = overhead_bytes + excluded.overhead_bytes"
)
# Bytes and number of chosen chunks that no tree of the namespace holds but this one. Parameters: those of
# the choice, then the tree twice.
_ALONE = (
    "SELECT (SELECT namespace FROM tree WHERE id = ?), coalesce(sum(c.length), 0), count(*) "
    "FROM ({}) AS chosen CROSS JOIN chunk c ON c.id = chosen.chunk WHERE NOT EXISTS(SELECT 1 FROM hold h "
    "CROSS JOIN tree o ON o.id = h.tree WHERE h.chunk = c.id AND h.tree != ? "
    "AND o.namespace = (SELECT namespace FROM tree WHERE id = ?))"
)
_LISTED = _ALONE.format("SELECT value AS chunk FROM json_each(?)")
_ALL = _ALONE.format("SELECT chunk FROM hold WHERE tree = ?")
_OTHERS = _ALONE.format(
    "SELECT chunk FROM hold WHERE tree = ? AND chunk NOT IN (SELECT value FROM json_each(?))"
)
_ROW = "size_bytes, stored_bytes, size_quota, stored_quota, revision, overhead_bytes"
_NAMESPACE = (
    "SELECT n.id, n.created, ifnull(a.size_bytes, 0), ifnull(a.stored_bytes, 0), a.size_quota, "
    "a.stored_quota, ifnull(a.revision, 0), ifnull(a.overhead_bytes, 0), n.approval "
    "FROM namespace n LEFT JOIN account a ON a.namespace = n.id WHERE n.deleted IS NULL AND "
)
COUNTED = (
    "SELECT namespace, sum(size_bytes) AS size_bytes, sum(stored_bytes) AS stored_bytes, "
    "sum(overhead_bytes) AS overhead_bytes FROM ("
    "SELECT a.namespace, v.size_bytes, 0 AS stored_bytes, 0 AS overhead_bytes FROM version v "
    "JOIN artifact a ON a.id = v.artifact_id "
    "UNION ALL SELECT j.namespace, c.size_bytes, 0, 0 "
    "FROM checkpoint c JOIN training_job j ON j.number = c.job "
    f"UNION ALL SELECT namespace, 0, sum(length), {CHUNK_COST} * count(*) FROM ("
    "SELECT DISTINCT t.namespace, c.id, c.length FROM hold h "
    "JOIN tree t ON t.id = h.tree JOIN chunk c ON c.id = h.chunk) GROUP BY namespace "
    "UNION ALL SELECT namespace, 0, 0, cost FROM tree) GROUP BY namespace"
)
_WRONG = (
    f"SELECT coalesce(n.namespace, a.namespace), ifnull(n.size_bytes, 0), ifnull(n.stored_bytes, 0), "
    f"ifnull(n.overhead_bytes, 0) FROM ({COUNTED}) AS n FULL JOIN account a ON a.namespace = n.namespace "
    "WHERE ifnull(n.size_bytes, 0) != ifnull(a.size_bytes, 0) "
    "OR ifnull(n.stored_bytes, 0) != ifnull(a.stored_bytes, 0) "
    "OR ifnull(n.overhead_bytes, 0) != ifnull(a.overhead_bytes, 0) ORDER BY 1"
)


class AccountsSql:
    """Implements AccountStore."""

    def account(self, namespace: str) -> Account:
        found = sql.rows(f"SELECT {_ROW} FROM account WHERE namespace = ?", namespace)
        return Account(*found[0]) if found else Account()

    def find(self, namespace: str) -> Namespace | None:
        found = sql.rows(f"{_NAMESPACE}n.id = ?", namespace)
        return _namespace(found[0]) if found else None

    def page(self, only: Collection[str] | None, after: str, size: int) -> Sequence[Namespace]:
        chosen = "" if only is None else "AND n.id IN (SELECT value FROM json_each(?)) "
        values = () if only is None else (json.dumps(list(only)),)
        statement = f"{_NAMESPACE}n.id > ? {chosen}ORDER BY n.id LIMIT ?"
        return [_namespace(row) for row in sql.rows(statement, after, *values, size)]

    def limit(self, namespace: str, size_quota: int | None, stored_quota: int | None) -> None:
        grow(namespace)
        sql.run(
            "UPDATE account SET size_quota = ?, stored_quota = ?, revision = revision + 1 "
            "WHERE namespace = ?",
            size_quota,
            stored_quota,
            namespace,
        )

    def approval(self, namespace: str) -> ApprovalPolicy:
        found = sql.rows("SELECT approval FROM namespace WHERE id = ?", namespace)
        return policies.decode_approval(found[0][0]) if found else ApprovalPolicy()

    def require(self, namespace: str, policy: ApprovalPolicy) -> None:
        grow(namespace)
        sql.run("UPDATE namespace SET approval = ? WHERE id = ?", policies.encode_approval(policy), namespace)
        sql.run("UPDATE account SET revision = revision + 1 WHERE namespace = ?", namespace)

    def recount(self, *, repair: bool) -> Sequence[str]:
        wrong = sql.rows(_WRONG)
        for namespace, size, stored, overhead in wrong if repair else ():
            grow(namespace)
            sql.run(
                "UPDATE account SET size_bytes = ?, stored_bytes = ?, overhead_bytes = ? WHERE namespace = ?",
                size,
                stored,
                overhead,
                namespace,
            )
        return [row[0] for row in wrong]


def grow(namespace: str, size: int = 0, stored: int = 0, overhead: int = 0) -> None:
    """Count so many bytes more, or less, for a namespace."""
    sql.run(_GROW, namespace, size, stored, overhead)


def grow_checkpoints(job: int, step: int, sign: int) -> None:
    """Count a checkpoint that is there, with sign 1, or that is about to go, with sign -1."""
    for namespace, size in sql.rows(
        "SELECT j.namespace, c.size_bytes FROM checkpoint c JOIN training_job j ON j.number = c.job "
        "WHERE c.job = ? AND c.step = ?",
        job,
        step,
    ):
        grow(namespace, size=sign * size)


def held(tree: int, chunks: Collection[int]) -> None:
    """Count chunks (ids) that a tree holds since just now."""
    if chunks:
        _grow_stored(_LISTED, 1, tree, sql.id_list(chunks))


def giving_up(tree: int) -> None:
    """Count what a tree holds that is about to hold nothing any more."""
    _grow_stored(_ALL, -1, tree, tree)


def giving_up_all_but(tree: int, chunks: Collection[int]) -> None:
    """Count what a tree holds that is about to hold only these (ids)."""
    _grow_stored(_OTHERS, -1, tree, tree, sql.id_list(chunks))


def _grow_stored(statement: str, sign: int, tree: int, *choice: sql.Value) -> None:
    namespace, size, count = sql.rows(statement, tree, *choice, tree, tree)[0]
    if namespace is not None and count:
        grow(namespace, stored=sign * size, overhead=sign * count * CHUNK_COST)


def _namespace(row: sql.Row) -> Namespace:
    id_, created, *account, approval = row
    return Namespace(id_, created, Account(*account), policies.decode_approval(approval))
