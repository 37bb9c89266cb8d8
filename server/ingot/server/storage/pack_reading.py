"""Read packs back: footers, whole scans, and chunks that are checked once per run of the server."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator

from ingot.content.digests import digest_of, format_digest
from ingot.server.core.errors import DataLoss, Reason
from ingot.server.core.packs import MAX_CHUNK_SIZE, ChunkPlace, PackEntry, PackId, ScannedChunk
from ingot.server.storage import pack_format

ReadAt = Callable[[int, int], bytes]  # offset, length → up to that many bytes

_REMEMBERED_PACKS = 4096  # about 256 GiB of chunks


class Verified:
    """Which chunks were found intact since the server started; forgets the packs not read for longest."""

    def __init__(self) -> None:
        self._offsets: OrderedDict[PackId, set[int]] = OrderedDict()
        self._lock = threading.Lock()

    def has(self, place: ChunkPlace) -> bool:
        """Return whether the chunk at this place was checked before."""
        return place.offset in self._offsets.get(place.pack, ())

    def add(self, place: ChunkPlace) -> None:
        """Remember that the chunk at this place is intact."""
        with self._lock:
            self._offsets.setdefault(place.pack, set()).add(place.offset)
            self._offsets.move_to_end(place.pack)
            while len(self._offsets) > _REMEMBERED_PACKS:
                self._offsets.popitem(last=False)

    def forget(self, pack: PackId) -> None:
        """Forget a pack that was removed."""
        with self._lock:
            self._offsets.pop(pack, None)


def read_entries(pack: PackId, size: int, read_at: ReadAt) -> tuple[PackEntry, ...]:
    """Return the entries of the footer of a pack of `size` bytes; DataLoss unless all digests agree."""
    try:
        tail = read_at(max(0, size - pack_format.TAIL_SIZE), pack_format.TAIL_SIZE)
        digest, length = pack_format.unpack_tail(tail, size)
        if digest.hex() != pack:
            raise pack_format.MalformedError("its tail carries the id of another pack")
        footer = read_at(size - pack_format.TAIL_SIZE - length, length)
        return pack_format.unpack_footer(footer, digest)
    except pack_format.MalformedError as error:
        raise damaged(pack, str(error)) from error


def scan_records(pack: PackId, size: int, read_at: ReadAt) -> Iterator[ScannedChunk]:
    """Yield every record from the front of a pack of `size` bytes, checked, until its footer begins."""
    position = 0
    while True:
        try:
            entry = pack_format.unpack_record(read_at(position, pack_format.RECORD_SIZE), position)
        except pack_format.MalformedError as error:
            raise damaged(pack, str(error)) from error
        if entry is None:
            return
        position = entry.offset + entry.length
        if entry.length > MAX_CHUNK_SIZE or position > size:
            raise damaged(pack, f"the record at byte {entry.offset} claims {entry.length} bytes")
        yield ScannedChunk(entry, digest_of(read_at(entry.offset, entry.length)) == entry.digest)


def checked(place: ChunkPlace, data: bytes) -> bool:
    """Return whether `data` is the chunk that the index expects at this place."""
    return len(data) == place.length and digest_of(data) == place.digest


def chunk_lost(place: ChunkPlace, found: bytes) -> DataLoss:
    """Return the error for a chunk whose bytes are wrong."""
    what = (
        f"only {len(found)} of {place.length} bytes are there"
        if len(found) < place.length
        else f"its bytes have {format_digest(digest_of(found))}"
    )
    return DataLoss(
        Reason.DATA_LOSS,
        f"The stored chunk {format_digest(place.digest)} is damaged: {what}.",
        next_step="Push a file that contains it again; the server stores a new copy.",
        facts={"pack": place.pack, "offset": str(place.offset), "digest": format_digest(place.digest)},
    )


def damaged(pack: PackId, what: str) -> DataLoss:
    """Return the error for a pack that cannot be read."""
    return DataLoss(
        Reason.DATA_LOSS,
        f"The pack {pack} is damaged: {what}.",
        next_step="Quarantine it and push the affected versions again, or restore a backup.",
        facts={"pack": pack},
    )


def absent(pack: PackId) -> DataLoss:
    """Return the error for a pack that is not on the shelf."""
    return DataLoss(
        Reason.DATA_LOSS,
        f"The pack {pack} is not on the shelf.",
        next_step="Restore it from a backup, or push the affected versions again.",
        facts={"pack": pack},
    )
