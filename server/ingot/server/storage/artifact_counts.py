"""Counts over the catalog: from counters that every write keeps, or over the ids that a filter holds for."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from ingot.server.core.artifacts import EVERYONE, CatalogTotals, FacetCounts, Scope
from ingot.server.core.expressions import Term
from ingot.server.storage import reading_ahead, sql
from ingot.server.storage.artifact_finding import Finder
from ingot.server.storage.artifact_sets import Ids
from ingot.server.storage.set_cache import SetCache

MOST_VALUES = 200  # of one field that are told
FEW = 400  # artifacts whose values are counted one by one
CANDIDATES = 40  # values of a field that are counted in many artifacts: those that most have anywhere

_Parts = list[tuple[str, int]]  # keys of counters, each added or taken off


def totals(scopes: Sequence[Scope], fields: Collection[str], finder: Finder) -> CatalogTotals:
    """Return what the artifacts of all scopes come to, with the values of the fields that most have."""
    parts, others = _parts(scopes)
    own = "own_" if all(scope.audience is None for scope in scopes) else ""  # who sees all counts all
    question = f"SELECT artifacts, {own}versions, {own}size_bytes FROM artifact_total WHERE part = ?"
    artifacts = versions = size = 0
    terms: Counter[Term] = Counter()
    for key, sign in parts:
        for row in sql.rows(question, key):
            artifacts, versions, size = (
                artifacts + sign * row[0],
                versions + sign * row[1],
                size + sign * row[2],
            )
    for field in fields:
        terms.update(_counted(parts, field, MOST_VALUES, finder.sets))
    if others:
        ids = finder.within(others)
        packed = sql.id_list(ids)
        row = sql.rows(
            "SELECT count(*), coalesce(sum(version_count), 0), coalesce(sum(version_bytes), 0) FROM artifact "
            "WHERE id IN (SELECT value FROM json_each(?))",
            packed,
        )[0]
        artifacts, versions, size = artifacts + row[0], versions + row[1], size + row[2]
        terms.update(_one_by_one(ids, fields, finder.sets))
    return CatalogTotals(artifacts, versions, size, dict(terms))


def facets(
    scopes: Sequence[Scope], ids: Ids | None, fields: Sequence[str], size: int, cache: SetCache
) -> FacetCounts:
    """Return the values of each field that most artifacts have; `ids` are those a filter holds for."""
    if ids is None:
        parts, _ = _parts(scopes)
        total = sum(
            sign * count
            for key, sign in parts
            for (count,) in sql.rows("SELECT artifacts FROM artifact_total WHERE part = ?", key)
        )
        found = {field: _counted(parts, field, size + 1, cache) for field in fields}
        return FacetCounts(
            total,
            {field: _most(counts, size) for field, counts in found.items()},
            frozenset(field for field, counts in found.items() if len(counts) > size),
        )
    if len(ids) <= FEW:
        each = _by_field(_one_by_one(ids, fields, cache), fields)
        cut = frozenset(field for field, counts in each.items() if len(counts) > size)
        return FacetCounts(len(ids), {field: _most(counts, size) for field, counts in each.items()}, cut)
    told: dict[str, Sequence[tuple[str, int]]] = {}
    more: set[str] = set()
    for field in fields:
        candidates = sql.rows(
            "SELECT id FROM artifact_value WHERE field = ? AND count > 0 ORDER BY count DESC LIMIT ?",
            field,
            CANDIDATES + 1,
        )
        if len(candidates) > CANDIDATES:
            more.add(field)
        counts = cache.counts_in([number for (number,) in candidates[:CANDIDATES]], ids)
        names = cache.named(counts)
        held = {Term(*names[number]): count for number, count in counts.items() if count}
        if len(held) > size:
            more.add(field)
        told[field] = _most(held, size)
    return FacetCounts(len(ids), told, frozenset(more))


def _parts(scopes: Sequence[Scope]) -> tuple[_Parts, list[Scope]]:
    """Return the counters that scopes are made of, and those scopes that have none."""
    parts: _Parts = []
    others: list[Scope] = []
    for scope in scopes:
        kind, namespace, audience = scope.kind.value, scope.namespace, scope.audience
        if scope.granted_to is not None or (namespace and audience not in (None, EVERYONE)):
            others.append(scope)
        elif namespace is None:
            parts.append((kind if audience is None else f"{kind}@{audience}", 1))
        else:
            parts.append((f"{kind}/{namespace}", 1))
            if audience is not None:  # all of the namespace but what is private to it
                parts.append((f"{kind}@{namespace}", -1))
    return parts, others


def has_counters(scopes: Sequence[Scope]) -> bool:
    """Return whether the counters tell everything about these scopes."""
    return not _parts(scopes)[1]


def _counted(parts: _Parts, field: str, most: int, cache: SetCache) -> dict[Term, int]:
    """Return the values of a field that most artifacts have, from counters; about `most` of them."""
    if len(parts) == 1:
        rows = sql.rows(
            "SELECT value, count FROM artifact_count WHERE part = ? AND field = ? "
            "ORDER BY count DESC LIMIT ?",
            parts[0][0],
            field,
            most,
        )
        named = cache.named(number for number, _ in rows)
        return {Term(*named[number]): count for number, count in rows}
    candidates: set[int] = set()
    for key, sign in parts:
        if sign > 0:
            rows = sql.rows(
                "SELECT value FROM artifact_count WHERE part = ? AND field = ? ORDER BY count DESC LIMIT ?",
                key,
                field,
                most,
            )
            candidates.update(number for (number,) in rows)
    packed = sql.id_list(candidates)
    counts: Counter[int] = Counter()
    for key, sign in parts:
        for number, count in sql.rows(
            "SELECT value, count FROM artifact_count "
            "WHERE part = ? AND value IN (SELECT value FROM json_each(?))",
            key,
            packed,
        ):
            counts[number] += sign * count
    names = cache.named([number for number, count in counts.items() if count])
    return {Term(*names[number]): count for number, count in counts.items() if count}


def _one_by_one(ids: Ids, fields: Collection[str], cache: SetCache) -> Counter[Term]:
    """Count the values that each artifact has."""
    reading_ahead.bring(reading_ahead.ARTIFACT_MARKS, ids)
    rows = sql.rows(
        "SELECT sets FROM artifact_marks WHERE artifact IN (SELECT value FROM json_each(?))", sql.id_list(ids)
    )
    counts: Counter[int] = Counter()
    for (packed,) in rows:
        counts.update(Ids.deserialize(packed))
    names = cache.named(counts)
    return Counter(
        {Term(*names[number]): count for number, count in counts.items() if names[number][0] in fields}
    )


def _by_field(counts: Mapping[Term, int], fields: Sequence[str]) -> dict[str, dict[Term, int]]:
    return {field: {term: count for term, count in counts.items() if term.field == field} for field in fields}


def _most(counts: Mapping[Term, int], size: int) -> Sequence[tuple[str, int]]:
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0].value))
    return [(term.value, count) for term, count in ordered[:size]]
