"""Pages by key: the next page starts after the last row seen, so it costs the same however deep it is.

The key is a tuple of columns that orders the rows without ties (end it with the primary key). SQLite
compares such tuples in one index search: ``(created, id) > (?, ?)``.
"""

from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import peewee

TableT = TypeVar("TableT", bound=peewee.Model)
KeyValue = str | int | float | bytes
KeyColumn: TypeAlias = "peewee.Field[str] | peewee.Field[int] | peewee.Field[float] | peewee.Field[bytes]"


def page(
    query: "peewee.ModelSelect[TableT]",
    key: Sequence["KeyColumn"],
    after: Sequence[KeyValue] | None,
    size: int,
    *,
    descending: bool = False,
) -> tuple[list[TableT], tuple[KeyValue, ...] | None]:
    """Return up to `size` rows of `query` after the key `after`, and the key to continue with.

    The first page has `after` None; the last page returns None for the key. `key` columns belong to the
    table that is selected from and hold no NULL. Any order of `query` is replaced.
    """
    rows = list(seek(query, key, after, descending=descending).limit(size + 1))
    if len(rows) <= size:
        return rows, None
    rows.pop()
    return rows, tuple(getattr(rows[-1], column.name) for column in key)


def seek(
    query: "peewee.ModelSelect[TableT]",
    key: Sequence["KeyColumn"],
    after: Sequence[KeyValue] | None,
    *,
    descending: bool = False,
) -> "peewee.ModelSelect[TableT]":
    """Return `query` ordered by `key` and, unless `after` is None, starting after that key."""
    ordered = query.order_by(*(column.desc() if descending else column.asc() for column in key))
    if after is None:
        return ordered
    if len(after) != len(key):
        raise ValueError(f"the key has {len(key)} columns, got {len(after)} values")
    columns, values = peewee.Tuple(*key), peewee.Tuple(*after)
    return ordered.where(columns < values if descending else columns > values)
