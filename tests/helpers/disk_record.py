"""What a process and its children did to the files below a folder, in order, as `strace` saw it.

    with open(record) as lines:
        for step in steps(lines, root): …

`traced(command, record)` is the command under strace. A call that another thread's call interrupts comes when
it is over; `Sync.begun` tells how many steps had been made when a sync began, since it promises nothing about
what came later. Memory that is mapped (SQLite's `-shm`) is not seen: nobody may need it after a crash.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

_CALLS = (
    "open,openat,creat,close,lseek,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,"
    "rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,fsync,fdatasync,syncfs,"
    "copy_file_range,sendfile"
)
_LONGEST = 64 * 1024 * 1024
_PUNCH = "FALLOC_FL_PUNCH_HOLE"

_CALL = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)(?:<([^>]*)>)?")
_UNFINISHED = re.compile(r"^(\d+) +(\w+)\((.*?),? *<unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(?:, )?(.*)\) += (-?\d+)(?:<([^>]*)>)?")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FILE = re.compile(r"(?:(\d+)|AT_FDCWD)<([^>]*)>")


@dataclass(frozen=True, slots=True)
class Make:
    """A file or folder begins to exist."""

    path: str
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes of a file are others; None are zeros, `size` of them."""

    path: str
    offset: int
    data: bytes | None
    size: int


@dataclass(frozen=True, slots=True)
class Truncate:
    """A file has another size."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Rename:
    """A name is another; whatever had the new one is gone."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Link:
    """A file has one more name."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Remove:
    """A name is gone."""

    path: str


@dataclass(frozen=True, slots=True)
class Sync:
    """What was done to a file, or to the names in a folder, before step `begun` is on the disk; "" is all."""

    path: str
    begun: int


@dataclass(frozen=True, slots=True)
class Note:
    """A line that the traced program wrote for whoever reads the record."""

    text: str


Step = Make | Write | Truncate | Rename | Link | Remove | Sync | Note


def traced(command: Sequence[str], record: str) -> list[str]:
    """Return a command that writes what another one does to files into `record`."""
    options = ["-f", "--seccomp-bpf", "-qq", "-y", "-v", "-xx", "-s", str(_LONGEST), "-e", f"trace={_CALLS}"]
    return ["strace", *options, "-e", "signal=none", "-o", record, *command]


def steps(lines: TextIO, root: str, notes: str) -> Iterator[Step]:
    """Yield what was done below the folder `root`; what was written to the file `notes` are notes."""
    return _Reader(root, notes).read(_calls(lines))


@dataclass(slots=True)
class _Call:
    name: str
    arguments: str
    result: int
    result_path: str
    begun: int  # calls that were over when it began


def _calls(lines: Iterable[str]) -> Iterator[_Call]:
    """Yield calls as they ended, with those put together that were interrupted."""
    waiting: dict[str, tuple[str, int]] = {}
    over = 0
    for line in lines:
        text = line.rstrip("\n")
        if found := _UNFINISHED.match(text):
            waiting[found[1]] = (found[3], over)
            continue
        if found := _RESUMED.match(text):
            arguments, begun = waiting.pop(found[1], ("", over))
            arguments = ", ".join(filter(None, (arguments, found[3])))
            call = _Call(found[2], arguments, int(found[4]), found[5] or "", begun)
        elif found := _CALL.match(text):
            call = _Call(found[2], found[3], int(found[4]), found[5] or "", over)
        else:
            continue
        over += 1
        yield call


class _Reader:
    """Turns calls into steps; knows where each open file stands."""

    def __init__(self, root: str, notes: str) -> None:
        self._root, self._notes = root, notes
        self._seen: set[str] = set()  # files that are there
        self._at: dict[tuple[str, str], int] = {}  # (descriptor, path) → position
        self._appending: set[tuple[str, str]] = set()
        self._sizes: dict[str, int] = {}

    def read(self, calls: Iterable[_Call]) -> Iterator[Step]:
        count = 0
        begun: list[int] = []  # steps made when the n-th call was over
        for call in calls:
            for step in self._steps(call):
                if isinstance(step, Sync):
                    before = begun[call.begun - 1] if 0 < call.begun <= len(begun) else count
                    step = Sync(step.path, before)
                yield step
                count += 1
            begun.append(count)

    def _steps(self, call: _Call) -> Iterator[Step]:
        made = getattr(self, f"_{_SAME.get(call.name, call.name)}", None)
        if made is not None and call.result >= 0:
            yield from made(call)

    # --- names ------------------------------------------------------------------------------------------

    def _openat(self, call: _Call) -> Iterator[Step]:
        path = self._path(call.result_path)
        if path is None or path == self._notes:
            return
        key = (str(call.result), path)
        self._at[key] = 0
        self._appending.discard(key)
        if "O_APPEND" in call.arguments:
            self._appending.add(key)
        if "O_CREAT" in call.arguments and path not in self._seen:
            self._seen.add(path)
            self._sizes[path] = 0
            yield Make(path)
        if "O_TRUNC" in call.arguments and self._sizes.get(path):
            self._sizes[path] = 0
            yield Truncate(path, 0)

    def _mkdirat(self, call: _Call) -> Iterator[Step]:
        (path,) = self._named(call)
        if path is not None:
            yield Make(path, is_folder=True)

    def _renameat2(self, call: _Call) -> Iterator[Step]:
        source, target = self._named(call)
        if source is None or target is None:
            return
        if "RENAME_EXCHANGE" in call.arguments:
            aside = f"{source}.exchanged"
            yield from (Rename(source, aside), Rename(target, source), Rename(aside, target))
            return
        self._move(source, target)
        yield Rename(source, target)

    def _move(self, source: str, target: str) -> None:
        for path in [each for each in self._seen if f"{each}/".startswith(f"{source}/")]:
            moved = target + path[len(source) :]
            self._seen.discard(path)
            self._seen.add(moved)
            self._sizes[moved] = self._sizes.pop(path, 0)
        for key in [each for each in self._at if f"{each[1]}/".startswith(f"{source}/")]:
            self._at[key[0], target + key[1][len(source) :]] = self._at.pop(key)

    def _linkat(self, call: _Call) -> Iterator[Step]:
        source, target = self._named(call)
        if source is not None and target is not None:
            self._seen.add(target)
            self._sizes[target] = self._sizes.get(source, 0)
            yield Link(source, target)

    def _unlinkat(self, call: _Call) -> Iterator[Step]:
        (path,) = self._named(call)
        if path is not None:
            self._seen.discard(path)
            self._sizes.pop(path, None)
            yield Remove(path)

    # --- contents ---------------------------------------------------------------------------------------

    def _write(self, call: _Call) -> Iterator[Step]:
        key = self._file(call)
        if key is None:
            return
        data = b"".join(_texts(call.arguments))[: call.result]
        if key[1] == self._notes:
            for line in data.decode().splitlines():
                yield Note(line)
            return
        offset = self._sizes.get(key[1], 0) if key in self._appending else self._at.get(key, 0)
        self._at[key] = offset + call.result
        yield from self._written(key[1], offset, data)

    def _pwritev(self, call: _Call) -> Iterator[Step]:
        key = self._file(call)
        if key is not None:
            numbers = call.arguments.rpartition('"')[2]  # behind the bytes
            found = re.findall(r"(?<![\w])(\d+)(?!\w)", numbers)
            offset = int(found[_OFFSET[call.name]])
            yield from self._written(key[1], offset, b"".join(_texts(call.arguments))[: call.result])

    def _written(self, path: str, offset: int, data: bytes) -> Iterator[Step]:
        self._sizes[path] = max(self._sizes.get(path, 0), offset + len(data))
        yield Write(path, offset, data, len(data))

    def _lseek(self, call: _Call) -> Iterator[Step]:
        key = self._file(call)
        if key is not None:
            self._at[key] = call.result
        yield from ()

    def _ftruncate(self, call: _Call) -> Iterator[Step]:
        key = self._file(call)
        if key is not None:
            self._sizes[key[1]] = size = int(call.arguments.rpartition(",")[2])
            yield Truncate(key[1], size)

    def _truncate(self, call: _Call) -> Iterator[Step]:
        (path,) = self._named(call)
        if path is not None:
            self._sizes[path] = size = int(call.arguments.rpartition(",")[2])
            yield Truncate(path, size)

    def _fallocate(self, call: _Call) -> Iterator[Step]:
        key = self._file(call)
        if key is None:
            return
        offset, size = map(int, call.arguments.split(", ")[-2:])
        if _PUNCH in call.arguments:
            size = max(0, min(size, self._sizes.get(key[1], 0) - offset))
            yield Write(key[1], offset, None, size)
        elif offset + size > self._sizes.get(key[1], 0):
            self._sizes[key[1]] = offset + size
            yield Truncate(key[1], offset + size)

    def _copy_file_range(self, call: _Call) -> Iterator[Step]:
        raise AssertionError(f"{call.name} is not understood: {call.arguments[:200]}")

    # --- syncs ------------------------------------------------------------------------------------------

    def _fsync(self, call: _Call) -> Iterator[Step]:
        key = self._file(call)
        if key is not None:
            yield Sync(key[1], 0)

    def _syncfs(self, call: _Call) -> Iterator[Step]:
        yield Sync("", 0)

    # --- paths ------------------------------------------------------------------------------------------

    def _file(self, call: _Call) -> tuple[str, str] | None:
        """Return descriptor and path of the file that is the first argument, None for one elsewhere."""
        found = _FILE.match(call.arguments)
        path = self._path(found[2]) if found else None
        return (found[1] or "", path) if found and path is not None else None

    def _named(self, call: _Call) -> list[str | None]:
        """Return the paths that are arguments, None for those elsewhere."""
        found: list[str | None] = []
        folder = ""
        for match in re.finditer(rf"{_FILE.pattern}|{_TEXT.pattern}", call.arguments):
            if match[3] is None:
                folder = _plain(match[2])
            else:
                found.append(self._path(os.path.normpath(os.path.join(folder, _plain(match[3])))))
        return found

    def _path(self, shown: str) -> str | None:
        path = _plain(shown)
        return path if f"{path}/".startswith(f"{self._root}/") or path == self._notes else None


_SAME = {
    "open": "openat",
    "creat": "openat",
    "mkdir": "mkdirat",
    "rename": "renameat2",
    "renameat": "renameat2",
    "link": "linkat",
    "unlink": "unlinkat",
    "rmdir": "unlinkat",
    "writev": "write",
    "pwrite64": "pwritev",
    "pwritev2": "pwritev",
    "fdatasync": "fsync",
    "sendfile": "copy_file_range",
}
# Which of the numbers behind the bytes is the offset: of pwrite64 (…, count, offset), of pwritev (…}], count,
# offset), where the length of the last piece comes first.
_OFFSET = {"pwrite64": 1, "pwritev": 2, "pwritev2": 2}


def _texts(arguments: str) -> Iterator[bytes]:
    for found in _TEXT.finditer(arguments):
        yield bytes.fromhex(found[1].replace("\\x", ""))


def _plain(shown: str) -> str:
    """Return a path as it is: strace shows those of descriptors and of arguments in hex."""
    if "\\x" not in shown:
        return shown
    return os.fsdecode(bytes.fromhex(shown.replace("\\x", "")))
