"""The pages of a SQLite file, brought into memory together that would be read one after the other.

SQLite reads a page, looks what it says and reads the next: fifty rows from all over a large table are a
hundred reads, each of which waits for the one before. The form of the file is one that stays
(https://www.sqlite.org/fileformat2.html), and its trees are few levels deep: so the levels are gone down for
all rows at once, and the kernel is told of all pages of a level, which it reads at the same time.

Nothing here is an answer. SQLite reads the rows afterwards as ever, and finds them in memory where the guess
was right. A page whose newest form is in the WAL, or that is being written, may lead to pages nobody needs.
"""

import os
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_DEEPEST = 12  # levels; a table of any size that a disk holds has fewer
_INDEX, _TABLE = 2, 5  # what an inner page of either begins with
_HEADER = 12  # bytes of an inner page before the places of its cells
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}  # bytes of an integer in a record, by its type
_CONSTANTS = {8: 0, 9: 1}
_TEXTS = 13  # types from here on: a text, with half of what is above as its bytes

Key = int | bytes


class FilePages:
    """The pages of one file, from any thread. Close it after SQLite has closed the file, not before."""

    def __init__(self, path: str) -> None:
        self.roots: dict[str, int] = {}  # where trees begin, by their names
        self._key: tuple[int, int] | None
        self._key, self._file = _opened(path)
        size = int.from_bytes(os.pread(self._file, 2, 16), "big")
        self._size = 65536 if size == 1 else size

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        if self._key is not None:
            _closed(self._key)
        self._key = None

    def bring(self, root: int, keys: Iterable[Key]) -> Collection[int]:
        """Bring the pages into memory that lead to these keys and hold them; return their numbers.

        `root` is the first page of a table, whose keys are row ids, or of an index, whose keys are what it
        begins with: all of them integers, or texts in UTF-8. It does not wait for the last pages.
        """
        level = {root: sorted(keys)}
        told: set[int] = set()
        for _ in range(_DEEPEST):
            self._tell(sorted(level))
            told.update(level)
            below: dict[int, list[Key]] = {}
            for number in sorted(level):
                try:
                    found = list(_children(self._page(number), level[number]))
                except (IndexError, TypeError):  # it was being written, or is no such page any more
                    continue
                if not found:  # the others of this level hold rows, too: SQLite reads them next
                    return told
                for child, key in found:
                    if child:  # a torn page may say anything
                        below.setdefault(child, []).append(key)
            level = below
        return told

    def _tell(self, numbers: Iterable[int]) -> None:
        if hasattr(os, "posix_fadvise"):
            for number in numbers:
                os.posix_fadvise(self._file, (number - 1) * self._size, self._size, os.POSIX_FADV_WILLNEED)

    def _page(self, number: int) -> bytes:
        return os.pread(self._file, self._size, (number - 1) * self._size)


def _children(page: bytes, keys: Iterable[Key]) -> Iterable[tuple[int, Key]]:
    """Yield each of the sorted keys with the page below that it is in; nothing for a page without any."""
    kind, count = page[0], page[3] << 8 | page[4]
    if kind not in (_INDEX, _TABLE):
        return
    low = 0
    for key in keys:
        high = count
        while low < high:  # by hand: this is most of what the whole costs
            middle = (low + high) // 2
            if _key(page, _cell(page, middle) + 4, kind) < key:  # type: ignore[operator]  # both of one type
                low = middle + 1
            else:
                high = middle
        at = _cell(page, low) if low < count else 8  # the page after the last cell stands in the header
        yield int.from_bytes(page[at : at + 4], "big"), key


def _cell(page: bytes, place: int) -> int:
    begin = _HEADER + 2 * place
    return page[begin] << 8 | page[begin + 1]


def _key(page: bytes, place: int, kind: int) -> Key:
    """Return the key of a cell: its row id, or what its record begins with."""
    number, place = _varint(page, place)
    if kind == _TABLE:
        return number
    length, after = _varint(page, place)
    form, _ = _varint(page, after)
    begin = place + length
    if form in _CONSTANTS:
        return _CONSTANTS[form]
    if form in _INTEGERS:
        return int.from_bytes(page[begin : begin + _INTEGERS[form]], "big", signed=True)
    return page[begin : begin + max(form - _TEXTS, 0) // 2]


def _varint(page: bytes, place: int) -> tuple[int, int]:
    """Return a number of one to nine bytes, and where it ends."""
    number = 0
    for end in range(place, place + 8):
        byte = page[end]
        if byte < 0x80:
            return number << 7 | byte, end + 1
        number = number << 7 | byte & 0x7F
    return number << 8 | page[place + 8], place + 9


# --- one descriptor for each file -----------------------------------------------------------------------
#
# Closing any descriptor of a file takes away all locks that the process has on it, those of SQLite too. So a
# file is opened once, and closed when nobody here has its database open any more.


@dataclass(slots=True)
class _Open:
    file: int
    users: int


_files: dict[tuple[int, int], _Open] = {}
_lock = threading.Lock()


def _opened(path: str) -> tuple[tuple[int, int], int]:
    with _lock:
        there = os.stat(path)
        key = there.st_dev, there.st_ino
        if key not in _files:
            _files[key] = _Open(os.open(path, os.O_RDONLY | os.O_CLOEXEC), 0)
        _files[key].users += 1
        return key, _files[key].file


def _closed(key: tuple[int, int]) -> None:
    with _lock:
        _files[key].users -= 1
        if not _files[key].users:
            os.close(_files.pop(key).file)
