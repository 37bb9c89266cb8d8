"""Backups as folders: every copy has its own rows and secrets, all copies share the packs.

    backup/packs/<aa>/<id>.pack        packs, copied once
    backup/<time>/ingot.db             the rows at that time, as SQLite's own online backup gives them
    backup/<time>/secret, server_id …  what is needed to decrypt and to sign as before
    backup/<time>/backup.json          written last: a folder without it does not count

The rows are copied first, then the packs that they name. Packs never change and collection waits while a
backup runs (both are of one queue), so what the rows name is there. Restoring is `restore`: packs, secrets
and rows go back into an empty data folder.

Where several servers share the folder, each counts and drops its own copies only, and packs stay that any
copy names (backup_folder.py).
"""

import errno
import filecmp
import itertools
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from ingot.content import durable
from ingot.server.core import failpoints
from ingot.server.core.errors import DataLoss, Exhausted, Reason, Unavailable
from ingot.server.core.packs import PackId
from ingot.server.core.upkeep_stores import Backup
from ingot.server.storage import audit_head, backup_folder, connections, write_out
from ingot.server.storage.backup_folder import FACTS, PARTIAL, server_of

log = logging.getLogger(__name__)

ROWS = "ingot.db"
_NOT_KEPT = frozenset({"lock", "server.json", "server.sock", audit_head.FILE, audit_head.RESTORED})
_COPY = 8 * 1024 * 1024


class BackupError(Exception):
    """A backup cannot be restored; the message says why and what to do."""


class FolderBackups:
    """Copies the data folder `home`, whose rows are in `database`, into `folder`.

    A full disk of the folder raises Exhausted (DISK_LOW), another fault of it Unavailable.
    """

    def __init__(self, home: Path, database: str, folder: Path) -> None:
        self._home = home
        self._database = database
        self._folder = folder
        self._partial: Path | None = None
        self._needed: dict[PackId, int] = {}
        self._copied = [0, 0]  # packs, bytes
        self._time = 0.0
        self._lock: BinaryIO | None = None
        self._step = threading.Lock()  # who gives up waits for a step that nobody waits for any more

    def begin(self, now: float) -> Sequence[PackId]:
        """Copy rows and secrets into a folder that does not count yet; return the packs that are lacking."""
        with self._step, _told(self._folder):
            backup_folder.check_place(self._folder, self._home)
            write_out.make_folder(self._folder)
            self._lock = backup_folder.locked(self._folder)
            partial = self._folder / (self._name(now) + PARTIAL)
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(mode=0o700)
            (self._folder / "packs").mkdir(exist_ok=True)
            self._partial, self._time, self._copied = partial, now, [0, 0]
            connections.copy_rows(self._database, partial / ROWS)
            for source in sorted(self._home.iterdir()):
                if source.is_file() and _is_kept(source):
                    _copy(source, partial / source.name, mode=0o600)
            self._needed = connections.pack_sizes(partial / ROWS)
        return [pack for pack, size in self._needed.items() if _size(_pack(self._folder, pack)) != size]

    def _name(self, now: float) -> str:
        """Return the time, with a number where an earlier one of the same second has that name."""
        plain = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        numbered = (f"{plain}-{number}" for number in itertools.count(2))
        return next(
            each for each in itertools.chain((plain,), numbered) if not (self._folder / each).exists()
        )

    def copy(self, pack: PackId) -> int:
        """Copy one pack durably; return its bytes. Raises DataLoss when it is absent."""
        source, target = _pack(self._home, pack), _pack(self._folder, pack)
        with _told(self._folder):
            target.parent.mkdir(exist_ok=True)
            try:
                size = _copy(source, target, mode=0o444)
            except FileNotFoundError:
                raise _absent(pack) from None
        failpoints.hit("backup.copied")
        self._copied = [self._copied[0] + 1, self._copied[1] + size]
        return size

    def finish(self) -> Backup:
        """Check that every pack is there, sync the folders, write the facts, give the folder its name.

        Raises DataLoss when a pack is absent.
        """
        with self._step:
            return self._finish()

    def _finish(self) -> Backup:
        assert self._partial is not None, "begin comes first"
        for pack, size in self._needed.items():
            if _size(_pack(self._folder, pack)) != size:
                raise _absent(pack)
        name = self._partial.name.removesuffix(PARTIAL)
        backup = Backup(
            name=name,
            create_time=self._time,
            packs=len(self._needed),
            pack_bytes=sum(self._needed.values()),
            copied_packs=self._copied[0],
            copied_bytes=self._copied[1],
            database_bytes=(self._partial / ROWS).stat().st_size,
            lost_chunks=connections.lost_chunks(self._partial / ROWS),
        )
        with _told(self._folder):
            for parent in {_pack(self._folder, pack).parent for pack in self._needed}:
                durable.sync_folder(parent)
            durable.sync_folder(self._folder / "packs")
            _write(self._partial / FACTS, json.dumps(asdict(backup), indent=1).encode() + b"\n")
            durable.sync_folder(self._partial)
            self._partial.rename(self._folder / name)
            durable.sync_folder(self._folder)
        self._partial = None
        self._let_go()
        return backup

    def abandon(self) -> None:
        """Remove the folder that does not count; packs that were copied stay for the next one."""
        with self._step:
            if self._partial is not None:
                shutil.rmtree(self._partial, ignore_errors=True)
                self._partial = None
            self._let_go()

    def prune(self, keep: int) -> int:
        """Remove this server's old copies first, then the packs that none of the others names.

        `keep` is how many of its copies stay; 0 keeps all.
        """
        try:
            self._lock = backup_folder.locked(self._folder)
        except Unavailable:
            log.info("backup.not_pruned folder=%s: another server makes a backup there", self._folder)
            return 0
        try:
            with _told(self._folder):
                return self._drop_old(keep) + self._drop_packs()
        finally:
            self._let_go()

    def _drop_old(self, keep: int) -> int:
        own = server_of(self._home)
        mine = [
            each.name
            for each in backup_folder.found(self._folder)
            if server_of(self._folder / each.name) == own
        ]
        old = set(mine) - set(mine[-keep:])
        freed = 0
        for path in [each for each in self._folder.iterdir() if each.is_dir()]:
            if path.name in old or backup_folder.is_cut_short(path):  # nobody makes one now: it was cut short
                freed += sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
                (path / FACTS).unlink(missing_ok=True)  # it does not count any more, whatever is left of it
                write_out.sync(path)
                shutil.rmtree(path)
        return freed

    def _drop_packs(self) -> int:
        needed: set[PackId] = set()
        for facts in self._folder.glob(f"*/{FACTS}"):
            try:
                needed |= connections.pack_sizes(facts.with_name(ROWS)).keys()
            except OSError as error:  # what it needs is not known
                log.error("backup.packs_stay backup=%s error=%s", facts.parent, error)
                return 0
        freed = 0
        for path in (self._folder / "packs").glob("*/*"):
            if path.suffix != ".pack" or path.stem not in needed:  # else what a crash left
                freed += path.stat().st_size
                path.unlink()
        return freed

    def _let_go(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def restore(
    folder: Path,
    home: Path,
    name: str = "",
    told: Callable[[int, int], None] = lambda done, total: None,
    *,
    revoke_tokens: bool = False,
) -> Backup:
    """Put a backup into an empty data folder: the newest in `folder`, or the named one, or `folder` itself.

    `told` gets packs done and all. What logins and tokens are worth then is settled by whoever opens the
    folder first (domain/restoring.py); with `revoke_tokens` it ends all of them.

    The rows come last, so a folder that was restored in part has none and can be restored again.
    Raises BackupError.
    """
    folder, chosen = _chosen(folder, name)
    _check_home(home)
    source = folder / chosen.name
    try:
        packs = connections.pack_sizes(source / ROWS)
    except OSError as error:
        raise BackupError(f"The backup {source} cannot be restored: {error}. Name another one.") from error
    broken = [pack for pack, size in packs.items() if _size(_pack(folder, pack)) != size]
    if broken:
        raise BackupError(
            f"The backup {source} cannot be restored: {len(broken)} of its {len(packs)} packs are missing or "
            f"cut off, such as {_pack(folder, broken[0])}. Put them back, or name another one with --name."
        )
    try:
        write_out.make_folder(home, 0o700)
        (home / "packs").mkdir(exist_ok=True)
        for done, pack in enumerate(packs):
            target = _pack(home, pack)
            target.parent.mkdir(exist_ok=True)
            if _size(target) != packs[pack] or not filecmp.cmp(_pack(folder, pack), target, shallow=False):
                _copy(_pack(folder, pack), target, mode=0o444)  # else an earlier try has brought it
            told(done + 1, len(packs))
        for parent in {_pack(home, pack).parent for pack in packs}:
            durable.sync_folder(parent)
        durable.sync_folder(home / "packs")
        for path in source.iterdir():
            if path.is_file() and path.name != FACTS and not _is_rows(path):
                _copy(path, home / path.name, mode=0o600)
        note = {"backup": chosen.name, "backup_time": str(chosen.create_time)}
        audit_head.leave_restored(home, note | ({"revoke_tokens": "yes"} if revoke_tokens else {}))
        durable.sync_folder(home)  # before the rows, which say that all is there
        _copy(source / ROWS, home / ROWS, mode=0o600)
        durable.sync_folder(home)
    except OSError as error:
        raise BackupError(f"Restoring {source} into {home} failed: {error}. Run it again.") from error
    return chosen


def _chosen(folder: Path, name: str) -> tuple[Path, Backup]:
    """Return which backup to restore, and the folder that it is in."""
    if not name and (folder / FACTS).is_file():
        folder, name = folder.resolve().parent, folder.resolve().name
    backups = {backup.name: backup for backup in backup_folder.found(folder)} if folder.is_dir() else {}
    if not backups:
        raise BackupError(f"There is no backup in {folder}: expected a folder with {FACTS} in it.")
    newest = {server_of(folder / each): each for each in backups}
    if not name and len(newest) > 1:
        each_of = ", ".join(f"{each} (of {server or 'no known server'})" for server, each in newest.items())
        raise BackupError(
            f"{folder} has backups of {len(newest)} servers: choose with --name. Their newest: {each_of}."
        )
    chosen = backups.get(name) if name else list(backups.values())[-1]
    if chosen is None:
        raise BackupError(f"There is no backup {name!r} in {folder}; there are {', '.join(backups)}.")
    return folder, chosen


def _check_home(home: Path) -> None:
    """Refuse to restore over data."""
    if (home / ROWS).exists():
        raise BackupError(
            f"{home} has data already: restore into an empty folder (--data), so that nothing is lost."
        )
    for left in (home / f"{ROWS}-wal", home / f"{ROWS}-journal"):
        if _size(left) > 0:  # SQLite would take it for the newest changes of the rows that are restored
            raise BackupError(
                f"{left} is left of a database that is not there any more. Move it to where that database "
                "is, then restore again."
            )


def _is_kept(path: Path) -> bool:
    """Return whether a file of the data folder is of use elsewhere; one being written has another name."""
    being_written = path.name.startswith(".") or path.name.endswith(".new")
    return not being_written and path.name not in _NOT_KEPT and not _is_rows(path)


def _is_rows(path: Path) -> bool:
    return path.name == ROWS or path.name.startswith((ROWS + "-", "ingot.db."))


def _pack(root: Path, pack: PackId) -> Path:
    return root / "packs" / pack[:2] / f"{pack}.pack"


def _size(path: Path) -> int:
    """Return the bytes of a file, -1 for none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _copy(source: Path, target: Path, *, mode: int) -> int:
    """Copy a file so that `target` is whole or absent; return its bytes. Folders are synced by the caller."""
    partial = target.with_name(target.name + PARTIAL)
    partial.unlink(missing_ok=True)
    with source.open("rb") as reading:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as writing:
            shutil.copyfileobj(reading, writing, _COPY)
            writing.flush()
            os.fsync(writing.fileno())
            size = writing.tell()
    partial.rename(target)
    return size


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _absent(pack: PackId) -> DataLoss:
    return DataLoss(
        Reason.DATA_LOSS,
        f"The rows name the pack {pack}, but it is not on the shelf.",
        next_step="Run `verify` to see what needs it; an earlier backup may still have it.",
        facts={"pack": pack},
    )


class _told:  # noqa: N801  # reads as a verb where it is used
    """Turn what the file system says into our errors; FileNotFoundError stays."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, OSError) or isinstance(error, FileNotFoundError):
            return
        facts = {"folder": str(self._folder)}
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Exhausted(
                Reason.DISK_LOW,
                f"The disk of the backup folder {self._folder} is full.",
                next_step="Make room there, or set backup_keep lower.",
                facts=facts,
            ) from error
        raise Unavailable(
            Reason.INTERNAL,
            f"The backup folder {self._folder} cannot be written: {error.strerror}.",
            next_step="Check that it exists and belongs to the user who runs the server.",
            facts=facts,
        ) from error
