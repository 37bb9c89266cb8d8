"""Operations and their kinds between core and the wire."""

import functools

from google.protobuf import struct_pb2

from ingot.server.core import names, params
from ingot.server.core.errors import invalid_field
from ingot.server.core.operation_stores import OperationFilter
from ingot.server.core.operations import Operation, OperationState, RetryPolicy
from ingot.server.domain.operation_kinds import KindFacts
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import json_structs
from ingot.v1 import operations_pb2

_STATE = "OPERATION_STATE_"


def filter_of(request: operations_pb2.ListOperationsRequest) -> OperationFilter:
    """Return which operations to list. Raises Invalid (FIELD_INVALID)."""
    return OperationFilter(
        kind=request.kind,
        state=state_of(request.state),
        queue=request.queue,
        target=request.target,
        namespace=parent_of(request.parent),
    )


def parent_of(text: str) -> str:
    """Return the id of the namespace whose operations are wanted, `-` for all; "" when it is not told."""
    return names.namespace_id(text, any_allowed=True) if text else ""


def state_of(value: operations_pb2.OperationState.ValueType) -> OperationState | None:
    """Return a state, None when it is not set. Raises Invalid (FIELD_INVALID) for one that is unknown."""
    if value == operations_pb2.OPERATION_STATE_UNSPECIFIED:
        return None
    if value not in operations_pb2.OperationState.values():
        raise invalid_field("state", f"expected a state of an operation, got {value}")
    return OperationState(operations_pb2.OperationState.Name(value).removeprefix(_STATE))


def operation(found: Operation) -> operations_pb2.Operation:
    """Return an operation as a message."""
    waiting = found.state in (OperationState.QUEUED, OperationState.RETRYING)
    return operations_pb2.Operation(
        name=found.name,
        kind=found.kind,
        target=found.target,
        queue=found.queue,
        state=operations_pb2.OperationState.Value(_STATE + found.state),
        attempt=found.attempt,
        retry_policy=retry_policy(found.policy),
        timeout=common.duration(found.timeout),
        progress=common.progress(found.progress),
        problem=common.problem(found.problem),
        requester=found.requester,
        params=json_structs.struct(found.params),
        result=json_structs.struct(found.result),
        create_time=common.timestamp(found.create_time),
        start_time=common.timestamp(found.start_time),
        finish_time=common.timestamp(found.finish_time),
        etag=found.etag,
        priority=found.priority,
        namespace=f"namespaces/{found.namespace}" if found.namespace else "",
        due_time=common.timestamp(found.due_time) if waiting else None,
    )


def retry_policy(policy: RetryPolicy) -> operations_pb2.RetryPolicy:
    """Return a retry policy as a message."""
    return operations_pb2.RetryPolicy(
        max_attempts=policy.max_attempts, delay=common.duration(policy.delay), multiplier=policy.multiplier
    )


def kind(found: KindFacts) -> operations_pb2.OperationKind:
    """Return what the server tells of a kind as a message."""
    return operations_pb2.OperationKind(
        kind=found.kind.name,
        description=found.kind.description,
        queue=found.kind.queue,
        queue_limit=found.queue_limit,
        retry_policy=retry_policy(found.policy),
        timeout=common.duration(found.timeout),
        params_schema=_schema(found.kind.params_type),
        result_schema=_schema(found.kind.result_type),
        period=common.duration(found.period),
        next_time=common.timestamp(found.next_time),
    )


@functools.cache
def _schema(model: type[params.Params]) -> struct_pb2.Struct | None:
    return json_structs.struct(model.model_json_schema())
