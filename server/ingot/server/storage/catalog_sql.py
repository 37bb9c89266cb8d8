"""Models and datasets: the store of artifacts behind core/catalog_stores.py.

Rows are in artifact_rows.py, pages in artifact_pages.py; how artifacts are found and counted is told in
artifact_index.py, artifact_finding.py and artifact_counts.py. Those in the trash have neither name nor
audience, and are found by nothing but their uid.
"""

from collections.abc import Collection, Sequence

import peewee

from ingot.server.core import texts
from ingot.server.core.artifacts import (
    EVERYONE,
    Artifact,
    ArtifactChanges,
    ArtifactQuery,
    CatalogTotals,
    Circle,
    FacetCounts,
    Figures,
    Scope,
)
from ingot.server.core.catalog_stores import Rows
from ingot.server.core.expressions import EVERYTHING, Expression, Term
from ingot.server.core.names import ArtifactName
from ingot.server.core.pages import Key
from ingot.server.storage import (
    artifact_counts,
    artifact_index,
    artifact_pages,
    artifact_rows,
    artifact_sets,
    reading_ahead,
    sql,
    tables,
    usage_sql,
)
from ingot.server.storage.artifact_counts import FEW
from ingot.server.storage.artifact_finding import COMMON, Finder
from ingot.server.storage.artifact_index import NOT_LISTED, Counted, Found
from ingot.server.storage.artifact_rows import artifact_of

_CHANGE, _PURGED = "artifact change", "artifact purged"  # words of counters


class ArtifactsSql:
    """Implements ArtifactStore; the numbers are those of artifact_pages.py and artifact_finding.py."""

    def __init__(
        self, few: int = artifact_pages.FEW, steps: int = artifact_pages.STEPS, common: int = COMMON
    ) -> None:
        self._finder = Finder(common)
        self._pager = artifact_pages.Pager(self._finder, few, steps)

    def find(self, name: ArtifactName) -> Artifact | None:
        row = sql.row_where(tables.Artifact, "name = ?", str(name).lower())
        return None if row is None else artifact_of(row)

    def by_uid(self, uid: str) -> Artifact | None:
        row = sql.row_where(tables.Artifact, "uid = ?", uid)
        return None if row is None else artifact_of(row)

    # --- writing ----------------------------------------------------------------------------------------

    def add(self, artifact: Artifact, search_text: str, terms: Collection[Term]) -> bool:
        if self.find(artifact.name) is not None:
            return False
        self.add_many([(artifact, search_text, terms)])
        return True

    def add_many(self, added: Sequence[tuple[Artifact, str, Collection[Term]]]) -> None:
        """Add artifacts whose names are free, with what they are found by."""
        change = _count_up(_CHANGE, len(added)) - len(added)
        changes: list[artifact_index.Change] = []
        for number, (artifact, search_text, terms) in enumerate(added, change + 1):
            audience = artifact_rows.audience_of(artifact)
            figures = Figures.of(artifact)
            row = {**artifact_rows.row_of(artifact, figures), "change": number, "reach": audience}
            row["public_change"] = number
            row_id = sql.insert(*_insertion(row))
            found = Found(search_text, tuple(terms), figures)
            changes.append(artifact_index.change(row_id, NOT_LISTED, artifact, audience, found))
        artifact_index.store(changes, self._finder.sets)

    def save(
        self, artifact: Artifact, search_text: str, terms: Collection[Term], figures: Figures | None = None
    ) -> bool:
        before = _before(artifact)
        if before is None or before.revision != artifact.revision - 1:
            return False
        figures = figures or Figures.of(artifact)
        row = artifact_rows.row_of(artifact, figures)
        row["change"] = _count_up(_CHANGE, 1)
        if not artifact.public_mark or artifact.public_mark != before.public_mark:
            row["public_change"] = row["change"]
        row["reach"] = EVERYONE if before.reach == EVERYONE else artifact_rows.audience_of(artifact)
        tables.Artifact.update(row).where(tables.Artifact.id == before.id).execute()
        found = Found(search_text, tuple(terms), figures)
        change = artifact_index.change(before.id, _counted(before), artifact, row["audience"], found)
        artifact_index.store([change], self._finder.sets)
        return True

    def remove(self, artifact: Artifact) -> None:
        found = sql.rows("SELECT id, change FROM artifact WHERE uid = ? AND live = 0", artifact.uid)
        for row_id, change in found:
            sql.run("DELETE FROM access_grant WHERE artifact_id = ?", row_id)
            sql.run("DELETE FROM artifact WHERE id = ?", row_id)
            sql.run("DELETE FROM alias_move WHERE artifact_id = ?", row_id)
            sql.run("DELETE FROM spent_version WHERE artifact_id = ?", row_id)
            sql.run("DELETE FROM access_grant WHERE artifact_id = ?", row_id)
            sql.run("DELETE FROM artifact_marks WHERE artifact = ?", row_id)
            usage_sql.forget(artifact.uid)
            sql.run(
                "INSERT INTO counter(word, value) VALUES (?, ?) "
                "ON CONFLICT (word) DO UPDATE SET value = max(value, excluded.value)",
                _PURGED,
                change,
            )

    # --- finding ----------------------------------------------------------------------------------------

    def deleted(self, name: ArtifactName) -> Sequence[Artifact]:
        row = tables.Artifact
        mine = (row.namespace == name.namespace) & (row.live == 0) & (row.kind == name.kind.value)
        same = peewee.fn.lower(row.artifact) == name.artifact.lower()
        return [artifact_of(each) for each in row.select().where(mine, same).order_by(row.deleted.desc())]

    def deleted_before(self, time: float, size: int) -> Sequence[Artifact]:
        row = tables.Artifact
        found = row.select().where(row.deleted < time).order_by(row.deleted).limit(size)
        return [artifact_of(each) for each in found]

    def page(
        self, query: ArtifactQuery, after: Sequence[Key] | None, size: int
    ) -> Rows[tuple[tuple[Key, ...], Artifact]]:
        places = self._pager.page(query, after, size)
        rows = artifact_rows.by_ids([row_id for _, row_id in places.rows])
        items = [(key, rows[row_id]) for key, row_id in places.rows]
        return Rows(items, items[-1][0] if len(items) == size else places.resume)

    def totals(self, scopes: Sequence[Scope], fields: Collection[str]) -> CatalogTotals:
        return artifact_counts.totals(scopes, fields, self._finder)

    def facets(
        self, scopes: Sequence[Scope], where: Expression, fields: Sequence[str], size: int
    ) -> FacetCounts:
        counted = where == EVERYTHING and artifact_counts.has_counters(scopes)
        ids = None if counted else self._finder.found(scopes, where)
        return artifact_counts.facets(scopes, ids, fields, size, self._finder.sets)

    # --- watching ---------------------------------------------------------------------------------------

    def latest_change(self) -> int:
        return _counter(_CHANGE)

    def changes(
        self, query: ArtifactQuery, after: int, gone_after: int, size: int, circle: Circle
    ) -> ArtifactChanges | None:
        if after and after < _counter(_PURGED):
            return None
        rows, more = _changed(circle, after, size)
        ids = artifact_sets.Ids([row[1] for row in rows])
        matching = artifact_rows.by_ids(list(ids & self._finder.found(query.scopes, query.where)))
        told: list[tuple[int, Artifact | str]] = []
        for change, row_id, uid, *standing in rows:
            if row_id in matching:
                told.append((change, matching[row_id]))
            elif change > gone_after and any(_reached(scope, row_id, *standing) for scope in query.scopes):
                told.append((change, uid))
        return ArtifactChanges(told, more)

    # --- upkeep -----------------------------------------------------------------------------------------

    def outdated(self, size: int) -> Sequence[Artifact]:
        found = sql.rows_where(
            tables.Artifact,
            "id IN (SELECT id FROM artifact WHERE live = 1 AND indexed < ? LIMIT ?)",
            texts.SEARCH_FORM,
            size,
        )
        return [artifact_of(row) for row in found]

    def index_again(self, renewed: Sequence[tuple[Artifact, str, Collection[Term], Figures]]) -> None:
        changes = []
        for artifact, search_text, terms, figures in renewed:
            before = _before(artifact)
            if before is not None:
                found = Found(search_text, tuple(terms), figures)
                counted = _counted(before) if before.indexed else NOT_LISTED
                audience = artifact_rows.audience_of(artifact)
                changes.append(artifact_index.change(before.id, counted, artifact, audience, found))
                row: dict[str, sql.Value] = {**artifact_rows.numbers_of(artifact, figures)}
                row |= {"indexed": texts.SEARCH_FORM, "public_mark": artifact.public_mark}
                tables.Artifact.update(row).where(tables.Artifact.id == before.id).execute()
        artifact_index.store(changes, self._finder.sets)

    def warm(self, fields: Sequence[str]) -> None:
        reading_ahead.prepare()
        self._finder.warm()
        artifact_counts.facets((), artifact_sets.Ids(range(FEW + 1)), fields, 1, self._finder.sets)

    def look_for_common_words(self) -> int:
        return self._finder.look_for_common()

    def wants_words(self) -> bool:
        return self._finder.wants

    def learn_words(self) -> bool:
        return self._finder.learn()


def _changed(circle: Circle, after: int, size: int) -> tuple[list[sql.Row], int | None]:
    """Return rows with changes after a number, in order, and where others follow.

    Who is in the circle of an artifact hears of each change, everybody else of those that strangers see.
    """
    granted = sql.rows("SELECT artifact_id FROM access_grant WHERE user = ?", circle.user)
    shown = {row_id for (row_id,) in granted}

    def inside(row: sql.Row) -> bool:
        return circle.namespaces is None or row[4] in circle.namespaces or row[1] in shown

    rows: list[sql.Row] = []
    ends: list[int] = []
    for column in ("change", "public_change") if circle.namespaces is not None else ("change",):
        found = sql.rows(
            f"SELECT {column}, id, uid, kind, namespace, reach FROM artifact WHERE {column} > ? "
            f"ORDER BY {column} LIMIT ?",
            after,
            size,
        )
        rows += [row for row in found if inside(row) == (column == "change")]
        ends += [found[-1][0]] if len(found) == size else []
    more = min(ends, default=None)
    return sorted(row for row in rows if more is None or row[0] <= more), more


def _before(artifact: Artifact) -> tables.Artifact | None:
    """Return the row of an artifact with the columns that its change is worked out from."""
    found = sql.rows(f"SELECT {', '.join(_STANDING)} FROM artifact WHERE uid = ?", artifact.uid)
    return tables.Artifact(**dict(zip(_STANDING, found[0], strict=True))) if found else None


_STANDING = (
    *("id", "live", "kind", "namespace", "audience", "version_count", "version_bytes"),
    *("own_version_count", "own_version_bytes", "revision", "reach", "indexed", "public_mark"),
)


def _counted(row: tables.Artifact) -> Counted:
    if not row.live:
        return NOT_LISTED
    listed, own = (row.version_count, row.version_bytes), (row.own_version_count, row.own_version_bytes)
    both = [shown if mine is None else mine for shown, mine in zip(listed, own, strict=True)]
    return Counted(artifact_index.keys_of(row.kind, row.namespace, str(row.audience)), *listed, *both)


def _insertion(row: dict[str, sql.Value]) -> tuple[str, *tuple[sql.Value, ...]]:
    names = ", ".join(row)
    return f"INSERT INTO artifact({names}) VALUES ({', '.join('?' * len(row))})", *row.values()


def _reached(scope: Scope, row_id: int, kind: str, namespace: str, reach: str) -> bool:
    """Return whether what a scope shows may ever have held an artifact."""
    if scope.kind.value != kind or scope.namespace not in (None, namespace):
        return False
    if scope.granted_to is not None:
        statement = "SELECT 1 FROM access_grant WHERE user = ? AND artifact_id = ?"
        return bool(sql.rows(statement, scope.granted_to, row_id))
    return scope.audience is None or reach in (scope.audience, EVERYONE)


def _counter(word: str) -> int:
    found = sql.rows("SELECT value FROM counter WHERE word = ?", word)
    return int(found[0][0]) if found else 0


def _count_up(word: str, by: int) -> int:
    sql.run(
        "INSERT INTO counter(word, value) VALUES (?, ?) "
        "ON CONFLICT (word) DO UPDATE SET value = value + excluded.value",
        word,
        by,
    )
    return _counter(word)
