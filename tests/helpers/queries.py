"""Which statements a piece of code sends to a database in memory, and how SQLite would carry them out."""

import contextlib
from collections.abc import Iterator, Sequence

from ingot.server.storage.database import Database


@contextlib.contextmanager
def recorded(database: Database) -> Iterator[list[str]]:
    """Collect the questions (SELECT) that are asked inside the with block, with their values filled in."""
    with database.direct() as connection:
        raw = connection.connection()
    seen: list[str] = []
    asked: list[str] = []
    raw.set_trace_callback(seen.append)
    try:
        yield asked
    finally:
        raw.set_trace_callback(None)
        asked += [each for each in seen if each.lstrip().startswith(("SELECT", "WITH"))]


def plan(database: Database, statement: str) -> list[str]:
    """Return the steps of SQLite's plan for a statement."""
    with database.direct() as connection:
        rows = connection.execute_sql(f"EXPLAIN QUERY PLAN {statement}").fetchall()
    return [str(row[3]) for row in rows]


def scans(database: Database, statements: Sequence[str]) -> list[str]:
    """Return the steps that read a whole table or index; virtual tables and subqueries are not counted."""
    return [
        f"{step} in {statement}"
        for statement in statements
        for step in plan(database, statement)
        if step.startswith("SCAN") and "VIRTUAL TABLE" not in step and not step.startswith("SCAN (")
    ]


def sorts(database: Database, statements: Sequence[str]) -> list[str]:
    """Return the steps that put all rows into order before the first can be given."""
    return [
        f"{step} in {statement}"
        for statement in statements
        for step in plan(database, statement)
        if "TEMP B-TREE FOR" in step and "ORDER BY" in step
    ]
