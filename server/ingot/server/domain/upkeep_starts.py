"""Upkeep that an administrator asks for: the same operations that run periodically, now."""

from ingot.server.core.errors import Denied, Reason
from ingot.server.core.identity import Caller, Scope
from ingot.server.core.operations import NewOperation, Operation, OperationOptions
from ingot.server.domain.operations import Operations
from ingot.server.domain.requests import RequestKey, Requests


class UpkeepStarts:
    """Starts upkeep; its method runs inside a write."""

    def __init__(self, operations: Operations, requests: Requests) -> None:
        self._operations = operations
        self._requests = requests

    def start(self, caller: Caller, key: RequestKey, kind: str, options: OperationOptions) -> Operation:
        """Queue upkeep of a kind and return its operation; the one that waits or runs, if there is one.

        Raises Denied (SCOPE_MISSING), Invalid (FIELD_INVALID), Precondition (REQUEST_ID_REUSED).
        """
        if not caller.is_admin or Scope.ADMIN not in caller.scopes:
            raise Denied(
                Reason.SCOPE_MISSING,
                f"{caller.principal} may not start upkeep; expected an administrator with the scope admin.",
                next_step="Ask an administrator.",
                facts={"role": caller.role.value},
            )

        def make() -> str:
            new = NewOperation(kind, key=kind, options=options)  # the key of the periodic turns
            return self._operations.enqueue(caller, new).id

        number, _ = self._requests.run(caller, "StartUpkeep", key, make)
        return self._operations.get(caller, number)
