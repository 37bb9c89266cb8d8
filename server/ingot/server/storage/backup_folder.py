"""The folder that backups are in: whose they are, which count, and that one at a time writes there.

Several servers may share it, each with its own number of backups: a server_id tells them apart.
"""

import fcntl
import json
import logging
import re
from dataclasses import fields
from pathlib import Path
from typing import BinaryIO

from ingot.server.core.errors import Precondition, Reason, Unavailable
from ingot.server.core.upkeep_stores import Backup

log = logging.getLogger(__name__)

FACTS = "backup.json"
PARTIAL = ".partial"
_LOCK = "backup.lock"
_CUT_SHORT = re.compile(r"\d{8}T\d{6}Z(-\d+)?\.partial")
_OURS = frozenset({"packs", "ingest", "quarantine", "staging", "logs"})  # folders of a data folder
_FIELDS = tuple(field.name for field in fields(Backup))


def found(folder: Path) -> list[Backup]:
    """Return the backups in a folder that count, the oldest first."""
    backups = []
    for path in sorted(folder.glob(f"*/{FACTS}")):
        if path.parent.name.endswith(PARTIAL) or path.parent.is_symlink():
            continue  # a crash came before it got its name, or it is another name for one
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            known = {name: facts[name] for name in _FIELDS if name in facts}
            backups.append(Backup(**(known | {"name": path.parent.name})))  # it may have been renamed
        except (OSError, ValueError, TypeError) as error:
            log.error("backup.unreadable file=%s error=%s", path, error)
    return sorted(backups, key=lambda each: each.create_time)  # stable, for those of the same time


def server_of(folder: Path) -> str:
    """Return which server a data folder or a backup is of, empty when that is not known."""
    try:
        return (folder / "server_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def is_cut_short(path: Path) -> bool:
    """Return whether a folder is what a crash left of a backup, when nobody makes one."""
    return _CUT_SHORT.fullmatch(path.name) is not None


def check_place(folder: Path, home: Path) -> None:
    """Refuse backups among the files of a server, which drops what it does not know, as backups do.

    Raises Precondition (STATE_INVALID).
    """
    place, home = folder.resolve(), home.resolve()
    below = place.relative_to(home).parts if place.is_relative_to(home) else ("elsewhere",)
    is_data_folder = (place / "lock").exists() and (place / "ingest").is_dir()
    if is_data_folder or not below or below[0] in _OURS:
        raise Precondition(
            Reason.STATE_INVALID,
            f"Backups cannot be written to {folder}: a server keeps its own files there.",
            next_step="Set backup_dir to a folder for backups alone, better on another disk.",
            facts={"folder": str(folder)},
        )


def locked(folder: Path) -> BinaryIO:
    """Be the one who writes or drops backups in a folder until the result is closed.

    Raises Unavailable (BUSY) while somebody else is, OSError.
    """
    lock = (folder / _LOCK).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise Unavailable(
            Reason.BUSY,
            f"Another backup is being written to {folder}.",
            next_step="Try again when it has ended.",
            facts={"folder": str(folder)},
        ) from None
    except OSError as error:  # some network file systems have no locks
        log.warning("backup.not_locked folder=%s error=%s", folder, error)
    return lock
