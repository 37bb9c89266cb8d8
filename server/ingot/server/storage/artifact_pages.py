"""Pages of artifacts in order.

Without a filter a list is made of scopes that do not overlap, each of which is one range of an index; their
pages are merged. With one, the ids that it holds for are known first (artifact_finding.py). In the order of
ids a page is a slice of them. In another order a few are sorted; of many, those in the buckets that fill the
page. Where that is no help, for names and in buckets of very many, the index of the order is walked
until the page is full, and after `steps` rows without enough of them the page ends early.
"""

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ingot.server.core.artifacts import ArtifactOrder, ArtifactQuery, Scope
from ingot.server.core.expressions import EVERYTHING
from ingot.server.core.pages import Key
from ingot.server.storage import artifact_sets as sets
from ingot.server.storage import reading_ahead, sql
from ingot.server.storage.artifact_finding import Finder
from ingot.server.storage.artifact_index import NUMBERS
from ingot.server.storage.artifact_sets import Ids

FEW = 4000  # sorted for each page
STEPS = 6000
_VERY_FEW = 1000
_BUCKETS = 8  # looked into at once
# The key of each order: its last column is unique, so that no row is shown twice.
_KEYS = {
    ArtifactOrder.CREATED: ("id",),
    ArtifactOrder.UPDATED: ("updated", "id"),
    ArtifactOrder.NAME: ("name",),
    ArtifactOrder.SIZE: ("size_bytes", "id"),
    ArtifactOrder.VERSIONS: ("version_count", "id"),
}
_IN_EACH_SCOPE = (ArtifactOrder.CREATED, ArtifactOrder.UPDATED, ArtifactOrder.NAME)  # have an index there

Place = tuple[tuple[Key, ...], int]  # key and id


@dataclass(frozen=True, slots=True)
class Places:
    """Where the rows of a page are, in order; `resume` says where to go on when it ended early."""

    rows: Sequence[Place]
    resume: tuple[Key, ...] | None = None


@dataclass(frozen=True, slots=True)
class Pager:
    """Finds pages; the numbers are for tests."""

    finder: Finder
    few: int = FEW
    steps: int = STEPS

    def page(self, query: ArtifactQuery, after: Sequence[Key] | None, size: int) -> Places:
        """Return the places of up to `size` rows after a key, None before the first."""
        key = _KEYS[query.order]
        deleted = any(scope.deleted for scope in query.scopes)
        granted = any(scope.granted_to is not None for scope in query.scopes)
        if deleted or (query.where == EVERYTHING and not granted and query.order in _IN_EACH_SCOPE):
            found = [_scope_page(query, scope, key, after, size) for scope in query.scopes]
            return Places(list(itertools.islice(heapq.merge(*found, reverse=query.descending), size)))
        ids = self.finder.found(query.scopes, query.where)
        if query.order is ArtifactOrder.CREATED:
            return _slice(ids, after, size, descending=query.descending)
        if len(ids) <= self.few and (len(ids) <= _VERY_FEW or self._better_sorted(ids, key, size)):
            return _sorted(ids, key, after, size, descending=query.descending)
        if key[0] in NUMBERS:
            return self._in_buckets(ids, key, after, size, descending=query.descending)
        return self._walked(ids, key, _after(key, after, descending=query.descending), size, query.descending)

    def _better_sorted(self, ids: Ids, key: Sequence[str], size: int) -> bool:
        """Return whether sorting costs less than walking: to look one up takes as long as four steps."""
        return key[0] not in NUMBERS and 4 * len(ids) ** 2 <= size * ids.max()

    def _in_buckets(
        self, ids: Ids, key: Sequence[str], after: Sequence[Key] | None, size: int, *, descending: bool
    ) -> Places:
        """Find the buckets that fill the page; it lies in them, however the ids are spread over the order."""
        column, place = key[0], None if after is None else sets.bucket_of(key[0], float(after[0]))
        waiting = [
            (bucket, number)
            for bucket, number in sorted(sets.buckets(column), reverse=descending)
            if place is None or (bucket <= place if descending else bucket >= place)
        ]
        found, enough, first, passed = Ids(), 0, place, 0
        while waiting and enough < size:
            group, waiting = waiting[:_BUCKETS], waiting[_BUCKETS:]
            parts = self.finder.sets.each_of(number for _, number in group)
            for bucket, number in group:
                if enough >= size:
                    break
                part = ids & parts[number]
                found |= part
                passed += len(parts[number]) if first is not None or part else 0
                first = bucket if first is None and part else first
                enough += 0 if bucket == place else len(part)  # of that one, some were shown before
        # To walk over the index reads it page by page, to look each one up reads it all over the place.
        sparse = size * passed > len(found) ** 2
        if first is None or (sparse and len(found) <= self.few):
            return _sorted(found, key, after, size, descending=descending)
        condition, values = _after(key, after, descending=descending)
        low, high = sets.bounds_of(column, first)
        condition += f" AND {column} < ?" if descending else f" AND {column} >= ?"
        return self._walked(found, key, (condition, [*values, high if descending else low]), size, descending)

    def _walked(
        self, ids: Ids, key: Sequence[str], after: tuple[str, list[sql.Value]], size: int, descending: bool
    ) -> Places:
        condition, values = after
        rows = sql.each_row(
            f"SELECT {', '.join(key)}, id FROM artifact WHERE {_LISTED[key[0]]} {condition} "
            f"ORDER BY {_order(key, descending=descending)} LIMIT ?",
            *values,
            self.steps,
        )
        found: list[Place] = []
        seen = 0
        last: tuple[Key, ...] | None = None
        for row in rows:
            seen += 1
            last = row[:-1]
            if row[-1] in ids:
                found.append((last, row[-1]))
                if len(found) == size:
                    return Places(found)
        return Places(found, last if seen == self.steps else None)


# What leaves the trash out, in the words of the index that gives each order.
_LISTED = {
    "updated": "live = 1",
    "size_bytes": "live = 1",
    "version_count": "live = 1",
    "name": "name IS NOT NULL",
}


def _slice(ids: Ids, after: Sequence[Key] | None, size: int, *, descending: bool) -> Places:
    """Return a page in the order of ids."""
    if descending:
        end = len(ids) if after is None else ids.rank(int(after[0]) - 1)
        chosen = list(ids[max(end - size, 0) : end])[::-1]
    else:
        begin = 0 if after is None else ids.rank(int(after[0]))
        chosen = list(ids[begin : begin + size])
    return Places([((each,), each) for each in chosen])


def _sorted(
    ids: Ids, key: Sequence[str], after: Sequence[Key] | None, size: int, *, descending: bool
) -> Places:
    condition, values = _after(key, after, descending=descending)
    # The rows themselves are read for the page anyway; of many ids the index holds less to read.
    directly = len(ids) <= 2 * size
    reading_ahead.bring(reading_ahead.ARTIFACTS if directly else reading_ahead.ARTIFACT_ORDER, ids)
    rows = sql.rows(
        f"SELECT {', '.join(key)}, id FROM artifact "
        f"{'NOT INDEXED' if directly else 'INDEXED BY artifact_order'} "
        f"WHERE id IN (SELECT value FROM json_each(?)) {condition} "
        f"ORDER BY {_order(key, descending=descending)} LIMIT ?",
        sql.id_list(ids),
        *values,
        size,
    )
    return Places([(row[:-1], row[-1]) for row in rows])


def _scope_page(
    query: ArtifactQuery, scope: Scope, key: Sequence[str], after: Sequence[Key] | None, limit: int
) -> list[Place]:
    """Return keys and ids of one scope's rows, in order."""
    where, scope_values = _scope(scope)
    condition, values = _after(key, after, descending=query.descending)
    rows = sql.rows(
        f"SELECT {', '.join(key)}, id FROM artifact WHERE {where} {condition} "
        f"ORDER BY {_order(key, descending=query.descending)} LIMIT ?",
        *scope_values,
        *values,
        limit,
    )
    return [(row[:-1], row[-1]) for row in rows]


def _after(
    key: Sequence[str], after: Sequence[Key] | None, *, descending: bool
) -> tuple[str, list[sql.Value]]:
    if after is None:
        return "", []
    sign = "<" if descending else ">"
    return f"AND ({', '.join(key)}) {sign} ({', '.join('?' * len(key))})", list(after)


def _order(key: Sequence[str], *, descending: bool) -> str:
    direction = "DESC" if descending else "ASC"
    return ", ".join(f"{column} {direction}" for column in key)


def _scope(scope: Scope) -> tuple[str, list[sql.Value]]:
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
