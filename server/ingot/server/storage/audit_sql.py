"""Rows of the audit log: the store behind core/audit.py.

Entries are only ever added. What is hashed stands in columns and is put together again to be checked, so that
there is no second copy that could say something else. Beside it stand the first parts of the target, by which
a list finds what lies below a name; they are checked against the target.
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
_PLACES = ("root", "place")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM audit_entry"
_STORED = (*_COLUMNS, *_PLACES)
_INSERT = f"INSERT INTO audit_entry({', '.join(_STORED)}) VALUES ({', '.join('?' * len(_STORED))})"
_BEGUN = "audit"  # counter: 1 once the log has a head


class AuditSql:
    """Implements AuditStore."""

    def newest(self) -> tuple[int, str] | None:
        found = sql.rows("SELECT number, hash FROM audit_entry ORDER BY number DESC LIMIT 1")
        return (int(found[0][0]), str(found[0][1])) if found else None

    def add(self, entry: Entry) -> None:
        facts = _ENCODER.encode(entry.deed.facts) if entry.deed.facts else "{}"
        texts = [getattr(entry.deed, name) for name in _TEXTS]
        places = _first_of(entry.deed.target, 2), _first_of(entry.deed.target, 4)
        sql.run(_INSERT, entry.number, entry.time, *texts, facts, entry.previous, entry.hash, *places)

    def hash_of(self, number: int) -> str:
        found = sql.rows("SELECT hash FROM audit_entry WHERE number = ?", number)
        return str(found[0][0]) if found else ""

    def after(self, number: int, limit: int) -> Sequence[Entry]:
        found = sql.rows(f"{_SELECT} WHERE number > ? ORDER BY number LIMIT ?", number, limit)
        return [_entry(row) for row in found]

    def page(self, wanted: AuditFilter, start: int | None, limit: int, *, oldest_first: bool) -> list[Entry]:
        conditions, values = _below(wanted.target) if wanted.target else ([], [])
        for column, value in (("principal", wanted.principal), ("action", wanted.action)):
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

    def misplaced(self, after: int, last: int) -> Sequence[int]:
        found = sql.rows(
            "SELECT number, target, root, place FROM audit_entry WHERE number > ? AND number <= ?",
            after,
            last,
        )
        return [
            int(number)
            for number, target, root, place in found
            if (root, place) != (_first_of(target, 2), _first_of(target, 4))
        ]

    def begun(self) -> bool:
        return bool(sql.rows("SELECT 1 FROM counter WHERE word = ?", _BEGUN))

    def begin(self) -> None:
        sql.run("INSERT INTO counter(word, value) VALUES (?, 1) ON CONFLICT(word) DO NOTHING", _BEGUN)

    def changes(self) -> int:
        database = unit_of_work.current.obj
        return 0 if database is None else int(database.connection().total_changes)


def _first_of(name: str, count: int) -> str:
    """Return the first parts of a name: two are a namespace, a user, a job; four an artifact, a token."""
    return "/".join(name.split("/", count)[:count])


def _below(name: str) -> tuple[list[str], list[str]]:
    """Return conditions for a name and what lies below it, each along an index, and their values."""
    parts = name.count("/") + 1
    column, base = ("place", _first_of(name, 4)) if parts >= 4 else ("root", _first_of(name, 2))
    if parts in (2, 4):
        return [f"{column} = ?"], [base]
    # Below one artifact, or one user, are few enough to look at; + keeps SQLite at the index of the place.
    within = "(+target = ? OR (+target > ? AND +target < ?))"
    return [f"{column} = ?", within], [base, name, f"{name}/", f"{name}0"]  # 0 comes after / in ASCII


def _entry(row: sql.Row) -> Entry:
    named = dict(zip(_COLUMNS, row, strict=True))
    deed = Deed(
        time=named["time"] / 1_000_000,
        facts=json.loads(named["facts"]),
        **{name: named[name] for name in _TEXTS},
    )
    return Entry(named["number"], named["time"], deed, named["previous"], named["hash"])
