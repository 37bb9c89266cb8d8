"""Rows of versions: the store behind core/catalog_stores.py."""

import json
from collections.abc import Collection, Mapping, Sequence

import peewee

from ingot.server.core.approval_policies import ApprovalState
from ingot.server.core.artifacts import Artifact, Version, VersionOrigin, VersionState
from ingot.server.core.names import LATEST, ArtifactName, VersionName, leading_number
from ingot.server.storage import accounts_sql, facts_sql, sql, tables
from ingot.server.storage.artifact_rows import artifact_of, json_object, row_id_of

_ORIGIN = (
    *("upload", "operation", "training_job", "hub_commit"),
    *("dataset_version", "base_version", "source"),
)

# Parameters: JSON lists of the uids whose READY, and whose approved versions count only, how many of each
# artifact, JSON list of uids. Reads hardly more versions than it returns.
_NEWEST = (
    "SELECT artifact.uid, version.id FROM artifact JOIN version ON version.id IN ("
    "SELECT mine.id FROM version AS mine WHERE mine.artifact_id = artifact.id "
    "AND (mine.state = 'READY' OR artifact.uid NOT IN (SELECT value FROM json_each(?))) "
    "AND (mine.approval = 'APPROVED' AND mine.state = 'READY' "
    "OR artifact.uid NOT IN (SELECT value FROM json_each(?))) "
    "AND mine.deleted IS NULL "
    "ORDER BY mine.id DESC LIMIT ?"
    ") WHERE artifact.uid IN (SELECT value FROM json_each(?))"
)

# What was READY once may be named anywhere; the id of what never was is free again.
_SPENT = (
    "INSERT OR IGNORE INTO spent_version(artifact_id, version, number) "
    "SELECT artifact_id, version, number FROM version WHERE uid = ? AND ready IS NOT NULL"
)
_LARGEST = (
    "SELECT max(number) FROM (SELECT max(number) AS number FROM version WHERE artifact_id = ? "
    "UNION ALL SELECT max(number) FROM spent_version WHERE artifact_id = ?)"
)

_COUNT_APPROVED = (
    "SELECT artifact.uid, count(*) FROM artifact JOIN version ON version.artifact_id = artifact.id "
    "WHERE artifact.uid IN (SELECT value FROM json_each(?)) AND version.approval = 'APPROVED' "
    "AND version.state = 'READY' AND version.deleted IS NULL GROUP BY artifact.uid"
)


class VersionsSql:
    """Implements VersionStore."""

    def find(self, artifact: Artifact, version_id: str) -> Version | None:
        found = self._find(artifact, version_id)
        return found if found is not None and found.delete_time is None else None

    def find_deleted(self, artifact: Artifact, version_id: str) -> Version | None:
        found = self._find(artifact, version_id)
        return found if found is not None and found.delete_time is not None else None

    def deleted_before(self, time: float, size: int) -> Sequence[tuple[Artifact, Version]]:
        query = tables.Version.select().where(tables.Version.deleted < time)
        rows = list(query.order_by(tables.Version.deleted).limit(size))
        return [(artifact := artifact_of(row.artifact), _versions(artifact, [row])[0]) for row in rows]

    def set_deleted(self, version: Version, time: float | None) -> None:
        sql.run("UPDATE version SET deleted = ? WHERE uid = ?", time, version.uid)

    def add(self, artifact: Artifact, version: Version) -> bool:
        version_id = version.name.version
        if self._find(artifact, version_id) is not None or self.is_spent(artifact, version_id):
            return False
        self.add_many(artifact, [version])
        return True

    def add_many(self, artifact: Artifact, versions: Sequence[Version]) -> None:
        """Add versions whose ids are free, in the order of their making."""
        row_id = row_id_of(artifact)
        rows = [_row(row_id, version) for version in versions]
        names = ", ".join(rows[0])
        sql.run_many(
            f"INSERT INTO version({names}) VALUES ({', '.join('?' * len(rows[0]))})",
            [tuple(row.values()) for row in rows],
        )
        accounts_sql.grow(artifact.name.namespace, size=sum(version.size_bytes for version in versions))

    def save(self, version: Version, expected: VersionState) -> bool:
        return bool(
            sql.run(
                "UPDATE version SET state = ?, ready = ?, validation = ? WHERE uid = ? AND state = ?",
                version.state.value,
                version.ready_time,
                version.last_validation,
                version.uid,
                expected.value,
            )
        )

    def amend(self, version: Version) -> bool:
        return bool(
            sql.run(
                "UPDATE version SET changelog = ?, metadata = ?, performance_metrics = ?, updated = ?, "
                "revision = ? WHERE uid = ? AND revision = ?",
                version.changelog,
                json.dumps(version.metadata, ensure_ascii=False),
                json.dumps(version.performance_metrics, ensure_ascii=False),
                version.update_time,
                version.revision,
                version.uid,
                version.revision - 1,
            )
        )

    def remove(self, version: Version) -> None:
        sql.run(
            "DELETE FROM facts_wanted WHERE version_id = (SELECT id FROM version WHERE uid = ?)", version.uid
        )
        sql.run(_SPENT, version.uid)
        if sql.run("DELETE FROM version WHERE uid = ?", version.uid):
            accounts_sql.grow(version.name.artifact.namespace, size=-version.size_bytes)

    def by_validation(self, operation: str) -> tuple[Artifact, Version] | None:
        return _named_by(tables.Version.validation == operation) if operation else None

    def by_upload(self, upload: str) -> tuple[Artifact, Version] | None:
        return _named_by(tables.Version.upload == upload) if upload else None

    def largest_number(self, artifact: Artifact) -> int:
        found = sql.rows(_LARGEST, row_id_of(artifact), row_id_of(artifact))
        return int(found[0][0] or 0)

    def is_spent(self, artifact: Artifact, version_id: str) -> bool:
        statement = "SELECT 1 FROM spent_version WHERE artifact_id = ? AND version = ?"
        return bool(sql.rows(statement, row_id_of(artifact), version_id))

    def newest_ready(self, artifact: Artifact) -> tuple[int, Version] | None:
        found = self.page(artifact, None, 1, ready_only=True)
        return found[0] if found else None

    def position(self, artifact: Artifact, version_id: str) -> int:
        found = sql.rows(
            "SELECT id FROM version WHERE artifact_id = ? AND version = ?", row_id_of(artifact), version_id
        )
        return int(found[0][0]) if found else 0

    def page(
        self,
        artifact: Artifact,
        after: int | None,
        size: int,
        *,
        ready_only: bool = False,
        approved_only: bool = False,
        deleted: bool | None = False,
    ) -> Sequence[tuple[int, Version]]:
        query = tables.Version.select().where(tables.Version.artifact == row_id_of(artifact))
        if deleted is not None:
            query = query.where(tables.Version.deleted.is_null(not deleted))
        if ready_only:
            query = query.where(tables.Version.state == VersionState.READY.value)
        if approved_only:
            query = query.where(tables.Version.approval == ApprovalState.APPROVED.value)
        if after is not None:
            query = query.where(tables.Version.id < after)
        rows = list(query.order_by(tables.Version.id.desc()).limit(size))
        return list(zip((row.id for row in rows), _versions(artifact, rows), strict=True))

    def newest(
        self,
        artifacts: Sequence[Artifact],
        size: int,
        ready_only: Collection[str] = (),
        approved_only: Collection[str] = (),
    ) -> Mapping[str, Sequence[Version]]:
        by_uid = {artifact.uid: artifact for artifact in artifacts}
        ready, approved = json.dumps(list(ready_only)), json.dumps(list(approved_only))
        ranked = sql.rows(_NEWEST, ready, approved, size, json.dumps(list(by_uid)))
        ids = [row_id for _, row_id in ranked]
        wanted = "id IN (SELECT value FROM json_each(?))"
        rows = {row.id: row for row in sql.rows_where(tables.Version, wanted, sql.id_list(ids))}
        found: dict[str, list[tables.Version]] = {}
        for uid, row_id in sorted(ranked, key=lambda row: -row[1]):
            found.setdefault(uid, []).append(rows[row_id])
        aliases = _aliases_of(ids)
        return {uid: _versions(by_uid[uid], group, aliases) for uid, group in found.items()}

    def approved(self, artifact: Artifact, version_ids: Collection[str]) -> Collection[str]:
        found = sql.rows(
            "SELECT version FROM version WHERE artifact_id = ? AND approval = 'APPROVED' "
            "AND state = 'READY' AND deleted IS NULL AND version IN (SELECT value FROM json_each(?))",
            row_id_of(artifact),
            json.dumps(list(version_ids)),
        )
        return {row[0] for row in found}

    def approved_bytes(self, artifact: Artifact) -> int:
        found = sql.rows(
            "SELECT coalesce(sum(size_bytes), 0) FROM version "
            "WHERE artifact_id = ? AND approval = 'APPROVED' AND state = 'READY' AND deleted IS NULL",
            row_id_of(artifact),
        )
        return int(found[0][0])

    def count_approved(self, artifacts: Sequence[Artifact]) -> Mapping[str, int]:
        found = sql.rows(_COUNT_APPROVED, json.dumps([artifact.uid for artifact in artifacts]))
        return dict(found)

    def made_from(self, version: VersionName, limit: int) -> Sequence[str]:
        return self._named_in("= ?", str(version), limit=limit)

    def descendants(self, artifact: ArtifactName, limit: int) -> Sequence[str]:
        prefix = f"{artifact}/versions/"
        return self._named_in("BETWEEN ? AND ?", prefix, prefix + "\U0010ffff", limit=limit)

    def _find(self, artifact: Artifact, version_id: str) -> Version | None:
        """Return one version of an artifact, also from the trash."""
        where = "artifact_id = ? AND version = ?"
        row = sql.row_where(tables.Version, where, row_id_of(artifact), version_id)
        return None if row is None else _versions(artifact, [row])[0]

    def _named_in(self, condition: str, *values: str, limit: int) -> Sequence[str]:
        """Return names of versions, trash left out, whose dataset or base version fulfils a condition."""
        found: list[str] = []
        for column in ("dataset_version", "base_version"):
            found += [
                f"namespaces/{namespace}/{kind}/{name}/versions/{version}"
                for namespace, kind, name, version in sql.rows(
                    "SELECT artifact.namespace, artifact.kind, artifact.artifact, version.version "
                    "FROM version JOIN artifact ON artifact.id = version.artifact_id "
                    f"WHERE version.{column} {condition} AND version.deleted IS NULL AND artifact.live "
                    "ORDER BY version.id LIMIT ?",
                    *values,
                    limit,
                )
            ]
        return list(dict.fromkeys(found))[:limit]


def _row(artifact: int, version: Version) -> dict[str, sql.Value]:
    """Return the columns of a new version of the artifact whose row has this id."""
    return {
        **{name: getattr(version.origin, name) for name in _ORIGIN},
        "uid": version.uid,
        "artifact_id": artifact,
        "version": version.name.version,
        "number": leading_number(version.name.version),
        "state": version.state.value,
        "changelog": version.changelog,
        "metadata": json.dumps(version.metadata, ensure_ascii=False),
        "performance_metrics": json.dumps(version.performance_metrics, ensure_ascii=False),
        "format": version.format,
        "digest": version.digest,
        "file_count": version.file_count,
        "size_bytes": version.size_bytes,
        "new_bytes": version.new_bytes,
        "creator": version.creator,
        "maker": version.maker,
        "created": version.create_time,
        "ready": version.ready_time,
        "asked_aliases": json.dumps(version.asked_aliases),
        "validation": version.last_validation,
    }


def _named_by(condition: peewee.Expression) -> tuple[Artifact, Version] | None:
    row = tables.Version.get_or_none(condition)
    if row is None:
        return None
    artifact = artifact_of(row.artifact)
    return artifact, _versions(artifact, [row])[0]


def _versions(
    artifact: Artifact, rows: Sequence[tables.Version], known: Mapping[int, list[str]] | None = None
) -> list[Version]:
    """Turn rows of one artifact into versions; `known` are the aliases by id of the row, if asked before."""
    aliases = _aliases_of([row.id for row in rows]) if known is None else known
    return [_version(artifact, row, aliases.get(row.id, [])) for row in rows]


def _aliases_of(ids: Sequence[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for version, alias in sql.rows(
        "SELECT version_id, alias FROM alias WHERE version_id IN (SELECT value FROM json_each(?)) "
        "ORDER BY alias",
        sql.id_list(ids),
    ):
        found.setdefault(version, []).append(alias)
    return found


def _version(artifact: Artifact, row: tables.Version, aliases: Sequence[str]) -> Version:
    latest = (LATEST,) if row.version == artifact.current_version else ()
    return Version(
        name=artifact.name.version(row.version),
        uid=row.uid,
        state=VersionState(row.state),
        digest=bytes(row.digest),
        file_count=row.file_count,
        size_bytes=row.size_bytes,
        new_bytes=row.new_bytes,
        format=row.format,
        creator=row.creator,
        maker=row.maker,
        create_time=row.created,
        ready_time=row.ready,
        changelog=row.changelog,
        metadata=json_object(row.metadata),
        performance_metrics=json_object(row.performance_metrics),
        origin=VersionOrigin(**{name: getattr(row, name) for name in _ORIGIN}),
        aliases=tuple(sorted((*latest, *aliases))),
        asked_aliases=tuple(json.loads(row.asked_aliases)) if row.asked_aliases != "[]" else (),
        last_validation=row.validation,
        approval=ApprovalState(row.approval) if row.approval else None,
        delete_time=row.deleted,
        revision=row.revision,
        update_time=row.updated,
        facts=facts_sql.decode(row.facts),
    )
