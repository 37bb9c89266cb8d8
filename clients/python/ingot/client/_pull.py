"""Pull: the files of a tree come into a folder, and only what is not there already travels.

    manifest → look at what is here → fetch what is missing → put each file in its place

A file that has its chunks already is left alone. One that no pull brought, or that was edited since, is not
replaced unless that is forced (`_pulled.py`); this is found out before any chunk travels. For the others,
equal chunks are copied from files that are here: the one it replaces, others that the journal of the folder
knows, and earlier places in the same tree. Everything is verified by digest, what is copied as well as what
arrives. A pull that was killed goes on when it is run again (`_parts.py`).
"""

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ingot.client import _fetch, _file_cache, _parts, _places, _pulled
from ingot.client._calls import Calls, new_id
from ingot.client._channels import Link
from ingot.client._errors import Integrity, LimitReached, NotFound
from ingot.client._fetch import Fetcher
from ingot.client._file_cache import FileCache
from ingot.client._journal import SETTLED_SECONDS, Cut, FileState, Journal, Note
from ingot.client._manifest import Manifest, TreeFile, read_manifest
from ingot.client._parts import Part
from ingot.client._progress import OnProgress, Reporter, Stage
from ingot.client._rates import Rate
from ingot.client._seeds import Seeds, has_content
from ingot.content import digests, globs
from ingot.content.cuts import PROFILES

_SMALL_FILES = 2000  # that are synced together


@dataclass(frozen=True, slots=True)
class PullResult:
    """What a pull brought, or would bring."""

    name: str  # concrete name of the tree
    digest: str  # tree digest, blake3:<hex>
    folder: Path
    file_count: int
    size_bytes: int
    received_bytes: int  # that travelled, or would
    reused_bytes: int  # that were here already
    unchanged_files: int  # that were left alone
    written: tuple[str, ...]  # paths of the files that were put in place; none of a dry run
    seconds: float


@dataclass(frozen=True, slots=True)
class PullOptions:
    """How to pull. `path` names one file or folder of the tree; `streams` fixes the number of connections."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    path: str = ""
    limit_rate: float = 0.0  # bytes a second; 0 is no limit
    streams: int | None = None
    dry_run: bool = False
    force: bool = False  # overwrite files that did not come from a pull or were edited since
    on_progress: OnProgress | None = None
    reread: bool = False  # believe no journal: read every file that is here
    cache: bool | None = None  # take files from the file cache, and keep them there; None: if it is set up


def pull(link: Link, calls: Calls, tree: str, folder: Path, options: PullOptions) -> PullResult:
    """Bring a tree, by its long name, into a folder. Raises IngotError."""
    folder = Path(os.path.abspath(folder))
    note = Note("download", link.endpoint.target, tree, str(folder))
    download_id = "" if options.dry_run else note.read_or(new_id())
    manifest = read_manifest(link, calls, tree, download_id)
    files = _chosen(manifest, options)
    if not options.dry_run:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise _places.unwritable(folder, str(failure.strerror)) from failure
    cache = _file_cache.chosen(options.cache)
    journal = Journal(folder)
    try:
        work = _Pull(link, calls, manifest, files, folder.resolve(), journal, cache, options)
        result = work.run(download_id)
    finally:
        journal.close()
    if not options.dry_run:
        note.remove()
        pulled_tree(folder).keep(manifest.tree)
        if cache is not None:
            cache.keep(manifest.tree, files, folder)
    return result


def pulled_tree(folder: Path) -> Note:
    """Return the note that says which tree was last pulled into a folder."""
    return Note("tree", os.path.realpath(folder))


def _chosen(manifest: Manifest, options: PullOptions) -> list[TreeFile]:
    files = [
        each
        for each in manifest.files
        if globs.wanted(each.path, options.include, options.exclude)
        and (not options.path or f"{each.path}/".startswith(f"{options.path}/"))
    ]
    if not files and manifest.files:
        chosen = ", ".join([*([options.path] if options.path else []), *options.include, *options.exclude])
        raise NotFound(
            f"No file of {manifest.tree} is meant by {chosen!r}.",
            reason="FILE_NOT_FOUND",
            next_step=f"See its files with: ingot ls {manifest.tree}",
        )
    return files


class _Pull:
    """One pull from its manifest to the last file in place."""

    def __init__(
        self,
        link: Link,
        calls: Calls,
        manifest: Manifest,
        files: Sequence[TreeFile],
        folder: Path,
        journal: Journal,
        cache: FileCache | None,
        options: PullOptions,
    ) -> None:
        self._link, self._calls, self._manifest = link, calls, manifest
        self._files, self._folder, self._journal, self._options = files, folder, journal, options
        self._cache = cache
        self._report = Reporter(options.on_progress)
        self._parts: dict[str, Part] = {}
        self._first: dict[bytes, tuple[str, int]] = {}  # where a chunk stands in this tree for the first time
        self._later: list[tuple[Part, int]] = []  # chunks that stand there again
        self._seeds = Seeds(None if options.reread else journal)
        self._pulled = _pulled.Pulled(folder)
        self._endangered: list[str] = []  # files that this would overwrite unasked
        self._folders = _places.Folders(folder)
        self._suffix = _parts.suffix_for(each.path for each in manifest.files)
        self._complete: list[Part] = []  # small files that wait to be synced together
        self._touched = {str(folder)}  # folders in which names change
        self._aside = ThreadPoolExecutor(1, "ingot-flush")
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._unchanged = 0

    def run(self, download_id: str) -> PullResult:
        """Do all of it."""
        size = sum(each.size for each in self._files)
        self._report.total(files=len(self._files), size=size)
        todo = [each for each in self._files if not self._is_here(each)]
        if self._endangered and not self._options.force:
            raise _pulled.refusal(self._folder, self._endangered)
        if self._options.dry_run:
            absent = [each for each in todo if self._cache is None or not self._cache.has(each)]
            missing = sum(
                length for each in absent for _, length, digest in each.cut.chunks() if self._is_new(digest)
            )
            return self._result(size, received=missing, reused=size - missing)
        self._check_room(sum(max(0, each.size - self._begun_size(each)) for each in todo))
        with self._aside:
            try:
                self._bring(todo, download_id)
            finally:
                self._settle(self._complete)
                for part in self._parts.values():
                    part.close()
        for folder in self._touched:
            _places.sync_folder(folder)
        self._remember()
        self._report.stage(Stage.DONE)
        counts = self._report.now
        return self._result(size, received=counts.bytes_moved, reused=counts.bytes_reused)

    # --- what is here -----------------------------------------------------------------------------------

    def _is_here(self, file: TreeFile) -> bool:
        """Return whether the file is in its place already; note when another is that is not ours."""
        if not self._folders.may_have(file.path):
            self._report.add(hashed=file.size)
            return False
        place = self._folder / file.path
        here = place.is_file() and not place.is_symlink() and self._has_content(place, file)
        self._report.add(hashed=file.size)
        if here:
            self._unchanged += 1
            self._seeds.add_cut(place, file.cut)
            self._report.add(files=1, reused=file.size)
        elif self._is_endangered(place, file):
            self._endangered.append(file.path)
        return here

    def _has_content(self, place: Path, file: TreeFile) -> bool:
        if self._options.reread:
            return self._seeds.add_intact(place, file)
        return has_content(place, file, self._journal)

    def _is_endangered(self, place: Path, file: TreeFile) -> bool:
        """Return whether something is in the place that no pull put there; a file's chunks may serve."""
        if place.is_symlink():
            return True
        if not place.is_file():
            return False
        if self._options.reread and self._is_untouched(place, file):
            return False
        # What a pull put there may have been cut by the other profile.
        profiles = sorted(PROFILES, key=lambda each: each != file.cut.profile)
        found = (self._seeds.add_file(place, each) for each in profiles)
        return not any(self._pulled.brought(file.path, cut) for cut in found)

    def _is_untouched(self, place: Path, file: TreeFile) -> bool:
        """Return whether nobody wrote to a file since a pull put it there, whatever its bytes are now."""
        known = self._journal.get(str(place), FileState.of(place.stat(follow_symlinks=False)))
        return self._pulled.brought(file.path, known)

    def _is_new(self, digest: bytes) -> bool:
        """Return whether a dry run meets a chunk that would have to travel, each once."""
        if digest in self._first or self._seeds.has(digest):
            return False
        self._first[digest] = ("", 0)
        return True

    def _begun_size(self, file: TreeFile) -> int:
        """Return what an unfinished pull has of a file already, in bytes."""
        if not self._is_begun(file):
            return 0
        try:
            return (self._folder / (file.path + self._suffix)).stat().st_blocks * 512
        except OSError:
            return 0

    def _is_begun(self, file: TreeFile) -> bool:
        return self._folders.may_have(file.path + self._suffix)

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

    # --- bringing the rest ------------------------------------------------------------------------------

    def _bring(self, todo: Sequence[TreeFile], download_id: str) -> None:
        fetcher = Fetcher(
            self._link,
            self._calls,
            self._manifest.tree,
            self._store,
            self._report,
            download_id=download_id,
            rate=Rate(self._options.limit_rate),
            streams=self._options.streams,
        )
        unit = _fetch.unit_for(sum(each.size for each in todo))
        with fetcher.lanes:
            for file in todo:
                self._begin(file, fetcher, unit)
            self._report.stage(Stage.RECEIVING)
            fetcher.finish()
        self._report.stage(Stage.VERIFYING)
        self._copy_later()

    def _begin(self, file: TreeFile, fetcher: Fetcher, unit: int) -> None:
        """Copy what is here, put off what comes anyway, queue the rest."""
        target = self._folders.place(file.path)
        part = Part(file, target, self._suffix, self._aside, begun=self._is_begun(file))
        self._parts[file.path] = part
        if part.left and self._cache is not None:
            self._take_from(self._cache, part)
        if part.is_large and self._seeds.most_in_place(target, file):
            _share(target, part)
        put_off: set[int] = set()
        for index, (_, length, digest) in enumerate(part.chunks):
            if part.has(index):
                self._report.add(reused=length)
                self._first.setdefault(digest, (file.path, index))
            elif (data := self._seeds.read(digest)) is not None:
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
        for span in _fetch.spans(file, lambda index: index not in put_off and not part.has(index), unit):
            fetcher.add(span)

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
            self._place([part])
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
        self._place(parts)

    def _place(self, parts: list[Part]) -> None:
        for part in parts:
            part.place()
        self._pulled.add((part.file.path, part.file.root) for part in parts)
        with self._lock:
            self._touched.update(os.path.dirname(part.target) for part in parts)
        self._report.add(files=len(parts))

    def _remember(self) -> None:
        """Tell the journal what these files are, so that the next push or pull need not read them."""
        settled = time.monotonic() - self._begun >= SETTLED_SECONDS  # else nothing that came now is
        files = self._files if settled else [each for each in self._files if each.path not in self._parts]
        self._journal.put_all(map(self._remembered, files))

    def _remembered(self, file: TreeFile) -> tuple[str, FileState, Cut]:
        place = os.path.join(self._folder, file.path)
        return place, FileState.of(os.stat(place, follow_symlinks=False)), file.cut

    def _result(self, size: int, *, received: int, reused: int) -> PullResult:
        return PullResult(
            name=self._manifest.tree,
            digest=self._manifest.digest,
            folder=self._folder,
            file_count=len(self._files),
            size_bytes=size,
            received_bytes=received,
            reused_bytes=reused,
            unchanged_files=self._unchanged,
            written=tuple(self._parts),
            seconds=time.monotonic() - self._begun,
        )


def _share(place: str, part: Part) -> None:
    """Let a part share blocks with the file that it replaces, so that only the rest of it is written."""
    with suppress(OSError):
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            part.share(descriptor)
        finally:
            os.close(descriptor)
