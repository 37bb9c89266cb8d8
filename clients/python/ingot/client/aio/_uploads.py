"""Uploads, to be awaited. Made from _uploads.py by docs/tools/async_form.py."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

from ingot.client._names import AnyName
from ingot.client._progress import OnProgress
from ingot.client._sending import Source
from ingot.client._uploads import Uploads
from ingot.client._watches import OnBreak
from ingot.client.aio._open_upload import AsyncOpenUpload
from ingot.client.aio._running import AsyncPart
from ingot.v1 import common_pb2
from ingot.v1 import transfer_pb2 as pb


class AsyncUploads(AsyncPart[Uploads]):
    """Calls about uploads; one may be given as `12`, `file_12` or by its long name."""

    async def get(self, upload: str) -> "pb.Upload":
        """Return one upload with its state and progress."""
        return await self._call(lambda sdk: sdk.get(upload))

    def list(
        self,
        *,
        namespace: str | None = None,
        stage: pb.UploadStage.ValueType = pb.UPLOAD_STAGE_UNSPECIFIED,
        limit: int | None = None,
    ) -> "AsyncIterator[pb.Upload]":
        """Yield one's uploads, newest first."""
        return self._each(lambda sdk: sdk.list(namespace=namespace, stage=stage, limit=limit))

    async def abort(self, upload: str) -> "pb.Upload":
        """Give up an upload; its chunks stay for a while, so that pushing again is quick."""
        return await self._call(lambda sdk: sdk.abort(upload))

    async def renew(self, upload: str) -> "pb.Upload":
        """Extend the life of an open upload."""
        return await self._call(lambda sdk: sdk.renew(upload))

    async def wait(
        self, upload: str, *, on_progress: "Callable[[common_pb2.Progress], None] | None" = None
    ) -> "pb.Upload":
        """Wait until an upload is fresh: committed, and validated where that is required.

        Raises why it failed. `on_progress` is told how far its validation is.
        """
        return await self._call_told(
            lambda sdk, told: sdk.wait(upload, on_progress=told), on_progress, apart=True
        )

    def watch(
        self, upload: str, *, after: int = 0, on_break: OnBreak | None = None
    ) -> "AsyncIterator[pb.WatchUploadResponse]":
        """Yield the upload as it is, its events after number `after`, `synced`, then each as it happens.

        Ends when the upload is fresh or failed, after its validation too. Broken connections are resumed
        without losing or doubling an event, so `snapshot` and `synced` come once each.
        """
        return self._each(
            lambda sdk: sdk.watch(upload, after=after, on_break=self._on_loop(on_break)), apart=True
        )

    async def stats(
        self,
        *,
        namespace: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        all_users: bool = False,
    ) -> "pb.GetUploadStatsResponse":
        """Count one's uploads by how they ended, those that began on the days (UTC) from `since` to `until`.

        `all_users` is for administrators.
        """
        return await self._call(
            lambda sdk: sdk.stats(namespace=namespace, since=since, until=until, all_users=all_users)
        )

    async def send(
        self,
        target: pb.NewVersion | str,
        source: "Source",
        *,
        path: str,
        size_bytes: int | None = None,
        description: str = "",
        request_id: str = "",
    ) -> "pb.UploadFileResponse":
        """Send one file as it flows, from a pipe or a program: to a new version, or into an open upload.

        `source` is what reads up to so many bytes, as `sys.stdin.buffer.read`, or gives them in pieces. The
        version has this file alone; `target` is a name for an open upload. Nothing counts unless all of
        it came. It is not tried again by itself, since `source` cannot be read twice: with the same
        `request_id` that is safe.
        """
        return await self._call(
            lambda sdk: sdk.send(
                target,
                source,
                path=path,
                size_bytes=size_bytes,
                description=description,
                request_id=request_id,
            )
        )

    async def put_chunk(self, upload: str, data: bytes) -> "pb.PutChunkResponse":
        """Store one chunk of an open upload; `push` and `send` are better for files."""
        return await self._call(lambda sdk: sdk.put_chunk(upload, data))

    async def retry(self, upload: str) -> "pb.Upload":
        """Try a failed upload again: one that expired is open again, a rejected version is validated again.

        Push the same files to fill one that is open; what is stored still does not travel.
        """
        return await self._call(lambda sdk: sdk.retry(upload))

    async def purge(self, *, older_than: timedelta | None = None, all_users: bool = False) -> "int":
        """Forget one's uploads that failed longer ago, 24 hours unless told otherwise; return how many.

        Versions that were rejected go with them. `all_users` is for administrators.
        """
        return await self._call(lambda sdk: sdk.purge(older_than=older_than, all_users=all_users))

    def open(
        self,
        target: pb.NewVersion,
        *,
        size_bytes: int = 0,
        original_name: str = "",
        request_id: str = "",
        on_progress: "OnProgress | None" = None,
    ) -> "AsyncOpenUpload":
        """Begin an upload that is filled file by file; the same request id goes on with the same upload.

        `size_bytes` is about how much will come, 0 when that is not known. Raises Invalid (UPLOAD_CLOSED)
        when the upload of that request id was aborted or has expired.
        """
        of = self._part
        return AsyncOpenUpload(
            self._running,
            lambda client: of(client).open(
                target,
                size_bytes=size_bytes,
                original_name=original_name,
                request_id=request_id,
                on_progress=self._on_loop(on_progress),
            ),
        )

    def files(self, tree: AnyName, *, limit: int | None = None) -> "AsyncIterator[pb.FileEntry]":
        """Yield the files of a version, checkpoint or open upload in byte order of their paths."""
        return self._each(lambda sdk: sdk.files(tree, limit=limit))

    async def file(self, ref: AnyName) -> "pb.FileEntry":
        """Return one file: size, digests, format."""
        return await self._call(lambda sdk: sdk.file(ref))

    async def capabilities(self) -> "pb.GetCapabilitiesResponse":
        """Return all limits of the server."""
        return await self._call(lambda sdk: sdk.capabilities())
