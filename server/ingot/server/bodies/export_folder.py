"""Export versions to folders of the server: pulled and verified beside the place, then put there in one step.

    what lies there → links to what is the same → pull of the rest → marker → exchange → the old one goes

A marker tells that a place is ours, of which artifact and version, and which files we wrote. What it does not
list, or what was edited since, is somebody else's: then nothing is touched. Links cost no space, and a pull
never writes into a file that it did not make, so the old folder stays whole until the exchange.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ingot.client import Manifest, TransferProgress
from ingot.server.bodies import folders
from ingot.server.bodies.failures import BodyFailure, Cancelled, translated
from ingot.server.bodies.work import Work
from ingot.server.core import params
from ingot.server.core.errors import Reason

MARKER = ".ingot-export.json"
_NAMED = 5  # files that a refusal names


class WrittenFile(BaseModel):
    """A file as it was when it was written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    mtime_ns: int


class Marker(BaseModel):
    """Says that a place is ours, and what was written there; a file that stands alone has its own name.

    `coming` is what is about to take the place of `files`: after a kill either may be there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    artifact: str  # uid
    version: str
    digest: str
    files: dict[str, WrittenFile]
    coming: dict[str, WrittenFile] = Field(default_factory=dict)

    def knows(self, path: str, found: WrittenFile) -> bool:
        """Return whether a file is one that an export wrote."""
        return found in (self.files.get(path), self.coming.get(path))


@dataclass(frozen=True, slots=True)
class Done:
    """What the export of one version came to; sizes in bytes."""

    file_count: int
    size_bytes: int
    written_bytes: int


def run(work: Work[params.ExportParams]) -> params.ExportResult:
    """Write each version to its place, or remove what was written there."""
    wanted = work.params.destination
    assert isinstance(wanted, params.FolderExport)
    if wanted.remove:
        for name, artifact in zip(wanted.names, wanted.artifacts, strict=True):
            _Target(work, wanted, name, artifact).remove()
        return params.ExportResult(path=wanted.path)
    done = [
        _Target(work, wanted, name, artifact).write(version)
        for name, artifact, version in zip(wanted.names, wanted.artifacts, work.params.versions, strict=True)
    ]
    return params.ExportResult(
        path=f"{wanted.path}/{wanted.names[0]}" if len(done) == 1 else wanted.path,
        versions=work.params.versions,
        file_count=sum(each.file_count for each in done),
        size_bytes=sum(each.size_bytes for each in done),
        written_bytes=sum(each.written_bytes for each in done),
    )


class _Target:
    """The place of one artifact below the folder of an export."""

    def __init__(
        self, work: Work[params.ExportParams], wanted: params.FolderExport, name: str, artifact: str
    ) -> None:
        self._work = work
        self._root = wanted.root
        self._artifact = artifact
        self._base = Path(wanted.path) / name  # of a file without its extension
        self._single = wanted.layout == "owner_uid"  # one file stands for itself, without a folder
        self._part = self._base.with_name(f".{self._base.name}.{work.spec.operation.rpartition('/')[2]}.part")

    def write(self, version: str) -> Done:
        """Let the place hold a version. Raises BodyFailure (IN_USE, BAD_PATH, BUSY)."""
        folders.make_parents(self._root, self._base)
        with folders.held(self._base):
            folders.remove_leftovers(self._base, self._part)
            manifest = self._work.client.trees.manifest(version)
            before, place = self._before()
            after = self._place_of(manifest)
            if before is not None and before.digest == manifest.digest and place == after:
                folders.remove(self._part)
                return Done(len(manifest.files), manifest.size, 0)
            if place != after and os.path.lexists(after):
                raise _not_ours(after, "something else is there")
            if any(file.path == MARKER for file in manifest.files):
                raise _not_ours(after / MARKER, f"{version} has a file of that name")
            try:
                written = self._bring(version, manifest, before, place)
                self._put(manifest, before, after)
            except Cancelled:
                folders.remove(self._part)
                raise
            except Exception as error:
                if not translated(error, "").retry:
                    folders.remove(self._part)  # nobody would go on with it
                raise
            return Done(len(manifest.files), manifest.size, written)

    def remove(self) -> None:
        """Remove what was exported there, unless there is something of somebody else."""
        folders.make_parents(self._root, self._base)
        with folders.held(self._base):
            folders.remove_leftovers(self._base, self._part)
            before, place = self._before()
            if before is None:
                return
            folders.remove(place)
            self._marker_of(place).unlink(missing_ok=True)
            folders.sync_folder(self._base.parent)

    # --- what is there ----------------------------------------------------------------------------------

    def _place_of(self, manifest: Manifest) -> Path:
        """Return where a version belongs: a folder, or one file with its extension."""
        if not self._stands_alone(manifest):
            return self._base
        return self._base.with_name(self._base.name + Path(manifest.files[0].path).suffix)

    def _stands_alone(self, manifest: Manifest) -> bool:
        return self._single and len(manifest.files) == 1

    def _marker_of(self, place: Path) -> Path:
        """Return where the marker of a place is: in the folder, or beside a file."""
        if self._single:
            return self._base.with_name(f".{self._base.name}{MARKER}")
        return place / MARKER

    def _before(self) -> tuple[Marker | None, Path]:
        """Return what an earlier export left and where; refuse what is not ours or was changed since."""
        place = self._base
        marker = self._marker_of(place)
        try:
            found = Marker.model_validate_json(_read(marker))
        except FileNotFoundError:
            if os.path.lexists(place):
                raise _not_ours(place, "it has no marker of an export") from None
            return None, place
        except (OSError, ValidationError) as error:
            raise _not_ours(place, f"its marker cannot be read: {type(error).__name__}") from error
        if found.artifact != self._artifact:
            raise _not_ours(place, "it was exported from another artifact")
        if self._single and not place.is_dir():
            beside = [place.with_name(name) for name in (*found.coming, *found.files)]
            place = next((each for each in beside if os.path.lexists(each)), place)
            if place == self._base:
                return None, place  # it was removed; the marker says nothing any more
        foreign = sorted(_foreign(place, found))
        if foreign:
            shown = ", ".join(foreign[:_NAMED])
            raise _not_ours(place, f"{len(foreign)} files there are not what was exported: {shown}")
        return _as_it_is(found, place), place

    # --- bringing ---------------------------------------------------------------------------------------

    def _bring(self, version: str, manifest: Manifest, before: Marker | None, place: Path) -> int:
        """Fill the part beside the place; return the bytes that had to be brought."""
        if before is not None and not self._part.exists():
            self._link_old(place, before, manifest)
        self._part.mkdir(exist_ok=True)

        def tell(now: TransferProgress) -> None:
            self._work.progress(
                now.bytes_moved + now.bytes_reused, now.bytes_total, phase="writing", message=version
            )

        done = self._work.client.pull(version, self._part, force=True, on_progress=tell)
        wanted = {file.path for file in manifest.files}
        for path in list(_files(self._part)):
            if path not in wanted:
                (self._part / path).unlink()
        for folder, _, _ in os.walk(self._part, topdown=False):
            if folder != str(self._part) and not os.listdir(folder):
                os.rmdir(folder)
        return done.received_bytes

    def _link_old(self, place: Path, before: Marker, manifest: Manifest) -> None:
        """Offer the files that are there to the pull, which leaves alone what is the same."""
        self._part.mkdir()
        alone = place != self._base  # then a file that stood alone may serve the first one of the version
        for path in before.files:
            source = place if alone else place / path
            target = self._part / (manifest.files[0].path if alone else path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):  # a file system without links: it is brought again
                os.link(source, target, follow_symlinks=False)

    def _put(self, manifest: Manifest, before: Marker | None, after: Path) -> None:
        """Put the part in its place, with its marker; the old one goes."""
        alone = self._stands_alone(manifest)
        new = self._part / manifest.files[0].path if alone else self._part
        written = {
            after.name if alone else file.path: _state(self._part / file.path) for file in manifest.files
        }
        marker = Marker(artifact=self._artifact, version=manifest.tree, digest=manifest.digest, files=written)
        if not self._single:
            _write(self._part / MARKER, marker)
            folders.swap(new, after)
        else:
            old = before or Marker(artifact=self._artifact, version="", digest="", files={})
            _write(self._marker_of(after), old.model_copy(update={"coming": written}))
            folders.swap(new, after)
            self._remove_other_form(old, after)
            _write(self._marker_of(after), marker)
        folders.remove(self._part)
        folders.sync_folder(after.parent)

    def _remove_other_form(self, old: Marker, after: Path) -> None:
        """Remove the file where a folder took over, or the folder where a file did."""
        if after != self._base:
            folders.remove(self._base)
        for name, known in old.files.items():
            beside = self._base.with_name(Path(name).name)
            if beside not in (after, self._base) and beside.is_file() and _state(beside) == known:
                folders.remove(beside)


def _files(folder: Path) -> Iterator[str]:
    """Yield the paths of everything below a folder that is no folder itself; links are not followed."""
    for base, names, files in os.walk(folder):
        links = [name for name in names if os.path.islink(os.path.join(base, name))]
        for name in (*files, *links):
            yield Path(base, name).relative_to(folder).as_posix()


def _foreign(place: Path, marker: Marker) -> Iterator[str]:
    """Yield what lies in a place and was not put there by us, or was changed since."""
    if place.is_symlink() or not place.is_dir():
        if place.is_symlink() or not marker.knows(place.name, _state(place)):
            yield place.name
        return
    for path in _files(place):
        regular = stat.S_ISREG(os.lstat(place / path).st_mode)
        if path != MARKER and not (regular and marker.knows(path, _state(place / path))):
            yield path


def _as_it_is(marker: Marker, place: Path) -> Marker:
    """Return what is left of what a marker tells; without a digest when a file is gone or newer."""
    there = {
        path: known
        for path, known in {**marker.files, **marker.coming}.items()
        if (place / path if place.is_dir() else place.with_name(path)).is_file()
    }
    whole = there.keys() == marker.files.keys() and not marker.coming
    return marker.model_copy(update={"files": there, "coming": {}, "digest": marker.digest if whole else ""})


def _state(path: Path) -> WrittenFile:
    found = os.lstat(path)
    return WrittenFile(size=found.st_size, mtime_ns=found.st_mtime_ns)


def _read(marker: Path) -> bytes:
    file = os.open(marker, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(file, "rb") as opened:
        return opened.read()


def _write(path: Path, marker: Marker) -> None:
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(marker.model_dump_json(indent=1))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _not_ours(place: Path, why: str) -> BodyFailure:
    """Return a refusal for good: somebody has to choose, and waiting does not."""
    return BodyFailure(
        Reason.IN_USE,
        f"{place} is in the way: {why}. Nothing was changed there.",
        next_step="Move it away, or export to another folder.",
        facts={"path": str(place)},
    )
