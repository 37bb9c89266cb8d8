"""The main process's side of data processes: it answers what their streams ask of the rows.

Each stream that a client has with a data process is one call here, which passes the same pipeline as if the
client had made it here: the credential, rates, scopes, limits of streams, the record, figures and the end of
streams whose token was revoked are those of the main process, and count over all processes. A data process
that dies takes its calls along; then what they reserved is given back, and nothing of an unfinished stream
counts.

Only the main process puts packs on the shelf: a data process finishes and syncs files in its own folder below
`ingest/`; here they get their names, and then the write makes them count.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import grpc

from ingot.server.core.errors import IngotError
from ingot.server.core.packs import PackId
from ingot.server.core.uploads import TransferLimits
from ingot.server.domain import downloads
from ingot.server.domain.chunk_intake import ChunkIntake
from ingot.server.domain.downloads import Downloads, OpenedTree
from ingot.server.rpc import convert_transfer as convert
from ingot.server.rpc import data_messages as messages
from ingot.server.rpc import methods, pipeline
from ingot.server.rpc.data_messages import Kind, Message
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.put_chunks import LocalRows
from ingot.server.rpc.read_bytes import TreeRows
from ingot.server.rpc.server import INNER_OPTIONS
from ingot.server.rpc.uninterrupted import uninterrupted
from ingot.v1 import transfer_pb2

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Messages = AsyncIterator[Message]
OpenTree = Callable[[str, str], Awaitable[OpenedTree]]  # by name, for a download id


class SharedShelf(Protocol):
    """A pack store that data processes write for. Called on threads for file work."""

    def promise(self, size: int, chunks: int) -> int:
        """Set the space for a stream apart and return how much. Raises Exhausted (DISK_LOW)."""
        ...

    def unreserve(self, size: int) -> None:
        """Give up promised space."""
        ...

    def take_in(self, ingest: str, files: Mapping[str, PackId]) -> None:
        """Put finished files of an ingest folder on the shelf, durably; all or nothing.

        Raises Unavailable, Exhausted (DISK_LOW).
        """
        ...

    def delete(self, pack: PackId) -> bool:
        """Remove a pack."""
        ...


class DataDoors:
    """Serves data processes."""

    def __init__(
        self,
        hops: Hops,
        intake: ChunkIntake,
        rules: Downloads,
        packs: SharedShelf,
        limits: TransferLimits,
        open_tree: OpenTree,
    ) -> None:
        self._hops = hops
        self._intake = intake
        self._downloads = rules
        self._packs = packs
        self._limits = limits
        self._open_tree = open_tree

    async def serve(self, through: grpc.aio.ServerInterceptor, socket: Path) -> grpc.aio.Server:
        """Serve on a unix socket, every call through the pipeline; return the server, to be stopped."""
        server = grpc.aio.server(interceptors=[through], options=INNER_OPTIONS)
        for name, behaviour in (
            (messages.PUT_CHUNKS, self.put_chunks),
            (messages.READ_CHUNKS, self.read_chunks),
        ):
            handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
                name: grpc.stream_stream_rpc_method_handler(behaviour, messages.decode, None)
            }
            server.add_registered_method_handlers(messages.SERVICE, handlers)
        server.add_insecure_port(f"unix:{socket}")
        await server.start()
        return server

    async def put_chunks(self, requests: Messages, context: Context) -> AsyncIterator[bytes]:
        """Answer for one PutChunks stream."""
        caller = pipeline.caller()
        with self._intake.slot(caller):
            yield messages.encode(Kind.DONE)  # it is let in; now its header may come
            opening = await _next(requests, Kind.OPEN)
            header = transfer_pb2.PutChunksHeader.FromString(opening.data)
            rows = await LocalRows.admitted(self._hops, self._intake, caller, header)
            stream = _Incoming(self._hops, self._packs, rows, header)
            async with contextlib.aclosing(stream.answers(requests)) as answers:
                async for answer in answers:
                    yield answer

    async def read_chunks(self, requests: Messages, context: Context) -> AsyncIterator[bytes]:
        """Answer for one ReadChunks stream."""
        pipeline.caller()
        yield messages.encode(Kind.DONE)
        request = transfer_pb2.ReadChunksRequest.FromString((await _next(requests, Kind.OPEN)).data)
        pipeline.about(methods.target_of(request))
        groups = downloads.cut_runs(convert.runs_of(request, self._limits.max_ranges))
        opened = await self._open_tree(request.tree, request.download_id)
        rows = TreeRows(self._hops, self._downloads, opened)
        yield messages.encode(Kind.DONE)
        async for message in requests:
            match message.kind:
                case Kind.MORE:
                    found = await rows.slices(next(groups))
                    yield messages.places([each.place for each in found])
                case Kind.LOST:
                    await rows.lost(messages.place_in(message))
                    yield messages.encode(Kind.DONE)
                case _:
                    raise _failure(message)


class _Incoming:
    """One PutChunks stream after its header."""

    def __init__(
        self, hops: Hops, packs: SharedShelf, rows: LocalRows, header: transfer_pb2.PutChunksHeader
    ) -> None:
        self._hops = hops
        self._packs = packs
        self._rows = rows
        self._header = header
        self._digests: list[bytes] = []
        self._promised = 0
        self._received = 0
        self._counts = False

    async def answers(self, requests: Messages) -> AsyncGenerator[bytes, None]:
        """Answer its questions until it counts, or is over."""
        try:
            yield messages.encode(Kind.DONE)
            async for message in requests:
                self._received = max(self._received, message.received)
                match message.kind:
                    case Kind.ASK:
                        yield await self._stored(message.data)
                    case Kind.SEALED:
                        # As in the main process: from here it is completed even if everybody has gone.
                        receipt = await uninterrupted(self._conclude(message))
                        yield messages.encode(Kind.DONE, receipt)
                    case _:
                        raise _failure(message)
        finally:
            await uninterrupted(self._close())

    async def _stored(self, packed: bytes) -> bytes:
        """Say what need not be written; before the first chunk that must, set the space apart."""
        found = await self._rows.stored(packed, self._received)
        self._digests.append(packed)
        if not self._promised and len(found) < len(packed) // 32:
            size, chunks = self._header.declared_bytes, self._header.declared_chunks
            # What the data process has allocated of it counts twice until the stream ends: better than not.
            self._promised = await self._hops.io(self._packs.promise, size, chunks)
        return messages.encode(Kind.DONE, b"".join(found))

    async def _conclude(self, message: Message) -> bytes:
        """Put the packs on the shelf, let the stream count, and return the receipt of the client."""
        ingest, files = messages.sealed_in(message)
        names = {file: pack.id for file, pack in files.items()}
        await self._hops.io(self._packs.take_in, ingest, names)
        try:
            receipt = await self._rows.index(list(files.values()), b"".join(self._digests), self._received)
        except IngotError:  # refused for sure; after any other error they may be indexed all the same
            for pack in names.values():
                await self._hops.io(self._packs.delete, pack)
            raise
        self._counts = True
        return convert.receipt(receipt).SerializeToString()

    async def _close(self) -> None:
        self._rows.close()
        if self._promised:
            await self._hops.io(self._packs.unreserve, self._promised)
        if not self._counts:
            await self._rows.dropped(self._received)


async def _next(requests: Messages, kind: Kind) -> Message:
    message = await anext(requests, None)
    if message is None:
        raise asyncio.CancelledError  # the data process has let go: its client has gone
    if message.kind is not kind:
        raise _failure(message)
    return message


def _failure(message: Message) -> Exception:
    """Return why a stream failed in its data process."""
    if message.kind is Kind.FAILED:
        return messages.error_in(message)  # its status is that of the main process
    return RuntimeError(f"a data process sent {message.kind.value!r} where nothing asks for it")
