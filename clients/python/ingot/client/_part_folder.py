"""`.ingot-pull` in a folder that is pulled into: files on their way, and the lock of whoever pulls.

    <folder>/.ingot-pull/lock     held while a pull writes into the folder
    <folder>/.ingot-pull/<key>    a file on its way; the key is a digest of its path and of its content

Two pulls at once would leave a folder that holds neither of their trees, so the second one waits. The lock is
one of the file system: it counts between processes, containers and, over NFS, machines, and goes with its
process, also after kill -9. A key names one content, so what was left of another version is never gone on
with. What no file of the present tree can use is removed; when all is in place the folder goes, too.
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ingot.client import _places
from ingot.client._manifest import TreeFile
from ingot.content import digests

NAME = ".ingot-pull"
_LOCK = "lock"
_LOCK_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_TAKEN, _UNLOCKED = -1, -2
_KEY_CHARACTERS = 32
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5  # seconds between two tries to get the lock
_READ_ONLY = frozenset([errno.EACCES, errno.EPERM, errno.EROFS])
_NO_LOCKS = frozenset([errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])


class PartFolder:
    """The folder for unfinished files of one folder; to be `held` around everything that is done there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / NAME
        self._left: frozenset[str] = frozenset()
        self._is_there = False
        self.was_there = False  # whether another pull was cut off here, or is at work

    @contextmanager
    def held(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Keep other pulls out of the folder for the length of a with block; a missing folder is made.

        While another one is in it `waiting` is called twice a second or more often, and may raise to give up.
        In a folder that may only be read nobody writes, so nothing is locked. Where a file system knows no
        locks what the parts check by themselves has to do. Raises LimitReached, Invalid.
        """
        pause = _FIRST_PAUSE
        while (lock := self._locked()) == _TAKEN:
            waiting()
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        try:
            self._is_there = lock != _UNLOCKED
            self._left = frozenset(os.listdir(self._path)) - {_LOCK} if self._is_there else frozenset()
            yield
        finally:
            if lock != _UNLOCKED:
                try:  # in this order: whoever waits makes both again when they are gone
                    with suppress(OSError):
                        os.unlink(self._path / _LOCK)
                    with suppress(OSError):  # what was left for the next pull
                        os.rmdir(self._path)
                finally:
                    os.close(lock)

    def place(self, file: TreeFile) -> str:
        """Return where the part of a file belongs. Raises LimitReached where nothing can be written."""
        if not self._is_there:
            raise _places.unwritable(self._folder, "it may only be read")
        return os.path.join(self._path, key_of(file))

    def left(self, file: TreeFile) -> bool:
        """Return whether an earlier pull left something of a file."""
        return bool(self._left) and key_of(file) in self._left

    def size_of(self, file: TreeFile) -> int:
        """Return how many bytes of the disk what is left of a file takes."""
        with suppress(OSError):
            if self.left(file):
                return os.stat(self._path / key_of(file), follow_symlinks=False).st_blocks * 512
        return 0

    def remove_others(self, wanted: Iterator[TreeFile]) -> None:
        """Remove what earlier pulls left of all files but the wanted ones."""
        kept = self._left and self._left.intersection(map(key_of, wanted))
        for name in self._left - kept:
            with suppress(OSError):
                os.unlink(self._path / name)
        self._left = kept

    # --- the lock ---------------------------------------------------------------------------------------

    def _locked(self) -> int:
        """Return the open file of the lock; _TAKEN while another pull has it, _UNLOCKED where none can be."""
        while self._made():
            try:
                lock = os.open(self._path / _LOCK, _LOCK_FLAGS, 0o666)
            except FileNotFoundError:
                continue  # whoever had it has just removed the folder
            except OSError as failure:
                if failure.errno == errno.EROFS:
                    break
                raise _places.unwritable(self._path, str(failure.strerror)) from failure
            mine = False
            try:
                with suppress(OSError):  # for whoever else may write into the folder
                    os.fchmod(lock, stat.S_IMODE(self._folder.stat().st_mode) & 0o666)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                mine = os.path.samestat(os.fstat(lock), os.lstat(self._path / _LOCK))
            except BlockingIOError:
                return _TAKEN
            except FileNotFoundError:
                pass  # likewise
            except OSError as failure:
                mine = failure.errno in _NO_LOCKS
                if not mine:
                    raise _places.unwritable(self._path, str(failure.strerror)) from failure
            finally:
                if not mine:
                    os.close(lock)
            if mine:
                return lock
        return _UNLOCKED

    def _made(self) -> bool:
        """Make the folder, for the same people as the one it is in; return False where nobody may write."""
        try:
            _places.make_folder(self._folder)
        except (FileExistsError, NotADirectoryError) as failure:
            raise _places.no_folder(self._folder) from failure
        except OSError as failure:
            raise _places.unwritable(self._folder, str(failure.strerror)) from failure
        try:
            self._path.mkdir()
        except FileExistsError:
            self.was_there = True
            with suppress(FileNotFoundError):  # whoever had it has just removed it: opening the lock tells
                if not stat.S_ISDIR(os.lstat(self._path).st_mode):
                    raise _places.in_the_way(self._path) from None
        except FileNotFoundError:
            return self._made()  # somebody moved the folder away
        except OSError as failure:
            if failure.errno in _READ_ONLY:
                return False
            raise _places.unwritable(self._path, str(failure.strerror)) from failure
        else:
            with suppress(OSError):
                self._path.chmod(stat.S_IMODE(self._folder.stat().st_mode))
        return True


def key_of(file: TreeFile) -> str:
    """Return the name of the part of a file: equal only for the same content in the same place."""
    return digests.digest_of(os.fsencode(file.path) + b"\0" + file.root).hex()[:_KEY_CHARACTERS]
