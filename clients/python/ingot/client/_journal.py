"""What this machine remembers about files it cut, so that doing a push or a pull again is quick.

    ~/.cache/ingot/cuts/<key>.journal     one for each folder that was pushed or pulled into
    ~/.cache/ingot/notes/<key>            ids that must survive a kill: of an upload, of a download
    ~/.cache/ingot/pulled/<key>           what pulls wrote into a folder (`_pulled.py`)

A journal is append-only. A record says that the file of that size, modification and change time and inode has
these chunks; it counts as long as all of these are still the same. Files that changed less than two seconds
before they were read are not recorded: a file system with coarse clocks could hide a later change. A damaged
or cut-off record ends the reading, so a crash costs at most what was written last.
"""

import errno
import fcntl
import os
import struct
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ingot.client._errors import Invalid, LimitReached
from ingot.content import digests
from ingot.content.cuts import PROFILES

_MAGIC = b"ingot cuts 2\n"
_RECORD = struct.Struct("<8sIIQqqQ")  # profile, path bytes, entries bytes, size, mtime_ns, ctime_ns, inode
_CHECK_BYTES = 8
SETTLED_SECONDS = 2.0
_KEPT_SECONDS = 90 * 24 * 3600
_COMPACT_ABOVE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells whether a file is still the one that was read."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> "FileState":
        """Return the state of a file from its stat."""
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    @property
    def is_settled(self) -> bool:
        """Whether the last change is so long ago that the next would show."""
        return max(self.mtime_ns, self.ctime_ns) < time.time_ns() - SETTLED_SECONDS * 1e9


@dataclass(frozen=True, slots=True)
class Cut:
    """The chunks of one file: `entries` are packed (digest, length) pairs, as in segments."""

    size: int
    entries: bytes
    profile: str

    def chunks(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield offset, length and digest of each chunk in order."""
        offset = 0
        for digest, length in ENTRY.iter_unpack(self.entries):
            yield offset, length, digest
            offset += length

    @property
    def chunk_count(self) -> int:
        """Chunks of the file."""
        return len(self.entries) // ENTRY.size

    def segments(self) -> list[bytes]:
        """Return the bytes of its segments."""
        step = ENTRY.size * digests.SEGMENT_MAX_ENTRIES
        return [self.entries[start : start + step] for start in range(0, len(self.entries), step)]

    def root(self) -> bytes:
        """Return the file root."""
        return digests.file_root(
            self.profile, self.size, [digests.segment_digest(each) for each in self.segments()]
        )


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ENTRY = struct.Struct(f"<{digests.DIGEST_SIZE}sI")


def cache_folder() -> Path:
    """Return the folder for what can be made again: INGOT_CACHE_DIR, else ~/.cache/ingot."""
    if named := os.environ.get("INGOT_CACHE_DIR"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "ingot"


def _made(folder: Path) -> Path:
    """Return a folder of the cache, which is made when missing. Raises Invalid."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise Invalid(
            f"Cannot keep notes in {folder}: {failure.strerror}.",
            reason="FIELD_INVALID",
            facts={"path": str(folder)},
            next_step="Make it writable, or set INGOT_CACHE_DIR to a folder that is.",
        ) from failure
    return folder


def place_for(kind: str, folder: Path, suffix: str = "") -> Path:
    """Return where to remember something about a folder; what nobody used for three months is removed."""
    place = _made(cache_folder() / kind) / f"{_key(os.path.realpath(folder))}{suffix}"
    for other in place.parent.iterdir():
        try:
            if other != place and time.time() - other.stat().st_mtime > _KEPT_SECONDS:
                other.unlink()
        except FileNotFoundError:
            continue  # another process was quicker
    return place


@contextmanager
def keeping(place: Path) -> Iterator[None]:
    """Say of a write below the cache folder that finds no room where that is. Raises LimitReached."""
    try:
        yield
    except OSError as failure:
        if failure.errno not in _NO_ROOM:
            raise
        raise LimitReached(
            f"Cannot keep notes in {place.parent}: {failure.strerror}.",
            reason="DISK_LOW",
            facts={"path": str(place)},
            next_step="Make room there, or set INGOT_CACHE_DIR to a folder on another disk.",
        ) from failure


def replace(place: Path, parts: Iterable[bytes]) -> None:
    """Write a file anew, which is whole whoever else does the same now. Raises LimitReached."""
    with keeping(place):
        descriptor, temporary = tempfile.mkstemp(dir=place.parent)  # threads and containers share process ids
        try:
            with open(descriptor, "wb") as file:
                file.writelines(parts)
            os.replace(temporary, place)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


class Journal:
    """The cuts of the files below one folder; keys are absolute paths. For one thread."""

    def __init__(self, folder: Path) -> None:
        self._path = place_for("cuts", folder, ".journal")
        self._known: dict[str, tuple[FileState, Cut]] = {}
        read = self._load()
        with keeping(self._path):
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if os.fstat(self._file).st_size > max(2 * read, _COMPACT_ABOVE) or read == 0:
            self._rewrite()
        os.utime(self._path)

    def get(self, path: str, state: FileState) -> Cut | None:
        """Return the cut of a file when it is known and the file has not changed since."""
        known = self._known.get(path)
        return known[1] if known is not None and known[0] == state else None

    def put(self, path: str, state: FileState, cut: Cut) -> None:
        """Remember the cut of a file whose state was the same before and after it was read."""
        self.put_all([(path, state, cut)])

    def put_all(self, cuts: Iterable[tuple[str, FileState, Cut]]) -> None:
        """Remember the cuts of several files at once."""
        records: list[bytes] = []
        for path, state, cut in cuts:
            if not state.is_settled or cut.profile not in PROFILES:
                self._known.pop(path, None)
                continue
            self._known[path] = (state, cut)
            records.append(_packed(path, state, cut))
        if not records:
            return
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            with keeping(self._path):
                os.write(self._file, b"".join(records))
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def known(self) -> Iterator[tuple[str, Cut]]:
        """Yield path and cut of every remembered file that is still there unchanged."""
        for path, (state, cut) in list(self._known.items()):
            try:
                found = os.stat(path, follow_symlinks=False)
            except OSError:
                continue
            if FileState.of(found) == state:
                yield path, cut

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _load(self) -> int:
        """Read the records; return the bytes that those still in force take."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return 0
        if not data.startswith(_MAGIC):
            return 0
        at = len(_MAGIC)
        live: dict[str, int] = {}
        while at + _RECORD.size <= len(data):
            profile, path_bytes, entries_bytes, *state = _RECORD.unpack_from(data, at)
            end = at + _RECORD.size + path_bytes + entries_bytes + _CHECK_BYTES
            body = data[at : end - _CHECK_BYTES]
            if end > len(data) or data[end - _CHECK_BYTES : end] != _check(body):
                break
            path = os.fsdecode(body[_RECORD.size : _RECORD.size + path_bytes])
            entries = body[_RECORD.size + path_bytes :]
            cut = Cut(state[0], entries, profile.rstrip(b"\0").decode("ascii"))
            self._known[path] = (FileState(*state), cut)
            live[path] = end - at
            at = end
        return len(_MAGIC) + sum(live.values()) if at == len(data) else 0

    def _rewrite(self) -> None:
        """Write only what is in force: after damage, and when most of the file is outdated."""
        replace(self._path, [_MAGIC, *(_packed(path, *known) for path, known in self._known.items())])
        os.close(self._file)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)


class Note:
    """A short text that survives a kill: the id of an upload or download that the next run goes on with."""

    def __init__(self, *about: str) -> None:
        self._path = _made(cache_folder() / "notes") / _key("\n".join(about))

    def read(self) -> str:
        """Return the text that is kept; empty when there is none, or a power cut left something else."""
        try:
            text = self._path.read_text(encoding="ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return ""
        return text if text.isprintable() else ""

    def read_or(self, fresh: str) -> str:
        """Return the text that is kept, or keep and return `fresh`."""
        return self.read() or self.keep(fresh)

    def keep(self, text: str) -> str:
        """Keep and return `text`."""
        replace(self._path, [text.encode("ascii")])
        return text

    def remove(self) -> None:
        """Forget it."""
        self._path.unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Tell whether nobody else uses this note now, on this machine, and keep others from it meanwhile."""
        path = self._path.with_suffix(".lock")
        with keeping(path):
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.path.exists(path) and os.path.samestat(os.fstat(lock), os.stat(path))
        except (BlockingIOError, FileNotFoundError):  # its holder is just removing it
            mine = False
        try:
            yield mine
        finally:
            if mine:
                path.unlink(missing_ok=True)  # while it is locked: who has opened it already finds it gone
            os.close(lock)


def _key(text: str) -> str:
    return digests.digest_of(os.fsencode(text)).hex()[:32]


def _check(body: bytes) -> bytes:
    return digests.digest_of(body)[:_CHECK_BYTES]


def _packed(path: str, state: FileState, cut: Cut) -> bytes:
    name = os.fsencode(path)
    numbers = (state.size, state.mtime_ns, state.ctime_ns, state.inode)
    head = _RECORD.pack(cut.profile.encode("ascii"), len(name), len(cut.entries), *numbers)
    body = head + name + cut.entries
    return body + _check(body)
