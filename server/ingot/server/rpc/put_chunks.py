"""Receives one PutChunks stream: the loop takes messages in, a thread hashes and writes what came before.

    message ─▶ assembler ─▶ batch (4 MiB) ─▶ known? ─▶ hash and append      … finish ─▶ seal ─▶ index ─▶ reply

One batch, of at most 8,192 chunks and what its last message brought more, is on its way to disk while the
next one fills, and no more: a sender that is faster than the disk is held back by the flow control of its
connection. A stream therefore needs about 10 MiB. Whatever goes wrong before the index transaction leaves
nothing behind but a count of the bytes that travelled.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from ingot.server.core import failpoints
from ingot.server.core.chunks import ChunkAssembler, ReceivedChunk, StreamReceipt
from ingot.server.core.errors import IngotError, Invalid, invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.names import UploadName, made_id
from ingot.server.core.stores import PackStore
from ingot.server.core.uploads import Pace, TransferLimits, unfinished
from ingot.server.domain.chunk_intake import ChunkIntake, StreamTicket
from ingot.server.domain.chunk_stream import ChunkStream
from ingot.server.rpc import admission, pipeline
from ingot.server.rpc.bulk_messages import BulkPieces, PutChunksMessage
from ingot.server.rpc.hops import Hops
from ingot.v1 import transfer_pb2

log = logging.getLogger(__name__)

Messages = AsyncIterator[PutChunksMessage]

_BATCH_BYTES = 4 * 1024 * 1024
_BATCH_CHUNKS = 8192  # tiny ones take more memory for themselves than for their bytes


class ChunkReceiver:
    """Receives streams; one object serves them all."""

    def __init__(self, hops: Hops, intake: ChunkIntake, packs: PackStore, limits: TransferLimits) -> None:
        self._hops = hops
        self._intake = intake
        self._packs = packs
        self._limits = limits

    async def receive(self, caller: Caller, messages: Messages) -> StreamReceipt:
        """Take one stream to its end and return what is on disk then.

        Raises Invalid (STREAM_UNFINISHED, BAD_LENGTH, CHUNK_HASH_MISMATCH, FIELD_INVALID), NotFound,
        Precondition (UPLOAD_CLOSED), Exhausted (BUSY, TOO_LARGE, DISK_LOW), TooSlow, Unavailable.
        """
        with self._intake.slot(caller):
            pace = Pace(self._limits, asyncio.get_running_loop().time())
            try:
                async with asyncio.timeout_at(pace.deadline()) as patience:
                    reception = await self._open(caller, messages, pace, patience)
                    return await reception.run(messages)
            except TimeoutError:
                if patience.expired():
                    raise pace.verdict(asyncio.get_running_loop().time()) from None
                raise

    async def _open(
        self, caller: Caller, messages: Messages, pace: Pace, patience: asyncio.Timeout
    ) -> "_Reception":
        first = await anext(messages, None)
        if first is None:
            raise unfinished()
        if isinstance(first, BulkPieces) or first.WhichOneof("message") != "header":
            raise _out_of_order("the first message is not a header")
        name = UploadName(made_id(first.header.upload, "uploads", "header.upload"))
        pipeline.about(str(name))
        ticket = await admission.admitted(
            self._hops, self._intake, caller, name, first.header.declared_chunks, first.header.declared_bytes
        )
        stream = ChunkStream(self._packs, ticket.chunks, ticket.size)
        return _Reception(self._hops, self._intake, stream, caller, ticket, pace, patience)


class _Reception:
    """One stream after its header."""

    def __init__(
        self,
        hops: Hops,
        intake: ChunkIntake,
        stream: ChunkStream,
        caller: Caller,
        ticket: StreamTicket,
        pace: Pace,
        patience: asyncio.Timeout,
    ) -> None:
        self._hops = hops
        self._intake = intake
        self._stream = stream
        self._caller = caller
        self._ticket = ticket
        self._pace = pace
        self._patience = patience
        self._assembler = ChunkAssembler(ticket.chunks, ticket.size)
        self._time = asyncio.get_running_loop().time
        self._digests: list[bytes] = []
        self._batch: list[ReceivedChunk] = []
        self._batch_bytes = 0
        self._received = 0
        self._writing: asyncio.Task[None] | None = None
        self._concluded = False

    async def run(self, messages: Messages) -> StreamReceipt:
        """Take everything in, then make it durable and count it."""
        try:
            await self._take_all(messages)
            await self._flush()
            await self._written()
            self._patience.reschedule(None)
            # From here it is completed even if the sender has gone: its next FindMissing finds the chunks.
            concluding = asyncio.create_task(self._conclude())
            try:
                return await asyncio.shield(concluding)
            except asyncio.CancelledError:
                await asyncio.wait({concluding})  # it is at work on the files that would be dropped
                raise
        except BaseException:
            await asyncio.shield(asyncio.create_task(self._drop()))
            raise
        finally:
            self._intake.release(self._ticket)

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
        stored = await self._hops.read(self._intake.stored, packed)
        await self._hops.io(self._stream.append, batch, stored)

    async def _conclude(self) -> StreamReceipt:
        await pipeline.require_credential()
        packs = await self._hops.io(self._stream.seal)
        try:
            receipt = await self._hops.write(
                self._intake.index,
                self._caller,
                self._ticket,
                packs,
                b"".join(self._digests),
                self._received,
            )
            self._concluded = True
            failpoints.hit("stream.durable")
            return receipt
        except IngotError:  # refused for sure; after any other error the packs may be indexed all the same
            await self._hops.io(self._stream.discard, packs)
            raise

    async def _drop(self) -> None:
        """Leave nothing behind but the count of what travelled, unless it counts already."""
        if self._concluded:
            return
        if self._writing is not None:
            await asyncio.wait({self._writing})
            self._writing.exception()  # it had its turn: the stream failed already
        await self._hops.io(self._stream.abort)
        if self._received:
            await self._hops.keep(self._intake.wasted, self._ticket.upload, self._received)
        log.info("stream.dropped upload=%s received=%d", self._ticket.upload, self._received)


def _out_of_order(what: str) -> Invalid:
    return invalid_field(
        "message",
        f"{what}; a stream is a header, then pieces, then a finish",
        next_step="Nothing of this stream was stored; correct the sender.",
    )
