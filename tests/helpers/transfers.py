"""A server with nothing but transfers and what they need, on a unix socket, and a plain client for tests.

`transfer_rig` wires real stores, rules, pipeline and packs on disk the way app.py does; `Pusher` speaks the
protocol with the bare stub, so that tests can also speak it wrongly.
"""

import contextlib
import dataclasses
import itertools
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from helpers import channels, loops
from helpers.catalogs import CatalogRules, catalog_side
from helpers.clocks import ShiftedClock
from helpers.pipelines import FixedIdentity, bearer
from helpers.schema import migrated
from ingot.content import chunking, digests
from ingot.server.core.chunks import MESSAGE_CHUNKS
from ingot.server.core.disk_room import DiskReader, Watermarks
from ingot.server.core.pages import PageTokens
from ingot.server.core.stores import PackStore
from ingot.server.core.uploads import TransferLimits
from ingot.server.domain.disk_room import DiskRoom
from ingot.server.domain.recovery import RecoveryReport
from ingot.server.domain.usage import Usage
from ingot.server.parts.registration import RegistrationParts
from ingot.server.parts.transfer import CatalogSide, TransferParts
from ingot.server.rpc.credentials import Credentials
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.pipeline import Pipeline
from ingot.server.rpc.server import OPTIONS, GrpcServer
from ingot.server.settings.fields import Settings
from ingot.server.storage.allowed_folders import AllowedFoldersOnDisk
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.disk_space import FolderDisk
from ingot.server.storage.packs_disk import DiskPacks
from ingot.server.storage.usage_sql import UsageSql
from ingot.v1 import catalog_pb2, transfer_pb2, transfer_pb2_grpc

MIB = 1024 * 1024
ARTIFACT = "namespaces/member/datasets/chat"
Requests = Iterable[transfer_pb2.PutChunksRequest]


@dataclasses.dataclass(frozen=True, slots=True)
class TransferRig:
    """A running server and what a test looks at."""

    channel: grpc.Channel
    database: Database
    packs: PackStore
    folder: pathlib.Path
    parts: TransferParts
    side: CatalogSide
    rules: CatalogRules
    usage: Usage
    clock: ShiftedClock
    recovered: RecoveryReport

    def pusher(self, token: str = "member") -> "Pusher":
        """Return a client that signs in with this token; see FixedIdentity."""
        return Pusher(transfer_pb2_grpc.TransferServiceStub(self.channel), bearer(token))


@contextlib.contextmanager
def transfer_rig(
    limits: TransferLimits | None = None,
    *,
    folder: pathlib.Path | None = None,
    disk: DiskReader | None = None,
) -> Iterator[TransferRig]:
    """Serve transfers for the length of a with block; `folder` keeps the data of an earlier rig.

    `disk` tells how full the disk is, where it is not to be the real one.
    """
    with tempfile.TemporaryDirectory(prefix="ingot-test-") as temporary, contextlib.ExitStack() as stack:
        home = folder or pathlib.Path(temporary)
        database = stack.enter_context(contextlib.closing(open_database(f"sqlite:///{home}/meta.db")))
        migrated(database)
        clock, tokens, packs = ShiftedClock(), PageTokens(b"secret"), DiskPacks(home)
        usage = Usage(UsageSql(), tokens, clock, activity_days=1)
        rules = CatalogRules(database, clock, tokens)
        side = catalog_side(rules, database, clock, tokens)
        room = DiskRoom(disk or FolderDisk(home), Watermarks() if disk else Watermarks(plenty=0))
        parts = TransferParts(database, packs, side, usage, tokens, clock, limits or TransferLimits(), room)
        folders = AllowedFoldersOnDisk((home,), "import_roots")
        operations = rules.operations.operations
        registered = RegistrationParts(Settings(), rules, operations, folders, clock)
        recovered = parts.recovery.run()
        hops = stack.enter_context(contextlib.closing(Hops(database)))
        socket = pathlib.Path(temporary) / "s"

        async def start() -> GrpcServer:
            credentials = Credentials(hops, FixedIdentity(), clock)
            pipeline = Pipeline(credentials, usage.record, clock, unary_seconds=300)
            server = GrpcServer(pipeline, health=False, reflection=False)
            parts.serve(hops, server.server, lambda: False, registered.registrations, rules.tails)
            await server.start([], socket)
            return server

        server = loops.run(start())
        stack.callback(lambda: loops.run(server.drain(0)))
        channel = stack.enter_context(channels.connected(f"unix:{socket}", OPTIONS))
        yield TransferRig(channel, database, packs, home, parts, side, rules, usage, clock, recovered)


@dataclasses.dataclass(frozen=True, slots=True)
class Cut:
    """A file's chunks: digest and bytes, in order."""

    chunks: tuple[tuple[bytes, bytes], ...]

    @property
    def size(self) -> int:
        return sum(len(data) for _, data in self.chunks)

    @property
    def entries(self) -> list[tuple[bytes, int]]:
        return [(digest, len(data)) for digest, data in self.chunks]


def cut(data: bytes) -> Cut:
    """Cut bytes the way the profile cdc does."""
    return Cut(
        tuple(
            (each.digest, data[each.offset : each.offset + each.length]) for each in chunking.cut_bytes(data)
        )
    )


def tree_digest(files: Mapping[str, Cut]) -> str:
    """Return the digest that the sender expects."""
    triples = []
    for path, file in files.items():
        segments = [digests.segment_digest(each) for each in digests.split_segments(file.entries)]
        triples.append((path, file.size, digests.file_root("cdc", file.size, segments)))
    return digests.format_digest(digests.tree_digest(triples))


def header(upload: str, chunks: int, size: int) -> transfer_pb2.PutChunksRequest:
    return transfer_pb2.PutChunksRequest(
        header=transfer_pb2.PutChunksHeader(upload=upload, declared_chunks=chunks, declared_bytes=size)
    )


def pieces(*chunks: tuple[bytes, bytes]) -> transfer_pb2.PutChunksRequest:
    """Return one message with whole chunks, each as (digest, bytes)."""
    return transfer_pb2.PutChunksRequest(
        pieces=transfer_pb2.Pieces(
            digests=b"".join(digest for digest, _ in chunks),
            lengths=[len(data) for _, data in chunks],
            data=b"".join(data for _, data in chunks),
        )
    )


def finish(chunks: int, size: int) -> transfer_pb2.PutChunksRequest:
    return transfer_pb2.PutChunksRequest(finish=transfer_pb2.PutChunksFinish(chunks=chunks, bytes=size))


def stream(upload: str, chunks: Sequence[tuple[bytes, bytes]]) -> Iterator[transfer_pb2.PutChunksRequest]:
    """Yield a good stream with one message for about a megabyte."""
    total = sum(len(data) for _, data in chunks)
    yield header(upload, len(chunks), total)
    waiting: list[tuple[bytes, bytes]] = []
    size = 0
    for chunk in chunks:
        if waiting and (size + len(chunk[1]) > MIB or len(waiting) == MESSAGE_CHUNKS):
            yield pieces(*waiting)
            waiting, size = [], 0
        waiting.append(chunk)
        size += len(chunk[1])
    if waiting:
        yield pieces(*waiting)
    yield finish(len(chunks), total)


@dataclasses.dataclass(frozen=True, slots=True)
class Pusher:
    """A client with nothing between itself and the stub."""

    stub: transfer_pb2_grpc.TransferServiceStub
    metadata: tuple[tuple[str, str], ...]

    def begin(self, artifact: str = ARTIFACT, **changes: object) -> str:
        """Open an upload for a new version of an artifact, which is made when missing; return its name."""
        version = transfer_pb2.NewVersion(artifact=artifact, create=catalog_pb2.Artifact())
        version.MergeFrom(transfer_pb2.NewVersion(**changes))  # type: ignore[arg-type]
        request = transfer_pb2.BeginUploadRequest(target=transfer_pb2.UploadTarget(version=version))
        return self.stub.BeginUpload(request, metadata=self.metadata).upload.name

    def missing(self, upload: str, wanted: Sequence[bytes]) -> list[bytes]:
        """Return those digests that the server wants."""
        request = transfer_pb2.FindMissingRequest(upload=upload, digests=b"".join(wanted))
        bits = self.stub.FindMissing(request, metadata=self.metadata).missing
        return [digest for index, digest in enumerate(wanted) if bits[index >> 3] >> (index & 7) & 1]

    def put(self, messages: Requests) -> transfer_pb2.PutChunksResponse:
        """Send a stream of messages."""
        return self.stub.PutChunks(iter(messages), metadata=self.metadata)

    def put_missing(self, upload: str, files: Mapping[str, Cut]) -> int:
        """Send what the server lacks in one stream; return the bytes that travelled."""
        known = dict(itertools.chain.from_iterable(file.chunks for file in files.values()))
        wanted = list(known)
        missing: list[bytes] = []
        for start in range(0, len(wanted), 8192):
            missing += self.missing(upload, wanted[start : start + 8192])
        if missing:
            self.put(stream(upload, [(digest, known[digest]) for digest in missing]))
        return sum(len(known[digest]) for digest in missing)

    def manifest(self, upload: str, files: Mapping[str, Cut], *, reset: bool = False) -> None:
        """Put the manifest of whole files."""
        messages = [file_manifest(path, file) for path, file in files.items()]
        request = transfer_pb2.PutManifestRequest(upload=upload, files=messages, reset=reset)
        self.stub.PutManifest(request, metadata=self.metadata)

    def commit(self, upload: str, files: Mapping[str, Cut]) -> transfer_pb2.CommitUploadResponse:
        request = transfer_pb2.CommitUploadRequest(
            upload=upload, expected_digest=tree_digest(files), file_count=len(files)
        )
        return self.stub.CommitUpload(request, metadata=self.metadata)

    def push(self, files: Mapping[str, bytes], artifact: str = ARTIFACT, **changes: object) -> str:
        """Push a whole tree; return the name of the version."""
        cuts = {path: cut(data) for path, data in files.items()}
        upload = self.begin(artifact, **changes)
        self.put_missing(upload, cuts)
        self.manifest(upload, cuts)
        return self.commit(upload, cuts).version.name

    def upload(self, name: str) -> transfer_pb2.Upload:
        return self.stub.GetUpload(transfer_pb2.GetUploadRequest(name=name), metadata=self.metadata).upload

    def read(self, tree: str, path: str, offset: int = 0, length: int = 0) -> bytes:
        """Return a range of a file."""
        request = transfer_pb2.ReadFileRequest(tree=tree, path=path, offset=offset, length=length)
        return b"".join(each.data for each in self.stub.ReadFile(request, metadata=self.metadata))

    def chunks(self, tree: str, *ranges: tuple[str, int, int]) -> list[tuple[bytes, bytes]]:
        """Return chunks by (path, first, count) as (digest, bytes)."""
        asked = [
            transfer_pb2.ChunkRange(path=path, first=first, count=count) for path, first, count in ranges
        ]
        request = transfer_pb2.ReadChunksRequest(tree=tree, ranges=asked)
        found: list[tuple[bytes, bytearray]] = []
        open_length = 0
        for message in self.stub.ReadChunks(request, metadata=self.metadata):
            part, data = message.pieces, message.pieces.data
            taken = min(len(data), open_length)
            if taken:
                found[-1][1].extend(data[:taken])
                open_length -= taken
            for index, length in enumerate(part.lengths):
                body = bytearray(data[taken : taken + length])
                found.append((part.digests[32 * index : 32 * index + 32], body))
                open_length = length - len(body)
                taken += len(body)
            assert taken == len(data)
            assert part.more == (open_length > 0)
        return [(digest, bytes(data)) for digest, data in found]

    def files(
        self, tree: str, path: str = ""
    ) -> tuple[transfer_pb2.ManifestHeader, dict[str, list[tuple[bytes, int]]]]:
        """Return a tree's manifest, or that of one file: header, and for each path its entries."""
        request = transfer_pb2.ReadManifestRequest(tree=tree, path=path)
        head, *rest = self.stub.ReadManifest(request, metadata=self.metadata)
        found: dict[str, list[tuple[bytes, int]]] = {}
        for message in rest:
            for item in message.files:
                entries = found.setdefault(item.file.path, [])
                for segment in item.segments:
                    assert segment.index * digests.SEGMENT_MAX_ENTRIES == len(entries)
                    entries += digests.segment_entries(segment.entries)
        return head.header, found


def file_manifest(path: str, file: Cut) -> transfer_pb2.FileManifest:
    """Return a whole file as the manifest names it."""
    segments = digests.split_segments(file.entries)
    return transfer_pb2.FileManifest(
        path=path,
        profile="cdc",
        size_bytes=file.size,
        segment_count=len(segments),
        segments=[transfer_pb2.Segment(index=index, entries=each) for index, each in enumerate(segments)],
    )


@contextlib.contextmanager
def refused(code: grpc.StatusCode, reason: str) -> Iterator[dict[str, str]]:
    """Expect a refusal with this status and reason; what is yielded holds its facts afterwards."""
    facts: dict[str, str] = {}
    with pytest.raises(grpc.RpcError) as caught:
        yield facts
    error = caught.value
    trailing = {each.key: each.value for each in error.trailing_metadata() or ()}
    details = trailing["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    status = status_pb2.Status.FromString(details)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (error.code(), info.reason) == (code, reason), error.details()
    facts.update(info.metadata)
    facts["message"] = error.details() or ""
