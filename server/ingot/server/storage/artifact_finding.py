"""Which artifacts a filter holds for, as a set of ids; exact whatever it asks for.

Values are sets already (artifact_sets.py). A comparison is the union of the buckets on one side of its
number, and of the part of one bucket that an index gives. A rare word is looked up in the text; one that more
artifacts have than COMMON is a set as well, once `Finder.learn` was told of it.
"""

from collections.abc import Sequence
from typing import assert_never

from ingot.server.core.artifacts import EVERYONE, Scope
from ingot.server.core.expressions import AllOf, AnyOf, Comparison, Expression, NotOf, Term, Word
from ingot.server.core.names import Kind
from ingot.server.storage import artifact_sets as sets
from ingot.server.storage import sql
from ingot.server.storage.artifact_index import BEGINNINGS
from ingot.server.storage.artifact_sets import Ids, united
from ingot.server.storage.set_cache import SetCache

COMMON = 4096  # artifacts with a word
_MOST_BEGINNINGS = 1000  # kept as sets: every write looks at each
SHORT_BEGINNINGS = (2, 3)  # letters: those that so many artifacts have that the first to ask would wait
_MOST_SHORT = 200  # of each length
_COMMON_WORDS = "SELECT term FROM artifact_vocabulary WHERE doc > ?"
# An artifact with two words of a beginning counts twice here, so some are kept that need not be.
_COMMON_BEGINNINGS = (
    "SELECT substr(term, 1, ?) AS beginning FROM artifact_vocabulary WHERE length(term) >= ? "
    "GROUP BY 1 HAVING sum(doc) > ? ORDER BY sum(doc) DESC LIMIT ?"
)
_NAMES = 10_000  # of values that people name, kept from the start
_LEARNED_AT_ONCE = 2  # the writer is held for some tens of milliseconds for each
COLUMNS = {
    "size_bytes": "size_bytes",
    "version_count": "version_count",
    "create_time": "created",
    "update_time": "updated",
}
_SMALLEST, _LARGEST = -(2.0**63), 2.0**63


class Finder:
    """Evaluates filters, and remembers which words should be kept as sets; `common` is for tests."""

    def __init__(self, common: int = COMMON) -> None:
        self.sets = SetCache()
        self._common = common
        self._wanted: dict[sets.Value, None] = {}

    def found(self, scopes: Sequence[Scope], where: Expression) -> Ids:
        """Return the ids of the artifacts in any of the scopes for which the expression holds."""
        return self._held(where, self.within(scopes))

    def within(self, scopes: Sequence[Scope]) -> Ids:
        """Return the ids of the artifacts in any of the scopes."""
        return united(map(self._scope, scopes))

    def _held(self, where: Expression, inside: Ids) -> Ids:
        match where:
            case Term(field, value):
                return inside & self.sets.having(field, value)
            case Word(text):
                return inside & self._with_word(text)
            case Comparison():
                return _compared(where, inside, self.sets)
            case NotOf(part):
                return inside - self._held(part, inside)
            case AllOf(parts):
                for part in parts:
                    inside = self._held(part, inside)
                return inside
            case AnyOf(parts):
                return united(self._held(part, inside) for part in parts)
            case _:
                assert_never(where)

    def _with_word(self, text: str) -> Ids:
        value = (sets.BEGINNING, text[:-1]) if text.endswith("*") else (sets.WORD, text)
        number = sets.value_id(*value)
        if number is not None:
            return self.sets.members(number)
        found = _with_text(text, self._common + 1)
        if len(found) <= self._common:
            return found
        self._wanted[value] = None
        return _with_text(text)

    def warm(self) -> None:
        """Load what most questions need: parts of the catalog, numbers in buckets, names of values."""
        for kind in Kind:
            self.sets.having(sets.KIND, kind.value)
        self.sets.having(sets.AUDIENCE, EVERYONE)
        for column in COLUMNS.values():
            self.sets.each_of(number for _, number in sets.buckets(column))
        named = sql.rows("SELECT id FROM artifact_value WHERE field >= 'a' LIMIT ?", _NAMES)  # not ours
        self.sets.named([number for (number,) in named])

    def _scope(self, scope: Scope) -> Ids:
        having = self.sets.having
        found = having(sets.KIND, scope.kind.value)
        for field, value in ((sets.NAMESPACE, scope.namespace), (sets.AUDIENCE, scope.audience)):
            if value is not None:
                found = found & having(field, value)
        if scope.granted_to is not None:
            statement = "SELECT artifact_id AS id FROM access_grant WHERE user = ?"
            found = found & sets.ids_of(statement, scope.granted_to)
            for audience in (EVERYONE, *scope.besides):
                found = found - having(sets.AUDIENCE, audience)
        return found

    # --- common words -----------------------------------------------------------------------------------

    def look_for_common(self) -> int:
        """Note the words that are common by now, return how many; reads through the whole vocabulary."""
        found = [(sets.WORD, word) for (word,) in sql.rows(_COMMON_WORDS, self._common)]
        for length in SHORT_BEGINNINGS:
            rows = sql.rows(_COMMON_BEGINNINGS, length, length, self._common, _MOST_SHORT)
            found += [(sets.BEGINNING, text) for (text,) in rows]
        known = sql.rows(
            "SELECT field, value FROM artifact_value WHERE field IN (?, ?)", sets.WORD, sets.BEGINNING
        )
        new = dict.fromkeys(value for value in found if value not in set(known))
        self._wanted |= new
        return len(new)

    def learn(self) -> bool:
        """Keep the next few words that were found to be common as sets; return whether more wait."""
        for value in list(self._wanted)[:_LEARNED_AT_ONCE]:
            if _may_be_kept(value) and sets.value_id(*value) is None:
                field, text = value
                ids = _with_text(f"{text}*" if field == sets.BEGINNING else text)
                moves = sets.Moves.none()
                moves.entering[sets.numbered([value])[value]].extend(ids)
                self.sets.changed(moves.numbers)
                moves.store()
            self._wanted.pop(value, None)
        return bool(self._wanted)

    @property
    def wants(self) -> bool:
        """Whether there is something to learn."""
        return bool(self._wanted)


def _compared(asked: Comparison, inside: Ids, cache: SetCache) -> Ids:
    """Unite whole buckets on the side with fewer of them, and the part of the bucket with the number."""
    column = COLUMNS[asked.field]
    holding: list[int] = []
    others: list[int] = []
    edges: list[int] = []
    for bucket, number in sets.buckets(column):
        low, high = sets.bounds_of(column, bucket)
        single = high - low == 1 and column not in sets.TIMES
        if low <= asked.value < high and not single:
            edges.append(bucket)
        elif asked.holds(low) and (single or asked.operator != "="):
            holding.append(number)
        else:
            others.append(number)
    found = cache.union(holding) if len(holding) <= len(others) else None
    rest = cache.union(others) if found is None else None
    for bucket in edges:
        low, high = sets.bounds_of(column, bucket)
        part = _between(column, low, high, asked, holds=found is not None)
        if found is not None:
            found |= part
        elif rest is not None:
            rest |= part
    if found is not None:
        return inside & found
    return inside - rest if rest is not None else inside


def _between(column: str, low: float, high: float, asked: Comparison, *, holds: bool) -> Ids:
    """Return those in a bucket for which the comparison holds, or those for which it does not."""
    condition = f"{column} {asked.operator} ?" if holds else f"NOT {column} {asked.operator} ?"
    return sets.ids_of(
        f"SELECT id FROM artifact WHERE live = 1 AND {column} >= ? AND {column} < ? AND {condition}",
        max(low, _SMALLEST),
        min(high, _LARGEST),
        asked.value,
    )


def _with_text(text: str, limit: int = -1) -> Ids:
    """Return the first artifacts that have a word, all without a limit."""
    quoted = '"' + text.rstrip("*").replace('"', '""') + '"' + ("*" if text.endswith("*") else "")
    statement = "SELECT rowid AS id FROM artifact_words WHERE artifact_words MATCH ? LIMIT ?"
    return sets.ids_of(statement, quoted, limit)


def _may_be_kept(value: sets.Value) -> bool:
    field, text = value
    if field == sets.WORD:
        return True
    kept = sql.rows("SELECT count(*) FROM artifact_value WHERE field = ?", sets.BEGINNING)[0][0]
    return len(text) in BEGINNINGS and kept < _MOST_BEGINNINGS
