"""Import files at URLs: looked at, fetched with resume from mirrors, unpacked on request, made by one commit.

    here already? → sizes → room on the disk? → open an upload ─┬→ fetch a few files at once ────────┐
                                                               └── (unpack,) add each to the upload ←┘→ commit

A file leaves the local disk as soon as the server has it. An attempt that is killed goes on: the upload is
kept, files in it are not fetched again, an archive whose files are all in it has a list of them in the folder
of the operation, and a file that was half fetched is continued.

That content is here already can be told only where every file has a checksum: the version remembers the
fingerprint of what was asked for as the commit of its source.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import httpx2

from ingot.client import NotFound, OpenUpload
from ingot.content import paths
from ingot.server.bodies.failures import BodyFailure
from ingot.server.bodies.fetching import AT_ONCE
from ingot.server.bodies.kept_uploads import kept_upload
from ingot.server.bodies.targets import Described, new_version
from ingot.server.bodies.url_fetching import Item, UrlFetching
from ingot.server.bodies.work import Work
from ingot.server.core import params
from ingot.server.core.errors import Reason, Unavailable
from ingot.server.sources import addresses, archives
from ingot.server.sources.budgets import WantedFile, free_bytes
from ingot.server.sources.unpacked_trees import Room
from ingot.v1 import catalog_pb2

_MOST_LOOKS = 100  # files whose size is asked for before they are fetched
_BATCH_BYTES = 256 * 1024 * 1024
_BATCH_FILES = 500


def run(work: Work[params.ImportParams]) -> params.ImportResult:
    """Make a version of files at URLs, or find that it is here already."""
    source = work.params.source
    assert isinstance(source, params.UrlImport)
    items = [_item(number, each, work.folder) for number, each in enumerate(source.files)]
    with UrlFetching(work, len(items)) as fetching:
        return _Import(work, source, items, fetching).run()


class _Import:
    """The files of one import on their way in."""

    def __init__(
        self,
        work: Work[params.ImportParams],
        source: params.UrlImport,
        items: Sequence[Item],
        fetching: UrlFetching,
    ) -> None:
        self._work, self._items, self._fetching = work, items, fetching
        self._target = work.params.target
        self._name = items[0].wanted.name
        self._fingerprint = _fingerprint(source)
        self._owners: dict[str, int] = {}  # which item brings a path

    def run(self) -> params.ImportResult:
        """Do all of it."""
        work = self._work
        work.progress(0, phase="looking up", message=self._name)
        look = params.ImportResult(
            source=self._name,
            commit=self._fingerprint,
            file_count=len(self._items),
            free_bytes=free_bytes(work.folder),
        )
        present = self._present()
        if present is not None and not work.params.force:
            ours = present.origin.operation == work.spec.operation  # an attempt that was not heard of
            return look.model_copy(
                update={
                    "version": present.name,
                    "digest": present.digest,
                    "existed": not ours,
                    "file_count": present.file_count,
                    "size_bytes": present.size_bytes,
                }
            )
        self._claim_files()
        if work.params.check_only:
            total, needed = self._look(self._items)
            self._fetching.budget.check_disk(work.folder, needed)
            return look.model_copy(
                update={"size_bytes": total, "needed_bytes": needed, "existed": present is not None}
            )
        return self._fetch(look)

    # --- looking ----------------------------------------------------------------------------------------

    def _present(self) -> catalog_pb2.Version | None:
        """Return a version of the target that was made of the same files with the same checksums.

        One that is READY if there is one; else the newest that is validated, or was rejected.
        """
        if not self._fingerprint:
            return None
        waiting = None
        try:
            for version in self._work.client.catalog.versions(self._target.artifact):
                if self._target.version_id and version.name.rpartition("/")[2] != self._target.version_id:
                    continue
                if version.origin.source != self._name or version.origin.hub_commit != self._fingerprint:
                    continue
                if version.state == catalog_pb2.VERSION_STATE_READY:
                    return version
                waiting = waiting or version
        except NotFound:  # neither it nor its artifact is there
            return None
        return waiting

    def _look(self, items: Sequence[Item]) -> tuple[int, int]:
        """Return the bytes of all files (0 is not known), and what fetching them needs on the disk."""
        seen = self._fetching.look(items)
        for item, each in zip(items, seen, strict=True):
            if not each.resumable:
                self._work.log(f"{item.wanted.name} cannot be resumed: its server knows no ranges.")
        sizes = {item.number: each.size for item, each in zip(items, seen, strict=True)}
        return self._needs([sizes.get(each.number, each.wanted.size) for each in self._items])

    def _needs(self, sizes: Sequence[int | None]) -> tuple[int, int]:
        known = [size for size in sizes if size is not None]
        # The server's copy of everything, and the files that are on their way beside it.
        needed = sum(known) + sum(sorted(known)[-AT_ONCE:])
        return sum(known) if len(known) == len(sizes) else 0, needed

    def _claim_files(self) -> None:
        """Refuse files that cannot stand in one tree. Raises BodyFailure."""
        try:
            paths.check_tree(item.path for item in self._items if not item.unpack)
        except paths.PathError as error:
            raise _bad_path(error) from error
        self._claim({item.path: item.number for item in self._items if not item.unpack})

    def _claim(self, owners: dict[str, int]) -> None:
        for path, number in owners.items():
            known = self._owners.setdefault(path, number)
            if known != number:
                raise _bad_path(paths.PathError(path, "two of the files bring it"))

    # --- fetching ---------------------------------------------------------------------------------------

    def _fetch(self, look: params.ImportResult) -> params.ImportResult:
        work = self._work
        total, needed = self._sizes()
        target = new_version(
            self._target, source=self._name, commit=self._fingerprint, described=Described(source="url")
        )
        place = work.folder / "request-id"
        with kept_upload(
            work.client, place, target, size=total, original_name=_last_part(self._name)
        ) as upload:
            if not upload.is_committed:
                missing = [item for item in self._items if not self._is_there(upload, item)]
                before = sum(upload.files().values())
                self._fetching.budget.check_disk(work.folder, max(0, needed - before))
                for item in self._fetching.fetch(missing, before, max(total, before)):
                    self._add(upload, item)
                self._check_tree(upload)
            size = sum(upload.files().values())
            work.progress(size, size, phase="committing", message=upload.name)
            done = upload.commit()
        return look.model_copy(
            update={
                "version": done.name,
                "digest": done.digest,
                "file_count": done.file_count,
                "size_bytes": done.size_bytes,
                "needed_bytes": needed,
                "fetched_bytes": self._fetching.budget.taken_bytes,
            }
        )

    def _sizes(self) -> tuple[int, int]:
        """Return size and need as far as they are known before the first byte; servers may be down."""
        unknown = [item for item in self._items if item.wanted.size is None]
        if len(unknown) <= _MOST_LOOKS:
            try:
                return self._look(unknown)
            except Unavailable as error:
                self._work.warning(f"Sizes are not known yet: {error}")
        return self._needs([item.wanted.size for item in self._items])

    def _is_there(self, upload: OpenUpload, item: Item) -> bool:
        """Return whether an earlier attempt brought all of it to the upload."""
        if not item.unpack:
            return item.path in upload.files()
        brought = _list_of(item)
        if not brought.exists():
            return False
        own = dict.fromkeys(json.loads(brought.read_text(encoding="utf-8")), item.number)
        if not own.keys() <= upload.files().keys():
            return False  # the upload is another one
        self._claim(own)
        return True

    def _add(self, upload: OpenUpload, item: Item) -> None:
        """Bring a file, or what it unpacks to, to the server, and remove it here."""
        if not item.unpack:
            upload.add({item.path: item.place})
            shutil.rmtree(item.place.parent)
            return
        tree = item.tree
        own = {_joined(item.path, each): tree / each for each in self._unpacked(item, tree)}
        self._claim(dict.fromkeys(own, item.number))
        batch: dict[str, Path] = {}
        size = 0
        for path, place in own.items():
            batch[path] = place
            size += place.stat().st_size
            if size >= _BATCH_BYTES or len(batch) >= _BATCH_FILES:
                upload.add(batch)
                batch, size = {}, 0
        upload.add(batch)
        brought = _list_of(item)
        fresh = brought.with_suffix(".new")
        fresh.write_text(json.dumps(sorted(own)), encoding="utf-8")
        fresh.replace(brought)
        shutil.rmtree(tree)
        shutil.rmtree(item.place.parent)

    def _unpacked(self, item: Item, tree: Path) -> list[str]:
        work, budget = self._work, self._fetching.budget
        room = Room(
            all_bytes=budget.limits.all_bytes,
            check_disk=lambda needed: budget.check_disk(work.folder, needed),
        )
        name = item.path or item.place.name

        def told(done: int) -> None:
            work.progress(done, phase="unpacking", message=name)

        return archives.unpack(item.place, tree, room, told)

    def _check_tree(self, upload: OpenUpload) -> None:
        try:
            paths.check_tree(sorted(upload.files()))
        except paths.PathError as error:
            raise _bad_path(error) from error


def _item(number: int, file: params.UrlFile, folder: Path) -> Item:
    """Return one file as it is fetched. Raises BodyFailure."""
    path = file.path.rstrip("/") if file.unpack else file.path or _last_part(file.urls[0])
    if not path and not file.unpack:
        raise BodyFailure(
            Reason.FIELD_INVALID,
            f"{addresses.shown(file.urls[0])} does not end with the name of a file.",
            next_step="Tell its path.",
        )
    wanted = WantedFile(file.urls, file.checksum, file.size_bytes or None)
    return Item(number, path, wanted, file.unpack, folder)


def _last_part(url: str) -> str:
    return PurePosixPath(httpx2.URL(url).path).name


def _joined(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path


def _list_of(item: Item) -> Path:
    """Return the file that lists what an archive brought, once all of it is in the upload."""
    return item.folder / f"{item.number:05d}.json"


def _fingerprint(source: params.UrlImport) -> str:
    """Return what names the content that is asked for; empty where a checksum is missing."""
    if not all(file.checksum for file in source.files):
        return ""
    told = [[file.path, file.checksum.lower(), file.unpack] for file in source.files]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _bad_path(error: paths.PathError) -> BodyFailure:
    return BodyFailure(
        Reason.BAD_PATH,
        f"The path {error.path!r} cannot be kept: {error.rule}.",
        next_step="Give the files other paths, or unpack archives into folders of their own.",
        facts={"path": error.path},
    )
