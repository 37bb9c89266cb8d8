"""Writing below an allowed folder of the server: no links, no foreign files lost, one writer at a time.

Paths were checked when the work was asked for. They are checked again here, step by step, since whoever may
write to an allowed folder could have put a link into it meanwhile.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from ingot.content import durable
from ingot.server.bodies.failures import BodyFailure
from ingot.server.core.errors import Reason
from ingot.server.sources import export_places

_BUSY_SECONDS = 5.0
_TRIES = 20
_MOMENT = 0.01
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextlib.contextmanager
def way_to(root: str, path: Path) -> Iterator[None]:
    """Make the folders between an allowed folder and a path; for the length of a with block no export takes
    the place of one of them.

    Raises BodyFailure (BAD_PATH) for a link, BodyFailure (BUSY) and Precondition (IN_USE) when one of them is
    what another export writes or wrote.
    """
    place = Path(root)
    place.mkdir(parents=True, exist_ok=True)
    if os.path.realpath(place) != str(place):
        raise _link(place)
    with contextlib.ExitStack() as shared:
        for part in path.relative_to(place).parts[:-1]:
            place /= part
            shared.enter_context(_passed(place))
            if export_places.is_exported(place):
                raise export_places.inside(path, place)
            with contextlib.suppress(FileExistsError):
                place.mkdir()
                durable.sync_folder(place.parent)
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                raise _link(place)
        yield


@contextlib.contextmanager
def held(target: Path) -> Iterator[None]:
    """Keep other writers of a target, and of what lies in it, away for the length of a with block.

    Raises BodyFailure (BUSY) when there is one. The lock goes with the process, also after kill -9.
    """
    lock = export_places.lock_of(target)
    file = _locked(lock, fcntl.LOCK_EX)
    if file is None:
        raise _busy(target)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(file)


@contextlib.contextmanager
def _passed(folder: Path) -> Iterator[None]:
    """Keep whoever would write a folder away while something is written into it; others may do so too."""
    lock = export_places.lock_of(folder)
    file = _locked(lock, fcntl.LOCK_SH)
    if file is None:
        raise _busy(folder)
    try:
        yield
    finally:
        with contextlib.suppress(BlockingIOError, FileNotFoundError):  # the last one to leave removes it
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file_of(file, lock):
                lock.unlink()
        os.close(file)


def _locked(lock: Path, how: int) -> int | None:
    """Return the open file of a lock; None when somebody else has it.

    Whoever removes it has it for a moment, and may remove the file that was just opened.
    """
    for _ in range(_TRIES):
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
            if _is_file_of(file, lock):
                return file
        except BlockingIOError:
            time.sleep(_MOMENT)
        except FileNotFoundError:
            pass
        os.close(file)
    return None


def _is_file_of(file: int, lock: Path) -> bool:
    return os.path.samestat(os.fstat(file), os.lstat(lock))


def remove_leftovers(target: Path, mine: Path) -> None:
    """Remove what other operations left unfinished beside a target that is held: nobody works on it."""
    for left in export_places.parts_of_others(target, mine):
        remove(left)


def swap(new: Path, target: Path) -> None:
    """Put a new file or folder in the place of what is there, in one step; the old one is removed.

    Where the system cannot exchange two names there is a moment in which neither has the target's.
    """
    if not os.path.lexists(target):
        new.rename(target)
        durable.sync_folder(target.parent)
        return
    if not _exchange(new, target):
        aside = new.with_name(f"{new.name}.old")
        remove(aside)
        target.rename(aside)
        new.rename(target)
        aside.rename(new)
    durable.sync_folder(target.parent)
    remove(new)


def remove(path: Path) -> None:
    """Remove a file or a folder with everything in it; a link alone, not what it leads to."""
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _busy(target: Path) -> BodyFailure:
    return BodyFailure(
        Reason.BUSY,
        f"Another operation writes {target}.",
        next_step="Wait; this one tries again by itself.",
        facts={"path": str(target)},
        retry=True,
        retry_after=_BUSY_SECONDS,
    )


def _link(place: Path) -> BodyFailure:
    return BodyFailure(
        Reason.BAD_PATH,
        f"Cannot write below {place}: it is a link or a file, not a folder.",
        next_step="Remove it, or export to another folder.",
        facts={"path": str(place)},
    )
