"""The server itself: what it is, how it is, what it holds, what was done on it and what it does behind."""

from collections.abc import Iterator, Sequence

from ingot.client import _names, _pages
from ingot.client._calls import Calls
from ingot.client._channels import Link
from ingot.v1 import operations_pb2, operations_pb2_grpc, system_pb2_grpc
from ingot.v1 import system_pb2 as pb


class System:
    """Calls of SystemService."""

    def __init__(self, link: Link, calls: Calls) -> None:
        self._stub = system_pb2_grpc.SystemServiceStub(link.channel)
        self._calls = calls

    def info(self) -> pb.GetServerInfoResponse:
        """Return version, features and identity of the server; needs no credential."""
        return self._calls.unary(self._stub.GetServerInfo, pb.GetServerInfoRequest())

    def health(self) -> pb.GetHealthResponse:
        """Return whether the server is well: the status alone without a credential, all parts with one."""
        return self._calls.unary(self._stub.GetHealth, pb.GetHealthRequest())

    def storage(self) -> pb.GetStorageResponse:
        """Return bytes per area, logical and physical, and the disk."""
        return self._calls.unary(self._stub.GetStorage, pb.GetStorageRequest())

    def activity(
        self, *, target: str = "", action: str = "", limit: int | None = None
    ) -> Iterator[pb.Activity]:
        """Yield what was done, newest first: one's own, or everyone's for administrators."""

        def page(size: int, token: str) -> tuple[Sequence[pb.Activity], str]:
            request = pb.ListActivityRequest(page_size=size, page_token=token, target=target, action=action)
            reply = self._calls.unary(self._stub.ListActivity, request)
            return reply.activities, reply.next_page_token

        return _pages.walk(page, limit)


class Operations:
    """Calls of OperationsService: background work of the server."""

    def __init__(self, link: Link, calls: Calls) -> None:
        self._stub = operations_pb2_grpc.OperationsServiceStub(link.channel)
        self._calls = calls

    def get(self, operation: str) -> operations_pb2.Operation:
        """Return one operation: `12`, `op_12` or its long name."""
        request = operations_pb2.GetOperationRequest(name=_names.operation_name(operation))
        return self._calls.unary(self._stub.GetOperation, request).operation

    def list(
        self,
        *,
        kind: str = "",
        state: operations_pb2.OperationState.ValueType = operations_pb2.OPERATION_STATE_UNSPECIFIED,
        limit: int | None = None,
    ) -> Iterator[operations_pb2.Operation]:
        """Yield operations, newest first."""

        def page(size: int, token: str) -> tuple[Sequence[operations_pb2.Operation], str]:
            request = operations_pb2.ListOperationsRequest(
                page_size=size, page_token=token, kind=kind, state=state
            )
            reply = self._calls.unary(self._stub.ListOperations, request)
            return reply.operations, reply.next_page_token

        return _pages.walk(page, limit)
