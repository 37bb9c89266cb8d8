"""Keeping artifacts findable: the sets they are in, their words, and the counters over all of them.

Whoever writes artifacts tells what each counted for before and shall count for now; everything here is worked
out from the difference, in the same transaction. Counters have a key for each part of the catalog that
somebody may list: `MODEL` for all models, `MODEL@sara` for those with that audience, `MODEL/sara` for those
of that namespace.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ingot.server.core.artifacts import Artifact, Figures
from ingot.server.core.expressions import Term
from ingot.server.storage import artifact_sets as sets
from ingot.server.storage import sql
from ingot.server.storage.set_cache import SetCache

NUMBERS = ("size_bytes", "version_count", "created", "updated")  # columns with buckets
BEGINNINGS = range(2, 17)  # lengths of those that may be kept as sets


@dataclass(frozen=True, slots=True)
class Counted:
    """What an artifact adds to counters."""

    keys: tuple[str, ...]  # of the parts it is in; none when it is not listed
    versions: int = 0
    size: int = 0
    own_versions: int = 0  # with those that not everybody may see
    own_size: int = 0


NOT_LISTED = Counted(())


@dataclass(frozen=True, slots=True)
class Change:
    """One artifact before and after."""

    id: int
    before: Counted
    after: Counted
    values: frozenset[sets.Value]  # what it has afterwards
    words: str  # that it is found by afterwards, each once, in order


def keys_of(kind: str, namespace: str, audience: str) -> tuple[str, ...]:
    """Return the keys of the counters that a listed artifact adds to."""
    return kind, f"{kind}@{audience}", f"{kind}/{namespace}"


def change(row_id: int, before: Counted, artifact: Artifact, audience: str | None, found: "Found") -> Change:
    """Return the change that makes an artifact findable as it is now, or not at all without audience."""
    if audience is None:
        return Change(row_id, before, NOT_LISTED, frozenset(), "")
    kind, namespace = artifact.name.kind.value, artifact.name.namespace
    figures = found.figures
    numbers = (figures.size_bytes, figures.version_count, artifact.create_time, figures.update_time)
    values = {(term.field, term.value) for term in found.terms}
    values |= {(sets.KIND, kind), (sets.NAMESPACE, namespace), (sets.AUDIENCE, audience)}
    values |= {
        (sets.NUMBER + column, str(sets.bucket_of(column, number)))
        for column, number in zip(NUMBERS, numbers, strict=True)
    }
    after = Counted(
        keys_of(kind, namespace, audience),
        figures.version_count,
        figures.version_bytes,
        artifact.version_count,
        artifact.version_bytes,
    )
    return Change(row_id, before, after, frozenset(values), " ".join(sorted(set(found.text.split()))))


@dataclass(frozen=True, slots=True)
class Found:
    """What an artifact is found by."""

    text: str
    terms: Sequence[Term]
    figures: Figures


def store(changes: Sequence[Change], cache: SetCache) -> None:
    """Bring sets, words and counters up to date."""
    moves = sets.Moves.none()
    totals: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0, 0])
    tally = _Tally()
    wanted = sets.numbered(frozenset[sets.Value]().union(*(each.values for each in changes)))
    had = _marks([each.id for each in changes])
    lost = sets.named(sets.united(had.values()) - sets.Ids(wanted.values()))
    fields = {number: field for number, (field, _) in lost.items()}
    fields |= {number: field for (field, _), number in wanted.items()}
    marks: list[tuple[bytes, int]] = []
    for each in changes:
        before, after = had.get(each.id, sets.Ids()), sets.Ids([wanted[value] for value in each.values])
        for number in after - before:
            moves.entering[number].append(each.id)
        for number in before - after:
            moves.leaving[number].append(each.id)
        tally.move(each, before, after, fields)
        _add(totals, each.before, -1)
        _add(totals, each.after, 1)
        if before != after:
            marks.append((after.serialize(), each.id))
    sql.run_many("INSERT OR REPLACE INTO artifact_marks(sets, artifact) VALUES (?, ?)", marks)
    _store_words(changes, moves)
    cache.changed(moves.numbers)
    moves.store()
    tally.store()
    _store_totals(totals)


def _marks(ids: Sequence[int]) -> dict[int, sets.Ids]:
    rows = sql.rows(
        "SELECT artifact, sets FROM artifact_marks WHERE artifact IN (SELECT value FROM json_each(?))",
        sql.id_list(ids),
    )
    return {row_id: sets.Ids.deserialize(packed) for row_id, packed in rows}


# --- counters -------------------------------------------------------------------------------------------


class _Tally:
    """How many more or fewer artifacts have a value, in all and in each part of the catalog."""

    def __init__(self) -> None:
        self._all: defaultdict[int, int] = defaultdict(int)
        self._parts: defaultdict[tuple[str, str, int], int] = defaultdict(int)

    def move(self, change: Change, before: sets.Ids, after: sets.Ids, fields: dict[int, str]) -> None:
        """Count what one artifact had and has."""
        for ids, counted, sign in ((before, change.before, -1), (after, change.after, 1)):
            same = before & after if change.before.keys == change.after.keys else sets.Ids()
            for number in ids - same:
                self._all[number] += sign
                if sets.is_facet(fields[number]):
                    for key in counted.keys:
                        self._parts[key, fields[number], number] += sign

    def store(self) -> None:
        """Change the counters, and forget values that nothing has any more."""
        sql.run_many(
            "UPDATE artifact_value SET count = count + ? WHERE id = ?",
            [(count, number) for number, count in self._all.items() if count],
        )
        parts = [(*key, count) for key, count in self._parts.items() if count]
        sql.run_many(
            "INSERT INTO artifact_count(part, field, value, count) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (part, value) DO UPDATE SET count = count + excluded.count",
            parts,
        )
        fewer = [(part, number) for part, _, number, count in parts if count < 0]
        sql.run_many("DELETE FROM artifact_count WHERE part = ? AND value = ? AND count = 0", fewer)
        gone = [(number,) for number, count in self._all.items() if count < 0]
        sql.run_many("DELETE FROM artifact_value WHERE id = ? AND count = 0", gone)


def _add(totals: defaultdict[str, list[int]], counted: Counted, sign: int) -> None:
    for key in counted.keys:
        own = (counted.own_versions, counted.own_size)
        for place, number in enumerate((1, counted.versions, counted.size, *own)):
            totals[key][place] += sign * number


def _store_totals(totals: defaultdict[str, list[int]]) -> None:
    sql.run_many(
        "INSERT INTO artifact_total(part, artifacts, versions, size_bytes, own_versions, own_size_bytes) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (part) DO UPDATE SET "
        "artifacts = artifacts + excluded.artifacts, versions = versions + excluded.versions, "
        "size_bytes = size_bytes + excluded.size_bytes, own_versions = own_versions + excluded.own_versions, "
        "own_size_bytes = own_size_bytes + excluded.own_size_bytes",
        [(key, *numbers) for key, numbers in totals.items() if any(numbers)],
    )


# --- words ----------------------------------------------------------------------------------------------


def _store_words(changes: Sequence[Change], moves: sets.Moves) -> None:
    """Store the words of each artifact, and note which common ones it has or lost."""
    had: dict[int, str] = dict(
        sql.rows(
            "SELECT rowid, words FROM artifact_words WHERE rowid IN (SELECT value FROM json_each(?))",
            sql.id_list([each.id for each in changes]),
        )
    )
    different = [each for each in changes if had.get(each.id, "") != each.words]
    if not different:
        return
    sql.run_many(
        "DELETE FROM artifact_words WHERE rowid = ?", [(each.id,) for each in different if each.id in had]
    )
    sql.run_many(
        "INSERT INTO artifact_words(rowid, words) VALUES (?, ?)",
        [(each.id, each.words) for each in different if each.words],
    )
    pairs = {each.id: (_split(had.get(each.id, "")), _split(each.words)) for each in different}
    common = _common({word for both in pairs.values() for words in both for word in words})
    beginnings = _common_beginnings()
    for row_id, both in pairs.items():
        before, after = (
            {common[word] for word in words if word in common} | _begun(words, beginnings) for words in both
        )
        for number in after - before:
            moves.entering[number].append(row_id)
        for number in before - after:
            moves.leaving[number].append(row_id)


def _split(words: str) -> frozenset[str]:
    return frozenset(words.split())


def _common(words: Iterable[str]) -> dict[str, int]:
    """Return the words that are kept as sets, with the numbers of these."""
    rows = sql.rows(
        "SELECT value, id FROM artifact_value WHERE field = ? AND value IN (SELECT value FROM json_each(?))",
        sets.WORD,
        sql.text_list(words),
    )
    return dict(rows)


def _common_beginnings() -> dict[str, int]:
    return dict(sql.rows("SELECT value, id FROM artifact_value WHERE field = ?", sets.BEGINNING))


def _begun(words: Iterable[str], beginnings: dict[str, int]) -> set[int]:
    if not beginnings:
        return set()
    begun = {word[:length] for word in words for length in BEGINNINGS}
    return {beginnings[each] for each in begun & beginnings.keys()}
