"""Columns of records, counted by shape: records with the same keys and types of values are counted as one.

Most files have a handful of shapes, so the work for a record is one look-up. A file with more than
MAX_SHAPES, or with shapes of very many keys, counts the rest column by column, up to MAX_COLUMNS of them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

MAX_SHAPES = 2000
MAX_COLUMNS = 2000
_MOST_KEYS = 100_000  # of all shapes that are kept

_NAMES: dict[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
    dict: "object",
    list: "array",
}


class Shape:
    """Records with the same keys and the same types of values."""

    __slots__ = ("count", "flat", "floats", "keys", "missing", "strings", "texts", "types")

    def __init__(self, keys: tuple[str, ...], types: tuple[type, ...], required: Sequence[str]) -> None:
        self.count = 0
        self.keys = keys
        self.types = types
        self.flat = dict not in types and list not in types
        self.texts = tuple(index for index, each in enumerate(types) if each is str)
        self.strings = len(keys) + len(self.texts)  # of the text of a flat record
        self.floats = tuple(index for index, each in enumerate(types) if each is float)
        self.missing = tuple(each for each in required if each not in keys)


class Shapes:
    """The shapes of a file, and what follows for its columns."""

    def __init__(self, required: Sequence[str]) -> None:
        self.known: dict[tuple[object, ...], Shape] = {}
        self._required = required
        self._columns: dict[str, Counter[str]] = {}
        self._left_out = 0
        self._kept_keys = 0

    def of(self, record: Mapping[str, object]) -> Shape:
        """Return the shape of a record that is not known yet; the caller counts it."""
        types = tuple(map(type, record.values()))
        shape = Shape(tuple(record), types, self._required)
        if len(self.known) < MAX_SHAPES and self._kept_keys + len(record) <= _MOST_KEYS:
            self._kept_keys += len(record)
            self.known[(*record, *types)] = shape
        else:
            self._count(shape, 1)
        return shape

    def document(self) -> dict[str, object]:
        """Return the columns as JSON: in how many records each is, and with which types."""
        for shape in self.known.values():
            self._count(shape, shape.count)
        self.known.clear()
        columns = {
            name: {"present": types.total(), "types": dict(types.most_common())}
            for name, types in self._columns.items()
            if types.total()
        }
        left_out = {"columns_left_out": self._left_out} if self._left_out else {}
        return {"columns": columns, **left_out}

    def _count(self, shape: Shape, count: int) -> None:
        for key, kind in zip(shape.keys, shape.types, strict=True):
            if key not in self._columns:
                if len(self._columns) >= MAX_COLUMNS:
                    self._left_out += count
                    continue
                self._columns[key] = Counter()
            self._columns[key][_NAMES[kind]] += count
