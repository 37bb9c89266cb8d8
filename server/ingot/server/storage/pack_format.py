"""The bytes of a pack, and nothing else: records, footer, tail. All integers are little-endian and unsigned.

    pack    record* ‖ footer ‖ tail
    record  "INGC" ‖ u8 version 1 ‖ u8 codec ‖ 32-byte digest ‖ u32 length ‖ that many bytes
    footer  "INGF" ‖ u8 version 1 ‖ 16-byte nonce ‖ u32 count ‖ entry*
    entry   32-byte digest ‖ u64 offset of the bytes in the pack ‖ u32 length ‖ u8 codec
    tail    32-byte pack id = BLAKE3(footer) ‖ u32 length of the footer ‖ "INGE"

The only codec is 0: bytes as they are. Records describe themselves, so a pack without its footer can be read
from the front. The nonce makes every sealed pack another file even when it holds the same chunks: deleting
one can never race with somebody who just sealed "the same" one.
"""

import struct
from collections.abc import Iterable

from ingot.content import digests
from ingot.server.core.packs import PackEntry

VERSION = 1
CODEC_RAW = 0
NONCE_SIZE = 16

_RECORD = struct.Struct("<4sBB32sI")
_FOOTER = struct.Struct(f"<4sB{NONCE_SIZE}sI")
_ENTRY = struct.Struct("<32sQIB")
_TAIL = struct.Struct("<32sI4s")
_RECORD_MAGIC, _FOOTER_MAGIC, _TAIL_MAGIC = b"INGC", b"INGF", b"INGE"

RECORD_SIZE = _RECORD.size
ENTRY_SIZE = _ENTRY.size
TAIL_SIZE = _TAIL.size
FIXED_SIZE = _FOOTER.size + _TAIL.size  # of a pack, whatever it holds


class MalformedError(Exception):
    """Bytes are not what this format says; the message tells where."""


def pack_record(digest: bytes, length: int) -> bytes:
    """Return the header of a record; the chunk's bytes follow it."""
    return _RECORD.pack(_RECORD_MAGIC, VERSION, CODEC_RAW, digest, length)


def unpack_record(data: bytes, offset: int) -> PackEntry | None:
    """Return the entry for the record header `data` at `offset`; None where the footer begins instead."""
    if data[:4] == _FOOTER_MAGIC:
        return None
    if len(data) < RECORD_SIZE:
        raise MalformedError(f"the record at byte {offset} is cut off")
    magic, version, codec, digest, length = _RECORD.unpack_from(data)
    if (magic, version, codec) != (_RECORD_MAGIC, VERSION, CODEC_RAW):
        raise MalformedError(f"no record of a known kind at byte {offset}")
    return PackEntry(digest, offset + RECORD_SIZE, length)


def pack_footer(entries: Iterable[PackEntry], nonce: bytes) -> tuple[str, bytes]:
    """Return the id of the pack that ends with this footer, and footer and tail as they are written."""
    rows = [_ENTRY.pack(entry.digest, entry.offset, entry.length, CODEC_RAW) for entry in entries]
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


def unpack_footer(data: bytes, digest: bytes) -> tuple[PackEntry, ...]:
    """Return the entries of a footer whose digest must be `digest`."""
    if digests.digest_of(data) != digest:
        raise MalformedError("the footer does not have the digest that the tail names")
    magic, version, _, count = _FOOTER.unpack_from(data)
    if (magic, version) != (_FOOTER_MAGIC, VERSION):
        raise MalformedError("the footer is of an unknown kind")
    if len(data) != _FOOTER.size + count * ENTRY_SIZE:
        raise MalformedError(f"the footer names {count} entries but has {len(data)} bytes")
    entries: list[PackEntry] = []
    for entry_digest, offset, length, codec in _ENTRY.iter_unpack(data[_FOOTER.size :]):
        if codec != CODEC_RAW:
            raise MalformedError(f"the chunk at byte {offset} has the unknown codec {codec}")
        entries.append(PackEntry(entry_digest, offset, length))
    return tuple(entries)


def overhead(chunks: int, packs: int) -> int:
    """Return the bytes that `packs` packs with together `chunks` chunks need beside the chunks' own."""
    return chunks * (RECORD_SIZE + ENTRY_SIZE) + packs * FIXED_SIZE
