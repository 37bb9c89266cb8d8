"""One stream on its way into packs, for every kind of shelf: check, roll over at 64 MiB, seal all or nothing.

A shelf brings two things: files to write into (`PackSink`) and a way to publish finished ones (`Shelf`).
"""

import errno
import os
from collections.abc import Iterable, Sequence
from typing import Protocol

from blake3 import blake3

from ingot.content.digests import Data, digest_of, format_digest
from ingot.server.core.errors import Exhausted, IngotError, Invalid, Reason, Unavailable
from ingot.server.core.packs import MAX_CHUNK_SIZE, PACK_TARGET, PackEntry, SealedPack
from ingot.server.storage import pack_format
from ingot.server.storage.pack_keys import Keyring, PackCipher


class PackSink(Protocol):
    """One pack that is being written. Raises OSError."""

    def write(self, offset: int, pieces: Sequence[Data]) -> None:
        """Write the pieces one after the other from `offset`."""
        ...

    def finish(self, offset: int, footer: bytes) -> None:
        """Write the footer at `offset`, end the file behind it and make its contents durable."""
        ...

    def discard(self) -> None:
        """Remove it, whatever state it is in; never raises, may be called twice."""
        ...


class Shelf(Protocol):
    """Where sinks come from and where finished ones go. Raises OSError."""

    def start(self, reserve: int) -> PackSink:
        """Make an empty pack with `reserve` bytes of disk space behind it."""
        ...

    def publish(self, finished: Sequence[tuple[PackSink, SealedPack]]) -> None:
        """Put all packs onto the shelf under their ids, durably."""
        ...

    def unreserve(self, size: int) -> None:
        """Give up space that was set apart for this stream and not handed to `start`."""
        ...


_Chunk = tuple[bytes, int, Sequence[Data]]  # digest, length, bytes in parts


class _OpenPack:
    """A sink and what was written into it; with a cipher, encrypted."""

    def __init__(self, sink: PackSink, cipher: PackCipher | None) -> None:
        self.sink = sink
        self._cipher = cipher
        self._codec = pack_format.CODEC_AES_GCM if cipher else pack_format.CODEC_RAW
        self._tag_size = pack_format.tag_size(self._codec)
        self.around = pack_format.around(self._codec)
        self.position = len(cipher.prologue) if cipher else 0
        self.entries: list[PackEntry] = []

    def room(self) -> int:
        """Return the bytes left for chunks, each of which takes `around` more than its length."""
        footer = len(self.entries) * pack_format.ENTRY_SIZE + pack_format.FIXED_SIZE
        return PACK_TARGET - self.position - footer

    def append(self, chunks: Sequence["_Chunk"]) -> None:
        """Write chunks one after the other with a single call."""
        pieces: list[Data] = []
        entries: list[PackEntry] = []
        start = position = self.position
        if self._cipher and not self.entries:
            pieces.append(self._cipher.prologue)
            start = 0
        for digest, length, parts in chunks:
            header = pack_format.pack_record(digest, length, self._codec)
            offset = position + pack_format.RECORD_SIZE
            pieces.append(header)
            if self._cipher:
                pieces.append(self._cipher.seal(offset, header, parts))
            else:
                pieces += parts
            entries.append(PackEntry(digest, offset, length))
            position = offset + length + self._tag_size
        self.sink.write(start, pieces)
        self.entries += entries
        self.position = position

    def finish(self) -> SealedPack:
        name, footer = pack_format.pack_footer(self.entries, os.urandom(pack_format.NONCE_SIZE), self._codec)
        self.sink.finish(self.position, footer)
        return SealedPack(name, self.position + len(footer), tuple(self.entries))


class PackIngest:
    """The Ingest of core/stores.py over any shelf. `reserved` bytes were set apart for it on the shelf.

    With a keyring, its packs are encrypted.
    """

    def __init__(self, shelf: Shelf, reserved: int, keyring: Keyring | None = None) -> None:
        self._shelf = shelf
        self._keyring = keyring
        self._unused = reserved
        self._finished: list[tuple[PackSink, SealedPack]] = []
        self._open: _OpenPack | None = None
        self._digests: set[bytes] = set()
        self._closed = False
        if reserved:
            self._guarded_start()

    def append(self, digest: bytes, pieces: Sequence[Data]) -> bool:
        """Check the chunk and add it; False if this stream had it already."""
        return self.append_all([(digest, pieces)]) == 1

    def append_all(self, chunks: Iterable[tuple[bytes, Sequence[Data]]]) -> int:
        """Check all chunks, then write those that this stream did not have with as few calls as possible."""
        self._check_open()
        fresh: dict[bytes, _Chunk] = {}
        for digest, pieces in chunks:
            length = _checked_length(digest, pieces)
            if digest not in self._digests:
                fresh.setdefault(digest, (digest, length, pieces))
        try:
            self._write(list(fresh.values()))
        except OSError as error:
            self.abort()
            raise explain(error) from error
        self._digests.update(fresh)
        return len(fresh)

    def seal(self) -> list[SealedPack]:
        """Finish the last pack and publish all."""
        self._check_open()
        try:
            self._finish_open()
            self._shelf.publish(self._finished)
        except OSError as error:
            self.abort()
            raise explain(error) from error
        self._close()
        return [sealed for _, sealed in self._finished]

    def abort(self) -> None:
        """Discard all files of this stream; does nothing when closed."""
        if self._closed:
            return
        if self._open is not None:
            self._open.sink.discard()
        for sink, _ in self._finished:
            sink.discard()
        self._close()

    def _write(self, chunks: Sequence[_Chunk]) -> None:
        start = 0
        while start < len(chunks):
            if self._open is not None and self._open.room() < chunks[start][1] + self._open.around:
                self._finish_open()
            pack = self._open or self._start()
            room, end = pack.room(), start
            while end < len(chunks) and (end == start or chunks[end][1] + pack.around <= room):
                room -= chunks[end][1] + pack.around
                end += 1
            pack.append(chunks[start:end])
            start = end

    def _start(self) -> _OpenPack:
        reserve = min(self._unused, PACK_TARGET)
        self._unused -= reserve
        cipher = self._keyring.new_cipher() if self._keyring else None
        self._open = _OpenPack(self._shelf.start(reserve), cipher)
        return self._open

    def _guarded_start(self) -> None:
        try:
            self._start()
        except OSError as error:
            self.abort()
            raise explain(error) from error

    def _finish_open(self) -> None:
        if self._open is None:
            return
        if self._open.entries:
            self._finished.append((self._open.sink, self._open.finish()))
        else:
            self._open.sink.discard()
        self._open = None

    def _close(self) -> None:
        self._closed = True
        self._open = None
        self._digests.clear()
        self._shelf.unreserve(self._unused)
        self._unused = 0

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the ingest is closed: it was sealed, aborted, or failed before")


def explain(error: OSError) -> IngotError:
    """Return our error for a disk that refused or failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return disk_low(f"The disk of the server is full ({error.strerror}).")
    return Unavailable(
        Reason.INTERNAL,
        f"The disk of the server failed while chunks were stored ({error.strerror}); the stream is dropped.",
        next_step="Send the stream again; if it keeps failing, the administrator must check the disk.",
        facts={"errno": errno.errorcode.get(error.errno or 0, str(error.errno))},
    )


def disk_low(message: str) -> Exhausted:
    """Return the error for too little space."""
    return Exhausted(
        Reason.DISK_LOW,
        message,
        next_step="Wait, or ask the server's administrator to free or add disk space.",
        retry_after=60.0,
    )


def _checked_length(digest: bytes, pieces: Sequence[Data]) -> int:
    length = sum(memoryview(piece).nbytes for piece in pieces)
    if not 0 < length <= MAX_CHUNK_SIZE:
        raise Invalid(
            Reason.BAD_LENGTH,
            f"A chunk has 1 to {MAX_CHUNK_SIZE} bytes, got {length}.",
            next_step="Cut the file with one of the profiles that the server lists.",
        )
    if len(pieces) == 1:
        actual = digest_of(pieces[0])
    else:
        hasher = blake3()
        for piece in pieces:
            hasher.update(piece)
        actual = hasher.digest()
    if actual != digest:
        raise Invalid(
            Reason.CHUNK_HASH_MISMATCH,
            f"A chunk of {length} bytes was named blake3:{digest.hex()} but has {format_digest(actual)}.",
            next_step="Read the file again: it changed while it was sent, or was damaged on the way.",
        )
    return length
