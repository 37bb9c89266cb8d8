"""Rows of event logs, and the series of numbers that belong to the same subjects.

Numbers are given by the one writer inside its transaction, so they become visible in their own order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ingot.server.core.events import (
    Bounds,
    Event,
    EventKind,
    LogLevel,
    LogLine,
    MetricPoint,
    Metrics,
    NewEvent,
)
from ingot.server.storage import sql, tables, training_json

_Event = tables.Event
_Log = tables.EventLog
_Point = tables.MetricPoint

# Events are appended all the time, so these two are written here instead of being made by Peewee each time.
_INSERT = (
    "INSERT INTO event(log, seq, time, attempt, producer_seq, kind, level, rank, body) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_LOG = "SELECT id, subject, oldest, latest FROM event_log WHERE subject = ?"


class EventsSql:
    """Implements EventStore."""

    def append(self, subject: str, attempt: int, events: Sequence[NewEvent], now: float) -> Sequence[Event]:
        log = _log_to_write(subject)
        had = _had(log, attempt, events)
        new = [each for each in events if each.producer_seq not in had]
        stored = [
            Event(log.latest + position, now, attempt, each.producer_seq, each.body)
            for position, each in enumerate(new, start=1)
        ]
        if stored:
            sql.run_many(_INSERT, (_columns(log.id, each) for each in stored))
            sql.run("UPDATE event_log SET latest = ? WHERE id = ?", stored[-1].seq, log.id)
        return stored

    def read(
        self,
        subject: str,
        after: int,
        limit: int,
        *,
        kind: EventKind | None = None,
        min_level: LogLevel | None = None,
        rank: int | None = None,
    ) -> Sequence[Event]:
        log = _log(subject)
        if log is None:
            return []
        chosen = _chosen(log.id, kind, min_level, rank)
        found = sql.rows(f"{chosen.text} AND seq > ? ORDER BY seq LIMIT ?", *chosen.values, after, limit)
        return [_event(*row) for row in found]

    def before_last(
        self, subject: str, count: int, *, min_level: LogLevel | None = None, rank: int | None = None
    ) -> int:
        log = _log(subject)
        if log is None:
            return 0
        chosen = _chosen(log.id, EventKind.LOG, min_level, rank)
        found = sql.rows(f"{chosen.text} ORDER BY seq DESC LIMIT 1 OFFSET ?", *chosen.values, count)
        return found[0][0] if found else 0

    def bounds(self, subject: str) -> Bounds:
        log = _log(subject)
        return Bounds(1, 0) if log is None else Bounds(log.oldest, log.latest)

    def trim(self, subject: str, keep: int) -> None:
        log = _log(subject)
        if log is None or log.latest - log.oldest + 1 <= keep:
            return
        oldest = log.latest - keep + 1
        _Event.delete().where(_Event.log == log.id, _Event.seq < oldest).execute()
        _Log.update(oldest=oldest).where(_Log.id == log.id).execute()

    def delete(self, subject: str) -> None:
        log = _log(subject)
        if log is None:
            return
        _Event.delete().where(_Event.log == log.id).execute()
        _Point.delete().where(_Point.log == log.id).execute()
        _Log.delete().where(_Log.id == log.id).execute()


class MetricsSql:
    """Implements MetricStore."""

    def record(self, subject: str, metrics: Metrics, time: float) -> None:
        log = _log_to_write(subject)
        rows = [
            {
                "log": log.id,
                "series": name,
                "step": metrics.step,
                "value": None if math.isnan(value) else value,  # SQLite has no NaN
                "time": time,
            }
            for name, value in metrics.values.items()
        ]
        if rows:
            _Point.insert_many(rows).on_conflict_replace().execute()

    def names(self, subject: str) -> Sequence[str]:
        log = _log(subject)
        if log is None:
            return []
        query = _Point.select(_Point.series).where(_Point.log == log.id).distinct()
        return [row.series for row in query.order_by(_Point.series)]

    def points(self, subject: str, series: str, after_step: int, max_points: int) -> Sequence[MetricPoint]:
        log = _log(subject)
        if log is None:
            return []
        chosen = (_Point.log == log.id) & (_Point.series == series) & (_Point.step > after_step)
        places = _spread(_Point.select().where(chosen).count(), max_points)
        rows = enumerate(_Point.select().where(chosen).order_by(_Point.step).iterator())
        return [
            MetricPoint(row.step, math.nan if row.value is None else row.value, row.time)
            for place, row in rows
            if place in places
        ]


def _spread(count: int, most: int) -> frozenset[int]:
    """Return which of `count` places to keep: all, or `most` evenly with the first and the last."""
    if count <= most:
        return frozenset(range(count))
    return frozenset(round(each * (count - 1) / (most - 1)) for each in range(most))


def _log(subject: str) -> tables.EventLog | None:
    for key, name, oldest, latest in sql.rows(_LOG, subject):
        return _Log(id=key, subject=name, oldest=oldest, latest=latest)
    return None


def _log_to_write(subject: str) -> tables.EventLog:
    return _log(subject) or _Log.create(subject=subject)


def _had(log: tables.EventLog, attempt: int, events: Sequence[NewEvent]) -> frozenset[int]:
    """Return the producer numbers among these that the log has had in this attempt."""
    numbers = [each.producer_seq for each in events if each.producer_seq]
    if not numbers:
        return frozenset()
    query = _Event.select(_Event.producer_seq).where(
        _Event.log == log.id, _Event.attempt == attempt, _Event.producer_seq.in_(numbers)
    )
    return frozenset(row.producer_seq for row in query if row.producer_seq)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The beginning of a statement that selects events, and its parameters."""

    text: str
    values: tuple[sql.Value, ...]


def _chosen(log: int, kind: EventKind | None, min_level: LogLevel | None, rank: int | None) -> _Chosen:
    # Left alone, SQLite walks all events of the log to find those of one kind.
    index = "" if kind is None else "INDEXED BY event_log_kind_seq"
    conditions: list[tuple[str, sql.Value]] = [("log = ?", log)]
    if kind is not None:
        conditions.append(("kind = ?", kind.value))
    if min_level is not None:
        conditions.append(("level >= ?", min_level.value))
    if rank is not None:
        conditions.append(("rank = ?", rank))
    where = " AND ".join(text for text, _ in conditions)
    text = f"SELECT seq, time, attempt, producer_seq, kind, body FROM event {index} WHERE {where}"
    return _Chosen(text, tuple(value for _, value in conditions))


def _columns(log: int, event: Event) -> tuple[sql.Value, ...]:
    line = event.body if isinstance(event.body, LogLine) else None
    return (
        log,
        event.seq,
        event.time,
        event.attempt,
        event.producer_seq or None,
        training_json.kind_of(event.body),
        line.level if line else None,
        line.rank if line else None,
        training_json.body(event.body),
    )


def _event(seq: int, time: float, attempt: int, producer_seq: int | None, kind: str, body: str) -> Event:
    return Event(seq, time, attempt, producer_seq or 0, training_json.body_of(kind, body))
