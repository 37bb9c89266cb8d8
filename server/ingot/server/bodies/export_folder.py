"""Export versions to folders of the server: pulled and verified beside the place, then put there in one step.

    what lies there → links to what is the same → pull of the rest → marker → exchange → the old one goes

A marker tells that a place is ours, of which artifact and version, and which files we wrote. What it does not
list, or what was edited since, is somebody else's: then nothing is touched. Links cost no space, and a pull
never writes into a file that it did not make, so the old folder stays whole until the exchange.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from ingot.client import Manifest, TransferProgress
from ingot.content import durable
from ingot.server.bodies import folders
from ingot.server.bodies.failures import Cancelled, translated
from ingot.server.bodies.work import Work
from ingot.server.core import params
from ingot.server.core.exports import Layout
from ingot.server.sources import export_places
from ingot.server.sources.export_places import MARKER, ExportPlace, Marker, WrittenFile


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
        self._place = ExportPlace(self._base, artifact, Layout(wanted.layout))
        self._part = export_places.part_of(self._base, work.spec.operation.rpartition("/")[2])

    def write(self, version: str) -> Done:
        """Let the place hold a version. Raises BodyFailure (BAD_PATH, BUSY), Precondition (IN_USE)."""
        with folders.way_to(self._root, self._base), folders.held(self._base):
            folders.remove_leftovers(self._base, self._part)
            manifest = self._work.client.trees.manifest(version)
            before, place = self._place.before()
            after = self._place_of(manifest)
            if before is not None and before.digest == manifest.digest and place == after:
                folders.remove(self._part)
                return Done(len(manifest.files), manifest.size, 0)
            if place != after and os.path.lexists(after):
                raise export_places.in_the_way(after, "something else is there")
            if any(file.path == MARKER for file in manifest.files):
                raise export_places.in_the_way(after / MARKER, f"{version} has a file of that name")
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
        with folders.way_to(self._root, self._base), folders.held(self._base):
            folders.remove_leftovers(self._base, self._part)
            before, place = self._place.before()
            if before is None:
                return
            folders.remove(place)
            self._place.marker_of(place).unlink(missing_ok=True)
            durable.sync_folder(self._base.parent)

    # --- what is there ----------------------------------------------------------------------------------

    def _place_of(self, manifest: Manifest) -> Path:
        """Return where a version belongs: a folder, or one file with its extension."""
        if not self._stands_alone(manifest):
            return self._base
        return self._base.with_name(self._base.name + Path(manifest.files[0].path).suffix)

    def _stands_alone(self, manifest: Manifest) -> bool:
        return self._place.single and len(manifest.files) == 1

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
        for path in list(export_places.files_below(self._part)):
            if path not in wanted:
                (self._part / path).unlink()
        for folder, _, _ in os.walk(self._part, topdown=False):
            if folder != str(self._part) and not os.listdir(folder):
                os.rmdir(folder)
            else:
                durable.sync_folder(Path(folder))  # a pull syncs what it brings, not what was linked
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
            after.name if alone else file.path: WrittenFile.of(self._part / file.path)
            for file in manifest.files
        }
        marker = Marker(artifact=self._artifact, version=manifest.tree, digest=manifest.digest, files=written)
        if not self._place.single:
            _write(self._part / MARKER, marker)
            folders.swap(new, after)
        else:
            old = before or Marker(artifact=self._artifact, version="", digest="", files={})
            _write(self._place.marker_of(after), old.model_copy(update={"coming": written}))
            folders.swap(new, after)
            self._remove_other_form(old, after)
            _write(self._place.marker_of(after), marker)
        folders.remove(self._part)
        durable.sync_folder(after.parent)

    def _remove_other_form(self, old: Marker, after: Path) -> None:
        """Remove the file where a folder took over, or the folder where a file did."""
        if after != self._base:
            folders.remove(self._base)
        for name, known in old.files.items():
            beside = self._base.with_name(Path(name).name)
            if beside not in (after, self._base) and beside.is_file() and WrittenFile.of(beside) == known:
                folders.remove(beside)


def _write(path: Path, marker: Marker) -> None:
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(marker.model_dump_json(indent=1))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    durable.sync_folder(path.parent)
