"""The interfaces through which rules reach rows and bytes; each docstring is the contract.

Stores of rows are called inside a unit of work (Database.read or Database.write). The pack store holds bytes:
it is called outside of one, on the threads for file work. Users, tokens and the catalog: catalog_stores.py.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from ingot.content.digests import Data
from ingot.server.core.packs import (
    ChunkPlace,
    PackEntry,
    PackFile,
    PackId,
    ScannedChunk,
    SealedPack,
    ShelfUsage,
)

# --- packs ---------------------------------------------------------------------------------------------


class Ingest(Protocol):
    """The chunks of one stream on their way into packs. For one thread at a time.

    Nothing of it can be read, and nothing survives a crash, before `seal` returns. After an error other than
    Invalid, and after `seal` or `abort`, it is closed: its open files are gone, calls raise RuntimeError.
    """

    def append(self, digest: bytes, pieces: Sequence[Data]) -> bool:
        """Add the chunk whose bytes are `pieces` joined; return False if this stream had it already.

        The bytes are checked against `digest` before any of them is written. The pieces are not kept.
        Raises Invalid (CHUNK_HASH_MISMATCH; BAD_LENGTH unless 1 byte to 4 MiB), which leaves the stream
        usable; Exhausted (DISK_LOW); Unavailable when the disk fails.
        """
        ...

    def append_all(self, chunks: Iterable[tuple[bytes, Sequence[Data]]]) -> int:
        """Add many chunks as `append` does, and return how many this stream did not have yet.

        All are checked before the first is written, so after Invalid none of them was added.
        """
        ...

    def seal(self) -> list[SealedPack]:
        """Make everything durable and return the packs, none for an empty stream.

        Durable means: contents and names are on the disk when this returns. All or nothing: on an error no
        pack of this stream remains. Only the death of the process in between can leave packs that nobody was
        told of; `PackStore.packs` lists them. The caller then enters the entries into the index.
        Raises Exhausted (DISK_LOW); Unavailable when the disk fails. A failed sync is never tried again.
        """
        ...

    def abort(self) -> None:
        """Drop everything; does nothing when closed already."""
        ...


class PackStore(Protocol):
    """Immutable packs of chunks; knows nothing of names, versions or who may read. Safe for many threads."""

    def open_ingest(self, size: int, chunks: int) -> Ingest:
        """Start a stream of up to `chunks` chunks with together `size` bytes, and reserve their space.

        Raises Exhausted (DISK_LOW) before any byte flows when they would not fit with the headroom kept free.
        """
        ...

    def read(self, place: ChunkPlace) -> bytes:
        """Return the bytes of a chunk, whole, checked against its digest at the first read since start.

        Raises DataLoss when the pack is absent, too short, or the bytes are wrong even when read again, and
        Unavailable when it cannot be opened now: its key, or the whole shelf, is absent.
        """
        ...

    def read_into(self, places: Sequence[ChunkPlace], buffer: memoryview) -> int:
        """Put whole chunks one behind the other into `buffer`, which they fill, checked as in `read`.

        What was hashed when it came in, since start, is checked when it first comes from the disk. Returns
        how many are there. When that is fewer, `read` of the next one tells what is wrong with it; the rest
        may be asked for after that.
        """
        ...

    def damaged(self, pack: PackId, places: Sequence[ChunkPlace]) -> list[ChunkPlace]:
        """Read chunks of one pack from the disk itself, and return those without their digest, by offset.

        What was read or verified before does not count. One that is wrong is read a second time. All are
        damaged when the pack is absent. Raises Unavailable when it cannot be opened now, as `read` does.
        """
        ...

    def packs(self) -> Iterator[PackFile]:
        """List the sealed packs on the shelf, in no order; packs that come or go meanwhile may be missed."""
        ...

    def entries(self, pack: PackId) -> tuple[PackEntry, ...]:
        """Return what a pack holds, from its checked footer and the headers of its records; reads no chunk.

        Raises DataLoss when it is absent or damaged.
        """
        ...

    def scan(self, pack: PackId) -> Iterator[ScannedChunk]:
        """Read a whole pack, record by record and without its footer, and check every chunk.

        Raises DataLoss when the pack is absent, and after the last readable record when the next is damaged.
        """
        ...

    def allocated(self, pack: PackId) -> int:
        """Return the bytes that a pack takes of the disk: its size without holes. 0 if absent."""
        ...

    def punch(self, pack: PackId, entries: Sequence[PackEntry]) -> int | None:
        """Give the space of these chunks of a pack back, without needing any; return the bytes freed.

        From then on they are absent: `entries` and `scan` leave them out, reading one is DataLoss. The others
        are untouched. Doing it again changes nothing. None, and no change, where the shelf cannot.
        Raises DataLoss when the pack is absent, Unavailable when the disk fails.
        """
        ...

    def delete(self, pack: PackId) -> bool:
        """Remove a pack; False if absent. Reads that run finish; a power cut may bring the pack back."""
        ...

    def quarantine(self, pack: PackId) -> bool:
        """Set a damaged pack aside, durably, where it cannot be read any more; False if absent."""
        ...

    def secure(self, pack: PackId) -> None:
        """Bring a pack that was found on the shelf to the disk, itself and its name.

        Whoever put it there may have died before. Raises DataLoss when it is absent, Unavailable when the
        disk fails.
        """
        ...

    def leftovers(self) -> int:
        """Return how many files `recover` would drop; call only where no other process uses the shelf."""
        ...

    def recover(self) -> int:
        """Drop what streams of earlier runs left; return how many files. Call once, before any stream."""
        ...

    def usage(self) -> ShelfUsage:
        """Measure the shelf and the disk below it; walks all packs."""
        ...
