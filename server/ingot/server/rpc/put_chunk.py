"""Takes single chunks, for browsers and simple clients: one chunk is one run with a pack of its own."""

import asyncio

from ingot.content import digests
from ingot.server.core.chunks import ReceivedChunk, StreamReceipt
from ingot.server.core.errors import Invalid, Reason, invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.names import UploadName
from ingot.server.core.packs import MAX_CHUNK_SIZE
from ingot.server.core.stores import PackStore
from ingot.server.domain.chunk_intake import ChunkIntake
from ingot.server.rpc import admission
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.incoming_runs import IncomingRun


class ChunkTaker:
    """Takes chunks; one object serves them all."""

    def __init__(self, hops: Hops, intake: ChunkIntake, packs: PackStore) -> None:
        self._hops = hops
        self._intake = intake
        self._packs = packs

    async def take(
        self, caller: Caller, name: UploadName, data: bytes, digest: bytes
    ) -> tuple[StreamReceipt, bytes]:
        """Store a chunk; return what is on disk then, and its digest, which is compared when it is given.

        Raises Invalid (BAD_LENGTH, CHUNK_HASH_MISMATCH, FIELD_INVALID), NotFound, Precondition
        (UPLOAD_CLOSED), Exhausted (BUSY, DISK_LOW), Unavailable.
        """
        if not 0 < len(data) <= MAX_CHUNK_SIZE:
            raise Invalid(
                Reason.BAD_LENGTH,
                f"A chunk has 1 to {MAX_CHUNK_SIZE} bytes, got {len(data)}.",
                next_step="Cut the file with one of the profiles that the server lists.",
            )
        if len(digest) not in (0, digests.DIGEST_SIZE):
            raise invalid_field("digest", f"expected {digests.DIGEST_SIZE} bytes or none, got {len(digest)}")
        with self._intake.slot(caller):
            # It runs to its end even if the caller goes away: sent again, it is there.
            return await asyncio.shield(asyncio.create_task(self._take(caller, name, data, digest)))

    async def _take(
        self, caller: Caller, name: UploadName, data: bytes, digest: bytes
    ) -> tuple[StreamReceipt, bytes]:
        found = digest or await self._hops.io(digests.chunk_digest, data)
        ticket = await admission.admitted(self._hops, self._intake, caller, name, 1, len(data))
        run = IncomingRun(self._hops, self._intake, self._packs, caller, ticket)
        try:
            await run.append([ReceivedChunk(found, len(data), (memoryview(data),))])
            return await run.conclude(), found
        except BaseException:
            await run.drop()
            raise
