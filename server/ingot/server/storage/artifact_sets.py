"""Sets of artifacts: for each value that a list may be narrowed by, the ids of the artifacts that have it.

A set is kept as roaring bitmaps, one row for each 65,536 ids, written in the transaction that changes the
artifact. So two sets of a million meet in microseconds whatever they hold, and are counted as fast, where an
index could only step through one and look into the other. `artifact_value` numbers the values:

    tag chat, language fa, …         what filters and facets name
    @kind, @namespace, @audience     what scopes are made of
    #size_bytes 93, …                numbers in buckets that grow by an eighth (see bucket_of)
    @word, @beginning                words so common that looking them up in the text would take too long
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson
import pyroaring

from ingot.server.storage import sql

Ids = pyroaring.BitMap
Value = tuple[str, str]  # field and value

KIND, NAMESPACE, AUDIENCE, WORD, BEGINNING = "@kind", "@namespace", "@audience", "@word", "@beginning"
NUMBER = "#"  # before the column of a number
_BLOCK_BITS = 16
_EXACT = 32  # counts up to here have a bucket each
_TIME_BITS = 19  # about six days


def value_id(field: str, value: str) -> int | None:
    """Return the number of a value; None while no artifact has it."""
    found = sql.rows("SELECT id FROM artifact_value WHERE field = ? AND value = ?", field, value)
    return int(found[0][0]) if found else None


def each_of(numbers: Iterable[int]) -> Mapping[int, Ids]:
    """Return the ids of the artifacts that have each of the values."""
    found: defaultdict[int, Ids] = defaultdict(Ids)
    for number, bits in sql.each_row(_BLOCKS, sql.id_list(numbers)):
        found[number] |= Ids.deserialize(bits)
    return found


# Parameter: a JSON list of the numbers of values. In one statement: a hundred would take longer than reading.
_BLOCKS = (
    f"SELECT asked.value, block.bits FROM json_each(?) AS asked CROSS JOIN artifact_block AS block "
    f"ON block.id BETWEEN asked.value << {_BLOCK_BITS} AND (asked.value + 1 << {_BLOCK_BITS}) - 1"
)


def united(several: Iterable[Ids]) -> Ids:
    """Return the ids that are in any of the sets."""
    found = Ids()
    for each in several:
        found |= each
    return found


def ids_of(statement: str, *values: sql.Value) -> Ids:
    """Return the ids that a statement selects as `id`, however many: SQLite packs them into one value."""
    (packed,) = sql.rows(f"SELECT json_group_array(id) FROM ({statement})", *values)[0]
    return Ids(orjson.loads(packed))


@dataclass(frozen=True, slots=True)
class Moves:
    """What enters and leaves sets: ids of artifacts by the number of a value."""

    entering: defaultdict[int, list[int]]
    leaving: defaultdict[int, list[int]]

    @classmethod
    def none(cls) -> "Moves":
        """Return no moves yet."""
        return cls(defaultdict(list), defaultdict(list))

    @property
    def numbers(self) -> Collection[int]:
        """The numbers of the sets that change."""
        return {*self.entering, *self.leaving}

    def store(self) -> None:
        """Change the sets."""
        blocks: dict[int, tuple[list[int], list[int]]] = {}
        for side, moving in enumerate((self.entering, self.leaving)):
            for number, ids in moving.items():
                for each in ids:
                    key = number << _BLOCK_BITS | each >> _BLOCK_BITS
                    blocks.setdefault(key, ([], []))[side].append(each)
        stored: dict[int, bytes] = dict(
            sql.rows(
                "SELECT id, bits FROM artifact_block WHERE id IN (SELECT value FROM json_each(?))",
                sql.id_list(blocks),
            )
        )
        kept: list[tuple[int, bytes]] = []
        emptied: list[tuple[int]] = []
        for key, (entering, leaving) in blocks.items():
            bits = Ids.deserialize(stored[key]) if key in stored else Ids()
            bits.update(entering)
            bits.difference_update(Ids(leaving))
            if bits:
                bits.run_optimize()
                kept.append((key, bits.serialize()))
            else:
                emptied.append((key,))
        sql.run_many("INSERT OR REPLACE INTO artifact_block(id, bits) VALUES (?, ?)", kept)
        sql.run_many("DELETE FROM artifact_block WHERE id = ?", emptied)


def numbered(values: Collection[Value]) -> Mapping[Value, int]:
    """Return the number of each value, which gets one if it has none."""
    packed = orjson.dumps([list(each) for each in sorted(values)]).decode()
    pairs = "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)"
    find = (
        "SELECT v.field, v.value, v.id FROM json_each(?) AS asked CROSS JOIN artifact_value AS v "
        "ON v.field = json_extract(asked.value, '$[0]') AND v.value = json_extract(asked.value, '$[1]')"
    )
    found = {(field, value): number for field, value, number in sql.rows(find, packed)}
    if len(found) < len(values):
        sql.run(f"INSERT OR IGNORE INTO artifact_value(field, value) {pairs}", packed)
        found = {(field, value): number for field, value, number in sql.rows(find, packed)}
    return found


def named(numbers: Iterable[int]) -> Mapping[int, Value]:
    """Return the values that have these numbers."""
    rows = sql.rows(
        "SELECT id, field, value FROM artifact_value WHERE id IN (SELECT value FROM json_each(?))",
        sql.id_list(numbers),
    )
    return {number: (field, value) for number, field, value in rows}


def is_facet(field: str) -> bool:
    """Return whether a field is one that people name, and not one of ours."""
    return field[0] not in "@#"


# --- numbers in buckets ---------------------------------------------------------------------------------


def bucket_of(column: str, number: float) -> int:
    """Return the bucket of a number: one of six days for times, and a bit more than an eighth for others."""
    whole = int(number)
    if column in TIMES:
        return whole >> _TIME_BITS
    if whole < _EXACT:
        return whole
    shift = whole.bit_length() - 4
    return _EXACT + (shift - 2) * 8 + ((whole >> shift) & 7)


def bounds_of(column: str, bucket: int) -> tuple[float, float]:
    """Return the smallest number of a bucket, and the smallest above it."""
    if column in TIMES:
        return bucket << _TIME_BITS, (bucket + 1) << _TIME_BITS
    if bucket < _EXACT:
        return bucket, bucket + 1
    octave, eighth = divmod(bucket - _EXACT, 8)
    low = (8 + eighth) << (octave + 2)
    return low, low + (1 << (octave + 2))


TIMES = frozenset(("created", "updated"))


def buckets(column: str) -> Sequence[tuple[int, int]]:
    """Return the buckets of a number that artifacts are in, each with the number of its set."""
    rows = sql.rows("SELECT value, id FROM artifact_value WHERE field = ?", NUMBER + column)
    return [(int(value), number) for value, number in rows]
