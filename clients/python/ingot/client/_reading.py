"""Read files of a tree without keeping them: a range as an iterator of bytes, and a check of everything."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ingot.client import _fetch
from ingot.client._calls import Calls, new_id
from ingot.client._channels import Link
from ingot.client._errors import Cancelled, IngotError, TimedOut, Unreachable
from ingot.client._fetch import Fetcher
from ingot.client._manifest import read_manifest
from ingot.client._progress import OnProgress, Reporter, Stage
from ingot.client._seeds import compared
from ingot.v1 import transfer_pb2 as pb
from ingot.v1 import transfer_pb2_grpc


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What a check found."""

    name: str  # concrete name of the tree
    digest: str  # tree digest
    file_count: int
    size_bytes: int
    damaged: tuple[str, ...]  # paths whose bytes are not those of the tree
    missing: tuple[str, ...]  # paths that are not in the folder
    seconds: float
    repaired: tuple[str, ...] = ()  # paths that were damaged or missing and are not any more
    received_bytes: int = 0  # that travelled for that

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged or missing."""
        return not self.damaged and not self.missing


def read_range(
    link: Link, calls: Calls, tree: str, path: str, offset: int = 0, length: int | None = None
) -> Iterator[bytes]:
    """Yield the bytes of a range of a file in order (`length` None: to its end); a broken stream is resumed.

    The server verifies each chunk before it sends from it. Raises IngotError; OutOfRange for an offset
    behind the end.
    """
    if length == 0:
        return
    stub = transfer_pb2_grpc.TransferServiceStub(link.channel)
    download_id = new_id()
    end = None if length is None else offset + length
    attempt = 1
    while True:
        left = 0 if end is None else end - offset
        request = pb.ReadFileRequest(
            tree=tree, path=path, offset=offset, length=left, download_id=download_id
        )
        try:
            for message in calls.stream(stub.ReadFile, request):
                attempt = 1
                offset = message.offset + len(message.data)
                if message.data:
                    yield message.data
            return
        except IngotError as error:
            attempt += 1
            outage = Unreachable(error.message) if isinstance(error, TimedOut | Cancelled) else error
            pause = calls.pause_before(attempt, outage)
            if pause is None:
                raise
            if end is not None and offset >= end:
                return
        calls.pause(pause)


def verify_tree(
    link: Link, calls: Calls, tree: str, *, streams: int | None = None, on_progress: OnProgress | None = None
) -> VerifyResult:
    """Fetch every chunk of a tree and check it, keeping nothing. Raises IngotError, as DataLoss."""
    begun = time.monotonic()
    manifest = read_manifest(link, calls, tree)
    report = Reporter(on_progress)
    report.total(files=len(manifest.files), size=manifest.size)
    fetcher = Fetcher(link, calls, manifest.tree, lambda *_: None, report, streams=streams)
    report.stage(Stage.VERIFYING)
    unit = _fetch.unit_for(manifest.size)
    with fetcher.lanes:
        for file in manifest.files:
            for span in _fetch.spans(file, lambda _: True, unit):
                fetcher.add(span)
            report.add(files=1)
        fetcher.finish()
    report.stage(Stage.DONE)
    seconds = time.monotonic() - begun
    return VerifyResult(manifest.tree, manifest.digest, len(manifest.files), manifest.size, (), (), seconds)


def verify_folder(
    link: Link, calls: Calls, tree: str, folder: Path, *, on_progress: OnProgress | None = None
) -> VerifyResult:
    """Read every file of a folder and compare it with a tree. Raises IngotError."""
    begun = time.monotonic()
    manifest = read_manifest(link, calls, tree)
    report = Reporter(on_progress)
    report.total(files=len(manifest.files), size=manifest.size)
    report.stage(Stage.VERIFYING)
    damaged: list[str] = []
    missing: list[str] = []
    for file in manifest.files:
        found = compared(folder / file.path, file)
        if found is None:
            missing.append(file.path)
        elif not found:
            damaged.append(file.path)
        report.add(files=1, hashed=file.size, reused=file.size)
    report.stage(Stage.DONE)
    return VerifyResult(
        manifest.tree,
        manifest.digest,
        len(manifest.files),
        manifest.size,
        tuple(damaged),
        tuple(missing),
        time.monotonic() - begun,
    )
