"""A run of chunks on its way into the store: what PutChunk is, and an UploadFile a row of.

append …      hash and write what is new, once the one before has been written
conclude      seal its packs, then index and lease in one transaction: now it counts
drop          leave nothing behind but the count of what travelled
"""

import dataclasses
from collections.abc import Sequence

from ingot.server.core import failpoints
from ingot.server.core.chunks import ReceivedChunk, StreamReceipt
from ingot.server.core.errors import IngotError
from ingot.server.core.identity import Caller
from ingot.server.core.stores import PackStore
from ingot.server.domain.chunk_intake import ChunkIntake, StreamTicket
from ingot.server.domain.chunk_stream import ChunkStream
from ingot.server.rpc.hops import Hops


class IncomingRun:
    """One run. Call its methods one after the other, and let each come to its end."""

    def __init__(
        self,
        hops: Hops,
        intake: ChunkIntake,
        packs: PackStore,
        caller: Caller,
        ticket: StreamTicket,
        *,
        act: bool = True,
    ) -> None:
        """With `act` the run is what its call is made for, not a part of it."""
        self.size = 0
        self._act = act
        self._hops = hops
        self._intake = intake
        self._caller = caller
        self._ticket = ticket
        self._stream = ChunkStream(packs, ticket.chunks, ticket.size)
        self._digests: list[bytes] = []

    async def append(self, chunks: Sequence[ReceivedChunk]) -> None:
        """Write those chunks that are new. Raises Invalid (CHUNK_HASH_MISMATCH), Exhausted, Unavailable."""
        packed = [chunk.digest for chunk in chunks]
        stored = await self._hops.read(self._intake.stored, b"".join(packed))
        await self._hops.io(self._stream.append, chunks, stored)
        self._digests += packed
        self.size += sum(chunk.length for chunk in chunks)

    async def conclude(self) -> StreamReceipt:
        """Make the run durable and let it count. Raises as `append`, and NotFound, Precondition."""
        packs = await self._hops.io(self._stream.seal)
        ticket = dataclasses.replace(self._ticket, chunks=len(self._digests), size=self.size)
        try:
            packed = b"".join(self._digests)
            write = self._hops.write if self._act else self._hops.prepare
            receipt = await write(self._intake.index, self._caller, ticket, packs, packed, self.size)
            failpoints.hit("stream.durable")
            return receipt
        except IngotError:  # refused for sure; after any other error the packs may be indexed all the same
            await self._hops.io(self._stream.discard, packs)
            raise
        finally:
            self._intake.release(self._ticket)

    async def drop(self) -> None:
        """Forget what was written."""
        self._intake.release(self._ticket)
        await self._hops.io(self._stream.abort)
        if self.size:
            await self._hops.keep(self._intake.wasted, self._ticket.upload, self.size)
