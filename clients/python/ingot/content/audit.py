"""The audit log in its canonical form: the same entry gives the same hash in every language.

An entry is a JSON object. Its canonical form is that of RFC 8785 (keys sorted, no spaces, UTF-8); all values
are strings but `number`, an integer from 1, and `facts`, an object of strings. `‖` joins bytes.

    first previous   BLAKE3("ingot audit chain 1\\n" ‖ server id)
    entry hash       BLAKE3("ingot audit entry 1\\n" ‖ canonical form of the entry without `hash`)
    `previous`       hash of the entry before it, so that a changed or missing entry breaks every later one
    head             {"hash", "number", "server", "time"}: the newest entry at some time; what a server signs
                     is "ingot audit head 1\\n" ‖ canonical form of the head, with Ed25519

Hashes are written ``blake3:<64 hex digits>``. An exported log is one JSON object a line: a line that says
what it is, the entries, and the signed head, which shows that nothing was cut off (`check_export`).
"""

import datetime
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ingot.content import digests

Value: TypeAlias = "str | int | Mapping[str, str]"
Document: TypeAlias = "Mapping[str, Value]"

FORMAT = "ingot audit 1"
_CHAIN_TAG = b"ingot audit chain 1\n"
_ENTRY_TAG = b"ingot audit entry 1\n"
_HEAD_TAG = b"ingot audit head 1\n"
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_HEAD_FIELDS = ("hash", "number", "server", "time")
_MOST_ALARMS = 100


def canonical(document: Document) -> bytes:
    """Return the one form in bytes of a document of strings, integers and objects of strings."""
    return _ENCODER.encode(document).encode()


def first_previous(server: str) -> str:
    """Return what the first entry of a server's log names as the hash before it."""
    return digests.format_digest(digests.digest_of(_CHAIN_TAG + server.encode()))


def entry_hash(entry: Document) -> str:
    """Return the hash of an entry, which holds its `previous`; a `hash` in it does not count."""
    bare = {key: value for key, value in entry.items() if key != "hash"}
    return digests.format_digest(digests.digest_of(_ENTRY_TAG + canonical(bare)))


def head_message(head: Document) -> bytes:
    """Return what is signed of a head."""
    return _HEAD_TAG + canonical({field: head[field] for field in _HEAD_FIELDS})


def time_text(micros: int) -> str:
    """Return a time, in microseconds since the epoch, as entries have it: RFC 3339 in UTC with six digits."""
    seconds, rest = divmod(micros, 1_000_000)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"


class BrokenLogError(Exception):
    """An exported log is not what a server wrote; the message says where and why."""


@dataclass(frozen=True, slots=True)
class CheckedLog:
    """What was found in an exported log whose chain is whole."""

    server: str
    last: int  # number of the last entry; 0 when there are none
    hash: str  # of the last entry
    key: str  # that signed the head, ed25519:<hex>
    time: str  # of the head
    alarms: tuple[str, ...]  # what the server found wrong with its log and entered in it, at most 100


def check_export(
    lines: Iterable[str],
    has_signed: Callable[[str, bytes, bytes], bool],
    key: str = "",
    kept: "Document | None" = None,
) -> CheckedLog:
    """Check an exported log line by line, in memory of one line. Raises BrokenLogError.

    `has_signed(key, signature, message)` answers whether the owner of a public key signed a message; `key`
    is the one that the server is known by, else the one named in the file is believed. `kept` is a signed
    head of this log from before, to which the log must lead.
    """
    numbered = _documents(lines)
    start = next(numbered, None)
    if start is None or start[1].get("format") != FORMAT:
        raise BrokenLogError(f"line 1: expected an exported log ({FORMAT!r}); this file is none.")
    server, previous, number = _opened(start[1]), str(start[1].get("previous")), 0
    alarms: list[str] = []
    for line, found in numbered:
        if "signature" in found:
            ended = _ended(line, found, number, previous, has_signed, key, server, tuple(alarms))
            for line, _ in numbered:
                raise BrokenLogError(f"line {line}: expected nothing behind the signed head.")
            _compare(kept, ended, has_signed)
            return ended
        if found.get("number") != number + 1:
            raise BrokenLogError(
                f"line {line}: expected entry {number + 1}, got {found.get('number')}: entries are missing, "
                "or not in their order."
            )
        if found.get("previous") != previous:
            raise BrokenLogError(f"line {line}: entry {number + 1} does not follow the entry before it.")
        if entry_hash(found) != found.get("hash"):
            raise BrokenLogError(f"line {line}: entry {number + 1} was changed: its hash does not fit it.")
        previous, number = str(found["hash"]), number + 1
        if kept is not None and kept.get("number") == number and kept.get("hash") != previous:
            raise BrokenLogError(
                f"line {line}: entry {number} has the hash {previous}, but the head that you kept says "
                f"{kept.get('hash')}: the log was written anew."
            )
        if found.get("action") == "alarm" and not found.get("method") and len(alarms) < _MOST_ALARMS:
            alarms.append(_alarm(found))
    raise BrokenLogError(
        f"The signed head at the end is missing after entry {number}: the file was cut off. Export it again."
    )


def _ended(
    line: int,
    head: Document,
    number: int,
    hashed: str,
    has_signed: Callable[[str, bytes, bytes], bool],
    key: str,
    server: str,
    alarms: tuple[str, ...],
) -> CheckedLog:
    if absent := [field for field in _HEAD_FIELDS if field not in head]:
        raise BrokenLogError(f"line {line}: expected a signed head; it has no {', '.join(absent)}.")
    if head.get("number") != number or head.get("hash") != hashed or head.get("server") != server:
        raise BrokenLogError(
            f"line {line}: the head names entry {head.get('number')} with {head.get('hash')}, but the "
            f"entries end with {number} and {hashed}: some were cut off or replaced."
        )
    signer = str(head.get("key", ""))
    if key and signer != key:
        raise BrokenLogError(f"line {line}: the head is signed by {signer}; expected {key}.")
    if not has_signed(signer, _hex(str(head.get("signature", ""))), head_message(head)):
        raise BrokenLogError(f"line {line}: the head was not signed by {signer}.")
    return CheckedLog(server, number, hashed, signer, str(head["time"]), alarms)


def _opened(opening: Document) -> str:
    """Return the server whose log begins like this, with its first entry."""
    server, first = str(opening.get("server", "")), opening.get("first", 1)
    if first != 1:
        raise BrokenLogError(f"line 1: the log begins with entry {first}: those before it are missing.")
    if opening.get("previous") != first_previous(server):
        raise BrokenLogError(f"line 1: the log of {server} does not begin with {opening.get('previous')!r}.")
    return server


def _compare(
    kept: "Document | None", found: CheckedLog, has_signed: Callable[[str, bytes, bytes], bool]
) -> None:
    """Refuse a log that ends before a head which somebody kept, and a head that is not of this log."""
    if kept is None:
        return
    number, signature = kept.get("number"), _hex(str(kept.get("signature", "")))
    if kept.get("server") != found.server or not has_signed(found.key, signature, head_message(kept)):
        raise BrokenLogError(f"The head that you kept, of entry {number}, is not one of this log.")
    if isinstance(number, int) and number > found.last:
        raise BrokenLogError(
            f"The log ends with entry {found.last}, but the head that you kept names entry {number}: the log "
            "was exported before, or entries are missing at its end."
        )


def _alarm(entry: Document) -> str:
    facts = entry.get("facts")
    message = facts.get("message", "") if isinstance(facts, Mapping) else ""
    return f"Entry {entry.get('number')}, {entry.get('time')}: the server found: {message}"


def _documents(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Value]]]:
    for line, text in enumerate(lines, start=1):
        try:
            found = json.loads(text, object_pairs_hook=_once)
            canonical(found)  # what has no such form is no text: half a surrogate pair
        except (ValueError, RecursionError) as error:
            raise BrokenLogError(f"line {line}: expected a JSON object: {error}") from None
        if not isinstance(found, dict):
            raise BrokenLogError(f"line {line}: expected a JSON object, got {text[:40]!r}")
        yield line, found


def _once(pairs: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    """Return an object in which no key stands twice: others would read another value than we do."""
    found: dict[str, Value] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key[:40]!r} stands twice")
        found[key] = value
    return found


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
