"""Figures of calls by day: the store behind core/call_figures.py."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ingot.server.core.call_figures import (
    CallKey,
    CallTotals,
    Failure,
    MethodFigures,
    ProblemFigures,
    Times,
)
from ingot.server.storage import sql

_ADD = (
    "INSERT INTO call_day(day, method, code, count, seconds, times) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT(day, method, code) DO UPDATE SET count = count + excluded.count, "
    "seconds = seconds + excluded.seconds, times = excluded.times"
)
_ADD_PROBLEM = (
    "INSERT INTO problem_day(day, reason, count) VALUES (?, ?, ?) "
    "ON CONFLICT(day, reason) DO UPDATE SET count = count + excluded.count"
)
_ADD_LAST = (
    "INSERT INTO problem_last(reason, total, time, code, method, target, principal, message, call_id) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(reason) DO UPDATE SET total = total + excluded.total, "
    "time = excluded.time, code = excluded.code, method = excluded.method, target = excluded.target, "
    "principal = excluded.principal, message = excluded.message, call_id = excluded.call_id"
)


class CallFiguresSql:
    """Implements CallFiguresStore."""

    def add(self, totals: CallTotals) -> None:
        for key, count in totals.calls.items():
            times = _times(key)
            times.add_all(count.times)
            sql.run(_ADD, key.day, key.method, key.code, count.count, count.seconds, times.pack())
        sql.run_many(_ADD_PROBLEM, [(day, reason, count) for (day, reason), count in totals.failures.items()])
        ever: Counter[str] = Counter()
        for (_, reason), times_failed in totals.failures.items():
            ever[reason] += times_failed
        sql.run_many(
            _ADD_LAST,
            [
                (
                    each.reason,
                    ever[each.reason],
                    each.time,
                    each.code,
                    each.method,
                    each.target,
                    each.principal,
                    each.message,
                    each.call_id,
                )
                for each in totals.last.values()
            ],
        )

    def methods(self, first: int, last: int) -> Sequence[MethodFigures]:
        codes: dict[str, Counter[str]] = {}
        packed: dict[str, list[bytes]] = {}
        seconds: Counter[str] = Counter()
        for method, code, count, spent, times in sql.rows(
            "SELECT method, code, count, seconds, times FROM call_day WHERE day BETWEEN ? AND ?", first, last
        ):
            codes.setdefault(method, Counter())[code] += count
            packed.setdefault(method, []).append(times)
            seconds[method] += spent
        return [
            MethodFigures(method, codes[method], seconds[method], Times.unpack(b"".join(packed[method])))
            for method in sorted(codes)
        ]

    def days(self, first: int, last: int) -> Mapping[int, int]:
        return dict(
            sql.rows(
                "SELECT day, sum(count) FROM call_day WHERE day BETWEEN ? AND ? GROUP BY day", first, last
            )
        )

    def problems(self, first: int, last: int) -> Sequence[ProblemFigures]:
        days: dict[str, dict[int, int]] = {}
        for day, reason, count in sql.rows(
            "SELECT day, reason, count FROM problem_day WHERE day BETWEEN ? AND ? ORDER BY day", first, last
        ):
            days.setdefault(reason, {})[day] = count
        # One row for each reason there is, of which there are some hundred.
        found = {
            row[0]: ProblemFigures(
                sum(days[row[0]].values()), days[row[0]], row[1], Failure(row[0], *row[2:])
            )
            for row in sql.rows(
                "SELECT reason, total, time, code, method, target, principal, message, call_id "
                "FROM problem_last WHERE time >= ?",
                first * 86400.0,
            )
            if row[0] in days
        }
        return sorted(found.values(), key=lambda each: (-each.count, each.last.reason))


def _times(key: CallKey) -> Times:
    found = sql.rows(
        "SELECT times FROM call_day WHERE day = ? AND method = ? AND code = ?", key.day, key.method, key.code
    )
    return Times.unpack(found[0][0]) if found else Times()
