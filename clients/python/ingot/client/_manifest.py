"""Read the manifest of a tree, and believe nothing of it that can be computed.

File roots are computed from the segments, the tree digest from the roots; sizes must add up and paths must be
safe. After that a chunk that has its digest is the right chunk.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ingot.client import _retries
from ingot.client._calls import Calls
from ingot.client._channels import Link
from ingot.client._errors import IngotError, Integrity, Invalid
from ingot.client._journal import Cut
from ingot.content import digests, paths
from ingot.v1 import transfer_pb2 as pb
from ingot.v1 import transfer_pb2_grpc

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TreeFile:
    """One file of a tree with its chunks."""

    path: str
    cut: Cut
    root: bytes

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.cut.size


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a tree in byte order of their paths."""

    tree: str  # concrete name
    digest: str  # blake3:<hex>; empty for an open upload
    files: tuple[TreeFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(each.size for each in self.files)


def read_manifest(link: Link, calls: Calls, tree: str, download_id: str = "") -> Manifest:
    """Return the manifest of a tree by its long name; a `download_id` counts the download.

    Raises IngotError; Integrity for a manifest that contradicts itself, Invalid for an unsafe path.
    """
    return _repeated(link, calls, pb.ReadManifestRequest(tree=tree, download_id=download_id), _checked)


def read_file(link: Link, calls: Calls, tree: str, path: str, download_id: str = "") -> tuple[str, TreeFile]:
    """Return the concrete name of a tree and one file of it with its chunks, without the other files.

    Raises IngotError; Integrity for a manifest that contradicts itself, NotFound (FILE_NOT_FOUND).
    """

    def found(gathered: "_Gathered") -> tuple[str, TreeFile]:
        for entry, segments in zip(gathered.entries, gathered.segments, strict=True):
            if entry.path == path:
                return gathered.header.tree, _file(entry, segments)
        raise _contradiction(f"the manifest of {path!r}", "that file", f"{len(gathered.entries)} others")

    return _repeated(
        link, calls, pb.ReadManifestRequest(tree=tree, download_id=download_id, path=path), found
    )


def _repeated(
    link: Link, calls: Calls, request: pb.ReadManifestRequest, checked: "Callable[[_Gathered], T]"
) -> T:
    """Return what is made of a manifest; a broken stream begins again."""
    stub = transfer_pb2_grpc.TransferServiceStub(link.channel)
    attempt = 1
    while True:
        try:
            return checked(_gathered(calls, stub, request))
        except IngotError as error:
            attempt += 1
            pause = calls.pause_before(attempt, _retries.as_outage(error))
            if pause is None:
                raise
        calls.pause(pause)


@dataclass(slots=True)
class _Gathered:
    header: pb.ManifestHeader
    entries: list[pb.FileEntry]
    segments: list[list[pb.Segment]]


def _gathered(
    calls: Calls, stub: transfer_pb2_grpc.TransferServiceStub, request: pb.ReadManifestRequest
) -> _Gathered:
    found = _Gathered(pb.ManifestHeader(), [], [])
    for message in calls.stream(stub.ReadManifest, request):
        if message.HasField("header"):
            found.header = message.header
        for file in message.files:
            if not found.entries or found.entries[-1].path != file.file.path:
                found.entries.append(file.file)
                found.segments.append([])
            found.segments[-1].extend(file.segments)
    return found


def _checked(found: _Gathered) -> Manifest:
    header = found.header
    files = tuple(
        _file(entry, segments) for entry, segments in zip(found.entries, found.segments, strict=True)
    )
    try:
        paths.check_tree(each.path for each in files)
    except paths.PathError as failure:
        raise Invalid(
            f"The tree {header.tree} has a path that cannot be written safely: {failure.rule}.",
            reason="BAD_PATH",
            facts={"path": failure.path},
            next_step="Do not pull it; tell whoever runs the server.",
        ) from failure
    manifest = Manifest(header.tree, header.digest, files)
    if len(files) != header.file_count or manifest.size != header.size_bytes:
        expected = f"{header.file_count} files with {header.size_bytes} bytes"
        raise _contradiction(header.tree, expected, f"{len(files)} files with {manifest.size} bytes")
    computed = digests.format_digest(digests.tree_digest((each.path, each.size, each.root) for each in files))
    if header.digest and computed != header.digest:
        raise _contradiction(header.tree, header.digest, computed)
    return manifest


def _file(entry: pb.FileEntry, segments: list[pb.Segment]) -> TreeFile:
    where = f"the manifest of {entry.path!r}"
    if [each.index for each in segments] != list(range(len(segments))):
        raise _contradiction(where, f"{len(segments)} segments in order", "another order")
    packed = [each.entries for each in segments]
    try:
        size = sum(length for each in packed for _, length in digests.segment_entries(each))
    except ValueError as failure:
        raise _contradiction(where, "whole segments", str(failure)) from failure
    cut = Cut(size, b"".join(packed), entry.profile)
    root = digests.file_root(entry.profile, size, [digests.segment_digest(each) for each in packed])
    if size != entry.size_bytes or (entry.root and root != entry.root):
        raise _contradiction(where, f"{entry.size_bytes} bytes with root {entry.root.hex()}", root.hex())
    return TreeFile(entry.path, cut, root)


def _contradiction(what: str, expected: str, got: str) -> Integrity:
    return Integrity(
        f"What the server said about {what} does not fit together: expected {expected}, got {got}.",
        reason="DIGEST_MISMATCH",
        facts={"expected": expected, "got": got},
        next_step="Try again; if it stays, tell whoever runs the server.",
    )
