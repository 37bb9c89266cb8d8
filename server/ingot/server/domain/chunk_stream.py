"""One stream of chunks on its way to disk: called on threads for file work, one call at a time, no rows."""

from collections.abc import Collection, Sequence

from blake3 import blake3

from ingot.content import digests
from ingot.server.core.chunks import ReceivedChunk
from ingot.server.core.errors import Invalid, Reason
from ingot.server.core.packs import SealedPack
from ingot.server.core.stores import Ingest, PackStore


class ChunkStream:
    """Writes what is new of a stream of at most `chunks` chunks and `size` bytes into packs."""

    def __init__(self, packs: PackStore, chunks: int, size: int) -> None:
        self._packs = packs
        self._chunks = chunks
        self._size = size
        self._ingest: Ingest | None = None

    def append(self, chunks: Sequence[ReceivedChunk], stored: Collection[bytes]) -> None:
        """Check all chunks against their digests and write those that are not `stored` already.

        Raises Invalid (CHUNK_HASH_MISMATCH), Exhausted (DISK_LOW), Unavailable.
        """
        new: list[ReceivedChunk] = []
        for chunk in chunks:
            if chunk.digest in stored:
                _check_digest(chunk)
            else:
                new.append(chunk)
        if new:
            self._opened().append_all((chunk.digest, chunk.pieces) for chunk in new)

    def seal(self) -> list[SealedPack]:
        """Make everything durable and return the packs, none when nothing was new. Raises as `append`."""
        return self._ingest.seal() if self._ingest else []

    def abort(self) -> None:
        """Drop what was written."""
        if self._ingest:
            self._ingest.abort()

    def discard(self, packs: Sequence[SealedPack]) -> None:
        """Remove sealed packs that will never be indexed."""
        for pack in packs:
            self._packs.delete(pack.id)

    def _opened(self) -> Ingest:
        if self._ingest is None:
            self._ingest = self._packs.open_ingest(self._size, self._chunks)
        return self._ingest


def _check_digest(chunk: ReceivedChunk) -> None:
    hasher = blake3()
    for piece in chunk.pieces:
        hasher.update(piece)
    actual = hasher.digest()
    if actual != chunk.digest:
        raise Invalid(
            Reason.CHUNK_HASH_MISMATCH,
            f"A chunk of {chunk.length} bytes came under {digests.format_digest(chunk.digest)}, "
            f"its bytes have {digests.format_digest(actual)}.",
            next_step="Read the source again; it changed, or the bytes were damaged on the way.",
            facts={"digest": digests.format_digest(chunk.digest)},
        )
