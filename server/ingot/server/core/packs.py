"""Words of the pack store: where chunks lie and what a pack holds. Bytes on disk: docs/storage-format.md."""

from dataclasses import dataclass

PackId = str  # 64 hex digits: BLAKE3 of the pack's footer

MAX_CHUNK_SIZE = 4 * 1024 * 1024
PACK_TARGET = 64 * 1024 * 1024  # a stream starts its next pack before one would grow beyond this


@dataclass(frozen=True, slots=True)
class PackEntry:
    """One chunk in a pack: its bytes are `length` bytes from `offset` of the pack."""

    digest: bytes
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class SealedPack:
    """A durable, immutable pack and what it holds, in the order of its bytes; `size` is in bytes."""

    id: PackId
    size: int
    entries: tuple[PackEntry, ...]


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """Where the bytes of a chunk lie, as the index knows it."""

    pack: PackId
    offset: int
    length: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class PackFile:
    """A pack that is on the shelf, whether the index knows it or not; `size` is in bytes."""

    id: PackId
    size: int


@dataclass(frozen=True, slots=True)
class ScannedChunk:
    """A chunk met while a whole pack was read; `intact` says whether its bytes still have its digest."""

    entry: PackEntry
    intact: bool


@dataclass(frozen=True, slots=True)
class ShelfUsage:
    """Bytes of the shelf. `total` and `free` describe the disk below it, `free` as far as we may use it."""

    total: int
    free: int
    packs: int
    ingest: int
    quarantine: int
