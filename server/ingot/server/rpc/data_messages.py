"""What a data process and the main process say to each other about one stream, as bytes.

The stream of a client ends in the data process, which moves and checks the bytes. What it has to know of the
rows it asks the main process in a call of its own, question by question:

    client ═ bytes ═▶ data process ── questions ──▶ main process ── rows

The call carries the client's metadata and comes over a unix socket in the private data folder, to a path that
stands for the client's method (`path_of`). A message is a head in JSON, and bytes behind it.
"""

import json
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ingot.server.core import errors
from ingot.server.core.errors import FieldProblem, IngotError, Reason
from ingot.server.core.json_values import JsonValue
from ingot.server.core.packs import ChunkPlace, PackEntry, SealedPack

PUT_CHUNKS = "PutChunks"
READ_CHUNKS = "ReadChunks"
PEER = "x-ingot-peer"  # the peer of the client, as gRPC names it

SERVICE = "ingot.data"
_DIGEST = 32
_HEAD = 4  # bytes that tell the length of the head


class Kind(StrEnum):
    """What a message is; those of the data process first."""

    OPEN = "open"  # the request or header of the client, as it came
    ASK = "ask"  # PutChunks: which of these digests need not be written?
    SEALED = "sealed"  # PutChunks: everything is in finished packs, let it count
    MORE = "more"  # ReadChunks: where are the next chunks?
    LOST = "lost"  # ReadChunks: this chunk could not be read
    FAILED = "failed"  # the stream failed here, with this error
    DONE = "done"  # the answer of the main process: yes, go on; with what was asked for


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its kind, what else its head says, and the bytes behind it."""

    kind: Kind
    head: Mapping[str, JsonValue]
    data: bytes

    @property
    def received(self) -> int:
        """Bytes that the client has sent so far."""
        count = self.head.get("received", 0)
        return count if isinstance(count, int) else 0


def path_of(method: str) -> str:
    """Return the path of the call about a stream of this method of TransferService."""
    return f"/{SERVICE}/{method}"


def encode(kind: Kind, data: bytes = b"", **head: JsonValue) -> bytes:
    """Return a message."""
    packed = json.dumps({"kind": kind.value, **head}).encode()
    return b"".join((len(packed).to_bytes(_HEAD, "little"), packed, data))


def decode(message: bytes) -> Message:
    """Return what `encode` made."""
    end = _HEAD + int.from_bytes(message[:_HEAD], "little")
    head = json.loads(message[_HEAD:end])
    return Message(Kind(head.pop("kind")), head, message[end:])


# --- errors ---------------------------------------------------------------------------------------------


def failed(error: Exception, received: int) -> bytes:
    """Return the message about an error of the data process."""
    if not isinstance(error, IngotError):
        return encode(Kind.FAILED, error="", message=f"{type(error).__name__}: {error}", received=received)
    return encode(
        Kind.FAILED,
        error=type(error).__name__,
        reason=error.reason.value,
        message=error.message,
        next_step=error.next_step,
        facts=dict(error.facts),
        fields=[[each.field, each.message, each.reason.value] for each in error.fields],
        retry_after=error.retry_after,
        received=received,
    )


def error_in(message: Message) -> Exception:
    """Return the error that a message tells of."""
    head = message.head
    if not head["error"]:
        return RuntimeError(f"a data process failed: {head['message']}")
    made: type[IngotError] = getattr(errors, str(head["error"]))
    facts, fields, retry_after = head["facts"], head["fields"], head["retry_after"]
    assert isinstance(facts, dict)
    assert isinstance(fields, list)
    return made(
        Reason(str(head["reason"])),
        str(head["message"]),
        next_step=str(head["next_step"]),
        facts={name: str(value) for name, value in facts.items()},
        fields=[_problem(each) for each in fields],
        retry_after=float(retry_after) if isinstance(retry_after, int | float) else None,
    )


def _problem(told: JsonValue) -> FieldProblem:
    assert isinstance(told, list)
    field, message, reason = map(str, told)
    return FieldProblem(field, message, Reason(reason))


# --- places and packs -----------------------------------------------------------------------------------


def places(found: Sequence[ChunkPlace]) -> bytes:
    """Return the message that says where chunks lie."""
    packs = {pack: index for index, pack in enumerate(dict.fromkeys(each.pack for each in found))}
    columns = (
        b"".join(each.digest for each in found),
        array("Q", (each.offset for each in found)).tobytes(),
        array("I", (each.length for each in found)).tobytes(),
        array("I", (packs[each.pack] for each in found)).tobytes(),
    )
    return encode(Kind.DONE, b"".join(columns), packs=list(packs), count=len(found))


def places_in(message: Message) -> list[ChunkPlace]:
    """Return the places that a message tells."""
    packs, count = message.head["packs"], message.head["count"]
    assert isinstance(packs, list)
    assert isinstance(count, int)
    digests, (offsets, lengths, numbers) = _columns(message.data, count, "QII")
    return [
        ChunkPlace(str(packs[number]), offset, length, digests[at : at + _DIGEST])
        for at, offset, length, number in zip(
            range(0, len(digests), _DIGEST), offsets, lengths, numbers, strict=True
        )
    ]


def sealed(ingest: str, files: Mapping[str, SealedPack], received: int) -> bytes:
    """Return the message about finished packs, by the names of their files in an ingest folder."""
    packs: list[JsonValue] = [[name, pack.id, pack.size, len(pack.entries)] for name, pack in files.items()]
    entries = [entry for pack in files.values() for entry in pack.entries]
    columns = (
        b"".join(each.digest for each in entries),
        array("Q", (each.offset for each in entries)).tobytes(),
        array("I", (each.length for each in entries)).tobytes(),
    )
    return encode(Kind.SEALED, b"".join(columns), ingest=ingest, packs=packs, received=received)


def sealed_in(message: Message) -> tuple[str, dict[str, SealedPack]]:
    """Return the ingest folder and the packs that a message tells of."""
    packs = message.head["packs"]
    assert isinstance(packs, list)
    told = [each for each in packs if isinstance(each, list)]
    digests, (offsets, lengths) = _columns(message.data, sum(int(str(each[3])) for each in told), "QI")
    entries = [
        PackEntry(digests[at : at + _DIGEST], offset, length)
        for at, offset, length in zip(range(0, len(digests), _DIGEST), offsets, lengths, strict=True)
    ]
    found: dict[str, SealedPack] = {}
    start = 0
    for name, pack, size, count in told:
        end = start + int(str(count))
        found[str(name)] = SealedPack(str(pack), int(str(size)), tuple(entries[start:end]))
        start = end
    return str(message.head["ingest"]), found


def place(lost: ChunkPlace) -> bytes:
    """Return the message about a chunk that could not be read."""
    return encode(Kind.LOST, lost.digest, pack=lost.pack, offset=lost.offset, length=lost.length)


def place_in(message: Message) -> ChunkPlace:
    """Return the chunk that could not be read."""
    head = message.head
    return ChunkPlace(str(head["pack"]), int(str(head["offset"])), int(str(head["length"])), message.data)


def _columns(data: bytes, count: int, kinds: str) -> tuple[bytes, list["array[int]"]]:
    """Return the digests of so many chunks, and the numbers of each kind behind them."""
    start = count * _DIGEST
    found: list[array[int]] = []
    for kind in kinds:
        numbers = array(kind)
        end = start + count * numbers.itemsize
        numbers.frombytes(data[start:end])
        found.append(numbers)
        start = end
    return data[: count * _DIGEST], found
