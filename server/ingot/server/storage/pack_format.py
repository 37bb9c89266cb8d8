"""The bytes of a pack, and nothing else: records, footer, tail. All integers are little-endian and unsigned.

    pack      prologue? ‖ record* ‖ footer ‖ tail
    prologue  "INGK" ‖ u8 version 1 ‖ u8 codec 1 ‖ 16-byte key id ‖ 32-byte salt ‖ 4 bytes of its BLAKE3
    record    "INGC" ‖ u8 version 1 ‖ u8 codec ‖ 32-byte digest ‖ u32 length ‖ data
    footer    "INGF" ‖ u8 version 1 ‖ 16-byte nonce ‖ u32 count ‖ entry*
    entry     32-byte digest ‖ u64 offset of the data in the pack ‖ u32 length ‖ u8 codec
    tail      32-byte pack id = BLAKE3(footer) ‖ u32 length of the footer ‖ "INGE"

Codec 0 is bytes as they are. Codec 1 is AES-256-GCM (see pack_keys.py): the data are `length` bytes of
ciphertext and a tag of 16; such a pack begins with a prologue, and all of its records have that codec.
Records describe themselves, so a pack without its footer can be read from the front. A record whose space was
given back is zeros, header and all; the footer still names it. The nonce makes every sealed pack another file
even when it holds the same chunks: deleting one can never race with somebody who just sealed "the same" one.
"""

import struct
from collections.abc import Iterable

from ingot.content import digests
from ingot.server.core.packs import PackEntry

VERSION = 1
CODEC_RAW = 0
CODEC_AES_GCM = 1
NONCE_SIZE = 16
KEY_ID_SIZE = 16
SALT_SIZE = 32
_TAG_SIZE = 16
_CHECK_SIZE = 4

_PROLOGUE = struct.Struct(f"<4sBB{KEY_ID_SIZE}s{SALT_SIZE}s4s")
_RECORD = struct.Struct("<4sBB32sI")
_FOOTER = struct.Struct(f"<4sB{NONCE_SIZE}sI")
_ENTRY = struct.Struct("<32sQIB")
_TAIL = struct.Struct("<32sI4s")
_PROLOGUE_MAGIC, _RECORD_MAGIC, _FOOTER_MAGIC, _TAIL_MAGIC = b"INGK", b"INGC", b"INGF", b"INGE"

PROLOGUE_SIZE = _PROLOGUE.size
RECORD_SIZE = _RECORD.size
ENTRY_SIZE = _ENTRY.size
TAIL_SIZE = _TAIL.size
FIXED_SIZE = _FOOTER.size + _TAIL.size  # of a pack, whatever it holds


class MalformedError(Exception):
    """Bytes are not what this format says; the message tells where."""


def pack_prologue(key_id: bytes, salt: bytes) -> bytes:
    """Return what an encrypted pack begins with."""
    return _seal_prologue(_PROLOGUE.pack(_PROLOGUE_MAGIC, VERSION, CODEC_AES_GCM, key_id, salt, b""))


def unpack_prologue(data: bytes) -> tuple[bytes, bytes] | None:
    """Return key id and salt from the first PROLOGUE_SIZE bytes of a pack; None when it is not encrypted."""
    if data[:4] != _PROLOGUE_MAGIC:
        return None
    if len(data) < PROLOGUE_SIZE or _seal_prologue(data) != data:
        raise MalformedError("what names its key is damaged")
    _, version, codec, key_id, salt, _ = _PROLOGUE.unpack(data)
    if (version, codec) != (VERSION, CODEC_AES_GCM):
        raise MalformedError(f"it is encrypted in the unknown way {codec}")
    return key_id, salt


def _seal_prologue(data: bytes) -> bytes:
    front = data[: PROLOGUE_SIZE - _CHECK_SIZE]
    return front + digests.digest_of(front)[:_CHECK_SIZE]


def tag_size(codec: int) -> int:
    """Return how many bytes the data of a record of this codec have beyond the chunk's own."""
    return _TAG_SIZE if codec == CODEC_AES_GCM else 0


def pack_record(digest: bytes, length: int, codec: int = CODEC_RAW) -> bytes:
    """Return the header of a record; its data follow it."""
    return _RECORD.pack(_RECORD_MAGIC, VERSION, codec, digest, length)


def unpack_record(data: bytes, offset: int, codec: int = CODEC_RAW) -> PackEntry | None:
    """Return the entry for the record header `data` at `offset`; None where the footer begins instead.

    `codec` is the one of the pack, which all of its records must have.
    """
    if data[:4] == _FOOTER_MAGIC:
        return None
    if len(data) < RECORD_SIZE:
        raise MalformedError(f"the record at byte {offset} is cut off")
    magic, version, found, digest, length = _RECORD.unpack_from(data)
    if (magic, version, found) != (_RECORD_MAGIC, VERSION, codec):
        raise MalformedError(f"no record of a known kind at byte {offset}")
    return PackEntry(digest, offset + RECORD_SIZE, length)


def pack_footer(entries: Iterable[PackEntry], nonce: bytes, codec: int = CODEC_RAW) -> tuple[str, bytes]:
    """Return the id of the pack that ends with this footer, and footer and tail as they are written."""
    rows = [_ENTRY.pack(entry.digest, entry.offset, entry.length, codec) for entry in entries]
    footer = _FOOTER.pack(_FOOTER_MAGIC, VERSION, nonce, len(rows)) + b"".join(rows)
    digest = digests.digest_of(footer)
    return digest.hex(), footer + _TAIL.pack(digest, len(footer), _TAIL_MAGIC)


def unpack_tail(data: bytes, pack_size: int) -> tuple[bytes, int]:
    """Return the digest and length of the footer from the last TAIL_SIZE bytes of a pack."""
    if len(data) != TAIL_SIZE:
        raise MalformedError("the pack is too short to have a tail")
    digest, length, magic = _TAIL.unpack(data)
    if magic != _TAIL_MAGIC:
        raise MalformedError("the pack does not end with a tail")
    if not _FOOTER.size <= length <= pack_size - TAIL_SIZE:
        raise MalformedError(f"the tail names a footer of {length} bytes")
    return digest, length


def unpack_footer(data: bytes, digest: bytes, codec: int = CODEC_RAW) -> tuple[PackEntry, ...]:
    """Return the entries of a footer whose digest must be `digest`."""
    if digests.digest_of(data) != digest:
        raise MalformedError("the footer does not have the digest that the tail names")
    magic, version, _, count = _FOOTER.unpack_from(data)
    if (magic, version) != (_FOOTER_MAGIC, VERSION):
        raise MalformedError("the footer is of an unknown kind")
    if len(data) != _FOOTER.size + count * ENTRY_SIZE:
        raise MalformedError(f"the footer names {count} entries but has {len(data)} bytes")
    entries: list[PackEntry] = []
    for entry_digest, offset, length, found in _ENTRY.iter_unpack(data[_FOOTER.size :]):
        if found != codec:
            raise MalformedError(f"the chunk at byte {offset} has the codec {found}, its pack {codec}")
        entries.append(PackEntry(entry_digest, offset, length))
    return tuple(entries)


def headers(entries: Iterable[PackEntry]) -> list[tuple[int, int]]:
    """Return offset and length of the headers of the records of these entries."""
    return [(entry.offset - RECORD_SIZE, RECORD_SIZE) for entry in entries]


def spans(entries: Iterable[PackEntry], codec: int = CODEC_RAW) -> list[tuple[int, int]]:
    """Return offset and length of the records of these entries; records that touch are one span."""
    found: list[tuple[int, int]] = []
    for entry in sorted(entries, key=lambda each: each.offset):
        start, size = entry.offset - RECORD_SIZE, RECORD_SIZE + entry.length + tag_size(codec)
        if found and sum(found[-1]) == start:
            start, size = found[-1][0], found.pop()[1] + size
        found.append((start, size))
    return found


def around(codec: int = CODEC_RAW) -> int:
    """Return the bytes that a chunk needs beside its own."""
    return RECORD_SIZE + ENTRY_SIZE + tag_size(codec)


def overhead(chunks: int, packs: int, codec: int = CODEC_RAW) -> int:
    """Return the bytes that `packs` packs with together `chunks` chunks need beside the chunks' own."""
    prologue = PROLOGUE_SIZE if codec != CODEC_RAW else 0
    return chunks * around(codec) + packs * (FIXED_SIZE + prologue)
