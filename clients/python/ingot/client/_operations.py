"""Background work of the server: start it, look at it, follow it, stop it.

    operation = client.operations.start_import("hf://google/flan-t5-small")
    client.operations.wait(operation.name)      # raises what kept it from its result

Starting the same again while it runs gives the operation that runs. An operation may be named `12`, `op_12`
or `operations/op_12`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from ingot.client import _exports, _filling, _imports, _names, _pages, _problems, _structs, _watches
from ingot.client._calls import Calls, new_id
from ingot.client._channels import Link
from ingot.client._exports import Destination, ExportChoice
from ingot.client._imports import ImportChoice, ImportSource
from ingot.client._names import Names
from ingot.client._references import Reference
from ingot.client._watches import OnBreak
from ingot.v1 import catalog_pb2, common_pb2, operations_pb2_grpc
from ingot.v1 import operations_pb2 as pb

OnOperationProgress = Callable[[common_pb2.Progress], None]
UPKEEP = {
    name.removeprefix("UPKEEP_KIND_").lower(): value
    for name, value in pb.UpkeepKind.items()
    if value != pb.UPKEEP_KIND_UNSPECIFIED
}


class Operations:
    """Calls of OperationsService; `namespace` is where imports without a target go, else the caller's own."""

    def __init__(self, link: Link, calls: Calls, names: Names, namespace: str = "") -> None:
        self._stub = operations_pb2_grpc.OperationsServiceStub(link.channel)
        self._calls = calls
        self._names = names
        self._namespace = namespace

    # --- starting ---------------------------------------------------------------------------------------

    def start_import(
        self,
        source: ImportSource | Sequence[ImportSource],
        target: str | Reference | None = None,
        *,
        revision: str = "",
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        paths: Sequence[str] = (),
        checksums: Sequence[str] = (),
        mirrors: Sequence[str] = (),
        unpack: bool = False,
        signer: str = "",
        changelog: str = "",
        aliases: Sequence[str] = (),
        metadata: Mapping[str, object] | None = None,
        fields: catalog_pb2.Artifact | None = None,
        force: bool = False,
        limit_rate: float = 0.0,
        validate_only: bool = False,
        options: pb.OperationOptions | None = None,
        request_id: str = "",
    ) -> pb.Operation:
        """Start to fetch a Hub repository, files at URLs, a bundle or a registered artifact.

        `source` is any form of `_imports.py`; several files at URLs become one version. Without `target` the
        source gives the name. What is here already ends at once without fetching, unless `force` is set.
        `validate_only` only looks: does it exist, how large is it, is there room.

        `revision` and globs choose from a Hub repository. Of files at URLs there may be a path and a checksum
        for each, in their order; `mirrors` are more addresses of one file. `signer` is the key that must have
        signed a bundle. `fields` describe an artifact that is created now (`artifact_fields`).
        `limit_rate` is in bytes a second.
        """
        choice = ImportChoice(revision, include, exclude, paths, checksums, mirrors, unpack, signer)
        several = isinstance(source, Sequence) and not isinstance(source, str)
        request, found = _imports.request_of(source if several else [source], choice, self._names)  # type: ignore[list-item, arg-type]  # `several` has told them apart
        new = _imports.target_of(target, found, self._names, self._namespace, fields)
        new.changelog = changelog
        new.aliases.extend(aliases)
        if metadata:
            new.metadata.CopyFrom(_structs.struct_of(metadata, "metadata"))
        request.target.CopyFrom(new)
        request.force = force
        request.max_bytes_per_second = int(limit_rate)
        request.validate_only = validate_only
        request.request_id = request_id or new_id()
        if options is not None:
            request.options.CopyFrom(options)
        return self._calls.unary(self._stub.StartImport, request).operation

    def start_validation(
        self,
        version: str | Reference,
        rules: catalog_pb2.ValidationRules | Mapping[str, object] | None = None,
        *,
        options: pb.OperationOptions | None = None,
        request_id: str = "",
    ) -> pb.Operation:
        """Start to check a version; rules that are not given come from the policy of its artifact.

        Rules may be a mapping by their names in the API, such as {"min_records": 100}.
        """
        request = pb.StartValidationRequest(
            version=self._names.version(version),
            rules=_filling.filled(catalog_pb2.ValidationRules(), rules, "rules"),
            options=options,
            request_id=request_id or new_id(),
        )
        return self._calls.unary(self._stub.StartValidation, request).operation

    def start_export(
        self,
        sources: str | Reference | Sequence[str | Reference],
        destination: Destination,
        *,
        layout: str = "name",
        keep: bool = False,
        since: datetime | None = None,
        private: bool = False,
        branch: str = "",
        message: str = "",
        validate_only: bool = False,
        options: pb.OperationOptions | None = None,
        request_id: str = "",
    ) -> pb.Operation | None:
        """Start to write versions to a folder of the server, a Hub repository or a signed bundle.

        `destination` is a folder (empty for the mount point), hf://OWNER/NAME or FILE.ingot. `layout` and
        `keep` are about folders, `since` about bundles, the next three about the Hub. With `validate_only`
        nothing is written, and None is returned when all is well.
        """
        named = [sources] if isinstance(sources, str | Reference) else list(sources)
        request = pb.StartExportRequest(
            sources=[self._names.version(each) for each in named],
            options=options,
            request_id=request_id or new_id(),
            validate_only=validate_only,
        )
        choice = ExportChoice(layout, keep, since, private, branch, message)
        _exports.fill(request, destination, choice)
        reply = self._calls.unary(self._stub.StartExport, request)
        return reply.operation if reply.HasField("operation") else None

    def start_upkeep(
        self, kind: str, *, options: pb.OperationOptions | None = None, request_id: str = ""
    ) -> pb.Operation:
        """Start upkeep of the store now: clean, collect, scrub, verify or backup; for administrators."""
        request = pb.StartUpkeepRequest(
            kind=_filling.one_of(kind, UPKEEP, "kind"), options=options, request_id=request_id or new_id()
        )
        return self._calls.unary(self._stub.StartUpkeep, request).operation

    # --- looking and steering ---------------------------------------------------------------------------

    def get(self, operation: str) -> pb.Operation:
        """Return one operation."""
        request = pb.GetOperationRequest(name=_names.operation_name(operation))
        return self._calls.unary(self._stub.GetOperation, request).operation

    def list(
        self,
        *,
        kind: str = "",
        state: pb.OperationState.ValueType = pb.OPERATION_STATE_UNSPECIFIED,
        queue: str = "",
        target: str = "",
        namespace: str = "",
        limit: int | None = None,
    ) -> Iterator[pb.Operation]:
        """Yield operations, newest first: those that one asked for, or of a `namespace` that one reads.

        `target` is the long name of what they work on; the namespace `-` is every one that one reads.
        """
        parent = f"namespaces/{namespace.removeprefix('namespaces/')}" if namespace else ""

        def page(size: int, token: str) -> tuple[Sequence[pb.Operation], str]:
            request = pb.ListOperationsRequest(
                page_size=size,
                page_token=token,
                kind=kind,
                state=state,
                queue=queue,
                target=target,
                parent=parent,
            )
            reply = self._calls.unary(self._stub.ListOperations, request)
            return reply.operations, reply.next_page_token

        return _pages.walk(page, limit)

    def cancel(self, operation: str, *, etag: str = "") -> pb.Operation:
        """Ask an operation to stop; one that waits is cancelled at once."""
        request = pb.CancelOperationRequest(name=_names.operation_name(operation), etag=etag)
        return self._calls.unary(self._stub.CancelOperation, request).operation

    def retry(self, operation: str, *, etag: str = "") -> pb.Operation:
        """Queue a failed or cancelled operation again; one that waits for another try is tried at once."""
        request = pb.RetryOperationRequest(name=_names.operation_name(operation), etag=etag)
        return self._calls.unary(self._stub.RetryOperation, request).operation

    def kinds(self) -> Sequence[pb.OperationKind]:
        """Return what the server can do in the background, with the JSON Schema of parameters and results."""
        return self._calls.unary(self._stub.ListOperationKinds, pb.ListOperationKindsRequest()).kinds

    # --- following --------------------------------------------------------------------------------------

    def watch(
        self, operation: str, *, after: int = 0, on_break: OnBreak | None = None
    ) -> Iterator[pb.WatchOperationResponse]:
        """Yield the operation as it is, its events after number `after`, `synced`, then each as it happens.

        Ends after a final state. Broken connections are resumed without losing or doubling an event, so
        `snapshot` and `synced` come once each; heartbeats are kept back.
        """
        name = _names.operation_name(operation)

        def open_stream(position: int) -> Iterator[pb.WatchOperationResponse]:
            request = pb.WatchOperationRequest(name=name, after=position)
            return self._calls.stream(self._stub.WatchOperation, request)

        return _watches.follow_one(self._calls, open_stream, after, on_break)

    def watch_all(
        self,
        *,
        kind: str = "",
        queue: str = "",
        target: str = "",
        active_only: bool = False,
        resume_token: str = "",
        on_break: OnBreak | None = None,
    ) -> Iterator[pb.WatchOperationsResponse]:
        """Yield the latest state of every operation that matches, `synced` once, then each change.

        It does not end by itself. States in between may be skipped. Broken connections are resumed with the
        token of the last message; give that as `resume_token` to go on later. `active_only` leaves out what
        had ended before.
        """

        def open_stream(token: str) -> Iterator[pb.WatchOperationsResponse]:
            request = pb.WatchOperationsRequest(
                kind=kind, queue=queue, target=target, active_only=active_only, resume_token=token
            )
            return self._calls.stream(self._stub.WatchOperations, request)

        synced = False
        for message in _watches.go_on(
            self._calls, open_stream, lambda before, now: now.resume_token or before, resume_token, on_break
        ):
            found = message.WhichOneof("message")
            if found == "operation" or (found == "synced" and not synced):
                synced = synced or found == "synced"
                yield message

    def wait(
        self,
        operation: str,
        *,
        on_progress: OnOperationProgress | None = None,
        on_break: OnBreak | None = None,
    ) -> pb.Operation:
        """Wait until an operation has succeeded and return it.

        One that failed raises the error of its problem, the same that a call refused for that reason raises;
        one that was cancelled raises Cancelled. `on_progress` is told how far it is.
        """
        for message in self.watch(operation, on_break=on_break):
            if on_progress is None:
                continue
            if message.HasField("snapshot") and message.snapshot.HasField("progress"):
                on_progress(message.snapshot.progress)
            elif message.HasField("event") and message.event.HasField("progress"):
                on_progress(message.event.progress)
        found = self.get(operation)
        _problems.check(found)
        return found


def operation_options(
    *,
    priority: int = 0,
    max_attempts: int = 0,
    delay: timedelta | None = None,
    multiplier: float = 0.0,
    timeout: timedelta | None = None,
) -> pb.OperationOptions:
    """Return how an operation differs from others of its kind; higher priority runs first."""
    options = pb.OperationOptions(priority=priority)
    if max_attempts or delay is not None or multiplier:
        options.retry_policy.max_attempts = max_attempts
        options.retry_policy.multiplier = multiplier
        if delay is not None:
            options.retry_policy.delay.CopyFrom(_filling.duration_of(delay))
    if timeout is not None:
        options.timeout.CopyFrom(_filling.duration_of(timeout))
    return options
