"""Read packs back: footers, whole scans, and chunks that are checked once per run of the server."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from ingot.content.digests import Data, digest_of, format_digest
from ingot.server.core.errors import DataLoss, Reason
from ingot.server.core.packs import MAX_CHUNK_SIZE, ChunkPlace, PackEntry, PackId, ScannedChunk
from ingot.server.storage import pack_format
from ingot.server.storage.pack_keys import PackCipher

ReadAt = Callable[[int, int], bytes]  # offset, length → up to that many bytes

_REMEMBERED_PACKS = 4096  # about 256 GiB of chunks
_REMEMBERED_WRITTEN = 512  # about 32 GiB: of more little is in memory still
_NEVER: tuple[int, frozenset[int]] = (-1, frozenset())


class Verified:
    """Which chunks were found intact since the server started; forgets the packs not read for longest."""

    def __init__(self) -> None:
        self._offsets: OrderedDict[PackId, set[int]] = OrderedDict()
        self._lock = threading.Lock()

    def has(self, place: ChunkPlace) -> bool:
        """Return whether the chunk at this place was checked before."""
        return place.offset in self._offsets.get(place.pack, ())

    def add(self, *places: ChunkPlace) -> None:
        """Remember that the chunks at these places, all in one pack, are intact."""
        if not places:
            return
        pack = places[0].pack
        with self._lock:
            self._offsets.setdefault(pack, set()).update(place.offset for place in places)
            self._offsets.move_to_end(pack)
            while len(self._offsets) > _REMEMBERED_PACKS:
                self._offsets.popitem(last=False)

    def forget(self, pack: PackId) -> None:
        """Forget a pack that was removed."""
        with self._lock:
            self._offsets.pop(pack, None)


class Written:
    """Which chunks were hashed on their way into packs of this run; forgets the packs written first.

    A pack counts as long as its file has the time of its last change: nobody has touched it since.
    """

    def __init__(self) -> None:
        self._packs: OrderedDict[PackId, tuple[int, frozenset[int]]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, pack: PackId, stamp: int, entries: Sequence[PackEntry]) -> None:
        """Remember a pack and the time of the last change of its file."""
        with self._lock:
            self._packs[pack] = (stamp, frozenset(entry.offset for entry in entries))
            while len(self._packs) > _REMEMBERED_WRITTEN:
                self._packs.popitem(last=False)

    def has(self, places: Sequence[ChunkPlace]) -> bool:
        """Return whether the chunks at these places, all in one pack, were written in this run."""
        _, offsets = self._packs.get(places[0].pack, _NEVER)
        return all(place.offset in offsets for place in places)

    def is_untouched(self, pack: PackId, stamp: int) -> bool:
        """Return whether a pack of this run was last changed when it was finished."""
        return self._packs.get(pack, _NEVER)[0] == stamp

    def forget(self, pack: PackId) -> None:
        """Forget a pack that was removed or changed."""
        with self._lock:
            self._packs.pop(pack, None)


def data_at(read_at: ReadAt, cipher: PackCipher | None, digest: bytes, offset: int, length: int) -> bytes:
    """Return the bytes of a chunk, not yet checked; of an encrypted one that does not open, wrong ones."""
    if cipher is None:
        return read_at(offset, length)
    sealed = read_at(offset, length + pack_format.tag_size(pack_format.CODEC_AES_GCM))
    header = pack_format.pack_record(digest, length, pack_format.CODEC_AES_GCM)
    opened = cipher.open(offset, header, sealed)
    return sealed[:length] if opened is None else opened


def read_entries(
    pack: PackId, size: int, read_at: ReadAt, cipher: PackCipher | None
) -> tuple[PackEntry, ...]:
    """Return what the footer of a pack of `size` bytes names and is there. DataLoss unless all agrees."""
    codec = _codec(cipher)
    try:
        tail = read_at(max(0, size - pack_format.TAIL_SIZE), pack_format.TAIL_SIZE)
        digest, length = pack_format.unpack_tail(tail, size)
        if digest.hex() != pack:
            raise pack_format.MalformedError("its tail carries the id of another pack")
        footer = read_at(size - pack_format.TAIL_SIZE - length, length)
        named = pack_format.unpack_footer(footer, digest, codec)
        return tuple(entry for entry in named if _is_there(entry, read_at, codec))
    except pack_format.MalformedError as error:
        raise damaged(pack, str(error)) from error


def scan_records(
    pack: PackId, size: int, read_at: ReadAt, cipher: PackCipher | None
) -> Iterator[ScannedChunk]:
    """Yield every record from the front of a pack of `size` bytes, checked, until its footer begins."""
    codec = _codec(cipher)
    position = pack_format.PROLOGUE_SIZE if cipher else 0
    while True:
        header = read_at(position, pack_format.RECORD_SIZE)
        if header[:4] == bytes(4):
            position = _behind_hole(pack, position, size, read_at)
            continue
        try:
            entry = pack_format.unpack_record(header, position, codec)
        except pack_format.MalformedError as error:
            raise damaged(pack, str(error)) from error
        if entry is None:
            return
        position = entry.offset + entry.length + pack_format.tag_size(codec)
        if entry.length > MAX_CHUNK_SIZE or position > size:
            raise damaged(pack, f"the record at byte {entry.offset} claims {entry.length} bytes")
        data = data_at(read_at, cipher, entry.digest, entry.offset, entry.length)
        yield ScannedChunk(entry, digest_of(data) == entry.digest)


def neighbours(places: Sequence[ChunkPlace], most: int) -> Iterator[Sequence[ChunkPlace]]:
    """Cut places into runs whose records lie side by side in one pack, each of at most `most` chunks."""
    start = 0
    for index in range(1, len(places) + 1):
        if index < len(places) and index - start < most:
            last, place = places[index - 1], places[index]
            if (
                place.offset == last.offset + last.length + pack_format.RECORD_SIZE
                and place.pack == last.pack
            ):
                continue
        yield places[start:index]
        start = index


def checked(place: ChunkPlace, data: Data) -> bool:
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


def _codec(cipher: PackCipher | None) -> int:
    return pack_format.CODEC_AES_GCM if cipher else pack_format.CODEC_RAW


def _is_there(entry: PackEntry, read_at: ReadAt, codec: int) -> bool:
    """Return whether the record of an entry is in its place; False when its space was given back."""
    header = read_at(entry.offset - pack_format.RECORD_SIZE, pack_format.RECORD_SIZE)
    if header == bytes(pack_format.RECORD_SIZE):
        return False
    if header != pack_format.pack_record(entry.digest, entry.length, codec):
        raise pack_format.MalformedError(f"the record at byte {entry.offset} is not what its footer names")
    return True


def _behind_hole(pack: PackId, position: int, size: int, read_at: ReadAt) -> int:
    """Return where the zeros that begin at `position` end: records that were given back leave no more."""
    while position < size:
        block = read_at(position, MAX_CHUNK_SIZE)
        rest = len(block.lstrip(b"\0"))
        position += len(block) - rest
        if rest:
            return position
    raise damaged(pack, "it ends in zeros")
