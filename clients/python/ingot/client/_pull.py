"""Pull: the files of a tree come into a folder, and only what is not there already travels.

    manifest → wait for other pulls into the folder → look at what is here → fetch what is missing → confirm

A file that has its chunks already is left alone. One that no pull brought, or that was edited since, is not
replaced unless that is forced (`_pulled.py`); this is found out before any chunk travels. For the others,
equal chunks are copied from files that are here: the one it replaces, others that the journal of the folder
knows, and earlier places in the same tree. Everything is verified by digest: what is copied, what arrives,
and what a killed pull left, with which the next one goes on (`_parts.py`). In the end each file has to be as
it was when it was verified, so success says that the folder holds the tree.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ingot.client import _file_cache, _part_folder, _parts, _places
from ingot.client._bringing import Bringing
from ingot.client._calls import Calls, new_id
from ingot.client._channels import Link
from ingot.client._errors import Invalid, NotFound
from ingot.client._fetch import Fetcher, Store
from ingot.client._file_cache import FileCache
from ingot.client._here import Here
from ingot.client._journal import SETTLED_SECONDS, Journal, Note
from ingot.client._manifest import Manifest, TreeFile, read_manifest
from ingot.client._part_folder import PartFolder
from ingot.client._progress import OnProgress, Reporter, Stage
from ingot.client._pulled import Pulled
from ingot.client._rates import Rate
from ingot.content import globs


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
    edited: tuple[str, ...] = ()  # paths of files that were left as somebody edited them, for a repair


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
    leave_edited: bool = False  # bring the others where files would be overwritten unasked
    cache: bool | None = None  # take files from the file cache, and keep them there; None: if it is set up


def pull(link: Link, calls: Calls, tree: str, folder: Path, options: PullOptions) -> PullResult:
    """Bring a tree, by its long name, into a folder. Raises IngotError.

    Waits while another pull writes into the folder; `on_progress` hears of it and may raise to give up.
    """
    folder = Path(os.path.abspath(folder))
    if os.path.isfile(folder):
        raise _places.no_folder(folder)
    note = Note("download", link.endpoint.target, tree, str(folder))
    download_id = "" if options.dry_run else note.read_or(new_id())
    manifest = read_manifest(link, calls, tree, download_id)
    _check_names(manifest)
    work = _Pull(link, calls, manifest, _chosen(manifest, options), folder, options, download_id)
    if options.dry_run:
        return work.plan()
    parts = PartFolder(folder)
    with parts.held(work.waiting):
        result = work.run(parts)
        note.remove()
        pulled_tree(folder).keep(manifest.tree)
    if work.cache is not None:
        work.cache.keep(manifest.tree, work.files, folder)
    return result


def pulled_tree(folder: Path) -> Note:
    """Return the note that says which tree was last pulled into a folder."""
    return Note("tree", os.path.realpath(folder))


def _check_names(manifest: Manifest) -> None:
    """Raise Invalid for a tree that has what pulls themselves put into a folder."""
    for file in manifest.files:
        if file.path.partition("/")[0].casefold() == _part_folder.NAME:
            raise Invalid(
                f"{manifest.tree} has {file.path!r}, where a pull keeps its own files.",
                reason="BAD_PATH",
                facts={"path": file.path},
                next_step=f"Push it again without its folder {_part_folder.NAME}, which a pull left there.",
            )


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
        options: PullOptions,
        download_id: str,
    ) -> None:
        self.files = files
        self.cache: FileCache | None = _file_cache.chosen(options.cache)
        self._link, self._calls, self._manifest, self._download_id = link, calls, manifest, download_id
        self._folder, self._options = folder, options
        self._report = Reporter(options.on_progress)
        self._begun = time.monotonic()
        self._size = sum(each.size for each in files)
        self._report.total(files=len(files), size=self._size)

    def waiting(self) -> None:
        """Tell that another pull writes into the folder."""
        self._report.stage(Stage.WAITING)
        self._report.add()

    def plan(self) -> PullResult:
        """Tell what `run` would bring, and change nothing."""
        journal = Journal(self._folder)
        try:
            here, todo = self._looked(journal, Pulled(self._folder.resolve()))
        finally:
            journal.close()
        absent = [each for each in todo if self.cache is None or not self.cache.has(each)]
        chunks = {digest: length for each in absent for _, length, digest in each.cut.chunks()}
        missing = sum(length for digest, length in chunks.items() if not here.seeds.has(digest))
        return self._result(missing, self._size - missing, todo, here.endangered, written=())

    def run(self, parts: PartFolder) -> PullResult:
        """Bring what is missing into the folder, which is held."""
        folder = self._folder.resolve()
        pulled = Pulled(folder)
        journal = Journal(folder)
        try:
            here, todo = self._looked(journal, pulled)
            parts.remove_others(each for each in self._manifest.files if _parts.is_large(each))
            if todo:
                force = self._options.force
                bringing = Bringing(folder, parts, here, pulled, self.cache, self._report, force=force)
                bringing.run(todo, self._fetcher)
            if parts.was_there:  # what another pull put in place was not yet synced, perhaps
                _places.sync_folders(folder, [each.path for each in self.files])
            self._report.stage(Stage.VERIFYING)
            here.confirm()
            written = tuple(each.path for each in todo)
            settled = time.monotonic() - self._begun >= SETTLED_SECONDS  # else nothing that came now is
            here.remember(frozenset() if settled else frozenset(written))
        finally:
            journal.close()
        self._report.stage(Stage.DONE)
        counts = self._report.now
        return self._result(counts.bytes_moved, counts.bytes_reused, todo, here.endangered, written=written)

    def _looked(self, journal: Journal, pulled: Pulled) -> tuple[Here, list[TreeFile]]:
        """Return what is here, and the files to bring. Raises Conflict before anything is touched."""
        self._report.stage(Stage.HASHING)
        here = Here(self._folder.resolve(), journal, pulled, reread=self._options.reread)
        todo: list[TreeFile] = []
        for file in self.files:
            if here.has(file):
                self._report.add(files=1, hashed=file.size, reused=file.size)
            else:
                self._report.add(hashed=file.size)
                todo.append(file)
        if self._options.force:
            here.endangered.clear()
        elif self._options.leave_edited:
            edited = frozenset(here.endangered)
            todo = [each for each in todo if each.path not in edited]
        else:
            here.refuse()
        return here, todo

    def _fetcher(self, store: Store) -> Fetcher:
        return Fetcher(
            self._link,
            self._calls,
            self._manifest.tree,
            store,
            self._report,
            download_id=self._download_id,
            rate=Rate(self._options.limit_rate),
            streams=self._options.streams,
        )

    def _result(
        self,
        received: int,
        reused: int,
        todo: Sequence[TreeFile],
        edited: Sequence[str],
        *,
        written: tuple[str, ...],
    ) -> PullResult:
        return PullResult(
            name=self._manifest.tree,
            digest=self._manifest.digest,
            folder=self._folder,
            file_count=len(self.files),
            size_bytes=self._size,
            received_bytes=received,
            reused_bytes=reused,
            unchanged_files=len(self.files) - len(todo) - len(edited),
            written=written,
            seconds=time.monotonic() - self._begun,
            edited=tuple(edited),
        )
