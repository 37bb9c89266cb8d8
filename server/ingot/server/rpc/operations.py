"""OperationsService: background work of the server, for whoever may look at it."""

from typing import Any

import grpc
from google.protobuf import struct_pb2

from ingot.server.core.artifacts import JsonObject
from ingot.server.core.errors import invalid_field
from ingot.server.core.names import made_id
from ingot.server.core.operations import Operation, OperationState
from ingot.server.domain.operations import Operations
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import pipeline
from ingot.server.rpc.hops import Hops
from ingot.v1 import operations_pb2, operations_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_STATE = "OPERATION_STATE_"


class OperationsServicer(operations_pb2_grpc.OperationsServiceServicer):
    """Serves OperationsService."""

    def __init__(self, hops: Hops, operations: Operations) -> None:
        self._hops = hops
        self._operations = operations

    async def GetOperation(
        self, request: operations_pb2.GetOperationRequest, context: Context
    ) -> operations_pb2.GetOperationResponse:
        name = made_id(request.name, "operations")
        found = await self._hops.read(self._operations.get, pipeline.caller(), name)
        return operations_pb2.GetOperationResponse(operation=_message(found))

    async def ListOperations(
        self, request: operations_pb2.ListOperationsRequest, context: Context
    ) -> operations_pb2.ListOperationsResponse:
        page = await self._hops.read(
            self._operations.page,
            pipeline.caller(),
            request.kind,
            _state_of(request.state),
            request.page_size,
            request.page_token,
        )
        return operations_pb2.ListOperationsResponse(
            operations=map(_message, page.items), next_page_token=page.next_token
        )


def _state_of(value: operations_pb2.OperationState.ValueType) -> OperationState | None:
    if value == operations_pb2.OPERATION_STATE_UNSPECIFIED:
        return None
    if value not in operations_pb2.OperationState.values():
        raise invalid_field("state", f"expected a state of an operation, got {value}")
    return OperationState(operations_pb2.OperationState.Name(value).removeprefix(_STATE))


def _message(found: Operation) -> operations_pb2.Operation:
    return operations_pb2.Operation(
        name=found.name,
        kind=found.kind,
        target=found.target,
        queue=found.queue,
        state=operations_pb2.OperationState.Value(_STATE + found.state),
        attempt=found.attempt,
        retry_policy=operations_pb2.RetryPolicy(max_attempts=1, multiplier=1.0),
        progress=common.progress(found.progress),
        problem=common.problem(found.problem),
        requester=found.requester,
        params=_struct(found.params),
        result=_struct(found.result),
        create_time=common.timestamp(found.create_time),
        start_time=common.timestamp(found.start_time),
        finish_time=common.timestamp(found.finish_time),
        etag=found.etag,
    )


def _struct(values: JsonObject) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update(dict(values))
    return message
