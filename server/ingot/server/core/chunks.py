"""Chunks on the wire and in the index: how a stream of pieces becomes chunks, and what was done with each.

A message of a PutChunks stream brings digests, lengths and bytes; the last chunk of a message may go on in
the next one. `ChunkAssembler` cuts that back into chunks without copying a byte and refuses every
contradiction between what was declared and what came. It does not hash: that is the pack store's part.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from ingot.content import digests
from ingot.server.core.errors import Invalid, Reason
from ingot.server.core.packs import MAX_CHUNK_SIZE

MESSAGE_CHUNKS = 8192  # most chunks of one message
_SMALL = 16 * 1024  # a piece below it is copied


class ChunkOutcome(Enum):
    """What a stream did with one of its chunks."""

    STORED = "STORED"
    ALREADY = "ALREADY"


@dataclass(frozen=True, slots=True)
class ReceivedChunk:
    """A chunk as it came: the bytes of `pieces` joined, under the digest the sender gave it."""

    digest: bytes
    length: int
    pieces: Sequence[memoryview | bytearray]


@dataclass(frozen=True, slots=True)
class StreamReceipt:
    """What a finished stream left in the store: one outcome a chunk in the order sent; sizes in bytes."""

    outcomes: tuple[ChunkOutcome, ...]
    stored_bytes: int
    already_bytes: int
    lease_expires: float  # epoch seconds


@dataclass(frozen=True, slots=True)
class Presence:
    """Answer to FindMissing: a bitmap in the order asked, lowest bit first, 1 means missing."""

    missing: bytes
    lease_expires: float  # epoch seconds


@dataclass(slots=True)
class ChunkAssembler:
    """Turns the messages of one stream into chunks; `chunks` and `size` count what is complete so far."""

    declared_chunks: int
    declared_bytes: int
    most_at_once: int = MESSAGE_CHUNKS
    chunks: int = 0
    size: int = 0
    _open: tuple[bytes, int] | None = None  # digest and length of the chunk that goes on
    _pieces: list[memoryview | bytearray] = field(default_factory=list)
    _have: int = 0

    def feed(
        self, packed: bytes, lengths: Sequence[int], data: bytes | memoryview, *, more: bool
    ) -> list[ReceivedChunk]:
        """Return the chunks that this message completes. Raises Invalid (BAD_LENGTH)."""
        if len(packed) != digests.DIGEST_SIZE * len(lengths):
            raise _bad_length(f"expected 32 bytes of digest per length, got {len(packed)} and {len(lengths)}")
        if len(lengths) > self.most_at_once:
            raise _bad_length(f"a message has at most {self.most_at_once} chunks, got {len(lengths)}")
        view, position = memoryview(data), 0
        if self._open is None and not more and sum(lengths) == len(view):
            return self._whole(packed, lengths, view)
        done: list[ReceivedChunk] = []
        starts = (
            (packed[at : at + digests.DIGEST_SIZE], length)
            for at, length in zip(itertools.count(0, digests.DIGEST_SIZE), lengths, strict=False)
        )
        waiting = len(lengths)
        while True:
            if self._open is None:
                if not waiting:
                    break
                waiting -= 1
                self._open = next(starts)
                _check_length(self._open[1])
            digest, length = self._open
            taken = min(length - self._have, len(view) - position)
            if taken:
                self._add(view[position : position + taken])
                position += taken
                self._have += taken
            if self._have < length:
                break
            done.append(ReceivedChunk(digest, length, self._pieces))
            self._open, self._pieces, self._have = None, [], 0
        self._check_message(len(view) - position, waiting, more=more)
        self._count(done)
        return done

    def _add(self, piece: memoryview) -> None:
        """Note a piece of the open chunk; small ones are joined, each would cost more than its bytes."""
        if len(piece) >= _SMALL:
            self._pieces.append(piece)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += piece
        else:
            self._pieces.append(bytearray(piece))

    def _whole(self, packed: bytes, lengths: Sequence[int], view: memoryview) -> list[ReceivedChunk]:
        """Return the chunks of a message that has all of their bytes, as most have."""
        done: list[ReceivedChunk] = []
        start = 0
        for index, length in enumerate(lengths):
            _check_length(length)
            end = start + length
            at = index * digests.DIGEST_SIZE
            done.append(ReceivedChunk(packed[at : at + digests.DIGEST_SIZE], length, (view[start:end],)))
            start = end
        self._count(done)
        return done

    def finish(self, chunks: int, size: int) -> None:
        """Check that everything declared has come, and nothing else. Raises Invalid (BAD_LENGTH)."""
        if self._open is not None:
            raise _bad_length(f"the last chunk has {self._have} of {self._open[1]} bytes")
        for what, got, told in (
            ("finish names {} chunks, the stream brought {}", chunks, self.chunks),
            ("finish names {} bytes, the stream brought {}", size, self.size),
            ("the header declares {} chunks, the stream brought {}", self.declared_chunks, self.chunks),
            ("the header declares {} bytes, the stream brought {}", self.declared_bytes, self.size),
        ):
            if got != told:
                raise _bad_length(what.format(got, told))

    def _check_message(self, rest: int, waiting: int, *, more: bool) -> None:
        if rest:
            raise _bad_length(f"the message has {rest} bytes more than its lengths say")
        if waiting:
            raise _bad_length(f"the message ends before the last {waiting} chunks it names begin")
        if more != (self._open is not None):
            said, found = ("goes on", "complete") if more else ("complete", "not complete")
            raise _bad_length(f"`more` says the last chunk is {said}, but it is {found}")

    def _count(self, done: list[ReceivedChunk]) -> None:
        self.chunks += len(done)
        self.size += sum(chunk.length for chunk in done)
        if self.chunks > self.declared_chunks or self.size + self._have > self.declared_bytes:
            raise _bad_length(
                f"the header declares {self.declared_chunks} chunks of {self.declared_bytes} bytes, "
                f"more than that came"
            )


def _check_length(length: int) -> None:
    if not 0 < length <= MAX_CHUNK_SIZE:
        raise _bad_length(f"a chunk has from 1 to {MAX_CHUNK_SIZE} bytes, got {length}")


def _bad_length(message: str) -> Invalid:
    return Invalid(
        Reason.BAD_LENGTH,
        f"PutChunks: {message}.",
        next_step="Nothing of this stream was stored; correct the sender and send it again.",
    )
