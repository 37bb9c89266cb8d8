"""Rows of versions: the store behind core/catalog_stores.py."""

import json
from collections.abc import Collection, Mapping, Sequence

from ingot.server.core.approval_policies import ApprovalState
from ingot.server.core.artifacts import Artifact, Version, VersionOrigin, VersionState
from ingot.server.core.names import LATEST, ArtifactName, Kind, VersionName, leading_number
from ingot.server.core.trash_stores import Place
from ingot.server.storage import accounts_sql, facts_sql, reading_ahead, sql, tables
from ingot.server.storage.artifact_rows import artifact_of, json_object, row_id_of

# In the order of the fields of VersionOrigin.
_ORIGIN = (
    *("upload", "operation", "training_job", "hub_commit"),
    *("dataset_version", "base_version", "source"),
)
# What a version is read from, in the order that `_version` takes it apart in.
_COLUMNS = (
    *("id", "uid", "version", "state", "digest", "file_count", "size_bytes", "new_bytes", "format"),
    *(
        "creator",
        "maker",
        "created",
        "ready",
        "changelog",
        "metadata",
        "performance_metrics",
        "asked_aliases",
    ),
    *("validation", "approval", "deleted", "revision", "updated", "facts", *_ORIGIN),
)
_READ = ", ".join(f"version.{column}" for column in _COLUMNS)
_STATES = {state.value: state for state in VersionState}
_NO_ORIGIN = VersionOrigin()
_LAST = 2**63 - 1  # the largest id of a row
_NEVER = 1e99  # later than any time
_APPROVALS = {"": None, **{state.value: state for state in ApprovalState}}

# Parameters: JSON lists of the uids whose READY, and whose approved versions count only, how many of each
# artifact, JSON list of uids. Reads hardly more versions than it returns.
_NEWEST = (
    f"SELECT {_READ}, artifact.uid FROM artifact JOIN version ON version.id IN ("
    "SELECT mine.id FROM version AS mine WHERE mine.artifact_id = artifact.id "
    "AND (mine.state = 'READY' OR artifact.uid NOT IN (SELECT value FROM json_each(?))) "
    "AND (mine.approval = 'APPROVED' AND mine.state = 'READY' "
    "OR artifact.uid NOT IN (SELECT value FROM json_each(?))) "
    "AND mine.deleted IS NULL "
    "ORDER BY mine.id DESC LIMIT ?"
    ") WHERE artifact.uid IN (SELECT value FROM json_each(?))"
)

# Parameters: after which place, kind, whether of all namespaces, JSON list of namespaces, how many. Along the
# index of what is in the trash, which holds no more than went there in `trash_days`.
_TRASHED = (
    f"SELECT {_READ}, version.artifact_id "
    "FROM version CROSS JOIN artifact ON artifact.id = version.artifact_id "
    "WHERE (version.deleted, version.id) < (?, ?) AND artifact.live AND artifact.kind = ? "
    "AND (? OR artifact.namespace IN (SELECT value FROM json_each(?))) "
    "ORDER BY version.deleted DESC, version.id DESC LIMIT ?"
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
    """Implements VersionStore and TrashedVersions."""

    def find(self, artifact: Artifact, version_id: str) -> Version | None:
        found = self._find(artifact, version_id)
        return found if found is not None and found.delete_time is None else None

    def find_deleted(self, artifact: Artifact, version_id: str) -> Version | None:
        found = self._find(artifact, version_id)
        return found if found is not None and found.delete_time is not None else None

    def deleted_before(self, time: float, size: int) -> Sequence[tuple[Artifact, Version]]:
        return _with_artifacts("deleted < ? ORDER BY deleted LIMIT ?", time, size)

    def trashed(
        self, kind: Kind, namespaces: Collection[str] | None, after: Place | None, size: int
    ) -> Sequence[tuple[Place, Version]]:
        rows = sql.rows(
            _TRASHED,
            *(after or (_NEVER, 0)),
            kind.value,
            namespaces is None,
            sql.text_list(namespaces or ()),
            size,
        )
        places = [(row[_COLUMNS.index("deleted")], row[0]) for row in rows]
        return list(zip(places, (version for _, version in _each_with_artifact(rows)), strict=True))

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
        return next(iter(_with_artifacts("validation = ?", operation)), None) if operation else None

    def by_upload(self, upload: str) -> tuple[Artifact, Version] | None:
        return next(iter(_with_artifacts("upload = ?", upload)), None) if upload else None

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
        conditions = ["artifact_id = ?", "id < ?"]
        if deleted is not None:
            conditions.append(f"deleted IS {'NOT ' if deleted else ''}NULL")
        if ready_only:
            conditions.append("state = 'READY'")
        if approved_only:
            conditions.append("approval = 'APPROVED'")
        rows = sql.rows(
            f"SELECT {_READ} FROM version WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?",
            row_id_of(artifact),
            _LAST if after is None else after,
            size,
        )
        return list(zip((row[0] for row in rows), _versions(artifact, rows), strict=True))

    def newest(
        self,
        artifacts: Sequence[Artifact],
        size: int,
        ready_only: Collection[str] = (),
        approved_only: Collection[str] = (),
        untold: Collection[str] = (),
    ) -> Mapping[str, Sequence[Version]]:
        by_uid = {artifact.uid: artifact for artifact in artifacts}
        ready, approved = json.dumps(list(ready_only)), json.dumps(list(approved_only))
        reading_ahead.bring_newest(list(by_uid), size)
        rows = sql.rows(_NEWEST, ready, approved, size, json.dumps(list(by_uid)))
        found: dict[str, list[sql.Row]] = {}
        for row in sorted(rows, reverse=True):
            found.setdefault(row[-1], []).append(row[:-1])
        aliases = _aliases_of([row[0] for row in rows])
        quiet = frozenset(untold)
        return {
            uid: _versions(by_uid[uid], group, aliases, told=uid not in quiet) for uid, group in found.items()
        }

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

    def made_from(self, version: VersionName, since: float, limit: int) -> Sequence[str]:
        return self._named_in("= ?", str(version), since=since, limit=limit)

    def descendants(self, artifact: ArtifactName, since: float, limit: int) -> Sequence[str]:
        prefix = f"{artifact}/versions/"
        return self._named_in("BETWEEN ? AND ?", prefix, prefix + "\U0010ffff", since=since, limit=limit)

    def _find(self, artifact: Artifact, version_id: str) -> Version | None:
        """Return one version of an artifact, also from the trash."""
        where = "artifact_id = ? AND version = ?"
        rows = sql.rows(f"SELECT {_READ} FROM version WHERE {where}", row_id_of(artifact), version_id)
        return _versions(artifact, rows)[0] if rows else None

    def _named_in(self, condition: str, *values: str, since: float, limit: int) -> Sequence[str]:
        """Return names of versions since then, trash left out, whose dataset or base fulfils a condition."""
        found: list[str] = []
        for column in ("dataset_version", "base_version"):
            found += [
                f"namespaces/{namespace}/{kind}/{name}/versions/{version}"
                for namespace, kind, name, version in sql.rows(
                    "SELECT artifact.namespace, artifact.kind, artifact.artifact, version.version "
                    "FROM version JOIN artifact ON artifact.id = version.artifact_id "
                    f"WHERE version.{column} {condition} AND version.deleted IS NULL AND artifact.live "
                    "AND version.created >= ? ORDER BY version.id LIMIT ?",
                    *values,
                    since,
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


def _with_artifacts(condition: str, *values: sql.Value) -> list[tuple[Artifact, Version]]:
    """Return the versions for which a condition holds, each with its artifact."""
    return _each_with_artifact(
        sql.rows(f"SELECT {_READ}, artifact_id FROM version WHERE {condition}", *values)
    )


def _each_with_artifact(rows: Sequence[sql.Row]) -> list[tuple[Artifact, Version]]:
    """Turn rows that end with the id of their artifact into versions, each with its artifact."""
    found: list[tuple[Artifact, Version]] = []
    for *row, owner in rows:
        holder = sql.row_where(tables.Artifact, "id = ?", owner)
        if holder is not None:
            artifact = artifact_of(holder)
            found.append((artifact, _versions(artifact, [tuple(row)])[0]))
    return found


def _versions(
    artifact: Artifact,
    rows: Sequence[sql.Row],
    known: Mapping[int, list[str]] | None = None,
    *,
    told: bool = True,
) -> list[Version]:
    """Turn rows of one artifact into versions; `known` are the aliases by id of the row, if asked before."""
    aliases = _aliases_of([row[0] for row in rows]) if known is None else known
    return [_version(artifact, row, aliases.get(row[0], ()), told=told) for row in rows]


def _aliases_of(ids: Sequence[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for version, alias in sql.rows(
        "SELECT version_id, alias FROM alias WHERE version_id IN (SELECT value FROM json_each(?)) "
        "ORDER BY alias",
        sql.id_list(ids),
    ):
        found.setdefault(version, []).append(alias)
    return found


def _version(artifact: Artifact, row: sql.Row, aliases: Sequence[str], *, told: bool) -> Version:
    """Turn one row into a version. A page has hundreds: it is taken apart at once, by place."""
    _, uid, version, state, digest, file_count, size_bytes, new_bytes, main_format, creator, *_ = row
    maker, created, ready, changelog, metadata, metrics, asked, validation, approval, *_ = row[10:]
    deleted, revision, updated, facts, *origin = row[19:]
    named = (LATEST, *aliases) if version == artifact.current_version else aliases
    return Version(
        name=VersionName(artifact.name, version),
        uid=uid,
        state=_STATES[state],
        digest=digest,
        file_count=file_count,
        size_bytes=size_bytes,
        new_bytes=new_bytes,
        format=main_format,
        creator=creator,
        maker=maker,
        create_time=created,
        ready_time=ready,
        changelog=changelog,
        metadata=json_object(metadata),
        performance_metrics=json_object(metrics),
        origin=VersionOrigin(*origin) if told and any(origin) else _NO_ORIGIN,
        aliases=tuple(sorted(named)),
        asked_aliases=tuple(json.loads(asked)) if asked != "[]" else (),
        last_validation=validation if told else "",
        approval=_APPROVALS[approval],
        delete_time=deleted,
        revision=revision,
        update_time=updated,
        facts=facts_sql.decode(facts),
    )
