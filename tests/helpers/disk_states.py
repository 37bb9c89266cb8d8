"""Which states a disk may be in after a power cut, as POSIX allows them: a model in memory.

    disk = Disk()
    disk.apply(step)                      # as disk_record.py tells of it
    disk.state(LOST)                      # path → bytes, None for a folder

What was synced is there. Of everything else each part may be there or not, whatever came first: names, sizes,
sectors of a write. `fsync` of a file brings its bytes and not its name; that needs `fsync` of the folder.
A rename in one folder happens or does not; between two folders each side may.
"""

import itertools
import posixpath
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from helpers import disk_record as record

_SECTOR = 512

State = Mapping[str, bytes | None]


@dataclass(frozen=True, slots=True)
class _Change:
    """Of a file: bytes at an offset, or, without any, its new size."""

    number: int
    offset: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class _Naming:
    """Of a folder: names that appear (with what they name) and disappear (None), together or not at all."""

    number: int
    names: Sequence[tuple[str, "_File | _Folder | None"]]


@dataclass(eq=False, slots=True)
class _File:
    durable: bytes = b""
    pending: list[_Change] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class _Folder:
    durable: dict[str, "_File | _Folder"] = field(default_factory=dict)
    pending: list[_Naming] = field(default_factory=list)

    def now(self) -> dict[str, "_File | _Folder"]:
        """What a program sees."""
        return _named(self.durable, self.pending)


@dataclass(frozen=True, slots=True)
class Cut:
    """What a power cut leaves of what was not synced: `names` of folders, `changes` of files."""

    name: str
    names: Callable[[_Naming], bool]
    changes: Callable[[Sequence[_Change]], Sequence[_Change]]


def _none(changes: Sequence[_Change]) -> Sequence[_Change]:
    return ()


def _all(changes: Sequence[_Change]) -> Sequence[_Change]:
    return changes


def _zeros(changes: Sequence[_Change]) -> Sequence[_Change]:
    return [_Change(each.number, each.offset, each.data and bytes(len(each.data))) for each in changes]


LOST = Cut("nothing that was not synced", lambda each: False, _none)
NAMES = Cut("names, and nothing in them", lambda each: True, _none)
ZEROS = Cut("names and sizes, and zeros for bytes", lambda each: True, _zeros)
BYTES = Cut("bytes, and no names", lambda each: False, _all)
KEPT = Cut("everything", lambda each: True, _all)


def torn(seed: object) -> Cut:
    """Return a cut that leaves each name and each sector of each write, or not, by chance."""
    chance = random.Random(str(seed))

    def changes(all_of_them: Sequence[_Change]) -> Sequence[_Change]:
        share = chance.random()
        return [part for each in all_of_them for part in _sectors(each) if chance.random() < share]

    return Cut(f"torn {seed}", lambda each: chance.random() < 0.5, changes)


def _sectors(change: _Change) -> Sequence[_Change]:
    if change.data is None:
        return [change]
    first = _SECTOR - change.offset % _SECTOR
    edges = [0, *range(first, len(change.data), _SECTOR), len(change.data)]
    return [
        _Change(change.number, change.offset + start, change.data[start:end])
        for start, end in itertools.pairwise(edges)
    ]


class Disk:
    """The files below `root`, which is there and durable."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._top = _Folder()
        self.steps = 0

    def apply(self, step: record.Step) -> None:
        """Do one step more."""
        self.steps += 1
        match step:
            case record.Make(path, is_folder):
                self._name((path, _Folder() if is_folder else _File()))
            case record.Write(path, offset, data, size):
                self._change(path, offset, bytes(size) if data is None else data)
            case record.Truncate(path, size):
                self._change(path, size, None)
            case record.Rename(source, target):
                self._rename(source, target)
            case record.Link(source, target):
                self._name((target, self._find(source)))
            case record.Remove(path):
                self._name((path, None))
            case record.Sync(path, begun):
                self._sync(path, begun)
            case record.Note():
                pass

    def state(self, cut: Cut) -> State:
        """Return what is there after a cut now."""
        found: dict[str, bytes | None] = {}
        self._look(self._top, "", cut, found, {})
        return found

    def _look(
        self, folder: _Folder, path: str, cut: Cut, found: dict[str, bytes | None], read: dict[_File, bytes]
    ) -> None:
        names = _named(folder.durable, [each for each in folder.pending if cut.names(each)])
        for name, node in sorted(names.items()):
            place = posixpath.join(path, name)
            if isinstance(node, _Folder):
                if place not in found:
                    found[place] = None
                    self._look(node, place, cut, found, read)
                continue
            if node not in read:
                read[node] = _content(node.durable, cut.changes(node.pending))
            found[place] = read[node]

    # --- steps ------------------------------------------------------------------------------------------

    def _change(self, path: str, offset: int, data: bytes | None) -> None:
        node = self._find(path)
        if isinstance(node, _File):
            node.pending.append(_Change(self.steps, offset, data))

    def _name(self, *names: tuple[str, "_File | _Folder | None"]) -> None:
        folder = self._find(posixpath.dirname(names[0][0]))
        if isinstance(folder, _Folder):
            plain = [(posixpath.basename(path), node) for path, node in names]
            folder.pending.append(_Naming(self.steps, plain))

    def _rename(self, source: str, target: str) -> None:
        node = self._find(source)
        if posixpath.dirname(source) == posixpath.dirname(target):
            self._name((source, None), (target, node))
        else:
            self._name((target, node))
            self._name((source, None))

    def _sync(self, path: str, begun: int) -> None:
        node = self._find(path) if path else None
        for each in self._all() if not path else [node]:
            if isinstance(each, _File):
                done = [change for change in each.pending if change.number <= begun]
                each.durable = _content(each.durable, done)
                each.pending = each.pending[len(done) :]
            elif isinstance(each, _Folder):
                made = [naming for naming in each.pending if naming.number <= begun]
                each.durable = _named(each.durable, made)
                each.pending = each.pending[len(made) :]

    def _all(self) -> Sequence[_File | _Folder]:
        found: list[_File | _Folder] = [self._top]
        for each in found:
            if isinstance(each, _Folder):
                found += each.now().values()
        return found

    def _find(self, path: str) -> "_File | _Folder | None":
        node: _File | _Folder | None = self._top
        for part in posixpath.relpath(path, self._root).split("/"):
            if part != ".":
                node = node.now().get(part) if isinstance(node, _Folder) else None
        return node


def _named(durable: Mapping[str, _File | _Folder], namings: Sequence[_Naming]) -> dict[str, _File | _Folder]:
    found = dict(durable)
    for naming in namings:
        for name, node in naming.names:
            if node is None:
                found.pop(name, None)
            else:
                found[name] = node
    return found


def _content(durable: bytes, changes: Sequence[_Change]) -> bytes:
    if not changes:
        return durable
    content = bytearray(durable)
    for each in changes:
        size = each.offset if each.data is None else each.offset + len(each.data)
        if each.data is None:
            del content[size:]
        if len(content) < size:
            content += bytes(size - len(content))
        if each.data is not None:
            content[each.offset : size] = each.data
    return bytes(content)
