"""Plain SQL inside the running unit of work, and questions about thousands of digests in one statement.

`EACH` numbers the digests of one packed blob; SQLite cuts them out itself, so a question costs two parameters
instead of thousands, and no loop in Python.
"""

import functools
import json
from collections.abc import Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, TypeVar

import peewee

from ingot.server.storage import unit_of_work

T = TypeVar("T", bound=peewee.Model)

Value = int | float | str | bytes | None

# Parameters: how many. Gives each.i = 0, 1, …
EACH = "WITH RECURSIVE each(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM each WHERE i + 1 < ?) "


# The driver does not know what a statement selects: whoever writes one knows, and unpacks it at once.
Row = tuple[Any, ...]


def rows(statement: str, *values: Value) -> list[Row]:
    """Run a statement and return all of its rows."""
    found: list[Row] = _database().execute_sql(statement, values).fetchall()
    return found


def each_row(statement: str, *values: Value) -> Iterator[Row]:
    """Run a statement and yield its rows one by one, without ever holding all of them."""
    yield from _database().execute_sql(statement, values)


def row_where(table: type[T], condition: str, *values: Value) -> T | None:
    """Return the row of a table for which a condition holds, one that is always written alike.

    The statement is made once: to make it anew costs Peewee a hundred times what SQLite needs to run it.
    """
    statement, fields = _selection(table, condition)
    found = rows(statement, *values)
    if not found:
        return None
    return table(
        **{field.name: field.python_value(value) for field, value in zip(fields, found[0], strict=True)}
    )


def rows_where(table: type[T], condition: str, *values: Value) -> list[T]:
    """Return the rows of a table for which a condition holds, one that is always written alike.

    They are for reading alone: they have the fields of the table, and nothing else of Peewee's rows, which
    take longer to fill and to look into than everything else that a list does.
    """
    statement, fields = _selection(table, condition)
    names = [field.name for field in fields]
    others = [field for field in fields if not isinstance(field, _AS_THEY_ARE)]
    found: list[Any] = []
    for row in rows(statement.removesuffix(_ONE), *values):
        made = SimpleNamespace(**dict(zip(names, row, strict=True)))
        for field in others:
            setattr(made, field.name, field.python_value(getattr(made, field.name)))
        found.append(made)
    return found


_ONE = " LIMIT 1"
# SQLite gives their values in the form that they have here.
_AS_THEY_ARE = (peewee.TextField, peewee.IntegerField, peewee.FloatField, peewee.BlobField)


@functools.cache
def _selection(table: type[peewee.Model], condition: str) -> tuple[str, tuple[peewee.Field, ...]]:
    meta = table._meta  # noqa: SLF001  # that is its name
    fields = tuple(meta.sorted_fields)
    columns = ", ".join(f'"{field.column_name}"' for field in fields)
    return f'SELECT {columns} FROM "{meta.table_name}" WHERE {condition}{_ONE}', fields


def run(statement: str, *values: Value) -> int:
    """Run a statement and return how many rows it changed."""
    changed: int = _database().execute_sql(statement, values).rowcount
    return changed


def insert(statement: str, *values: Value) -> int:
    """Run a statement that adds a row; return its rowid."""
    added: int = _database().execute_sql(statement, values).lastrowid
    return added


def run_many(statement: str, values: Iterable[Sequence[Value]]) -> None:
    """Run a statement once for each sequence of values."""
    _database().connection().executemany(statement, values)


def id_list(ids: Iterable[int]) -> str:
    """Return ids in a form that json_each turns into rows."""
    return json.dumps(list(ids))


def text_list(texts: Iterable[str]) -> str:
    """Return texts in a form that json_each turns into rows."""
    return json.dumps(list(texts), ensure_ascii=False)


def _database() -> peewee.SqliteDatabase:
    database = unit_of_work.current.obj
    if database is None:
        raise RuntimeError("SQL was run outside a unit of work")
    return database
