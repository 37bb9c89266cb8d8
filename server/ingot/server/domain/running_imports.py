"""How many imports run: what statistics of the catalog call active downloads."""

from ingot.server.core.identity import Caller
from ingot.server.core.names import Kind
from ingot.server.core.operation_stores import OperationStore
from ingot.server.domain.imports import KIND
from ingot.server.domain.operations import Operations


class RunningImports:
    """Counts them; inside a unit of work."""

    def __init__(self, operations: Operations, rows: OperationStore) -> None:
        self._operations = operations
        self._rows = rows

    def count(self, caller: Caller, kind: Kind) -> int:
        """Return how many imports of models, or of datasets, run that the caller may see."""
        return sum(
            f"/{kind.value}/" in each.target and self._operations.sees(caller, each)
            for each in self._rows.claimed()
            if each.kind == KIND
        )
