"""Rows of operations, and the times of periodic ones."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import peewee

from ingot.server.core.catalog_stores import Rows
from ingot.server.core.errors import Conflict, Reason
from ingot.server.core.operation_stores import OperationFilter
from ingot.server.core.operations import CLAIMED_STATES, WAITING_STATES, Operation, OperationState
from ingot.server.storage import keyset, tables, training_json
from ingot.server.storage.training_sql import number_of

_Row = tables.Operation
WAITING, CLAIMED, ENDED = "waiting", "claimed", "ended"
_ACTIVE = (WAITING, CLAIMED)
_GUEST = peewee.SQL("json_extract(document, '$.guest')")


class OperationsSql:
    """Implements OperationStore."""

    def find(self, operation: str) -> Operation | None:
        row = _Row.get_or_none(_Row.number == number_of(operation, "op_"))
        return None if row is None else _operation(row)

    def unfinished(self, key: str) -> Operation | None:
        row = _Row.get_or_none(_Row.live_key == key)
        return None if row is None else _operation(row)

    def add(self, operation: Operation) -> None:
        _Row.insert(
            number=operation.number,
            kind=operation.kind,
            requester=operation.requester,
            queue=operation.queue,
            target=operation.target,
            namespace=operation.namespace,
            priority=operation.priority,
            **_changing(operation),
        ).execute()

    def save(self, before: Operation, after: Operation) -> None:
        changed = (
            _Row.update(**_changing(after))
            .where(
                _Row.number == before.number,
                _Row.state == before.state,
                _Row.attempt == before.attempt,
                _Row.revision == before.revision,
            )
            .execute()
        )
        if not changed:
            raise Conflict(
                Reason.ETAG_MISMATCH,
                f"{before.name} changed while it was being changed.",
                facts={"name": before.name},
            )

    def page(
        self, requester: str | None, wanted: OperationFilter, after: int | None, size: int
    ) -> Rows[Operation]:
        found: dict[int, tables.Operation] = {}
        for query in _shown_to(requester, wanted):
            for column, value in _conditions(wanted):
                query = query.where(column == value)
            if wanted.active_only:
                query = query.where(_Row.phase.in_(_ACTIVE))
            place = None if after is None else (after,)
            rows = keyset.seek(query, (_Row.number,), place, descending=True).limit(size + 1)
            found.update((row.number, row) for row in rows)
        numbers = sorted(found, reverse=True)
        last = numbers[size - 1 : size] if len(numbers) > size else []
        return Rows([_operation(found[each]) for each in numbers[:size]], (last[0],) if last else None)

    def since(
        self, requester: str | None, wanted: OperationFilter, change: int, limit: int
    ) -> Sequence[Operation]:
        found: dict[int, tables.Operation] = {}
        for query in _shown_to(requester, wanted):
            query = query.where(_Row.change > change)
            # Left alone, SQLite finds all of a kind (a queue, …) and sorts them for each look.
            for column, value in _conditions(wanted):
                query = query.where((column if column is _Row.namespace else _plain(column)) == value)
            if wanted.active_only:
                shown = _plain(_Row.phase).in_(_ACTIVE)
                later = wanted.but_after
                query = query.where(shown if later is None else shown | (_Row.change > later))
            found.update((row.change, row) for row in query.order_by(_Row.change).limit(limit))
        return [_operation(found[each]) for each in sorted(found)[:limit]]

    def latest_change(self) -> int:
        return int(_Row.select(peewee.fn.MAX(_Row.change)).scalar() or 0)

    def next_waiting(self, queue: str, now: float) -> Operation | None:
        query = _Row.select().where(_Row.phase == WAITING, _Row.queue == queue, _plain(_Row.due) <= now)
        row = query.order_by(_Row.priority.desc(), _Row.due, _Row.number).first()
        return None if row is None else _operation(row)

    def requesters(self, queue: str, priority: int) -> Sequence[str]:
        found: list[str] = []
        waiting = _Row.select(_Row.requester).where(
            _Row.phase == WAITING, _Row.queue == queue, _Row.priority == priority
        )
        last = ""
        while row := waiting.where(_Row.requester > last).order_by(_Row.requester).first():
            last = row.requester  # one step of the index for each, however many of theirs wait
            found.append(last)
        return found

    def next_of(self, requester: str, queue: str, priority: int, now: float) -> Operation | None:
        query = _Row.select().where(
            _Row.phase == WAITING, _Row.queue == queue, _Row.priority == priority, _Row.requester == requester
        )
        row = query.where(_Row.due <= now).order_by(_Row.due, _Row.number).first()
        return None if row is None else _operation(row)

    def waiting(self) -> Sequence[Operation]:
        query = _Row.select().where(_Row.phase == WAITING)
        return sorted(map(_operation, query), key=lambda each: each.number)

    def next_due(self, now: float) -> float | None:
        query = _Row.select().where(_Row.phase == WAITING, _Row.due > now)
        row = query.order_by(_Row.due).first()
        return None if row is None else row.due

    def claimed(self) -> Sequence[Operation]:
        query = _Row.select().where(_Row.phase == CLAIMED)
        return sorted(map(_operation, query), key=lambda each: each.number)

    def claimed_in(self, queue: str) -> Mapping[str, int]:
        found = _Row.select(_Row.requester).where(_Row.phase == CLAIMED, _Row.queue == queue)
        return Counter(row.requester for row in found)

    def unfinished_of(self, requester: str) -> int:
        query = _Row.select().where(_Row.requester == requester, _Row.phase.in_(_ACTIVE))
        return int(query.count())

    def forget(self, before: float, limit: int) -> Sequence[str]:
        query = _Row.select(_Row.number).where(_Row.finished < before).order_by(_Row.finished).limit(limit)
        numbers = [row.number for row in query]
        _Row.delete().where(_Row.number.in_(numbers)).execute()
        return [f"operations/op_{number}" for number in numbers]


class SchedulesSql:
    """Implements ScheduleStore."""

    def due(self, kind: str) -> float | None:
        row = tables.Schedule.get_or_none(tables.Schedule.kind == kind)
        return None if row is None else float(row.due)

    def plan(self, kind: str, due: float) -> None:
        tables.Schedule.insert(kind=kind, due=due).on_conflict_replace().execute()


def phase_of(state: OperationState) -> str:
    """Return the phase that a state belongs to."""
    if state in WAITING_STATES:
        return WAITING
    return CLAIMED if state in CLAIMED_STATES else ENDED


def _shown_to(
    requester: str | None, wanted: OperationFilter
) -> "Iterator[peewee.ModelSelect[tables.Operation]]":
    """Yield the parts of what is shown, each with an index of its own; one may be in several."""
    own = _Row.select() if requester is None else _Row.select().where(_Row.requester == requester)
    there = _plain(_Row.namespace).in_(wanted.within) | _GUEST
    yield own.where(there) if wanted.within else own
    for namespace in wanted.shared:
        yield _Row.select().where(_Row.namespace == namespace)


def _conditions(wanted: OperationFilter) -> "list[tuple[peewee.Field[str], str]]":
    pairs = (
        (_Row.kind, wanted.kind),
        (_Row.state, wanted.state or ""),
        (_Row.queue, wanted.queue),
        (_Row.target, wanted.target),
        (_Row.namespace, wanted.namespace),
    )
    return [(column, value) for column, value in pairs if value]


def _plain(column: "peewee.Field[str] | peewee.Field[float]") -> peewee.NodeList:
    """Return a column in a form that lets SQLite choose no index for it."""
    return peewee.NodeList((peewee.SQL("+"), column), glue="")


def _changing(operation: Operation) -> dict[str, object]:
    return {
        "state": operation.state,
        "phase": phase_of(operation.state),
        "live_key": operation.key if operation.key and not operation.ended else None,
        "due": operation.due_time,
        "attempt": operation.attempt,
        "runner": operation.runner,
        "lease": operation.lease_time,
        "finished": operation.finish_time,
        "change": operation.change,
        "revision": operation.revision,
        "document": training_json.document(operation),
    }


def _operation(row: tables.Operation) -> Operation:
    columns = {
        "number": row.number,
        "kind": row.kind,
        "state": row.state,
        "requester": row.requester,
        "queue": row.queue,
        "target": row.target,
        "namespace": row.namespace,
        "priority": row.priority,
        "due_time": row.due,
        "attempt": row.attempt,
        "runner": row.runner,
        "lease_time": row.lease,
        "finish_time": row.finished,
        "change": row.change,
        "revision": row.revision,
    }
    return training_json.operation_of(columns, row.document)
