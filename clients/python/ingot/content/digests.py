"""Canonical digests: the same bytes give the same digest in every language.

A digest is BLAKE3-256, 32 raw bytes; people see it as ``blake3:<64 hex digits>``. Digests are taken over the
byte layouts below, never over serialised protobuf. All integers are **little-endian and unsigned**; ``‖``
joins bytes.

    chunk digest     BLAKE3(chunk bytes)
    segment bytes    (32-byte chunk digest ‖ u32 chunk length) per chunk in file order, at most 16,384 chunks
    segment digest   BLAKE3(segment bytes)
    file root        BLAKE3("ingot file 1\\n" ‖ profile ‖ "\\n" ‖ u64 file size ‖ segment digests in order)
    tree digest      BLAKE3("ingot tree 1\\n" ‖ per file: u32 path length ‖ path ‖ u64 size ‖ file root)

A path is NFC and UTF-8; its length counts bytes; files are ordered by the bytes of their paths. An empty file
has no chunks and no segments. ``tests/vectors/digests.json`` holds examples for every language.
"""

import struct
import unicodedata
from collections.abc import Iterable, Sequence

from blake3 import blake3

PREFIX = "blake3:"

DIGEST_SIZE = 32
SEGMENT_MAX_ENTRIES = 16_384
ENTRY_SIZE = DIGEST_SIZE + 4

_ENTRY = struct.Struct("<32sI")
_FILE_TAG = b"ingot file 1\n"
_TREE_TAG = b"ingot tree 1\n"

Data = bytes | bytearray | memoryview


def digest_of(data: Data) -> bytes:
    """Return the 32-byte BLAKE3 digest of `data`; large inputs are hashed without holding the GIL."""
    return blake3(data).digest()


def chunk_digest(data: Data) -> bytes:
    """Return the digest under which a chunk with these bytes is stored."""
    return digest_of(data)


class ChunkHasher:
    """Computes the digest of a chunk that comes in parts."""

    def __init__(self) -> None:
        self._hasher = blake3()

    def update(self, part: Data) -> None:
        """Add the next bytes; large parts are hashed without holding the GIL."""
        self._hasher.update(part)

    def digest(self) -> bytes:
        """Return the digest of all bytes so far."""
        return self._hasher.digest()


def segment_bytes(entries: Sequence[tuple[bytes, int]]) -> bytes:
    """Pack up to 16,384 (chunk digest, chunk length) pairs into the bytes of one segment."""
    if len(entries) > SEGMENT_MAX_ENTRIES:
        raise ValueError(f"a segment holds at most {SEGMENT_MAX_ENTRIES} chunks, got {len(entries)}")
    for digest, length in entries:
        _check_digest(digest)
        if not 0 < length < 2**32:
            raise ValueError(f"a chunk length must be from 1 to 2^32 - 1, got {length}")
    return b"".join(_ENTRY.pack(digest, length) for digest, length in entries)


def segment_entries(data: Data) -> list[tuple[bytes, int]]:
    """Unpack the bytes of a segment into its (chunk digest, chunk length) pairs; ValueError if malformed."""
    count, rest = divmod(len(data), ENTRY_SIZE)
    if rest:
        raise ValueError(f"a segment is a multiple of {ENTRY_SIZE} bytes, got {len(data)}")
    if count > SEGMENT_MAX_ENTRIES:
        raise ValueError(f"a segment holds at most {SEGMENT_MAX_ENTRIES} chunks, got {count}")
    entries = list(_ENTRY.iter_unpack(data))
    for index, (_, length) in enumerate(entries):
        if length == 0:
            raise ValueError(f"chunk {index} of the segment has length 0; an empty file has no chunks")
    return entries


def segment_digest(data: Data) -> bytes:
    """Return the digest of a segment's bytes."""
    return digest_of(data)


def split_segments(entries: Sequence[tuple[bytes, int]]) -> list[bytes]:
    """Pack all chunks of one file, in file order, into its segments; every segment but the last is full."""
    return [
        segment_bytes(entries[start : start + SEGMENT_MAX_ENTRIES])
        for start in range(0, len(entries), SEGMENT_MAX_ENTRIES)
    ]


def file_root(profile: str, size: int, segment_digests: Iterable[bytes]) -> bytes:
    """Return the root of a file of `size` bytes, cut by `profile`, from its segment digests in order."""
    if not profile or not profile.isascii() or "\n" in profile:
        raise ValueError(f"a profile name is non-empty ASCII in one line, got {profile!r}")
    hasher = blake3(_FILE_TAG)
    hasher.update(profile.encode("ascii") + b"\n" + _u64(size, "file size"))
    for digest in segment_digests:
        hasher.update(_check_digest(digest))
    return hasher.digest()


def tree_digest(files: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Return the digest of a tree from its (path, size in bytes, file root) triples, given in any order.

    Raises ValueError for a path that is not NFC or stands twice.
    """
    rows = sorted((_path_bytes(path), size, root) for path, size, root in files)
    hasher = blake3(_TREE_TAG)
    previous: bytes | None = None
    for path, size, root in rows:
        if path == previous:
            raise ValueError(f"the path {path.decode()!r} stands twice in the tree")
        hasher.update(struct.pack("<I", len(path)) + path + _u64(size, "file size") + _check_digest(root))
        previous = path
    return hasher.digest()


def format_digest(digest: bytes) -> str:
    """Return the form of a digest that people see: ``blake3:`` and 64 lower-case hex digits."""
    return PREFIX + _check_digest(digest).hex()


def parse_digest(text: str) -> bytes:
    """Return the 32 bytes behind ``blake3:<64 hex digits>``; ValueError for any other form."""
    body = text.removeprefix(PREFIX)
    if body == text or len(body) != 2 * DIGEST_SIZE or not set(body) <= set("0123456789abcdef"):
        raise ValueError(f"expected blake3: and 64 lower-case hex digits, got {text!r}")
    return bytes.fromhex(body)


def _u64(value: int, what: str) -> bytes:
    if not 0 <= value < 2**64:
        raise ValueError(f"{what} must be from 0 to 2^64 - 1, got {value}")
    return struct.pack("<Q", value)


def _path_bytes(path: str) -> bytes:
    if unicodedata.normalize("NFC", path) != path:
        raise ValueError(f"the path {path!r} is not in Unicode form NFC")
    return path.encode("utf-8")


def _check_digest(digest: bytes) -> bytes:
    if len(digest) != DIGEST_SIZE:
        raise ValueError(f"a digest is {DIGEST_SIZE} bytes, got {len(digest)}")
    return digest
