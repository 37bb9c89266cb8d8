"""The manifests of cut files in messages of about 1 MiB, put at the end or while chunks still travel."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from ingot.client._calls import Calls
from ingot.client._cutting import CutFile
from ingot.v1 import transfer_pb2 as pb
from ingot.v1 import transfer_pb2_grpc

_MOST_BYTES = 1024 * 1024
_MOST_FILES = 1000
_SECONDS = 120.0  # the server waits for its disk


class Manifests:
    """Puts the manifests of an upload that has none yet, in a thread of its own, as files become complete."""

    def __init__(self, stub: transfer_pb2_grpc.TransferServiceStub, calls: Calls, upload: str) -> None:
        self._stub, self._calls, self._upload = stub, calls, upload
        self._waiting: list[CutFile] = []
        self._thread = ThreadPoolExecutor(1, "ingot-manifest")
        self._put: list[Future[None]] = []

    def add(self, found: CutFile) -> None:
        """Put the manifest of a file, by and by."""
        self._waiting.append(found)
        if len(self._waiting) >= _MOST_FILES:
            self.flush()

    def finish(self) -> None:
        """Wait until all are there. Raises what a call failed with."""
        self.flush()
        for put in self._put:
            put.result()

    def flush(self) -> None:
        """Put what waits now, though it is not much."""
        files, self._waiting = self._waiting, []
        if not files:
            return
        reset = not self._put
        self._put.append(self._thread.submit(put, self._stub, self._calls, self._upload, files, reset=reset))

    def __enter__(self) -> "Manifests":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=kind is None, cancel_futures=True)


def put(
    stub: transfer_pb2_grpc.TransferServiceStub,
    calls: Calls,
    upload: str,
    cuts: Iterable[CutFile],
    *,
    reset: bool,
) -> None:
    """Put the manifests of files; with `reset` they are all there is then. Raises IngotError."""
    for files in _grouped(cuts):
        request = pb.PutManifestRequest(upload=upload, files=files, reset=reset)
        calls.unary(stub.PutManifest, request, timeout=max(calls.timeout, _SECONDS))
        reset = False


def _grouped(cuts: Iterable[CutFile]) -> Iterator[list[pb.FileManifest]]:
    """Yield groups of file manifests of about 1 MiB; a large file goes over several."""
    group: list[pb.FileManifest] = []
    size = 0
    for found in cuts:
        for manifest in _parts(found, found.cut.segments()):
            grown = sum(len(each.entries) for each in manifest.segments) + len(manifest.path) + 64
            if group and (size + grown > _MOST_BYTES or len(group) >= _MOST_FILES):
                yield group
                group, size = [], 0
            group.append(manifest)
            size += grown
    if group:
        yield group


def _parts(found: CutFile, segments: list[bytes]) -> Iterator[pb.FileManifest]:
    for index in range(max(1, len(segments))):
        yield pb.FileManifest(
            path=found.file.path,
            profile=found.cut.profile,
            size_bytes=found.cut.size,
            segment_count=len(segments),
            segments=[pb.Segment(index=index, entries=segments[index])] if segments else [],
        )
