"""Rows of the audit log: the store behind core/audit.py.

Entries are only ever added. What is hashed stands in columns and is put together again to be checked, so that
there is no second copy that could say something else.
"""

import json
from collections.abc import Sequence

from ingot.server.core.audit import AuditFilter, Deed, Entry
from ingot.server.storage import sql, unit_of_work

_TEXTS = (
    *("action", "method", "target", "principal", "user", "token"),
    *("declared_user", "address", "client", "call_id", "code"),
)
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True)
_COLUMNS = ("number", "time", *_TEXTS, "facts", "previous", "hash")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM audit_entry"
_INSERT = f"INSERT INTO audit_entry({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"


class AuditSql:
    """Implements AuditStore."""

    def newest(self) -> tuple[int, str] | None:
        found = sql.rows("SELECT number, hash FROM audit_entry ORDER BY number DESC LIMIT 1")
        return (int(found[0][0]), str(found[0][1])) if found else None

    def add(self, entry: Entry) -> None:
        facts = _ENCODER.encode(entry.deed.facts) if entry.deed.facts else "{}"
        texts = [getattr(entry.deed, name) for name in _TEXTS]
        sql.run(_INSERT, entry.number, entry.time, *texts, facts, entry.previous, entry.hash)

    def hash_of(self, number: int) -> str:
        found = sql.rows("SELECT hash FROM audit_entry WHERE number = ?", number)
        return str(found[0][0]) if found else ""

    def after(self, number: int, limit: int) -> Sequence[Entry]:
        found = sql.rows(f"{_SELECT} WHERE number > ? ORDER BY number LIMIT ?", number, limit)
        return [_entry(row) for row in found]

    def page(self, wanted: AuditFilter, start: int | None, limit: int, *, oldest_first: bool) -> list[Entry]:
        conditions, values = [], []
        for column, value in (
            ("principal", wanted.principal),
            ("target", wanted.target),
            ("action", wanted.action),
        ):
            if value:
                conditions.append(f"{column} = ?")
                values.append(value)
        if start is not None:
            conditions.append(f"number {'>' if oldest_first else '<'} ?")
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        begin = () if start is None else (start,)
        order = "ASC" if oldest_first else "DESC"
        found = sql.rows(f"{_SELECT}{where} ORDER BY number {order} LIMIT ?", *values, *begin, limit)
        return [_entry(row) for row in found]

    def changes(self) -> int:
        database = unit_of_work.current.obj
        return 0 if database is None else int(database.connection().total_changes)


def _entry(row: sql.Row) -> Entry:
    named = dict(zip(_COLUMNS, row, strict=True))
    deed = Deed(
        time=named["time"] / 1_000_000,
        facts=json.loads(named["facts"]),
        **{name: named[name] for name in _TEXTS},
    )
    return Entry(named["number"], named["time"], deed, named["previous"], named["hash"])
