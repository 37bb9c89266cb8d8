"""Describe the schema of a SQLite database so that two of them can be compared with ==."""

import peewee

Description = dict[str, dict[str, object]]


def describe(connection: peewee.SqliteDatabase) -> Description:
    """Return columns, foreign keys and indexes of every ordinary table, without the history of migrations.

    The order of columns does not count: a column that a migration added stands last.
    """
    rows = connection.execute_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
    virtual = [name for name, sql in rows if sql and sql.upper().startswith("CREATE VIRTUAL")]
    return {
        name: _table(connection, name, sql)
        for name, sql in rows
        if name != "schema_migration"
        and not name.startswith("sqlite_")
        and not any(name == table or name.startswith(f"{table}_") for table in virtual)  # and shadow tables
    }


def _table(connection: peewee.SqliteDatabase, name: str, sql: str) -> dict[str, object]:
    def pragma(what: str, of: str) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = connection.execute_sql(f'PRAGMA {what}("{of}")').fetchall()
        return found

    indexes = []
    for _, index, unique, origin, partial in pragma("index_list", name):
        columns = tuple((row[2], row[3], row[4]) for row in pragma("index_xinfo", str(index)) if row[5])
        condition = ""
        if partial:
            found = connection.execute_sql("SELECT sql FROM sqlite_master WHERE name = ?", (index,))
            condition = found.fetchone()[0].upper().split(" WHERE ", 1)[1]
        indexes.append((columns, unique, origin, condition))
    return {
        "columns": {row[1]: row[2:] for row in pragma("table_info", name)},
        "foreign keys": sorted(row[2:] for row in pragma("foreign_key_list", name)),
        "indexes": sorted(indexes, key=repr),
        "options": sql.upper().rsplit(")", 1)[1].strip(),
    }
