"""The signed head of the audit log, in a file outside of the database.

    audit.head        {"server", "number", "hash", "time", "key", "signature"}, one line of JSON

It is replaced as a whole: written beside, synced, renamed, and the folder synced. It is written only after
the entry it names is durable, so after a crash it names an entry that is there, at worst an older one.
"""

import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path

from ingot.content import durable
from ingot.server.core.audit import Head, SignedHead, micros

FILE = "audit.head"
RESTORED = "audit.restored"  # what a restored backup leaves for the first start, see backups.py


class AuditHeadFile:
    """Implements HeadFile."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> SignedHead | None:
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return parsed(text)

    def write(self, head: SignedHead) -> None:
        content = json.dumps(
            {**head.head.document(), "key": head.key, "signature": head.signature.hex()}, sort_keys=True
        )
        temporary = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        durable.sync_folder(self._path.parent)


def parsed(text: str) -> SignedHead:
    """Return the head in a text. Raises ValueError when it is none."""
    try:
        found = json.loads(text)
        time = datetime.datetime.fromisoformat(found["time"])
        head = Head(str(found["server"]), int(found["number"]), str(found["hash"]), micros(time.timestamp()))
        return SignedHead(head, str(found["key"]), bytes.fromhex(found["signature"]))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"expected a signed head, got {text[:80]!r}: {error!r}") from error


def leave_restored(home: Path, facts: Mapping[str, str]) -> None:
    """Leave a note that the rows are not those that the log was written in, for the next start to enter."""
    with (home / RESTORED).open("w", encoding="utf-8") as file:
        file.write(json.dumps(dict(facts)) + "\n")
        file.flush()
        os.fsync(file.fileno())


def take_restored(home: Path) -> dict[str, str]:
    """Return what a restored backup left in the data folder, empty when it was not restored since."""
    try:
        found = json.loads((home / RESTORED).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def forget_restored(home: Path) -> None:
    """Remove what `take_restored` returns, once it stands in the log."""
    (home / RESTORED).unlink(missing_ok=True)
