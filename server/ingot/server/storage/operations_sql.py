"""Rows of operations."""

from collections.abc import Sequence

from ingot.server.core.catalog_stores import Rows
from ingot.server.core.errors import Conflict, Reason
from ingot.server.core.operations import FINAL_OPERATION_STATES, Operation, OperationState
from ingot.server.storage import keyset, tables, training_json
from ingot.server.storage.training_sql import number_of

_Row = tables.Operation
_FINAL = sorted(FINAL_OPERATION_STATES)


class OperationsSql:
    """Implements OperationStore."""

    def find(self, operation: str) -> Operation | None:
        row = _Row.get_or_none(_Row.number == number_of(operation, "op_"))
        return None if row is None else _operation(row)

    def add(self, operation: Operation) -> None:
        _Row.insert(
            number=operation.number,
            kind=operation.kind,
            requester=operation.requester,
            **_changing(operation),
        ).execute()

    def save(self, before: Operation, after: Operation) -> None:
        changed = (
            _Row.update(**_changing(after))
            .where(_Row.number == before.number, _Row.revision == before.revision)
            .execute()
        )
        if not changed:
            raise Conflict(
                Reason.ETAG_MISMATCH,
                f"{before.name} changed while it was being changed.",
                facts={"name": before.name},
            )

    def page(
        self,
        requester: str | None,
        kind: str,
        state: OperationState | None,
        after: int | None,
        size: int,
    ) -> Rows[Operation]:
        query = _Row.select()
        if requester is not None:
            query = query.where(_Row.requester == requester)
        if kind:
            query = query.where(_Row.kind == kind)
        if state is not None:
            query = query.where(_Row.state == state)
        rows, key = keyset.page(
            query, (_Row.number,), None if after is None else (after,), size, descending=True
        )
        return Rows([_operation(row) for row in rows], None if key is None else (int(key[0]),))

    def unfinished(self) -> Sequence[Operation]:
        query = _Row.select().where(_Row.state.not_in(_FINAL))
        return [_operation(row) for row in query.order_by(_Row.number)]

    def forget(self, before: float) -> int:
        return int(_Row.delete().where(_Row.finished < before).execute())


def _changing(operation: Operation) -> dict[str, object]:
    return {
        "state": operation.state,
        "finished": operation.finish_time,
        "revision": operation.revision,
        "document": training_json.document(operation),
    }


def _operation(row: tables.Operation) -> Operation:
    columns = {
        "number": row.number,
        "kind": row.kind,
        "state": row.state,
        "requester": row.requester,
        "finish_time": row.finished,
        "revision": row.revision,
    }
    return training_json.operation_of(columns, row.document)
