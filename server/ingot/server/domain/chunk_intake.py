"""How chunks come in: what is missing, who may stream, and the transaction that makes a stream count.

A stream touches rows three times: `admit` before its first byte, `stored` while it runs (to write no chunk
that is on disk already), and `index` once its packs are durable. Only then does the sender hear of success.

Presence is told per namespace. What other namespaces have is neither said nor visible in an outcome or a
count of new bytes: their chunks are merely not written a second time, after the sender has proven by sending
them that it has them.
"""

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager

from ingot.content import digests
from ingot.server.core import asked_digests, failpoints
from ingot.server.core.catalog_stores import ArtifactStore
from ingot.server.core.chunks import ChunkOutcome, Presence, StreamReceipt
from ingot.server.core.clock import Clock
from ingot.server.core.errors import Exhausted, Invalid, Reason, Unavailable, invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.names import UploadName
from ingot.server.core.namespaces import Reservation
from ingot.server.core.packs import SealedPack
from ingot.server.core.transfer_stores import ChunkOwner, ChunkStore, KnownChunk, UploadStore
from ingot.server.core.uploads import TransferLimits, Upload
from ingot.server.domain.access import Access
from ingot.server.domain.disk_room import DiskRoom
from ingot.server.domain.quotas import QuotaRules
from ingot.server.domain.stream_slots import StreamSlots
from ingot.server.domain.uploads import Uploads


@dataclasses.dataclass(frozen=True, slots=True)
class StreamTicket:
    """Leave to stream: `chunks` and `size` (bytes) are what the header declared."""

    upload: UploadName
    chunks: int
    size: int
    reservation: Reservation | None = None  # what must be reserved first, and released at its end


class ChunkIntake:
    """The rules about incoming chunks; methods run inside a unit of work, except `slot`."""

    def __init__(
        self,
        uploads: Uploads,
        store: UploadStore,
        chunks: ChunkStore,
        artifacts: ArtifactStore,
        access: Access,
        clock: Clock,
        limits: TransferLimits,
        disk: DiskRoom,
        quotas: QuotaRules,
    ) -> None:
        self._uploads = uploads
        self._store = store
        self._chunks = chunks
        self._artifacts = artifacts
        self._access = access
        self._clock = clock
        self._limits = limits
        self._disk = disk
        self._quotas = quotas
        self._slots = StreamSlots(limits.max_streams)

    def find_missing(self, caller: Caller, name: UploadName, packed: bytes) -> Presence:
        """Say which digests the namespace does not have, and lease the others to the upload. Inside a write.

        Raises Invalid (FIELD_INVALID, BAD_LENGTH), NotFound (UPLOAD_NOT_FOUND), Precondition (UPLOAD_CLOSED),
        Exhausted (QUOTA).
        """
        self._check_count(packed)
        upload = self._uploads.require_open(caller, name)
        distinct = asked_digests.distinct(packed)
        known = self._chunks.known(distinct, upload.namespace, self._clock.now())
        present = [each for each in known if each.visible]
        others = self._readable(caller, [each for each in known if not each.visible])
        present += others
        fresh = {each.id: each.length for each in others}
        new = sum(fresh.values())
        if new:
            self._quotas.require_shared(upload.namespace, len(fresh), new)
        upload = self._uploads.touch(
            upload, new_bytes=upload.new_bytes + new, **self._leased(upload, present)
        )
        missing = asked_digests.missing(packed, distinct, [each.position for each in present])
        return Presence(missing, upload.expire_time)

    def slot(self, caller: Caller) -> AbstractContextManager[None]:
        """Count a stream of the caller while it runs. Raises Exhausted (BUSY). For one thread, the loop's."""
        return self._slots.slot(caller)

    def admit(self, caller: Caller, name: UploadName, chunks: int, size: int) -> StreamTicket:
        """Check a stream's header; inside a read.

        Raises NotFound (UPLOAD_NOT_FOUND), Precondition (UPLOAD_CLOSED), Invalid (BAD_LENGTH), Exhausted
        (DISK_LOW, TOO_LARGE).
        """
        upload = self._uploads.require_open(caller, name)
        self._disk.require_stream()
        if size > self._limits.max_stream_bytes:
            raise Exhausted(
                Reason.TOO_LARGE,
                f"A stream has at most {self._limits.max_stream_bytes} bytes, the header declares {size}.",
                next_step="Send the chunks in several streams.",
                facts={"limit": str(self._limits.max_stream_bytes), "declared": str(size)},
            )
        if chunks > self._limits.max_stream_chunks:
            raise Exhausted(
                Reason.TOO_LARGE,
                f"A stream has at most {self._limits.max_stream_chunks} chunks, {chunks} are declared.",
                next_step="Send the chunks in several streams.",
                facts={"limit": str(self._limits.max_stream_chunks), "declared": str(chunks)},
            )
        if not 0 <= chunks <= size:
            raise Invalid(
                Reason.BAD_LENGTH,
                f"The header declares {chunks} chunks of together {size} bytes; each has at least one byte.",
                next_step="Declare what the stream will bring.",
            )
        return StreamTicket(name, chunks, size, self._quotas.reservation(upload.namespace, chunks, size))

    def reserve(self, caller: Caller, ticket: StreamTicket) -> None:
        """Reserve what a ticket asks for. Inside a write. Raises as `admit`, and Exhausted (QUOTA)."""
        upload = self._uploads.require_open(caller, ticket.upload)
        if ticket.reservation is not None:
            self._quotas.reserve(ticket.reservation, upload.stored_bytes)

    def release(self, ticket: StreamTicket) -> None:
        """Let go of what a stream reserved, once it has ended; for any thread, and harmless twice."""
        self._quotas.release(ticket.reservation)

    def stored(self, packed: bytes) -> frozenset[bytes]:
        """Return those of the packed digests that need not be written again, whoever brought them."""
        return self._chunks.stored(packed)

    def index(
        self, caller: Caller, ticket: StreamTicket, packs: Sequence[SealedPack], packed: bytes, received: int
    ) -> StreamReceipt:
        """Enter durable packs, lease all chunks of the stream (`packed` digests in order) to the upload.

        `received` counts bytes that travelled. Inside a write. Raises as `admit`, and Unavailable when a
        chunk that was on disk at the start of the stream has gone since.
        """
        upload = self._uploads.require_open(caller, ticket.upload)
        now = self._clock.now()
        before = self._chunks.known(packed, upload.namespace, now)
        for pack in packs:
            self._chunks.add_pack(pack, now)
        failpoints.hit("intake.indexed")
        present = self._chunks.known(packed, upload.namespace, now)
        if len(present) * digests.DIGEST_SIZE != len(packed):
            raise Unavailable(
                Reason.BUSY,
                "A chunk of this stream was collected while the stream ran.",
                next_step="Ask FindMissing and send the stream again.",
                retry_after=0.5,
            )
        outcomes = _outcomes(before, present)
        stored = sum(
            each.length
            for each, outcome in zip(present, outcomes, strict=True)
            if outcome is ChunkOutcome.STORED
        )
        upload = self._uploads.touch(
            upload,
            received_bytes=upload.received_bytes + received,
            new_bytes=upload.new_bytes + stored,
            **self._leased(upload, present),
        )
        self._quotas.release(ticket.reservation)  # what it brought is counted from here, in this same write
        return StreamReceipt(outcomes, stored, ticket.size - stored, upload.expire_time)

    def wasted(self, name: UploadName, received: int) -> None:
        """Count bytes that travelled in a stream that came to nothing. Inside a write."""
        self._store.count_received(name, received)

    # --- inside -----------------------------------------------------------------------------------------

    def _leased(self, upload: Upload, present: Sequence[KnownChunk]) -> dict[str, int]:
        """Lease chunks to the upload; return its counters as they are then."""
        lengths = {each.id: each.length for each in present}
        fresh = self._chunks.hold(upload.tree, lengths) if lengths else ()
        return {
            "stored_chunks": upload.stored_chunks + len(fresh),
            "stored_bytes": upload.stored_bytes + sum(lengths[each] for each in fresh),
        }

    def _readable(self, caller: Caller, chunks: Sequence[KnownChunk]) -> list[KnownChunk]:
        """Return those chunks that a version of another namespace contains which the caller may read."""
        if not chunks or caller.is_worker:
            return []
        owners = self._chunks.owners([each.id for each in chunks])
        every = {owner for found in owners.values() for owner in found}
        allowed = {owner for owner in every if self._may_read(caller, owner)}
        return [each for each in chunks if not allowed.isdisjoint(owners.get(each.id, ()))]

    def _may_read(self, caller: Caller, owner: ChunkOwner) -> bool:
        artifact = self._artifacts.by_uid(owner.artifact_uid)
        return (
            artifact is not None
            and self._access.reads(caller, artifact)
            and (owner.approved or not self._access.is_stranger(caller, artifact))
        )

    def _check_count(self, packed: bytes) -> None:
        count, rest = divmod(len(packed), digests.DIGEST_SIZE)
        if rest:
            raise Invalid(
                Reason.BAD_LENGTH,
                f"digests: expected a multiple of 32 bytes, got {len(packed)}.",
                next_step="Send whole digests, one after the other.",
            )
        if count > self._limits.max_digests:
            raise invalid_field(
                "digests",
                f"expected at most {self._limits.max_digests} digests, got {count}",
                next_step="Ask in several calls.",
            )


def _outcomes(before: Sequence[KnownChunk], present: Sequence[KnownChunk]) -> tuple[ChunkOutcome, ...]:
    """Return one outcome a chunk: ALREADY when the namespace had it, or it came earlier in the stream."""
    seen = {each.id for each in before if each.visible}
    outcomes: list[ChunkOutcome] = []
    for each in present:
        outcomes.append(ChunkOutcome.ALREADY if each.id in seen else ChunkOutcome.STORED)
        seen.add(each.id)
    return tuple(outcomes)
