"""TransferService: moves bytes in and out. Add it to a server with `bulk_messages.add_servicer`."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar

import grpc

from ingot.server.core.clock import Clock
from ingot.server.core.data_addresses import DataAddresses
from ingot.server.core.errors import Precondition, Reason
from ingot.server.core.identity import Caller
from ingot.server.core.names import (
    AliasName,
    ArtifactName,
    TreeName,
    UploadName,
    made_id,
    namespace_id,
    tree_name,
)
from ingot.server.core.operations import Operation
from ingot.server.core.peers import LOCAL
from ingot.server.core.registrations import being_fetched
from ingot.server.core.stores import PackStore
from ingot.server.core.uploads import TransferLimits
from ingot.server.domain.chunk_intake import ChunkIntake
from ingot.server.domain.commits import Commits
from ingot.server.domain.downloads import Downloads, OpenedTree
from ingot.server.domain.failed_uploads import FailedUploads
from ingot.server.domain.file_uploads import FileUploads
from ingot.server.domain.requests import RequestKey, checked_id
from ingot.server.domain.stream_slots import StreamSlots
from ingot.server.domain.upload_views import UploadViews
from ingot.server.domain.uploads import Uploads
from ingot.server.rpc import convert_catalog, patience, pipeline
from ingot.server.rpc import convert_transfer as convert
from ingot.server.rpc.bulk_messages import PutChunksMessage
from ingot.server.rpc.committing import Committer
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.put_chunk import ChunkTaker
from ingot.server.rpc.put_chunks import ChunkReceiver, LocalRows
from ingot.server.rpc.read_bytes import ByteSender, TreeRows
from ingot.server.rpc.tails import Tails
from ingot.server.rpc.upload_file import FileMeans, FileReceiver
from ingot.server.rpc.uploads_watching import UploadWatcher
from ingot.v1 import transfer_pb2, transfer_pb2_grpc

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
M = TypeVar("M")
R = TypeVar("R")
P = ParamSpec("P")

_PUT_AT_ONCE = 8  # manifests: each takes some ten megabytes while it is read


class Fetches(Protocol):
    """Who fetches what is registered but not here."""

    def on_access(self, caller: Caller, artifact: ArtifactName) -> Operation | None:
        """Return the import that fetches an artifact, started once; None when it is here by now.

        Raises Precondition (NOT_FETCHED) with what the last import failed with.
        """
        ...


class TransferServicer(transfer_pb2_grpc.TransferServiceServicer):
    """Serves TransferService."""

    def __init__(
        self,
        hops: Hops,
        uploads: Uploads,
        failed: FailedUploads,
        intake: ChunkIntake,
        commits: Commits,
        files: FileUploads,
        downloads: Downloads,
        views: UploadViews,
        tails: Tails,
        packs: PackStore,
        clock: Clock,
        limits: TransferLimits,
        draining: Callable[[], bool],
        fetches: Fetches,
        data_addresses: DataAddresses,
    ) -> None:
        self._hops = hops
        self._uploads = uploads
        self._failed = failed
        self._intake = intake
        self._commits = commits
        self._downloads = downloads
        self._views = views
        self._clock = clock
        self._limits = limits
        self._draining = draining
        self._fetches = fetches
        self._data_addresses = data_addresses
        self._receiver = ChunkReceiver(hops, packs, limits)
        self._taker = ChunkTaker(hops, intake, packs)
        self._committer = Committer(hops, commits)
        self._files = FileReceiver(FileMeans(hops, files, intake, commits, self._committer, packs, limits))
        self._sender = ByteSender(hops, packs)
        self._watcher = UploadWatcher(hops, views, tails, clock)
        self._readers = StreamSlots(limits.max_read_streams)
        self._watches = StreamSlots(limits.max_watch_streams)
        self._manifests = StreamSlots(limits.max_manifest_calls, "PutManifest calls")
        self._putting = asyncio.Semaphore(_PUT_AT_ONCE)

    async def GetCapabilities(
        self, request: transfer_pb2.GetCapabilitiesRequest, context: Context
    ) -> transfer_pb2.GetCapabilitiesResponse:
        found = convert.capabilities(self._limits, self._clock.now(), draining=self._draining())
        found.data_addresses.extend(self._data_addresses.told(local=pipeline.address() == LOCAL))
        return found

    # --- uploads ----------------------------------------------------------------------------------------

    async def BeginUpload(
        self, request: transfer_pb2.BeginUploadRequest, context: Context
    ) -> transfer_pb2.BeginUploadResponse:
        draft, payload = convert.draft_of(request), request.SerializeToString(deterministic=True)
        upload = await self._hops.write(
            self._uploads.begin, pipeline.caller(), draft, request.request_id, payload
        )
        pipeline.about(str(upload.name))
        return transfer_pb2.BeginUploadResponse(upload=convert.upload(upload))

    async def FindMissing(
        self, request: transfer_pb2.FindMissingRequest, context: Context
    ) -> transfer_pb2.FindMissingResponse:
        name = _upload_name(request.upload, "upload")
        found = await self._hops.write(self._intake.find_missing, pipeline.caller(), name, request.digests)
        return convert.presence(found)

    async def PutChunks(
        self, request_iterator: AsyncIterator[PutChunksMessage], context: Context
    ) -> transfer_pb2.PutChunksResponse:
        caller = pipeline.caller()
        admit = partial(LocalRows.admitted, self._hops, self._intake, caller)
        with self._intake.slot(caller):
            return convert.receipt(await self._receiver.receive(admit, request_iterator))

    async def PutChunk(
        self, request: transfer_pb2.PutChunkRequest, context: Context
    ) -> transfer_pb2.PutChunkResponse:
        name = _upload_name(request.upload, "upload")
        receipt, digest = await self._taker.take(pipeline.caller(), name, request.data, request.digest)
        return convert.chunk_receipt(receipt, digest)

    async def UploadFile(
        self, request_iterator: AsyncIterator[transfer_pb2.UploadFileRequest], context: Context
    ) -> transfer_pb2.UploadFileResponse:
        return convert.uploaded_file(await self._files.receive(pipeline.caller(), request_iterator))

    async def PutManifest(
        self, request: transfer_pb2.PutManifestRequest, context: Context
    ) -> transfer_pb2.PutManifestResponse:
        name, caller = _upload_name(request.upload, "upload"), pipeline.caller()
        self._commits.check_count(len(request.files))
        with self._manifests.slot(caller):
            async with self._putting:
                files = await self._hops.io(lambda: self._commits.prepare(convert.files_of(request)))
                while request.reset and await self._hops.prepare(self._commits.clear_manifest, caller, name):
                    pass
                put = self._commits.put_manifest
                upload = await self._hops.write(put, caller, name, files, reset=request.reset)
        return transfer_pb2.PutManifestResponse(
            file_count=upload.file_count, size_bytes=upload.manifest_bytes
        )

    async def CommitUpload(
        self, request: transfer_pb2.CommitUploadRequest, context: Context
    ) -> transfer_pb2.CommitUploadResponse:
        name = _upload_name(request.upload, "upload")
        if request.request_id:
            checked_id(request.request_id)
        done = await self._committer.commit(
            pipeline.caller(), name, request.expected_digest, request.file_count
        )
        version = convert_catalog.version_message(done.version) if done.version else None
        return transfer_pb2.CommitUploadResponse(upload=convert.upload(done.upload), version=version)

    async def GetUpload(
        self, request: transfer_pb2.GetUploadRequest, context: Context
    ) -> transfer_pb2.GetUploadResponse:
        upload = await self._hops.read(
            self._uploads.find, pipeline.caller(), _upload_name(request.name, "name")
        )
        return transfer_pb2.GetUploadResponse(upload=convert.upload(upload))

    async def ListUploads(
        self, request: transfer_pb2.ListUploadsRequest, context: Context
    ) -> transfer_pb2.ListUploadsResponse:
        parent, stage = namespace_id(request.parent, any_allowed=True), convert.stage_of(request.stage)
        page = await self._hops.read(
            self._uploads.page, pipeline.caller(), parent, stage, request.page_size, request.page_token
        )
        return transfer_pb2.ListUploadsResponse(
            uploads=[convert.upload(each) for each in page.items], next_page_token=page.next_token
        )

    async def AbortUpload(
        self, request: transfer_pb2.AbortUploadRequest, context: Context
    ) -> transfer_pb2.AbortUploadResponse:
        name = _upload_name(request.name, "name")
        caller = pipeline.caller()
        upload = await self._hops.write(self._uploads.abort, caller, name)
        while await self._hops.keep(self._uploads.clear_aborted, caller, name):
            pass
        return transfer_pb2.AbortUploadResponse(upload=convert.upload(upload))

    async def RenewUpload(
        self, request: transfer_pb2.RenewUploadRequest, context: Context
    ) -> transfer_pb2.RenewUploadResponse:
        name = _upload_name(request.name, "name")
        upload = await self._hops.write(self._uploads.renew, pipeline.caller(), name)
        return transfer_pb2.RenewUploadResponse(upload=convert.upload(upload))

    async def RetryUpload(
        self, request: transfer_pb2.RetryUploadRequest, context: Context
    ) -> transfer_pb2.RetryUploadResponse:
        key = RequestKey(request.request_id, request.SerializeToString(deterministic=True))
        upload = await self._hops.write(
            self._failed.retry, pipeline.caller(), _upload_name(request.name, "name"), key
        )
        return transfer_pb2.RetryUploadResponse(upload=convert.upload(upload))

    async def PurgeUploads(
        self, request: transfer_pb2.PurgeUploadsRequest, context: Context
    ) -> transfer_pb2.PurgeUploadsResponse:
        caller, seconds = pipeline.caller(), convert.purge_age_of(request)
        purged = 0
        while some := await self._hops.write(
            self._failed.purge, caller, seconds, all_users=request.all_users
        ):
            purged += some
        while await self._hops.keep(self._failed.sweep):
            pass
        log.info("uploads.purged count=%d principal=%s", purged, caller.principal)
        return transfer_pb2.PurgeUploadsResponse(purged=purged)

    async def WatchUpload(
        self, request: transfer_pb2.WatchUploadRequest, context: Context
    ) -> AsyncIterator[transfer_pb2.WatchUploadResponse]:
        name, caller = _upload_name(request.name, "name"), pipeline.caller()
        pipeline.hold(self._watches.slot(caller))
        found = self._watcher.watch(caller, name, request.after)
        async with contextlib.aclosing(found) as messages:
            async for message in messages:
                yield message

    async def GetUploadStats(
        self, request: transfer_pb2.GetUploadStatsRequest, context: Context
    ) -> transfer_pb2.GetUploadStatsResponse:
        parent = namespace_id(request.parent, any_allowed=True)
        first, last = convert.days_of(request)
        found = await self._hops.read(
            self._views.stats, pipeline.caller(), parent, first, last, all_users=request.all_users
        )
        return convert.upload_stats(found)

    # --- reading ----------------------------------------------------------------------------------------

    async def StatFile(
        self, request: transfer_pb2.StatFileRequest, context: Context
    ) -> transfer_pb2.StatFileResponse:
        name = tree_name(request.tree)
        found, tree = await self._reading(name, self._downloads.stat, pipeline.caller(), name, request.path)
        return transfer_pb2.StatFileResponse(file=convert.file(found), tree=tree)

    async def ListFiles(
        self, request: transfer_pb2.ListFilesRequest, context: Context
    ) -> transfer_pb2.ListFilesResponse:
        name = tree_name(request.tree)
        page, tree = await self._reading(
            name,
            self._downloads.files,
            pipeline.caller(),
            name,
            request.page_size,
            request.page_token,
        )
        files = [convert.file(each) for each in page.items]
        return transfer_pb2.ListFilesResponse(files=files, next_page_token=page.next_token, tree=tree)

    async def ReadManifest(
        self, request: transfer_pb2.ReadManifestRequest, context: Context
    ) -> AsyncIterator[transfer_pb2.ReadManifestResponse]:
        opened = await self.open_tree(request.tree, request.download_id)
        async for message in self._waited_for(self._manifest(opened, request.path)):
            yield message

    async def ReadFile(  # type: ignore[override]  # its messages are serialised already
        self, request: transfer_pb2.ReadFileRequest, context: Context
    ) -> AsyncIterator[bytes]:
        opened = await self.open_tree(request.tree, request.download_id)
        rows = TreeRows(self._hops, self._downloads, opened)
        found = self._sender.file_range(rows, request.path, request.offset, request.length)
        async for message in self._waited_for(found):
            yield message

    async def ReadChunks(  # type: ignore[override]  # likewise
        self, request: transfer_pb2.ReadChunksRequest, context: Context
    ) -> AsyncIterator[bytes]:
        runs = convert.runs_of(request, self._limits.max_ranges)
        opened = await self.open_tree(request.tree, request.download_id)
        rows = TreeRows(self._hops, self._downloads, opened)
        async for message in self._waited_for(self._sender.chunks(rows, runs)):
            yield message

    async def _manifest(
        self, opened: OpenedTree, path: str
    ) -> AsyncGenerator[transfer_pb2.ReadManifestResponse, None]:
        page = await self._hops.read(self._downloads.manifest_page, opened, None, path)
        yield transfer_pb2.ReadManifestResponse(header=convert.manifest_header(opened))
        while True:
            for message in convert.manifest_messages(page):
                yield message
            if page.after is None:
                return
            page = await self._hops.read(self._downloads.manifest_page, opened, page.after, path)

    def _waited_for(self, replies: AsyncGenerator[M, None]) -> AsyncIterator[M]:
        return patience.waited_for(replies, self._limits.read_idle_seconds)

    async def open_tree(self, tree: str, download_id: str) -> OpenedTree:
        """Return the tree of a stream of replies, which counts from here. Raises Exhausted (BUSY)."""
        caller = pipeline.caller()
        pipeline.hold(self._readers.slot(caller))
        name = tree_name(tree)
        opened = await self._reading(name, self._downloads.open, caller, name)
        pipeline.about(opened.name)  # the record tells of the version, whatever alias was asked for
        self._downloads.count(caller, opened, download_id)
        return opened

    async def _reading(self, name: TreeName, rule: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a rule inside a read; where the files are not here, start fetching them and say so.

        Raises Precondition (NOT_FETCHED), which names the import to wait for.
        """
        try:
            return await self._hops.read(rule, *args, **kwargs)
        except Precondition as error:
            caller = pipeline.caller()
            if error.reason is not Reason.NOT_FETCHED or caller.operation:
                raise
            if not isinstance(name, ArtifactName | AliasName):
                raise
            artifact = name if isinstance(name, ArtifactName) else name.artifact
            operation = await self._hops.write(self._fetches.on_access, caller, artifact)
            if operation is None:
                raise
            raise being_fetched(error, operation.name) from error


def _upload_name(text: str, field: str) -> UploadName:
    return UploadName(made_id(text, "uploads", field))
