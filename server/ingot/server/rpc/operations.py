"""OperationsService: background work of the server, for whoever may look at it."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.message import Message

from ingot.server.core.exports import WantedExport
from ingot.server.core.identity import Caller
from ingot.server.core.imports import WantedImport
from ingot.server.core.names import VersionReference, made_id, version_reference
from ingot.server.core.operation_stores import OperationFilter
from ingot.server.core.operations import Operation, OperationOptions, RetryPolicy
from ingot.server.core.params import Rules
from ingot.server.domain.operation_kinds import OperationKinds
from ingot.server.domain.operations import Operations, kind_named
from ingot.server.domain.requests import RequestKey
from ingot.server.rpc import convert_imports, convert_validation, pipeline
from ingot.server.rpc import convert_operations as convert
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.operations_watching import OperationWatcher
from ingot.v1 import operations_pb2 as pb
from ingot.v1 import operations_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class Imports(Protocol):
    """The rules that start imports."""

    def start(self, caller: Caller, key: RequestKey, wanted: WantedImport) -> Operation:
        """Queue an import."""
        ...


class Validations(Protocol):
    """The rules that start validations."""

    def start(
        self,
        caller: Caller,
        key: RequestKey,
        reference: VersionReference,
        rules: Rules,
        options: OperationOptions,
    ) -> Operation:
        """Queue a validation."""
        ...


class Exports(Protocol):
    """The rules that start exports."""

    def start(
        self,
        caller: Caller,
        key: RequestKey,
        wanted: WantedExport,
        options: OperationOptions,
        *,
        validate_only: bool,
    ) -> Operation | None:
        """Queue an export; None with `validate_only`."""
        ...


class UpkeepStarts(Protocol):
    """The rules that start upkeep."""

    def start(self, caller: Caller, key: RequestKey, kind: str, options: OperationOptions) -> Operation:
        """Queue upkeep."""
        ...


@dataclass(frozen=True, slots=True)
class Starts:
    """What can be started."""

    imports: Imports
    validations: Validations
    exports: Exports
    upkeep: UpkeepStarts


class OperationsServicer(operations_pb2_grpc.OperationsServiceServicer):
    """Serves OperationsService."""

    def __init__(
        self,
        hops: Hops,
        operations: Operations,
        kinds: OperationKinds,
        starts: Starts,
        watcher: OperationWatcher,
    ) -> None:
        self._hops = hops
        self._operations = operations
        self._kinds = kinds
        self._starts = starts
        self._watcher = watcher

    # --- starting ---------------------------------------------------------------------------------------

    async def StartImport(self, request: pb.StartImportRequest, context: Context) -> pb.StartImportResponse:
        wanted = convert_imports.wanted_import(request, self._policy("import"))
        start = self._starts.imports.start
        found = await self._hops.write(start, pipeline.caller(), _key(request, request.request_id), wanted)
        pipeline.about(found.name)
        return pb.StartImportResponse(operation=convert.operation(found))

    async def StartValidation(
        self, request: pb.StartValidationRequest, context: Context
    ) -> pb.StartValidationResponse:
        found = await self._hops.write(
            self._starts.validations.start,
            pipeline.caller(),
            _key(request, request.request_id),
            version_reference(request.version, "version"),
            convert_validation.rules_of(request.rules),
            convert_imports.options(request.options, self._policy("validate")),
        )
        pipeline.about(found.name)
        return pb.StartValidationResponse(operation=convert.operation(found))

    async def StartExport(self, request: pb.StartExportRequest, context: Context) -> pb.StartExportResponse:
        hop = self._hops.read if request.validate_only else self._hops.write
        found = await hop(
            self._starts.exports.start,
            pipeline.caller(),
            _key(request, request.request_id),
            convert_imports.wanted_export(request),
            convert_imports.options(request.options, self._policy("export")),
            validate_only=request.validate_only,
        )
        if found is None:
            return pb.StartExportResponse()
        pipeline.about(found.name)
        return pb.StartExportResponse(operation=convert.operation(found))

    async def StartUpkeep(self, request: pb.StartUpkeepRequest, context: Context) -> pb.StartUpkeepResponse:
        kind = convert_imports.upkeep_kind(request.kind)
        found = await self._hops.write(
            self._starts.upkeep.start,
            pipeline.caller(),
            _key(request, request.request_id),
            kind,
            convert_imports.options(request.options, self._policy(kind)),
        )
        pipeline.about(found.name)
        return pb.StartUpkeepResponse(operation=convert.operation(found))

    # --- steering ---------------------------------------------------------------------------------------

    async def CancelOperation(
        self, request: pb.CancelOperationRequest, context: Context
    ) -> pb.CancelOperationResponse:
        name = made_id(request.name, "operations")
        found = await self._hops.write(self._operations.cancel, pipeline.caller(), name, request.etag)
        return pb.CancelOperationResponse(operation=convert.operation(found))

    async def RetryOperation(
        self, request: pb.RetryOperationRequest, context: Context
    ) -> pb.RetryOperationResponse:
        name = made_id(request.name, "operations")
        found = await self._hops.write(self._operations.retry, pipeline.caller(), name, request.etag)
        return pb.RetryOperationResponse(operation=convert.operation(found))

    # --- looking ----------------------------------------------------------------------------------------

    async def ListOperationKinds(
        self, request: pb.ListOperationKindsRequest, context: Context
    ) -> pb.ListOperationKindsResponse:
        found = await self._hops.read(self._kinds.all)
        return pb.ListOperationKindsResponse(kinds=map(convert.kind, found))

    async def GetOperation(
        self, request: pb.GetOperationRequest, context: Context
    ) -> pb.GetOperationResponse:
        name = made_id(request.name, "operations")
        found = await self._hops.read(self._operations.get, pipeline.caller(), name)
        return pb.GetOperationResponse(operation=convert.operation(found))

    async def ListOperations(
        self, request: pb.ListOperationsRequest, context: Context
    ) -> pb.ListOperationsResponse:
        page = await self._hops.read(
            self._operations.page,
            pipeline.caller(),
            convert.filter_of(request),
            request.page_size,
            request.page_token,
        )
        return pb.ListOperationsResponse(
            operations=map(convert.operation, page.items), next_page_token=page.next_token
        )

    async def WatchOperation(
        self, request: pb.WatchOperationRequest, context: Context
    ) -> AsyncIterator[pb.WatchOperationResponse]:
        name = made_id(request.name, "operations")
        found = self._watcher.one(pipeline.caller(), name, request.after)
        async with contextlib.aclosing(found) as messages:
            async for message in messages:
                yield message

    async def WatchOperations(
        self, request: pb.WatchOperationsRequest, context: Context
    ) -> AsyncIterator[pb.WatchOperationsResponse]:
        wanted = OperationFilter(
            kind=request.kind,
            queue=request.queue,
            target=request.target,
            namespace=convert.parent_of(request.parent),
            active_only=request.active_only,
        )
        found = self._watcher.several(pipeline.caller(), wanted, request.resume_token)
        async with contextlib.aclosing(found) as messages:
            async for message in messages:
                yield message

    def _policy(self, kind: str) -> RetryPolicy:
        return self._operations.limits_of(kind_named(kind))[0]


def _key(request: Message, request_id: str) -> RequestKey:
    return RequestKey(request_id, request.SerializeToString(deterministic=True))
