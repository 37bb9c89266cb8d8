"""Open files of the disk shelf: packs being read, packs being written, folders being synced."""

import errno
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ingot.content.digests import Data
from ingot.server.core import failpoints
from ingot.server.core.errors import Unavailable
from ingot.server.core.packs import PackId
from ingot.server.storage import disk_space, pack_format, pack_keys, pack_reading, write_out

log = logging.getLogger(__name__)

_WRITE_OUT = 4 * 1024 * 1024  # bytes after which the disk is asked to begin with them
# The larger a write, the larger the pages that the kernel looks for, and to make room for them costs more
# than the copying: 4 MiB at once took 0.27 to 0.43 CPU-s/GB on a machine that is up for long, 1 MiB 0.21.
_WRITE_BYTES = 1024 * 1024
_MOST_PIECES = 1000  # the kernel takes 1,024 buffers in one write
_IF_CACHED = getattr(os, "RWF_NOWAIT", 0)  # 0 where a system cannot read only what is in memory
_NOT_CACHED = frozenset((errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL))


class PackReader:
    """A pack that is open for reading; it closes when nobody holds it any more, so readers never lose it.

    `cipher` opens what `read_at` returns; it is None for a pack that is not encrypted. Raises DataLoss,
    FileNotFoundError, and Unavailable for a pack whose key is not there.
    """

    def __init__(self, path: Path, pack: PackId, keyring: pack_keys.Keyring | None = None) -> None:
        self._pack = pack
        # not to wait for ever where somebody has put a named pipe
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self._changed = os.fstat(self._descriptor).st_ctime_ns
        try:
            self.cipher = pack_keys.cipher_of(pack, self.read_at(0, pack_format.PROLOGUE_SIZE), keyring)
        except pack_format.MalformedError as error:
            raise pack_reading.damaged(pack, str(error)) from error

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def size(self) -> int:
        """Return the bytes of the pack."""
        return os.fstat(self._descriptor).st_size

    def is_as_opened(self) -> bool:
        """Return whether nobody has punched, moved or removed the file since it was opened."""
        now = os.fstat(self._descriptor)
        return now.st_nlink > 0 and now.st_ctime_ns == self._changed

    @property
    def codec(self) -> int:
        """How its records are stored."""
        return pack_format.CODEC_AES_GCM if self.cipher else pack_format.CODEC_RAW

    def read_at(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`, fewer only at the end; DataLoss if the disk cannot."""
        data = self._pread(offset, length)
        while 0 < len(data) < length and (more := self._pread(offset + len(data), length - len(data))):
            data += more  # the kernel may hand out less than asked for
        return data

    def stamp(self) -> int:
        """Return the time of the last change of the file, whatever it was."""
        return os.fstat(self._descriptor).st_ctime_ns

    def read_records(self, offset: int, buffers: Sequence[memoryview], *, cached: bool = False) -> bool:
        """Fill the buffers with the chunks of records that lie side by side, the first chunk at `offset`.

        Returns whether all is there, False also when the disk cannot read it. With `cached` only what the
        kernel has in memory counts, and the disk is not asked.
        """
        if cached and not _IF_CACHED:
            return False
        between = memoryview(bytearray(pack_format.RECORD_SIZE))  # a record's header: nobody needs it
        targets = [part for buffer in buffers for part in (between, buffer)][1:]
        size = sum(map(len, targets))
        try:
            failpoints.hit("pack.reading")
            return os.preadv(self._descriptor, targets, offset, _IF_CACHED if cached else 0) == size
        except OSError as error:
            if cached and error.errno not in _NOT_CACHED:
                raise
            return False

    def read_again(self, offset: int, length: int) -> bytes:
        """Read past the page cache: a bit may have flipped in memory and not on the disk."""
        self.drop_cache()
        return self.read_at(offset, length)

    def drop_cache(self) -> None:
        """Let the kernel forget what it has of the file, so that the next read asks the disk."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def _pread(self, offset: int, length: int) -> bytes:
        try:
            failpoints.hit("pack.reading")
            return os.pread(self._descriptor, length, offset)
        except OSError as error:
            what = f"the disk cannot read {length} bytes at {offset} ({error.strerror})"
            raise pack_reading.damaged(self._pack, what) from error


def open_pack(path: Path, pack: PackId, keyring: pack_keys.Keyring | None) -> PackReader:
    """Open a pack for reading.

    Raises DataLoss when it is absent or the disk cannot read it, and Unavailable when nothing says that it is
    lost: its key or all of the shelf is not there, or this process has too many files open.
    """
    try:
        return PackReader(path, pack, keyring)
    except FileNotFoundError:
        if path.parent.is_dir():  # it is made with the shelf, so otherwise its disk is not mounted
            raise pack_reading.absent(pack) from None
        raise _unavailable(pack, "the folder of packs is not there") from None
    except OSError as error:
        if error.errno == errno.EIO:
            raise pack_reading.damaged(pack, f"the disk cannot open it ({error.strerror})") from error
        raise _unavailable(pack, str(error.strerror)) from error


def _unavailable(pack: PackId, what: str) -> Unavailable:
    return disk_space.refusal(f"The server cannot open the pack {pack} now: {what}.", pack=pack)


class PackWriter:
    """A pack that is being written; it knows where its file is, so that it can always be discarded."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started = 0  # bytes that the disk was asked to begin with
        # Read-only from its birth: the mode only binds those who open it later.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor: int | None = os.open(path, flags, 0o444)

    def allocate(self, size: int) -> None:
        """Have the file system set `size` bytes aside; ENOSPC now instead of in the middle."""
        if size and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self._fd(), 0, size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # then the file system cannot do it
                    raise
        failpoints.hit("pack.reserved")

    def write(self, offset: int, pieces: Sequence[Data]) -> None:
        """Write the pieces one after the other from `offset`."""
        size = 0
        for some in _runs(pieces):
            size += self._write_run(offset + size, some)
        end = offset + size
        if end - self._started >= _WRITE_OUT:
            write_out.start(self._fd(), self._started, end - self._started)
            self._started = end
        failpoints.hit("pack.appended")

    def finish(self, offset: int, footer: bytes) -> None:
        """Write the footer at `offset`, end the file behind it, sync and close it."""
        self._write_rest(offset, memoryview(footer))
        os.ftruncate(self._fd(), offset + len(footer))
        failpoints.hit("pack.footer")
        os.fdatasync(self._fd())
        failpoints.hit("pack.synced")
        self._close()

    def rename(self, target: Path) -> None:
        """Move the finished file to its place."""
        self._path.rename(target)
        self._path = target

    def discard(self) -> None:
        """Close and unlink the file wherever it is."""
        self._close()
        try:
            self._path.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("pack.discard_failed path=%s error=%s", self._path, error)

    def _write_run(self, offset: int, pieces: Sequence[Data]) -> int:
        size = sum(map(len, pieces))
        written = os.pwritev(self._fd(), pieces, offset)
        if (
            written < size
        ):  # the disk is filling up, or a signal came: the rest brings the error, or goes through
            self._write_rest(offset + written, memoryview(b"".join(pieces))[written:])
        return size

    def _write_rest(self, offset: int, data: memoryview) -> None:
        while data:
            written = os.pwrite(self._fd(), data, offset)
            offset, data = offset + written, data[written:]

    def _fd(self) -> int:
        assert self._descriptor is not None, "the file is closed"
        return self._descriptor

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _runs(pieces: Sequence[Data]) -> Iterator[list[Data]]:
    """Yield the pieces of one write each."""
    run: list[Data] = []
    size = 0
    for piece in pieces:
        if run and (size + len(piece) > _WRITE_BYTES or len(run) == _MOST_PIECES):
            yield run
            run, size = [], 0
        run.append(piece)
        size += len(piece)
    if run:
        yield run
