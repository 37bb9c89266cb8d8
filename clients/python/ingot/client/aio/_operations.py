"""Operations, to be awaited. Made from _operations.py by docs/tools/async_form.py."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

from ingot.client._exports import Destination
from ingot.client._imports import ImportSource
from ingot.client._operations import OnOperationProgress, Operations
from ingot.client._references import Reference
from ingot.client._watches import OnBreak
from ingot.client.aio._running import AsyncPart
from ingot.v1 import catalog_pb2
from ingot.v1 import operations_pb2 as pb


class AsyncOperations(AsyncPart[Operations]):
    """Calls of OperationsService; `namespace` is where imports without a target go, else the caller's own."""

    async def start_import(
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
    ) -> "pb.Operation":
        """Start to fetch a Hub repository, files at URLs, a bundle or a registered artifact.

        `source` is any form of `_imports.py`; several files at URLs become one version. Without `target` the
        source gives the name. What is here already ends at once without fetching, unless `force` is set.
        `validate_only` only looks: does it exist, how large is it, is there room.

        `revision` and globs choose from a Hub repository. Of files at URLs there may be a path and a checksum
        for each, in their order; `mirrors` are more addresses of one file. `signer` is the key that must have
        signed a bundle. `fields` describe an artifact that is created now (`artifact_fields`).
        `limit_rate` is in bytes a second.
        """
        return await self._call(
            lambda sdk: sdk.start_import(
                source,
                target,
                revision=revision,
                include=include,
                exclude=exclude,
                paths=paths,
                checksums=checksums,
                mirrors=mirrors,
                unpack=unpack,
                signer=signer,
                changelog=changelog,
                aliases=aliases,
                metadata=metadata,
                fields=fields,
                force=force,
                limit_rate=limit_rate,
                validate_only=validate_only,
                options=options,
                request_id=request_id,
            )
        )

    async def start_validation(
        self,
        version: str | Reference,
        rules: catalog_pb2.ValidationRules | Mapping[str, object] | None = None,
        *,
        options: pb.OperationOptions | None = None,
        request_id: str = "",
    ) -> "pb.Operation":
        """Start to check a version; rules that are not given come from the policy of its artifact.

        Rules may be a mapping by their names in the API, such as {"min_records": 100}.
        """
        return await self._call(
            lambda sdk: sdk.start_validation(version, rules, options=options, request_id=request_id)
        )

    async def start_export(
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
    ) -> "pb.Operation | None":
        """Start to write versions to a folder of the server, a Hub repository or a signed bundle.

        `destination` is a folder (empty for the mount point), hf://OWNER/NAME or FILE.ingot. `layout` and
        `keep` are about folders, `since` about bundles, the next three about the Hub. With `validate_only`
        nothing is written, and None is returned when all is well.
        """
        return await self._call(
            lambda sdk: sdk.start_export(
                sources,
                destination,
                layout=layout,
                keep=keep,
                since=since,
                private=private,
                branch=branch,
                message=message,
                validate_only=validate_only,
                options=options,
                request_id=request_id,
            )
        )

    async def start_upkeep(
        self, kind: str, *, options: pb.OperationOptions | None = None, request_id: str = ""
    ) -> "pb.Operation":
        """Start upkeep of the store now: clean, collect, scrub, verify or backup; for administrators."""
        return await self._call(lambda sdk: sdk.start_upkeep(kind, options=options, request_id=request_id))

    async def get(self, operation: str) -> "pb.Operation":
        """Return one operation."""
        return await self._call(lambda sdk: sdk.get(operation))

    def list(
        self,
        *,
        kind: str = "",
        state: pb.OperationState.ValueType = pb.OPERATION_STATE_UNSPECIFIED,
        queue: str = "",
        target: str = "",
        namespace: str = "",
        limit: int | None = None,
    ) -> "AsyncIterator[pb.Operation]":
        """Yield operations, newest first: those that one asked for, or of a `namespace` that one reads.

        `target` is the long name of what they work on; the namespace `-` is every one that one reads.
        """
        return self._each(
            lambda sdk: sdk.list(
                kind=kind, state=state, queue=queue, target=target, namespace=namespace, limit=limit
            )
        )

    async def cancel(self, operation: str, *, etag: str = "") -> "pb.Operation":
        """Ask an operation to stop; one that waits is cancelled at once."""
        return await self._call(lambda sdk: sdk.cancel(operation, etag=etag))

    async def retry(self, operation: str, *, etag: str = "") -> "pb.Operation":
        """Queue a failed or cancelled operation again; one that waits for another try is tried at once."""
        return await self._call(lambda sdk: sdk.retry(operation, etag=etag))

    async def kinds(self) -> "Sequence[pb.OperationKind]":
        """Return what the server can do in the background, with the JSON Schema of parameters and results."""
        return await self._call(lambda sdk: sdk.kinds())

    def watch(
        self, operation: str, *, after: int = 0, on_break: OnBreak | None = None
    ) -> "AsyncIterator[pb.WatchOperationResponse]":
        """Yield the operation as it is, its events after number `after`, `synced`, then each as it happens.

        Ends after a final state. Broken connections are resumed without losing or doubling an event, so
        `snapshot` and `synced` come once each; heartbeats are kept back.
        """
        return self._each(
            lambda sdk: sdk.watch(operation, after=after, on_break=self._on_loop(on_break)), apart=True
        )

    def watch_all(
        self,
        *,
        kind: str = "",
        queue: str = "",
        target: str = "",
        active_only: bool = False,
        resume_token: str = "",
        on_break: OnBreak | None = None,
    ) -> "AsyncIterator[pb.WatchOperationsResponse]":
        """Yield the latest state of every operation that matches, `synced` once, then each change.

        It does not end by itself. States in between may be skipped. Broken connections are resumed with the
        token of the last message; give that as `resume_token` to go on later. `active_only` leaves out what
        had ended before.
        """
        return self._each(
            lambda sdk: sdk.watch_all(
                kind=kind,
                queue=queue,
                target=target,
                active_only=active_only,
                resume_token=resume_token,
                on_break=self._on_loop(on_break),
            ),
            apart=True,
        )

    async def wait(
        self,
        operation: str,
        *,
        on_progress: OnOperationProgress | None = None,
        on_break: OnBreak | None = None,
    ) -> "pb.Operation":
        """Wait until an operation has succeeded and return it.

        One that failed raises the error of its problem, the same that a call refused for that reason raises;
        one that was cancelled raises Cancelled. `on_progress` is told how far it is.
        """
        return await self._call_told(
            lambda sdk, told: sdk.wait(operation, on_progress=told, on_break=self._on_loop(on_break)),
            on_progress,
            apart=True,
        )
