"""Receives one PutChunks stream: the loop takes messages in, a thread hashes and writes what came before.

    message ─▶ assembler ─▶ batch (4 MiB) ─▶ known? ─▶ hash and append      … finish ─▶ seal ─▶ index ─▶ reply

One batch, of at most 8,192 chunks and what its last message brought more, is on its way to disk while the
next one fills, and no more: a sender that is faster than the disk is held back by the flow control of its
connection. A stream therefore needs about 10 MiB. Whatever goes wrong before the index transaction leaves
nothing behind but a count of the bytes that travelled.

What is asked of the rows goes through `IncomingRows`: they are in this process, or, for a data process, in
the main one (data_streams.py).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import Generic, Protocol, TypeVar

from ingot.server.core import failpoints
from ingot.server.core.chunks import ChunkAssembler, ReceivedChunk, StreamReceipt
from ingot.server.core.errors import IngotError, Invalid, invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.names import UploadName, made_id
from ingot.server.core.packs import SealedPack
from ingot.server.core.stores import PackStore
from ingot.server.core.uploads import Pace, TransferLimits, unfinished
from ingot.server.domain.chunk_intake import ChunkIntake, StreamTicket
from ingot.server.domain.chunk_stream import ChunkStream
from ingot.server.rpc import admission, pipeline
from ingot.server.rpc.bulk_messages import BulkPieces, PutChunksMessage
from ingot.server.rpc.hops import FileWork, Hops
from ingot.server.rpc.uninterrupted import uninterrupted
from ingot.v1 import transfer_pb2

log = logging.getLogger(__name__)

Messages = AsyncIterator[PutChunksMessage]

_BATCH_BYTES = 4 * 1024 * 1024
_BATCH_CHUNKS = 8192  # tiny ones take more memory for themselves than for their bytes


R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class IncomingRows(Protocol[R_co]):
    """What one stream that was let in asks of the rows."""

    async def stored(self, packed: bytes, received: int) -> Collection[bytes]:
        """Return those of the packed digests that need not be written; `received` bytes travelled so far."""
        ...

    async def index(self, packs: Sequence[SealedPack], packed: bytes, received: int) -> R_co:
        """Let a stream with these digests count, and return its receipt; look at the credential before.

        After an IngotError it does not count for sure. Raises as ChunkIntake.index, and Unauthenticated.
        """
        ...

    async def dropped(self, received: int) -> None:
        """Hear that the stream came to nothing."""
        ...

    def close(self) -> None:
        """Give back what it reserved, once it is over."""
        ...


Admit = Callable[[transfer_pb2.PutChunksHeader], Awaitable[IncomingRows[R]]]


class LocalRows:
    """The rows of one stream, in this process."""

    def __init__(self, hops: Hops, intake: ChunkIntake, caller: Caller, ticket: StreamTicket) -> None:
        self._hops = hops
        self._intake = intake
        self._caller = caller
        self._ticket = ticket

    @classmethod
    async def admitted(
        cls, hops: Hops, intake: ChunkIntake, caller: Caller, header: transfer_pb2.PutChunksHeader
    ) -> "LocalRows":
        """Let a stream with this header in, or raise as ChunkIntake.admit and ChunkIntake.reserve."""
        name = UploadName(made_id(header.upload, "uploads", "header.upload"))
        pipeline.about(str(name))
        ticket = await admission.admitted(
            hops, intake, caller, name, header.declared_chunks, header.declared_bytes
        )
        return cls(hops, intake, caller, ticket)

    async def stored(self, packed: bytes, received: int) -> Collection[bytes]:
        """Ask the index."""
        return await self._hops.read(self._intake.stored, packed)

    async def index(self, packs: Sequence[SealedPack], packed: bytes, received: int) -> StreamReceipt:
        """Do it in one write."""
        await pipeline.require_credential()
        receipt = await self._hops.write(
            self._intake.index, self._caller, self._ticket, packs, packed, received
        )
        failpoints.hit("stream.durable")
        return receipt

    async def dropped(self, received: int) -> None:
        """Count what travelled."""
        if received:
            await self._hops.keep(self._intake.wasted, self._ticket.upload, received)
        log.info("stream.dropped upload=%s received=%d", self._ticket.upload, received)

    def close(self) -> None:
        """Release the reservation."""
        self._intake.release(self._ticket)


class ChunkReceiver:
    """Receives streams; one object serves them all."""

    def __init__(self, files: FileWork, packs: PackStore, limits: TransferLimits) -> None:
        self._files = files
        self._packs = packs
        self._limits = limits

    async def receive(self, admit: Admit[R], messages: Messages) -> R:
        """Take one stream to its end and return its receipt: what is on disk then.

        `admit` lets it in by its header. Raises Invalid (STREAM_UNFINISHED, BAD_LENGTH, CHUNK_HASH_MISMATCH,
        FIELD_INVALID), NotFound, Precondition (UPLOAD_CLOSED), Exhausted (BUSY, TOO_LARGE, DISK_LOW),
        TooSlow, Unavailable.
        """
        pace = Pace(self._limits, asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout_at(pace.deadline()) as patience:
                header = await _header(messages)
                rows = await admit(header)
                stream = ChunkStream(self._packs, header.declared_chunks, header.declared_bytes)
                return await _Reception(self._files, rows, stream, header, pace, patience).run(messages)
        except TimeoutError:
            if patience.expired():
                raise pace.verdict(asyncio.get_running_loop().time()) from None
            raise


async def _header(messages: Messages) -> transfer_pb2.PutChunksHeader:
    first = await anext(messages, None)
    if first is None:
        raise unfinished()
    if isinstance(first, BulkPieces) or first.WhichOneof("message") != "header":
        raise _out_of_order("the first message is not a header")
    return first.header


class _Reception(Generic[R]):
    """One stream after its header."""

    def __init__(
        self,
        files: FileWork,
        rows: IncomingRows[R],
        stream: ChunkStream,
        header: transfer_pb2.PutChunksHeader,
        pace: Pace,
        patience: asyncio.Timeout,
    ) -> None:
        self._files = files
        self._rows = rows
        self._stream = stream
        self._pace = pace
        self._patience = patience
        self._assembler = ChunkAssembler(header.declared_chunks, header.declared_bytes)
        self._time = asyncio.get_running_loop().time
        self._digests: list[bytes] = []
        self._batch: list[ReceivedChunk] = []
        self._batch_bytes = 0
        self._received = 0
        self._writing: asyncio.Task[None] | None = None
        self._concluded = False

    async def run(self, messages: Messages) -> R:
        """Take everything in, then make it durable and count it."""
        try:
            await self._take_all(messages)
            await self._flush()
            await self._written()
            self._patience.reschedule(None)
            # From here it is completed even if the sender has gone: its next FindMissing finds the chunks.
            return await uninterrupted(self._conclude())
        except BaseException:
            await uninterrupted(self._drop())
            raise
        finally:
            self._rows.close()

    async def _take_all(self, messages: Messages) -> None:
        async for message in messages:
            if isinstance(message, BulkPieces):
                await self._take(message)
                continue
            match message.WhichOneof("message"):
                case "pieces":
                    await self._take(message.pieces)
                case "finish":
                    self._assembler.finish(message.finish.chunks, message.finish.bytes)
                    if await anext(messages, None) is not None:
                        raise _out_of_order("a message follows the finish")
                    return
                case _:
                    raise _out_of_order("expected pieces or a finish")
        raise unfinished()

    async def _take(self, pieces: transfer_pb2.Pieces | BulkPieces) -> None:
        data = pieces.data
        self._received += len(data)
        self._pace.received(len(data), self._time())
        done = self._assembler.feed(pieces.digests, pieces.lengths, data, more=pieces.more)
        for chunk in done:
            self._digests.append(chunk.digest)
            self._batch_bytes += chunk.length
        self._batch += done
        if self._batch_bytes >= _BATCH_BYTES or len(self._batch) >= _BATCH_CHUNKS:
            await self._flush()
        self._patience.reschedule(self._pace.deadline())

    async def _flush(self) -> None:
        """Hand the batch over to the disk once the one before has been written."""
        await self._written()
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if batch:
            self._writing = asyncio.create_task(self._write(batch))

    async def _written(self) -> None:
        """Wait for the disk; that time is not charged to the sender."""
        if self._writing is None:
            return
        since = self._time()
        self._patience.reschedule(None)
        writing, self._writing = self._writing, None
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            self._writing = writing  # still runs: _drop waits for it
            raise
        self._pace.held_back(since, self._time())

    async def _write(self, batch: list[ReceivedChunk]) -> None:
        packed = b"".join(chunk.digest for chunk in batch)
        stored = await self._rows.stored(packed, self._received)
        await self._files.io(self._stream.append, batch, stored)

    async def _conclude(self) -> R:
        packs = await self._files.io(self._stream.seal)
        try:
            receipt = await self._rows.index(packs, b"".join(self._digests), self._received)
            self._concluded = True
            return receipt
        except IngotError:  # refused for sure; after any other error the packs may be indexed all the same
            await self._files.io(self._stream.discard, packs)
            raise

    async def _drop(self) -> None:
        """Leave nothing behind but the count of what travelled, unless it counts already."""
        if self._concluded:
            return
        if self._writing is not None:
            await asyncio.wait({self._writing})
            self._writing.exception()  # it had its turn: the stream failed already
        await self._files.io(self._stream.abort)
        await self._rows.dropped(self._received)


def _out_of_order(what: str) -> Invalid:
    return invalid_field(
        "message",
        f"{what}; a stream is a header, then pieces, then a finish",
        next_step="Nothing of this stream was stored; correct the sender.",
    )
