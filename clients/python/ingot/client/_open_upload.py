"""An upload that is filled file by file, for whoever has its files one after another.

    with client.uploads.open(new_version, request_id=kept) as upload:
        for path in wanted - upload.files().keys():     # what an earlier run brought is there
            upload.add({path: local_file})              # when it returns, the server has every byte of it
            local_file.unlink()
        done = upload.commit()

A file may be removed as soon as `add` returned. What was added survives a kill: opening with the same request
id gives the same upload, and `files` what is in it. Not for several threads.
"""

import os
import time
from collections.abc import Mapping
from contextlib import closing
from types import TracebackType

from ingot.client import _commits, _cutting, _manifests
from ingot.client._calls import Calls, new_id
from ingot.client._channels import Link
from ingot.client._cutting import CutFile
from ingot.client._errors import Integrity, Invalid
from ingot.client._journal import FileState
from ingot.client._progress import OnProgress, Reporter, Stage
from ingot.client._push import PushResult
from ingot.client._rates import Rate
from ingot.client._streams import Batch, Missing, Sender, changed
from ingot.client._walk import SourceFile
from ingot.content import digests
from ingot.v1 import transfer_pb2 as pb
from ingot.v1 import transfer_pb2_grpc

_ASK_BYTES = 64 * 1024 * 1024


class OpenUpload:
    """One upload; use it in a with block."""

    def __init__(self, link: Link, calls: Calls, upload: pb.Upload, on_progress: OnProgress | None) -> None:
        self._calls = calls
        self._stub = transfer_pb2_grpc.TransferServiceStub(link.channel)
        self._report = Reporter(on_progress)
        self._upload = upload
        self._known: dict[str, tuple[int, bytes]] = {}  # size and root of the files in it
        self._seen: set[bytes] = set()  # chunks that the server has
        self._begun = time.monotonic()
        limits = calls.unary(self._stub.GetCapabilities, pb.GetCapabilitiesRequest())
        self._missing = Missing(link, calls, upload.name, limits.max_digests)
        self._sender = Sender(link, calls, upload.name, limits, self._report, Rate(0.0), None)
        if not self.is_committed:
            self._load()

    @property
    def name(self) -> str:
        """Name of the upload."""
        return self._upload.name

    @property
    def is_committed(self) -> bool:
        """Whether an earlier run committed it: there is nothing to add, and `commit` tells what it made."""
        return self._upload.state == pb.UPLOAD_STATE_COMMITTED

    def files(self) -> dict[str, int]:
        """Return the sizes of the files that are in it, by path."""
        return {path: size for path, (size, _) in self._known.items()}

    def add(self, files: Mapping[str, str | os.PathLike[str]]) -> None:
        """Bring local files under their paths, and wait until the server has them. Raises IngotError."""
        wanted = [SourceFile(path, os.fspath(place), os.stat(place).st_size) for path, place in files.items()]
        cuts: list[CutFile] = []
        asked: Batch = []
        size = 0
        self._report.stage(Stage.SENDING)
        with closing(_cutting.cut_files(wanted, None, self._report)) as found:
            for each in found:
                if isinstance(each, CutFile):
                    cuts.append(each)
                    continue
                for chunk in each:
                    asked.append(chunk)
                    size += chunk.length
                    if size >= _ASK_BYTES or len(asked) >= self._missing.most:
                        self._send(asked)
                        asked, size = [], 0
        self._send(asked)
        self._sender.finish()
        self._check(cuts)
        self._put_manifests(cuts)

    def commit(self) -> PushResult:
        """Make the version of what was added, or tell what an earlier run made. Raises IngotError."""
        reply = pb.CommitUploadResponse(upload=self._upload)
        if not self.is_committed:
            self._report.stage(Stage.COMMITTING)
            request = pb.CommitUploadRequest(
                upload=self.name,
                expected_digest=self._digest(),
                file_count=len(self._known),
                request_id=new_id(),
            )
            reply = self._calls.unary(self._stub.CommitUpload, request, timeout=_commits.SECONDS)
            self._upload = reply.upload
        self._report.stage(Stage.DONE)
        now = self._report.now
        return PushResult(
            name=self._upload.result,
            digest=self._upload.result_digest,
            file_count=len(self._known),
            size_bytes=sum(size for size, _ in self._known.values()),
            sent_bytes=now.bytes_moved,
            reused_bytes=now.bytes_reused,
            seconds=time.monotonic() - self._begun,
            upload=self.name,
            version=reply.version if reply.HasField("version") else None,
        )

    def __enter__(self) -> "OpenUpload":
        self._sender.lanes.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sender.lanes.__exit__(kind, error, trace)

    # --- inside -----------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Learn what is in it."""
        token = ""
        while True:
            request = pb.ListFilesRequest(tree=self.name, page_size=1000, page_token=token)
            reply = self._calls.unary(self._stub.ListFiles, request)
            self._known |= {each.path: (each.size_bytes, each.root) for each in reply.files}
            token = reply.next_page_token
            if not token:
                return

    def _send(self, chunks: Batch) -> None:
        """Send those of the chunks that the server lacks."""
        fresh = list({each.digest: each for each in chunks if each.digest not in self._seen}.values())
        missing = self._missing.among(fresh) if fresh else []
        travelling = sum(each.length for each in missing)
        self._report.add(reused=sum(each.length for each in chunks) - travelling)
        self._sender.add(missing)
        self._seen.update(each.digest for each in fresh)

    def _check(self, cuts: list[CutFile]) -> None:
        """Refuse files that changed meanwhile. Raises SourceChanged, Integrity."""
        refused, self._sender.refused = self._sender.refused, []
        self._seen -= {each.digest for each in refused}
        for each in cuts:
            try:
                same = FileState.of(os.stat(each.file.source)) == each.state
            except OSError as failure:
                raise changed(each.file.source, str(failure)) from failure
            if not same:
                raise changed(each.file.source, "it was written to")
        if refused:
            raise Integrity(
                f"The server refused bytes of {refused[0].source}: they do not have the digest they had.",
                reason="CHUNK_HASH_MISMATCH",
                facts={"path": refused[0].source, "offset": str(refused[0].offset)},
                next_step="Check this machine's disk and memory, then try again.",
            )

    def _put_manifests(self, cuts: list[CutFile]) -> None:
        _manifests.put(self._stub, self._calls, self.name, cuts, reset=False)
        self._known |= {each.file.path: (each.cut.size, each.cut.root()) for each in cuts}

    def _digest(self) -> str:
        rows = ((path, size, root) for path, (size, root) in self._known.items())
        return digests.format_digest(digests.tree_digest(rows))


def open_upload(
    link: Link,
    calls: Calls,
    target: pb.NewVersion,
    *,
    size_bytes: int,
    original_name: str,
    request_id: str,
    on_progress: OnProgress | None,
) -> OpenUpload:
    """Begin an upload, or go on with the one that was begun with this request id. Raises IngotError."""
    request = pb.BeginUploadRequest(
        target=pb.UploadTarget(version=target),
        size_bytes=size_bytes,
        original_name=original_name,
        request_id=request_id or new_id(),
    )
    stub = transfer_pb2_grpc.TransferServiceStub(link.channel)
    upload = calls.unary(stub.BeginUpload, request).upload
    if upload.state not in (pb.UPLOAD_STATE_OPEN, pb.UPLOAD_STATE_SEALING, pb.UPLOAD_STATE_COMMITTED):
        raise Invalid(
            f"{upload.name}, which was begun with this request id, is closed: "
            f"{pb.UploadState.Name(upload.state).removeprefix('UPLOAD_STATE_')}.",
            reason="UPLOAD_CLOSED",
            facts={"upload": upload.name},
            next_step="Begin another with a new request id.",
        )
    return OpenUpload(link, calls, upload, on_progress)
