"""Identities made by the server: UUIDv7 (RFC 9562, section 5.7) and etags."""

import hashlib
import os
import uuid


def new_uid(now: float) -> str:
    """Return a UUIDv7: 48 bits of milliseconds since the epoch, then random bits; sorts by time of making."""
    milliseconds = int(now * 1000)
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10), "big")
    value = (value & ~(0xF << 76)) | (0x7 << 76)  # version 7
    value = (value & ~(0x3 << 62)) | (0x2 << 62)  # variant of RFC 9562
    return str(uuid.UUID(int=value))


def etag_of(*parts: object) -> str:
    """Return a short opaque etag over what may change of a resource."""
    return hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=9).hexdigest()
