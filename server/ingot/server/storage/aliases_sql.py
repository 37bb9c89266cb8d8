"""Rows of aliases and their moves: the store behind core/alias_stores.py."""

from collections.abc import Collection, Sequence

from ingot.server.core.artifacts import Alias, AliasMove, Artifact
from ingot.server.core.names import AliasName, ArtifactName, Kind, VersionName
from ingot.server.storage import sql
from ingot.server.storage.artifact_rows import row_id_of

_LAST = 2**63 - 1  # the largest id of a row
# One alias that names a version which is not approved. Parameters: ids of aliases as a JSON list.
_UNAPPROVED = (
    "SELECT artifact.namespace, artifact.kind, artifact.artifact, alias.alias, version.version "
    "FROM artifact CROSS JOIN json_each(?) AS asked CROSS JOIN alias ON alias.artifact_id = artifact.id "
    "AND alias.alias = asked.value CROSS JOIN version ON version.id = alias.version_id "
    "WHERE version.approval != 'APPROVED' AND artifact.live = 1 AND {} LIMIT 1"
)
_ALIAS = (
    "SELECT alias.alias, version.version, alias.updated, alias.updated_by, alias.revision "
    "FROM alias JOIN version ON version.id = alias.version_id WHERE alias.artifact_id = ? "
)


class AliasesSql:
    """Implements AliasStore."""

    def find(self, artifact: Artifact, alias: str) -> Alias | None:
        rows = sql.rows(f"{_ALIAS} AND alias.alias = ?", row_id_of(artifact), alias)
        return _alias(artifact, rows[0]) if rows else None

    def has(self, artifact: Artifact, alias: str) -> bool:
        """Return whether an artifact has an alias."""
        return self.find(artifact, alias) is not None

    def unapproved(
        self, namespace: str, aliases: Collection[str], artifact: Artifact | None = None
    ) -> tuple[AliasName, VersionName] | None:
        where, value = ("uid = ?", artifact.uid) if artifact else ("namespace = ?", namespace)
        found = sql.rows(_UNAPPROVED.format(f"artifact.{where}"), sql.text_list(aliases), value)
        for owner, kind, name, alias, version in found:
            named = ArtifactName(owner, Kind(kind), name)
            return named.alias(alias), named.version(version)
        return None

    def put(self, artifact: Artifact, alias: Alias) -> None:
        name, version = alias.name.alias, alias.version.version
        before = self.find(artifact, name)
        previous = before.version.version if before else ""
        if previous != version:
            self.note(artifact, name, AliasMove(version, previous, alias.update_time, alias.updated_by))
        sql.run(
            "INSERT OR REPLACE INTO alias(artifact_id, alias, version_id, updated, updated_by, revision) "
            "SELECT artifact_id, ?, id, ?, ?, ? FROM version WHERE artifact_id = ? AND version = ?",
            name,
            alias.update_time,
            alias.updated_by,
            alias.revision,
            row_id_of(artifact),
            version,
        )

    def delete(self, artifact: Artifact, alias: str, now: float, by: str = "") -> bool:
        before = self.find(artifact, alias)
        if before is None:
            return False
        sql.run("DELETE FROM alias WHERE artifact_id = ? AND alias = ?", row_id_of(artifact), alias)
        self.note(artifact, alias, AliasMove("", before.version.version, now, by))
        return True

    def note(self, artifact: Artifact, alias: str, move: AliasMove) -> None:
        sql.run(
            "INSERT INTO alias_move(artifact_id, alias, version, previous, moved, moved_by) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            row_id_of(artifact),
            alias,
            move.version,
            move.previous,
            move.time,
            move.moved_by,
        )

    def moves(
        self, artifact: Artifact, alias: str, before: int | None, size: int
    ) -> Sequence[tuple[int, AliasMove]]:
        rows = sql.rows(
            "SELECT id, version, previous, moved, moved_by FROM alias_move "
            "WHERE artifact_id = ? AND alias = ? AND id < ? ORDER BY id DESC LIMIT ?",
            row_id_of(artifact),
            alias,
            _LAST if before is None else before,
            size,
        )
        return [(row[0], AliasMove(*row[1:])) for row in rows]

    def page(self, artifact: Artifact, after: str, size: int) -> Sequence[Alias]:
        rows = sql.rows(
            f"{_ALIAS} AND alias.alias > ? ORDER BY alias.alias LIMIT ?", row_id_of(artifact), after, size
        )
        return [_alias(artifact, row) for row in rows]


def _alias(artifact: Artifact, row: sql.Row) -> Alias:
    alias, version, updated, updated_by, revision = row
    return Alias(
        name=AliasName(artifact.name, alias),
        version=artifact.name.version(version),
        update_time=updated,
        updated_by=updated_by,
        revision=revision,
    )
