"""Packs in memory, byte for byte as on disk: for tests of rules that need a pack store but no files."""

import errno
import os
import threading
from collections.abc import Iterator, Sequence

from ingot.content.digests import Data
from ingot.server.core.errors import DataLoss
from ingot.server.core.packs import (
    ChunkPlace,
    PackEntry,
    PackFile,
    PackId,
    ScannedChunk,
    SealedPack,
    ShelfUsage,
)
from ingot.server.storage import pack_format, pack_ingest, pack_reading


class MemoryPacks:
    """A PackStore without files; `capacity` is the size in bytes of the disk that it pretends to have."""

    def __init__(self, capacity: int = 1 << 30) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._packs: dict[PackId, bytearray] = {}
        self._quarantine: dict[PackId, bytearray] = {}
        self._holes: dict[PackId, int] = {}  # bytes of a pack that were given back
        self._reserved = 0  # promised to streams and not yet handed to a pack
        self._open: dict[int, _MemorySink] = {}
        self._verified = pack_reading.Verified()

    def open_ingest(self, size: int, chunks: int) -> pack_ingest.PackIngest:
        """Start a stream if it would fit."""
        need = size + pack_format.overhead(chunks, 1)
        with self._lock:
            fits = need <= self._free()
            self._reserved += need if fits else 0
        if not fits:
            raise pack_ingest.disk_low(f"A stream of {size} bytes does not fit into {self._capacity} bytes.")
        return pack_ingest.PackIngest(self, need)

    def read(self, place: ChunkPlace) -> bytes:
        """Return the bytes of a chunk, checked at the first read."""
        data = self._read_at(place.pack, place.offset, place.length)
        if not self._verified.has(place):
            if not pack_reading.checked(place, data):
                raise pack_reading.chunk_lost(place, data)
            self._verified.add(place)
        return data

    def read_into(self, places: Sequence[ChunkPlace], buffer: memoryview) -> int:
        """Copy them one by one."""
        end = 0
        for done, place in enumerate(places):
            try:
                data = self.read(place)
            except DataLoss:
                return done
            buffer[end : end + place.length] = data
            end += place.length
        return len(places)

    def damaged(self, pack: PackId, places: Sequence[ChunkPlace]) -> list[ChunkPlace]:
        """Check the bytes whatever was read before."""
        try:
            self._bytes_of(pack)
        except DataLoss:
            return list(places)
        return [
            place
            for place in sorted(places, key=lambda each: each.offset)
            if not pack_reading.checked(place, self._read_at(pack, place.offset, place.length))
        ]

    def packs(self) -> Iterator[PackFile]:
        """List the packs."""
        with self._lock:
            found = [PackFile(pack, len(data)) for pack, data in self._packs.items()]
        yield from found

    def entries(self, pack: PackId) -> tuple[PackEntry, ...]:
        """Return what a pack holds."""
        size = len(self._bytes_of(pack))
        return pack_reading.read_entries(pack, size, lambda offset, n: self._read_at(pack, offset, n), None)

    def scan(self, pack: PackId) -> Iterator[ScannedChunk]:
        """Check a whole pack."""
        size = len(self._bytes_of(pack))
        yield from pack_reading.scan_records(
            pack, size, lambda offset, n: self._read_at(pack, offset, n), None
        )

    def allocated(self, pack: PackId) -> int:
        """Return the bytes of a pack that were not given back."""
        return len(self._packs.get(pack, b"")) - self._holes.get(pack, 0)

    def punch(self, pack: PackId, entries: Sequence[PackEntry]) -> int | None:
        """Overwrite the records with zeros and count them as given back."""
        data = self._bytes_of(pack)
        self._verified.forget(pack)
        freed = 0
        for offset, length in pack_format.spans(entries):
            freed += length if any(data[offset : offset + length]) else 0
            data[offset : offset + length] = bytes(length)
        self._holes[pack] = self._holes.get(pack, 0) + freed
        return freed

    def delete(self, pack: PackId) -> bool:
        """Forget a pack."""
        self._verified.forget(pack)
        self._holes.pop(pack, None)
        with self._lock:
            return self._packs.pop(pack, None) is not None

    def quarantine(self, pack: PackId) -> bool:
        """Set a pack aside."""
        self._verified.forget(pack)
        with self._lock:
            data = self._packs.pop(pack, None)
            if data is not None:
                self._quarantine[pack] = data
        return data is not None

    def secure(self, pack: PackId) -> None:
        """Do nothing: memory has no disk."""

    def leftovers(self) -> int:
        """Return 0."""
        return 0

    def recover(self) -> int:
        """Return 0: memory does not outlive a run."""
        return 0

    def usage(self) -> ShelfUsage:
        """Count the bytes."""
        with self._lock:
            packs, ingest, quarantine = self._areas()
            return ShelfUsage(self._capacity, max(0, self._free()), packs, ingest, quarantine)

    def start(self, reserve: int) -> "_MemorySink":
        """Make an empty pack (the Shelf side)."""
        sink = _MemorySink(self, reserve)
        with self._lock:
            self._reserved -= reserve
            self._open[id(sink)] = sink
        return sink

    def publish(self, finished: Sequence[tuple[pack_ingest.PackSink, SealedPack]]) -> None:
        """Put finished packs onto the shelf (the Shelf side)."""
        with self._lock:
            for sink, sealed in finished:
                self._packs[sealed.id] = self._open.pop(id(sink)).data

    def unreserve(self, size: int) -> None:
        """Give up promised space (the Shelf side)."""
        with self._lock:
            self._reserved -= size

    def check_room(self) -> None:
        """Raise OSError when the pretended disk is over-full, as a write to a full one would."""
        with self._lock:
            full = sum(self._areas()) > self._capacity
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def forget(self, sink: "_MemorySink") -> None:
        """Drop an open pack."""
        with self._lock:
            self._open.pop(id(sink), None)

    def _areas(self) -> tuple[int, int, int]:
        return (
            sum(map(len, self._packs.values())) - sum(self._holes.values()),
            sum(max(len(sink.data), sink.reserved) for sink in self._open.values()),
            sum(map(len, self._quarantine.values())),
        )

    def _free(self) -> int:
        return self._capacity - sum(self._areas()) - self._reserved

    def _bytes_of(self, pack: PackId) -> bytearray:
        data = self._packs.get(pack)
        if data is None:
            raise pack_reading.absent(pack)
        return data

    def _read_at(self, pack: PackId, offset: int, length: int) -> bytes:
        return bytes(self._bytes_of(pack)[offset : offset + length])


class _MemorySink:
    """A pack that is being written into memory."""

    def __init__(self, shelf: MemoryPacks, reserved: int) -> None:
        self._shelf = shelf
        self.reserved = reserved
        self.data = bytearray()

    def write(self, offset: int, pieces: Sequence[Data]) -> None:
        del self.data[offset:]
        for piece in pieces:
            self.data += piece
        self._shelf.check_room()

    def finish(self, offset: int, footer: bytes) -> None:
        self.write(offset, [footer])
        self.reserved = 0

    def discard(self) -> None:
        self._shelf.forget(self)
