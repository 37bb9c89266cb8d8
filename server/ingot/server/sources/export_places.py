"""What exports leave below the allowed folders, and what they are asked not to touch.

    NAME/.ingot-export.json             in a readable folder: which files an export wrote there
    .UID.ingot-export.json              beside what is called by its uid
    .NAME.op_12.part*, .NAME.ingot-lock beside what is being written: gone when its operation has ended

Whatever a marker does not list, or what was edited since, is somebody else's.
"""

import contextlib
import fcntl
import glob
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ingot.server.core import params
from ingot.server.core.errors import Invalid, Precondition, Reason
from ingot.server.core.exports import Layout
from ingot.server.core.operations import Operation
from ingot.server.sources import bundles

MARKER = ".ingot-export.json"
_NAMED = 5  # files that a refusal names


class WrittenFile(BaseModel):
    """A file as it was when it was written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "WrittenFile":
        """Return a file as it is."""
        found = os.lstat(path)
        return cls(size=found.st_size, mtime_ns=found.st_mtime_ns)


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


class ExportPlace:
    """Where an artifact is written: `base` is a folder, or a file without its extension."""

    def __init__(self, base: Path, artifact: str, layout: Layout) -> None:
        self.base = base
        self.single = layout is Layout.OWNER_UID  # one file stands for itself, without a folder
        self._artifact = artifact

    def marker_of(self, place: Path) -> Path:
        """Return where the marker of a place is: in the folder, or beside a file."""
        return _beside(self.base) if self.single else place / MARKER

    def before(self) -> tuple[Marker | None, Path]:
        """Return what an earlier export left, and where.

        Raises Precondition (IN_USE) for what is not ours or was changed since.
        """
        place = self.base
        try:
            found = Marker.model_validate_json(_read(self.marker_of(place)))
        except FileNotFoundError:
            if os.path.lexists(place):
                raise in_the_way(place, "it has no marker of an export") from None
            return None, place
        except (OSError, ValidationError) as error:
            raise in_the_way(place, f"its marker cannot be read: {type(error).__name__}") from error
        if found.artifact != self._artifact:
            raise in_the_way(place, "it was exported from another artifact")
        if self.single and not place.is_dir():
            beside = [place.with_name(name) for name in (*found.coming, *found.files)]
            place = next((each for each in beside if os.path.lexists(each)), place)
            if place == self.base:
                return None, place  # it was removed; the marker says nothing any more
        foreign = sorted(_foreign(place, found))
        if foreign:
            shown = ", ".join(foreign[:_NAMED])
            raise in_the_way(place, f"{len(foreign)} files there are not what was exported: {shown}")
        return _as_it_is(found, place), place


class ExportSight:
    """Implements ExportSights: looks at the disk; `signer` is the key that signs bundles of this server."""

    def __init__(self, signer: str) -> None:
        self._signer = signer

    def check_around(self, root: str, target: str) -> None:
        """Refuse a target inside of what an export wrote. Raises Precondition (IN_USE)."""
        place = Path(root)
        for part in Path(target).relative_to(place).parts[:-1]:
            place /= part
            if is_exported(place):
                raise inside(Path(target), place)

    def check_folder(self, target: str, artifact: str, layout: Layout) -> None:
        """Refuse what is not ours or was changed since. Raises Precondition (IN_USE)."""
        ExportPlace(Path(target), artifact, layout).before()

    def check_bundle(self, target: str, versions: Sequence[str]) -> None:
        """Refuse to replace what is no bundle of these namespaces. Raises Precondition (IN_USE)."""
        check_bundle(Path(target), self._signer, versions)


def check_bundle(target: Path, signer: str, versions: Sequence[str]) -> None:
    """Refuse to replace anything but a bundle of this server with things of the same namespaces.

    Raises Precondition (IN_USE).
    """
    if not os.path.lexists(target):
        return
    what = "is no bundle of this server"
    if bundles.signed_by(target) == signer:
        what = "holds things of another namespace"
        if _namespaces_in(target, signer) <= {name.split("/")[1] for name in versions}:
            return
    raise Precondition(
        Reason.IN_USE,
        f"{target} is there already, and it {what}.",
        next_step="Choose another path, or move it away.",
        facts={"path": str(target)},
    )


def is_exported(folder: Path) -> bool:
    """Return whether an export wrote a folder, or has begun to keep it."""
    return os.path.lexists(folder / MARKER) or os.path.lexists(_beside(folder))


def files_below(folder: Path) -> Iterator[str]:
    """Yield the paths of everything below a folder that is no folder itself; links are not followed."""
    for base, names, files in os.walk(folder):
        links = [name for name in names if os.path.islink(os.path.join(base, name))]
        for name in (*files, *links):
            yield Path(base, name).relative_to(folder).as_posix()


def part_of(target: Path, operation: str) -> Path:
    """Return what an operation (`op_12`) writes before it becomes the target."""
    return target.with_name(f".{target.name}.{operation}.part")


def lock_of(target: Path) -> Path:
    """Return the file that writers of a target lock."""
    return target.with_name(f".{target.name}.ingot-lock")


def parts_of_others(target: Path, mine: Path) -> Iterator[Path]:
    """Yield what other operations left unfinished beside a target."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.op_*.part*"):
        if left != mine:
            yield left


def tidy(operation: Operation) -> None:
    """Remove what an export that has ended, or was killed, left unfinished beside its targets."""
    if operation.kind != "export":
        return
    match params.ExportParams.model_validate(operation.params).destination:
        case params.FolderExport(path=path, names=names):
            targets = [Path(path, name) for name in names]
        case params.BundleExport(path=path):
            targets = [Path(path)]
        case _:
            targets = []
    for target in targets:
        if os.path.realpath(target.parent) != str(target.parent):
            continue  # somebody put a link there
        part = part_of(target, operation.id)
        for left in (part, part.with_name(f"{part.name}.old")):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    left.unlink()
        with contextlib.suppress(OSError):
            _remove_idle(lock_of(target))


def in_the_way(place: Path, why: str) -> Precondition:
    """Return a refusal for good: somebody has to choose, and waiting does not."""
    return Precondition(
        Reason.IN_USE,
        f"{place} is in the way: {why}. Nothing was changed there.",
        next_step="Move it away, or export to another folder.",
        facts={"path": str(place)},
    )


def inside(target: Path, exported: Path) -> Precondition:
    """Return the refusal of a target inside of what another export wrote."""
    return Precondition(
        Reason.IN_USE,
        f"{target} lies inside {exported}, which another export wrote. Nothing was changed there.",
        next_step="Export to a folder beside it.",
        facts={"path": str(target), "other": str(exported)},
    )


def _beside(base: Path) -> Path:
    return base.with_name(f".{base.name}{MARKER}")


def _remove_idle(lock: Path) -> None:
    """Remove a lock that nobody holds."""
    file = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(file).st_ino == os.lstat(lock).st_ino:
            lock.unlink()
    finally:
        os.close(file)


def _foreign(place: Path, marker: Marker) -> Iterator[str]:
    """Yield what lies in a place and was not put there by us, or was changed since."""
    if place.is_symlink() or not place.is_dir():
        if place.is_symlink() or not marker.knows(place.name, WrittenFile.of(place)):
            yield place.name
        return
    for path in files_below(place):
        regular = stat.S_ISREG(os.lstat(place / path).st_mode)
        if path != MARKER and not (regular and marker.knows(path, WrittenFile.of(place / path))):
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


def _read(marker: Path) -> bytes:
    file = os.open(marker, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(file, "rb") as opened:
        return opened.read()


def _namespaces_in(target: Path, signer: str) -> set[str]:
    """Return whose things a bundle of this server holds; nobody's when it is too damaged to tell."""
    try:
        with bundles.Bundle.open(target, frozenset({signer})) as found:
            return {artifact.name.split("/")[1] for artifact in found.manifest.artifacts}
    except Invalid:
        return set()
