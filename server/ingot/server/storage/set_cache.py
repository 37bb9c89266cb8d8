"""Sets of artifacts kept in memory: a question that needs hundreds of them reads no page of the database.

Each write that changes sets counts up one number, in its transaction; what a reader has found is kept with
the number that its snapshot had. A set that was read at one number is good at another if it did not change
after the lower of both: whoever changes a set says so before it commits. All writes of a database go through
the process that has the cache.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ingot.server.storage import artifact_sets as sets
from ingot.server.storage import sql, unit_of_work
from ingot.server.storage.artifact_sets import Ids, Value

MOST_BYTES = 48 * 1024 * 1024
_MOST_CHANGES = 100_000
_WORD = "artifact sets"  # of the counter
_COUNT_UP = (
    "INSERT INTO counter(word, value) VALUES (?, 1) ON CONFLICT (word) DO UPDATE SET value = value + 1"
)


@dataclass(frozen=True, slots=True)
class _Kept:
    read_at: int
    ids: Ids
    size: int


class SetCache:
    """The sets of one database, from any thread; inside a unit of work."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: dict[int, _Kept] = {}
        self._names: dict[int, tuple[int, Value]] = {}
        self._bytes = 0
        self._changed: dict[int, int] = {}
        self._known_from = 0  # changes up to this number are not known one by one

    def changed(self, numbers: Iterable[int]) -> None:
        """Take note, inside the write, that these sets change."""
        sql.run(_COUNT_UP, _WORD)
        now = _number()
        with self._lock:
            if len(self._changed) > _MOST_CHANGES:
                self._changed.clear()
                self._known_from = now
            self._changed.update(dict.fromkeys(numbers, now))

    def members(self, number: int | None) -> Ids:
        """Return the ids of the artifacts that have a value; not to be changed."""
        return Ids() if number is None else self.each_of([number])[number]

    def having(self, field: str, value: str) -> Ids:
        """Return the ids of the artifacts that have a value, by its name; not to be changed."""
        return self.members(sets.value_id(field, value))

    def union(self, numbers: Iterable[int]) -> Ids:
        """Return the ids of the artifacts that have any of the values."""
        return sets.united(self.each_of(numbers).values())

    def counts_in(self, numbers: Iterable[int], ids: Ids) -> Mapping[int, int]:
        """Return how many of the ids have each of the values."""
        return {number: ids.intersection_cardinality(each) for number, each in self.each_of(numbers).items()}

    def each_of(self, numbers: Iterable[int]) -> Mapping[int, Ids]:
        """Return the ids of the artifacts that have each of the values; not to be changed."""
        wanted, now = list(numbers), _number()
        with self._lock:
            good = {
                number: kept
                for number in wanted
                if (kept := self._kept.get(number)) and self._is_good(number, kept.read_at, now)
            }
        found = {number: kept.ids for number, kept in good.items()}
        missing = [number for number in wanted if number not in found]
        if missing:
            read = sets.each_of(missing)
            found |= {number: read.get(number, Ids()) for number in missing}
            self._keep({number: found[number] for number in missing}, now)
        return found

    def named(self, numbers: Iterable[int]) -> Mapping[int, Value]:
        """Return the values that have these numbers."""
        wanted, now = list(numbers), _number()
        with self._lock:
            found = {
                number: kept[1]
                for number in wanted
                if (kept := self._names.get(number)) and self._is_good(number, kept[0], now)
            }
        missing = [number for number in wanted if number not in found]
        if missing:
            read = sets.named(missing)
            found |= read
            if not unit_of_work.is_writing():
                with self._lock:
                    if len(self._names) > _MOST_CHANGES:
                        self._names.clear()
                    self._names.update({number: (now, value) for number, value in read.items()})
        return found

    def _is_good(self, number: int, read_at: int, now: int) -> bool:
        lower = min(read_at, now)
        return self._changed.get(number, 0) <= lower and self._known_from <= lower

    def _keep(self, read: Mapping[int, Ids], now: int) -> None:
        if unit_of_work.is_writing():  # what it sees may never be committed
            return
        with self._lock:
            for number, ids in read.items():
                self._drop(number)
                size = _size(ids)
                self._kept[number] = _Kept(now, ids, size)
                self._bytes += size
            while self._bytes > self._most_bytes:  # the oldest first
                self._drop(next(iter(self._kept)))

    def _drop(self, number: int) -> None:
        kept = self._kept.pop(number, None)
        if kept is not None:
            self._bytes -= kept.size


def _number() -> int:
    found = sql.rows("SELECT value FROM counter WHERE word = ?", _WORD)
    return int(found[0][0]) if found else 0


def _size(ids: Ids) -> int:
    """Return about how many bytes a set takes: two an id, until a bit for each is less."""
    blocks = (ids.max() >> 16) + 1 if ids else 1
    return 200 + min(2 * len(ids), 8192 * blocks)
