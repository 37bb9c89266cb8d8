"""Rows of models and datasets: the store of artifacts behind core/catalog_stores.py.

A list is made of scopes that do not overlap, each of which is one range of an index; their pages are merged.
Filters narrow a scope by `artifact_term`, words by the FTS5 table `artifact_search`, whose rowid is the
artifact's id. Artifacts in the trash have neither name, audience, terms nor text.
"""

import heapq
import itertools
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import peewee

from ingot.server.core.artifacts import (
    EVERYONE,
    Artifact,
    ArtifactFields,
    ArtifactOrder,
    ArtifactQuery,
    CatalogTotals,
    Lifecycle,
    Scope,
    Term,
    Visibility,
)
from ingot.server.core.names import ArtifactName, Kind
from ingot.server.core.pages import Key
from ingot.server.storage import facts_sql, policies, sql, tables

_TEXTS = (
    *("display_name", "description", "card", "language", "license"),
    *("framework", "task_type", "model_type", "source"),
)
# The key of each order: its last column is unique, so that no row is shown twice.
_KEYS = {
    ArtifactOrder.CREATED: ("id",),
    ArtifactOrder.UPDATED: ("updated", "id"),
    ArtifactOrder.NAME: ("name",),
}


_FEW = 1000


class ArtifactsSql:
    """Implements ArtifactStore; up to `few` rows are looked up and sorted, more are met in order."""

    def __init__(self, few: int = _FEW) -> None:
        self._few = few

    def find(self, name: ArtifactName) -> Artifact | None:
        row = sql.row_where(tables.Artifact, "name = ?", str(name).lower())
        return None if row is None else artifact_of(row)

    def by_uid(self, uid: str) -> Artifact | None:
        row = sql.row_where(tables.Artifact, "uid = ?", uid)
        return None if row is None else artifact_of(row)

    def add(self, artifact: Artifact, search_text: str, terms: Collection[Term]) -> bool:
        if self.find(artifact.name) is not None:
            return False
        row_id = int(tables.Artifact.insert(_row(artifact)).execute())
        _index(row_id, artifact, search_text, terms)
        return True

    def save(self, artifact: Artifact, search_text: str, terms: Collection[Term]) -> bool:
        mine = (tables.Artifact.uid == artifact.uid) & (tables.Artifact.revision == artifact.revision - 1)
        if not tables.Artifact.update(_row(artifact)).where(mine).execute():
            return False
        _index(row_id_of(artifact), artifact, search_text, terms)
        return True

    def deleted(self, name: ArtifactName) -> Sequence[Artifact]:
        row = tables.Artifact
        mine = (row.namespace == name.namespace) & (row.live == 0) & (row.kind == name.kind.value)
        same = peewee.fn.lower(row.artifact) == name.artifact.lower()
        return [artifact_of(each) for each in row.select().where(mine, same).order_by(row.deleted.desc())]

    def deleted_before(self, time: float, size: int) -> Sequence[Artifact]:
        row = tables.Artifact
        found = row.select().where(row.deleted < time).order_by(row.deleted).limit(size)
        return [artifact_of(each) for each in found]

    def remove(self, artifact: Artifact) -> None:
        row_id = row_id_of(artifact)
        sql.run("DELETE FROM access_grant WHERE artifact_id = ?", row_id)
        if sql.run("DELETE FROM artifact WHERE id = ? AND live = 0", row_id):
            sql.run("DELETE FROM alias_move WHERE artifact_id = ?", row_id)

    def page(
        self, query: ArtifactQuery, after: Sequence[Key] | None, size: int
    ) -> Sequence[tuple[tuple[Key, ...], Artifact]]:
        key = _KEYS[query.order]
        narrowing = _narrowing(query, self._few)
        found = [_scope_page(query, narrowing, scope, key, after, size) for scope in query.scopes]
        merged = list(itertools.islice(heapq.merge(*found, reverse=query.descending), size))
        ids = [row_id for _, row_id in merged]
        rows = {row.id: row for row in tables.Artifact.select().where(sql.id_in(ids))}
        return [(place, artifact_of(rows[row_id])) for place, row_id in merged]

    def totals(self, scopes: Sequence[Scope], fields: Collection[str]) -> CatalogTotals:
        artifacts = versions = size = 0
        terms: dict[Term, int] = {}
        for scope in scopes:
            where, values = _scope(scope)
            counts = sql.rows(
                "SELECT count(*), coalesce(sum(version_count), 0), coalesce(sum(version_bytes), 0) "
                f"FROM artifact WHERE {where}",
                *values,
            )[0]
            artifacts, versions, size = artifacts + counts[0], versions + counts[1], size + counts[2]
            found = sql.rows(
                "SELECT term.field, term.value, count(*) FROM artifact_term AS term "
                "JOIN artifact ON artifact.id = term.artifact_id "
                f"WHERE term.field IN (SELECT value FROM json_each(?)) AND {where} GROUP BY 1, 2",
                json.dumps(sorted(fields)),
                *values,
            )
            for field, value, count in found:
                term = Term(field, value)
                terms[term] = terms.get(term, 0) + count
        return CatalogTotals(artifacts, versions, size, terms)


def row_id_of(artifact: Artifact) -> int:
    """Return the id of an artifact's row, which versions and aliases refer to."""
    return int(sql.rows("SELECT id FROM artifact WHERE uid = ?", artifact.uid)[0][0])


@dataclass(frozen=True, slots=True)
class _Narrowing:
    """What terms and words of a query ask of each row; `few` when at least one of them is rare."""

    conditions: tuple[str, ...]
    values: tuple[sql.Value, ...]
    few: bool


def _narrowing(query: ArtifactQuery, few: int) -> _Narrowing:
    """Decide how to look for each term and for the words: rare ones give the rows, common ones are checked.

    SQLite does not know how common a value is, and either way is slow for the other case.
    """
    hits: list[tuple[str, str, tuple[sql.Value, ...]]] = [
        ("artifact_id", "artifact_term WHERE field = ? AND value = ?", (term.field, term.value))
        for term in query.terms
    ]
    if query.words:
        hits.append(("rowid", "artifact_search WHERE artifact_search MATCH ?", (_match(query.words),)))
    conditions: list[str] = []
    rare_ones = 0
    for key, source, values in hits:
        counted = sql.rows(f"SELECT count(*) FROM (SELECT 1 FROM {source} LIMIT {few + 1})", *values)
        rare = counted[0][0] <= few
        rare_ones += rare
        conditions.append(
            f"id IN (SELECT {key} FROM {source})"
            if rare
            else f"EXISTS (SELECT 1 FROM {source} AND {key} = artifact.id)"
        )
    return _Narrowing(tuple(conditions), tuple(itertools.chain(*(each[2] for each in hits))), rare_ones > 0)


def _scope_page(
    query: ArtifactQuery,
    narrowing: _Narrowing,
    scope: Scope,
    key: Sequence[str],
    after: Sequence[Key] | None,
    limit: int,
) -> list[tuple[tuple[Key, ...], int]]:
    """Return keys and ids of one scope's rows, in order."""
    where, values = _scope(scope)
    if narrowing.few:  # a plus keeps SQLite from walking the index of the whole scope
        where = where.replace("artifact.", "+artifact.")
    conditions: list[str] = [where, *narrowing.conditions]
    values = [*values, *narrowing.values]
    columns = ", ".join(key)
    if after is not None:
        sign = "<" if query.descending else ">"
        conditions.append(f"({columns}) {sign} ({', '.join('?' * len(key))})")
        values += after
    direction = "DESC" if query.descending else "ASC"
    order = ", ".join(f"{column} {direction}" for column in key)
    rows = sql.rows(
        f"SELECT {columns}, id FROM artifact WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT ?",
        *values,
        limit,
    )
    return [(tuple(row[:-1]), row[-1]) for row in rows]


def _scope(scope: Scope) -> tuple[str, list[sql.Value]]:
    if scope.granted_to is not None:
        return _granted(scope)
    conditions: dict[str, sql.Value] = {"kind": scope.kind.value}
    if scope.deleted:
        conditions["live"] = 0
        if scope.namespace is not None:
            conditions["namespace"] = scope.namespace
    elif scope.namespace is not None:
        conditions |= {"namespace": scope.namespace, "live": 1}
    if scope.audience is not None:
        conditions["audience"] = scope.audience
    if len(conditions) == 1:
        conditions["live"] = 1
    return " AND ".join(f"artifact.{name} = ?" for name in conditions), list(conditions.values())


def _granted(scope: Scope) -> tuple[str, list[sql.Value]]:
    """Select what is shown to one user: its grants give the rows, which are then checked and sorted."""
    where = (
        "artifact.id IN (SELECT artifact_id FROM access_grant WHERE user = ?) AND +artifact.kind = ? "
        "AND +artifact.live = 1 AND +artifact.audience = artifact.namespace "
        "AND +artifact.namespace NOT IN (SELECT value FROM json_each(?))"
    )
    values: list[sql.Value] = [scope.granted_to, scope.kind.value, json.dumps(scope.besides)]
    if scope.namespace is None:
        return where, values
    return f"{where} AND +artifact.namespace = ?", [*values, scope.namespace]


def _match(words: Sequence[str]) -> str:
    """Return an FTS5 query for all of the words; quotes keep them from being read as its grammar."""
    quoted = [(word.rstrip("*"), "*" if word.endswith("*") else "") for word in words]
    return " AND ".join('"' + word.replace('"', '""') + '"' + star for word, star in quoted)


def _index(row_id: int, artifact: Artifact, search_text: str, terms: Collection[Term]) -> None:
    """Make a listed artifact findable by this text and these terms; writes only what is different."""
    listed = artifact.delete_time is None
    wanted = {(term.field, term.value) for term in terms} if listed else set()
    found = set(sql.rows("SELECT field, value FROM artifact_term WHERE artifact_id = ?", row_id))
    sql.run_many(
        "DELETE FROM artifact_term WHERE field = ? AND value = ? AND artifact_id = ?",
        [(*term, row_id) for term in found - wanted],
    )
    sql.run_many(
        "INSERT INTO artifact_term(field, value, artifact_id) VALUES (?, ?, ?)",
        [(*term, row_id) for term in wanted - found],
    )
    texts = [(search_text,)] if listed else []
    if sql.rows("SELECT text FROM artifact_search WHERE rowid = ?", row_id) != texts:
        sql.run("DELETE FROM artifact_search WHERE rowid = ?", row_id)
        sql.run_many(
            "INSERT INTO artifact_search(rowid, text) VALUES (?, ?)", [(row_id, *text) for text in texts]
        )


def _row(artifact: Artifact) -> dict[str, Any]:
    fields, live = artifact.fields, artifact.delete_time is None
    private = fields.visibility is Visibility.PRIVATE
    audience = artifact.name.namespace if private else EVERYONE
    return {
        **{name: getattr(fields, name) for name in _TEXTS},
        "uid": artifact.uid,
        "name": str(artifact.name).lower() if live else None,
        "live": int(live),
        "namespace": artifact.name.namespace,
        "kind": artifact.name.kind.value,
        "artifact": artifact.name.artifact,
        "audience": audience if live else None,
        "owner": artifact.owner,
        "tags": json.dumps(fields.tags, ensure_ascii=False),
        "requirements": json.dumps(fields.requirements, ensure_ascii=False),
        "metadata": json.dumps(fields.metadata, ensure_ascii=False),
        "visibility": fields.visibility.value,
        "lifecycle": fields.lifecycle.value,
        "validation": policies.encode(fields.validation),
        "format": artifact.format,
        "current_version": artifact.current_version,
        "version_count": artifact.version_count,
        "size_bytes": artifact.size_bytes,
        "version_bytes": artifact.version_bytes,
        "stored_bytes": artifact.stored_bytes,
        "created": artifact.create_time,
        "updated": artifact.update_time,
        "deleted": artifact.delete_time,
        "revision": artifact.revision,
        "facts": facts_sql.encode(artifact.facts),
    }


def artifact_of(row: tables.Artifact) -> Artifact:
    """Return the artifact of a row, also from the trash."""
    fields = ArtifactFields(
        **{name: getattr(row, name) for name in _TEXTS},
        tags=tuple(json.loads(row.tags)),
        requirements=json.loads(row.requirements),
        metadata=json.loads(row.metadata),
        visibility=Visibility(row.visibility),
        lifecycle=Lifecycle(row.lifecycle),
        validation=policies.decode(row.validation),
    )
    return Artifact(
        name=ArtifactName(row.namespace, Kind(row.kind), row.artifact),
        uid=row.uid,
        fields=fields,
        owner=row.owner,
        create_time=row.created,
        update_time=row.updated,
        revision=row.revision,
        format=row.format,
        current_version=row.current_version,
        version_count=row.version_count,
        size_bytes=row.size_bytes,
        version_bytes=row.version_bytes,
        stored_bytes=row.stored_bytes,
        delete_time=row.deleted,
        facts=facts_sql.decode(row.facts),
    )
