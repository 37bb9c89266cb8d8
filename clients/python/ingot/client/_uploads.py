"""Uploads as resources: what is open, staged or failed, and files of any tree."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ingot.client import _filling, _names, _pages, _watches
from ingot.client._calls import Calls, new_id
from ingot.client._channels import Link
from ingot.client._names import AnyName, Names
from ingot.client._watches import OnBreak
from ingot.content import digests
from ingot.v1 import transfer_pb2 as pb
from ingot.v1 import transfer_pb2_grpc

if TYPE_CHECKING:  # what moves bytes is imported when bytes move
    from ingot.client._open_upload import OpenUpload
    from ingot.client._progress import OnProgress
    from ingot.client._sending import Source
    from ingot.v1 import common_pb2


class Uploads:
    """Calls about uploads; one may be given as `12`, `file_12` or by its long name."""

    def __init__(self, link: Link, calls: Calls, names: Names) -> None:
        self._link = link
        self._stub = transfer_pb2_grpc.TransferServiceStub(link.channel)
        self._calls = calls
        self._names = names

    def get(self, upload: str) -> pb.Upload:
        """Return one upload with its state and progress."""
        request = pb.GetUploadRequest(name=_names.upload_name(upload))
        return self._calls.unary(self._stub.GetUpload, request).upload

    def list(
        self,
        *,
        namespace: str | None = None,
        stage: pb.UploadStage.ValueType = pb.UPLOAD_STAGE_UNSPECIFIED,
        limit: int | None = None,
    ) -> Iterator[pb.Upload]:
        """Yield one's uploads, newest first."""

        def page(size: int, token: str) -> tuple[Sequence[pb.Upload], str]:
            request = pb.ListUploadsRequest(
                parent=self._names.parent(namespace), stage=stage, page_size=size, page_token=token
            )
            reply = self._calls.unary(self._stub.ListUploads, request)
            return reply.uploads, reply.next_page_token

        return _pages.walk(page, limit)

    def abort(self, upload: str) -> pb.Upload:
        """Give up an upload; its chunks stay for a while, so that pushing again is quick."""
        request = pb.AbortUploadRequest(name=_names.upload_name(upload), request_id=new_id())
        return self._calls.unary(self._stub.AbortUpload, request).upload

    def renew(self, upload: str) -> pb.Upload:
        """Extend the life of an open upload."""
        request = pb.RenewUploadRequest(name=_names.upload_name(upload))
        return self._calls.unary(self._stub.RenewUpload, request).upload

    def wait(
        self, upload: str, *, on_progress: "Callable[[common_pb2.Progress], None] | None" = None
    ) -> pb.Upload:
        """Wait until an upload is fresh: committed, and validated where that is required.

        Raises why it failed. `on_progress` is told how far its validation is.
        """
        from ingot.client._validated import Verdict

        return Verdict(self._link, self._calls).wait(_names.upload_name(upload), on_progress)

    def watch(
        self, upload: str, *, after: int = 0, on_break: OnBreak | None = None
    ) -> Iterator[pb.WatchUploadResponse]:
        """Yield the upload as it is, its events after number `after`, `synced`, then each as it happens.

        Ends when the upload is fresh or failed, after its validation too. Broken connections are resumed
        without losing or doubling an event, so `snapshot` and `synced` come once each.
        """
        name = _names.upload_name(upload)

        def open_stream(position: int) -> Iterator[pb.WatchUploadResponse]:
            return self._calls.stream(
                self._stub.WatchUpload, pb.WatchUploadRequest(name=name, after=position)
            )

        return _watches.follow_one(self._calls, open_stream, after, on_break)

    def stats(
        self,
        *,
        namespace: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        all_users: bool = False,
    ) -> pb.GetUploadStatsResponse:
        """Count one's uploads by how they ended, those that began on the days (UTC) from `since` to `until`.

        `all_users` is for administrators.
        """
        request = pb.GetUploadStatsRequest(parent=self._names.parent(namespace), all_users=all_users)
        if since is not None:
            request.from_time.FromDatetime(since.astimezone(UTC))
        if until is not None:
            request.to_time.FromDatetime(until.astimezone(UTC))
        return self._calls.unary(self._stub.GetUploadStats, request)

    def send(
        self,
        target: pb.NewVersion | str,
        source: "Source",
        *,
        path: str,
        size_bytes: int | None = None,
        description: str = "",
        request_id: str = "",
    ) -> pb.UploadFileResponse:
        """Send one file as it flows, from a pipe or a program: to a new version, or into an open upload.

        `source` is what reads up to so many bytes, as `sys.stdin.buffer.read`, or gives them in pieces. The
        version has this file alone; `target` is a name for an open upload. Nothing counts unless all of
        it came. It is not tried again by itself, since `source` cannot be read twice: with the same
        `request_id` that is safe.
        """
        from ingot.client import _sending

        header = pb.UploadFileHeader(
            path=path, original_name=path.rpartition("/")[2], description=description
        )
        header.request_id = request_id or new_id()
        if isinstance(target, str):
            header.upload = _names.upload_name(target)
        else:
            header.version.CopyFrom(target)
        if size_bytes is not None:
            header.size_bytes = size_bytes
        return _sending.send(self._calls, self._stub, header, source)

    def put_chunk(self, upload: str, data: bytes) -> pb.PutChunkResponse:
        """Store one chunk of an open upload; `push` and `send` are better for files."""
        request = pb.PutChunkRequest(
            upload=_names.upload_name(upload), data=data, digest=digests.chunk_digest(data)
        )
        return self._calls.unary(self._stub.PutChunk, request)

    def retry(self, upload: str) -> pb.Upload:
        """Try a failed upload again: one that expired is open again, a rejected version is validated again.

        Push the same files to fill one that is open; what is stored still does not travel.
        """
        request = pb.RetryUploadRequest(name=_names.upload_name(upload), request_id=new_id())
        return self._calls.unary(self._stub.RetryUpload, request).upload

    def purge(self, *, older_than: timedelta | None = None, all_users: bool = False) -> int:
        """Forget one's uploads that failed longer ago, 24 hours unless told otherwise; return how many.

        Versions that were rejected go with them. `all_users` is for administrators.
        """
        request = pb.PurgeUploadsRequest(all_users=all_users)
        if older_than is not None:
            request.older_than.CopyFrom(_filling.duration_of(older_than))
        return self._calls.unary(self._stub.PurgeUploads, request).purged

    def open(
        self,
        target: pb.NewVersion,
        *,
        size_bytes: int = 0,
        original_name: str = "",
        request_id: str = "",
        on_progress: "OnProgress | None" = None,
    ) -> "OpenUpload":
        """Begin an upload that is filled file by file; the same request id goes on with the same upload.

        `size_bytes` is about how much will come, 0 when that is not known. Raises Invalid (UPLOAD_CLOSED)
        when the upload of that request id was aborted or has expired.
        """
        from ingot.client import _open_upload

        return _open_upload.open_upload(
            self._link,
            self._calls,
            target,
            size_bytes=size_bytes,
            original_name=original_name,
            request_id=request_id,
            on_progress=on_progress,
        )

    def files(self, tree: AnyName, *, limit: int | None = None) -> Iterator[pb.FileEntry]:
        """Yield the files of a version, checkpoint or open upload in byte order of their paths."""
        name = self._names.tree(tree)

        def page(size: int, token: str) -> tuple[Sequence[pb.FileEntry], str]:
            request = pb.ListFilesRequest(tree=name, page_size=size, page_token=token)
            reply = self._calls.unary(self._stub.ListFiles, request)
            return reply.files, reply.next_page_token

        return _pages.walk(page, limit)

    def file(self, ref: AnyName) -> pb.FileEntry:
        """Return one file: size, digests, format."""
        tree, path = self._names.file(ref)
        return self._calls.unary(self._stub.StatFile, pb.StatFileRequest(tree=tree, path=path)).file

    def capabilities(self) -> pb.GetCapabilitiesResponse:
        """Return all limits of the server."""
        return self._calls.unary(self._stub.GetCapabilities, pb.GetCapabilitiesRequest())
