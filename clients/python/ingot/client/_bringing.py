"""Bring the files of a tree into a folder that is held: what is missing is taken from here or fetched."""

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from ingot.client import _fetch, _parts, _places
from ingot.client._errors import Integrity, LimitReached
from ingot.client._fetch import Fetcher, Span, Store
from ingot.client._file_cache import FileCache
from ingot.client._here import Here
from ingot.client._manifest import TreeFile
from ingot.client._part_folder import PartFolder
from ingot.client._parts import Part
from ingot.client._progress import Reporter, Stage
from ingot.client._pulled import Pulled
from ingot.content import digests

_SMALL_FILES = 2000  # that are synced together


class Bringing:
    """The files of one pull that are not in their place, until they are."""

    def __init__(
        self,
        folder: Path,
        parts: PartFolder,
        here: Here,
        pulled: Pulled,
        cache: FileCache | None,
        report: Reporter,
        *,
        force: bool,
    ) -> None:
        self._folder, self._part_folder, self._here = folder, parts, here
        self._pulled, self._cache, self._report = pulled, cache, report
        self._force = force  # whatever stands in a place by the time it is put there
        self._parts: dict[str, Part] = {}
        self._first: dict[bytes, tuple[str, int]] = {}  # where a chunk stands in this tree for the first time
        self._later: list[tuple[Part, int]] = []  # chunks that stand there again
        self._complete: list[Part] = []  # small files that wait to be synced together
        self._put_paths: list[str] = []  # of files that are in their place
        self._aside = ThreadPoolExecutor(1, "ingot-flush")
        self._lock = threading.Lock()

    def run(self, files: Sequence[TreeFile], fetcher_for: Callable[[Store], Fetcher]) -> None:
        """Put all of these files in their places, synced. Raises IngotError."""
        self._check_room(sum(max(0, each.size - self._part_folder.size_of(each)) for each in files))
        with self._aside:
            try:
                try:
                    self._bring(files, fetcher_for(self._store))
                finally:
                    self._settle(self._complete)  # a pull that fails keeps what it has
            finally:
                for part in self._parts.values():
                    part.close()
                _places.sync_folders(self._folder, self._put_paths)

    def _check_room(self, size: int) -> None:
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize
        if size > free:
            raise LimitReached(
                f"The disk of {self._folder} has {free} bytes left; these files need {size}.",
                reason="DISK_LOW",
                facts={"expected": str(size), "got": str(free)},
                next_step="Make room, or pull into a folder on another disk.",
            )

    def _bring(self, files: Sequence[TreeFile], fetcher: Fetcher) -> None:
        size = sum(each.size for each in files)
        unit = _fetch.unit_for(size)
        fetcher.expect(size)
        with fetcher.lanes:
            for file in files:
                self._begin(file, fetcher, unit)
            self._report.stage(Stage.RECEIVING)
            fetcher.finish()
        self._copy_later()

    def _begin(self, file: TreeFile, fetcher: Fetcher, unit: int) -> None:
        """Copy what is here, put off what comes anyway, queue the rest."""
        target = self._here.place(file)
        part = Part(file, target, self._part_folder.place(file), self._aside)
        self._parts[file.path] = part
        self._take_what_is_here(part)
        put_off: set[int] = set()
        for index, (_, length, digest) in enumerate(part.chunks):
            if part.has(index):
                self._report.add(reused=length)
                self._first.setdefault(digest, (file.path, index))
            elif (data := self._here.seeds.read(digest)) is not None:
                part.write(index, 1, [data])
                self._report.add(reused=length)
            elif digest in self._first:
                put_off.add(index)
                self._later.append((part, index))
            else:
                self._first[digest] = (file.path, index)
        if part.left == 0:
            self._finish(part)
            return
        if part.left == len(part.chunks) and not put_off and file.size <= unit:  # nearly all small files
            fetcher.add(Span(file, 0, part.chunks))
            return
        for span in _fetch.spans(file, lambda index: index not in put_off and not part.has(index), unit):
            fetcher.add(span)

    def _take_what_is_here(self, part: Part) -> None:
        """Take whole runs of a file: what an earlier pull left, what the cache has, what is in its place."""
        if self._part_folder.left(part.file):
            part.take_over(self._report.add)
        if part.left and self._cache is not None:
            self._take_from(self._cache, part)
        if part.is_large and self._here.seeds.most_in_place(part.target, part.file):
            _share(part.target, part)

    def _take_from(self, cache: FileCache, part: Part) -> None:
        """Take a file from the cache, or what is right of it; one that has wrong bytes leaves the cache."""
        with cache.reading(part.file) as kept:
            intact = kept is None or part.take_from(kept)
        if not intact:
            with suppress(OSError):  # who may not remove it fetches what is wrong each time
                cache.drop(part.file.root.hex())

    def _store(self, file: TreeFile, first: int, count: int, data: Sequence[memoryview]) -> None:
        part = self._parts[file.path]
        if part.write(first, count, data):
            self._finish(part)

    def _copy_later(self) -> None:
        """Fill in chunks that stand in the tree more than once from where they were put first."""
        for part, index in self._later:
            _, length, digest = part.chunks[index]
            path, at = self._first[digest]
            data = self._parts[path].read(at)
            if digests.chunk_digest(data) != digest:
                raise Integrity(
                    f"{self._folder / path} does not hold what was just written to it.",
                    reason="DIGEST_MISMATCH",
                    facts={"path": path},
                    next_step="Check the disk, and that nothing else writes there; then pull again.",
                )
            done = part.write(index, 1, [data])
            self._report.add(reused=length)
            if done:
                self._finish(part)

    def _finish(self, part: Part) -> None:
        """Put a complete file in its place: a large one now, small ones when there are many of them."""
        if part.is_large:
            part.sync()
            self._put([part])
            return
        with self._lock:
            self._complete.append(part)
            ready = self._complete if len(self._complete) >= _SMALL_FILES else []
            if ready:
                self._complete = []
        if ready:
            self._settle(ready)

    def _settle(self, parts: list[Part]) -> None:
        _parts.sync_all(parts, self._folder)
        self._put(parts)

    def _put(self, parts: list[Part]) -> None:
        self._pulled.expect((part.file.path, part.file.root) for part in parts)  # a kill may come in between
        for path, some in itertools.groupby(parts, lambda each: os.path.dirname(each.file.path)):
            folder = self._here.folder(path)
            try:
                for part in some:
                    if not self._force:
                        self._here.require_untouched(part.file, folder)
                    self._here.put(part.file, part.put(folder))
            finally:
                os.close(folder)
        self._pulled.add((part.file.path, part.file.root) for part in parts)
        with self._lock:
            self._put_paths += [part.file.path for part in parts]
        self._report.add(files=len(parts))


def _share(place: str, part: Part) -> None:
    """Let a part share blocks with the file that it replaces, so that only the rest of it is written."""
    with suppress(OSError):
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            part.share(descriptor)
        finally:
            os.close(descriptor)
