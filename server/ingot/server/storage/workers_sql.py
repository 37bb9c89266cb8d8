"""Rows of workers."""

from collections.abc import Sequence

from ingot.server.core.catalog_stores import Rows
from ingot.server.core.workers import Worker
from ingot.server.storage import keyset, tables, training_json
from ingot.server.storage.training_sql import number_of

_Row = tables.Worker


class WorkersSql:
    """Implements WorkerStore."""

    def find(self, worker: str) -> Worker | None:
        row = _Row.get_or_none(_Row.number == number_of(worker, "worker_"))
        return None if row is None else _worker(row)

    def by_name(self, token: str, display_name: str) -> Worker | None:
        row = _Row.get_or_none(_Row.token == token, _Row.display_name == display_name)
        return None if row is None else _worker(row)

    def of_token(self, token: str) -> Sequence[Worker]:
        return [_worker(row) for row in _Row.select().where(_Row.token == token).order_by(_Row.number)]

    def put(self, worker: Worker) -> None:
        _Row.insert(
            number=worker.number,
            token=worker.token,
            display_name=worker.facts.display_name,
            facts=training_json.facts(worker.facts),
            address=worker.address,
            created=worker.create_time,
            heard=worker.last_heartbeat_time,
        ).on_conflict_replace().execute()

    def page(self, after: int | None, size: int) -> Rows[Worker]:
        rows, key = keyset.page(_Row.select(), (_Row.number,), None if after is None else (after,), size)
        return Rows([_worker(row) for row in rows], None if key is None else (int(key[0]),))

    def heard_since(self, time: float) -> Sequence[Worker]:
        return [_worker(row) for row in _Row.select().where(_Row.heard >= time).order_by(_Row.number)]


def _worker(row: tables.Worker) -> Worker:
    return Worker(
        number=row.number,
        token=row.token,
        facts=training_json.facts_of(row.display_name, row.facts),
        address=row.address,
        create_time=row.created,
        last_heartbeat_time=row.heard,
    )
