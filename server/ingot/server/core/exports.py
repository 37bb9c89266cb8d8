"""Exports: what may be asked, where it may go, and what is kept there.

Content leaves the store to a folder of the server, to a repository of the Hub, or as a signed bundle. A kept
export follows `latest` of its artifact: each time that moves, the folder is written again, and it goes when
the artifact goes. Folders are absolute paths.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ingot.server.core.artifacts import Artifact, Version


class Layout(StrEnum):
    """How an export names what it writes below its folder."""

    NAME = "name"  # one readable folder per artifact, with its id
    OWNER_UID = "owner_uid"  # namespace/uid.ext for an artifact of one file, namespace/uid/ for one of many


@dataclass(frozen=True, slots=True)
class WantedFolder:
    """An export to a folder of the server; an empty path is the mount point."""

    path: str = ""
    layout: Layout = Layout.NAME
    keep: bool = False  # follow `latest` from now on; False ends it for the same folder


@dataclass(frozen=True, slots=True)
class WantedHub:
    """An export to a repository of the Hub; an empty repository kind is that of the artifact."""

    repository: str
    repository_kind: str = ""  # model or dataset
    branch: str = ""
    private: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class WantedBundle:
    """An export as one signed file; `since` in epoch seconds leaves out versions that are not newer."""

    path: str
    since: float | None = None


@dataclass(frozen=True, slots=True)
class WantedExport:
    """What shall be exported where; sources name versions, aliases or artifacts (their latest)."""

    sources: Sequence[str]
    destination: WantedFolder | WantedHub | WantedBundle


@dataclass(frozen=True, slots=True)
class Place:
    """A path that may be written: absolute, and the allowed folder that it lies in."""

    path: str
    root: str


class AllowedFolders(Protocol):
    """The folders of the server that exports may write to, or imports read from."""

    def find(self, path: str, field: str) -> Place:
        """Return the place of a path; a relative one begins at the first allowed folder, empty means it.

        Raises Invalid (BAD_PATH) for one that is not below an allowed folder, or leads out of it by a link.
        """
        ...

    def find_file(self, path: str, field: str) -> Place:
        """Return the place of a file, which need not be there. Raises Invalid (BAD_PATH) as `find`, and for
        a folder or an empty path.
        """
        ...


class ExportSights(Protocol):
    """What lies on the disk where an export wants to write. The body looks again before it writes."""

    def check_around(self, root: str, target: str) -> None:
        """Refuse a target inside of what an export wrote. Raises Precondition (IN_USE)."""
        ...

    def check_folder(self, target: str, artifact: str, layout: Layout) -> None:
        """Refuse a target that holds what is not of this artifact (its uid), or was changed since.

        Raises Precondition (IN_USE).
        """
        ...

    def check_bundle(self, target: str, versions: Sequence[str]) -> None:
        """Refuse a target that is no bundle of these versions' namespaces. Raises Precondition (IN_USE)."""
        ...


@dataclass(frozen=True, slots=True)
class KeptExport:
    """A folder that follows `latest` of an artifact."""

    artifact_uid: str
    folder: str  # what is written
    root: str  # the allowed folder that it lies in
    path: str  # the folder that was asked for; `name` is what the artifact is called below it
    name: str
    layout: Layout
    requester: str  # principal; `system` for what the mount point keeps by itself
    create_time: float
    version: str = ""  # name of the version that lies there; empty before the first


class KeptExportStore(Protocol):
    """Kept exports; no two have the same folder, which is compared without case."""

    def add(self, kept: KeptExport) -> bool:
        """Add one; False, and nothing added, when its folder is taken."""
        ...

    def at(self, folder: str) -> KeptExport | None:
        """Return the one with this folder."""
        ...

    def around(self, folder: str) -> KeptExport | None:
        """Return one whose folder lies inside this one, or that this one lies inside of."""
        ...

    def of(self, artifact_uid: str) -> Sequence[KeptExport]:
        """Return those of an artifact, oldest first."""
        ...

    def folders(self, artifact_uids: Sequence[str]) -> Mapping[str, str]:
        """Return, for each artifact that has one, the folder of its oldest kept export that was written."""
        ...

    def by_requester(self, requester: str) -> Sequence[KeptExport]:
        """Return all that somebody asked for, oldest first."""
        ...

    def exported(self, folder: str, version: str) -> None:
        """Store which version lies in a folder now; without effect when that is not kept."""
        ...

    def remove(self, folder: str) -> bool:
        """Remove the one with this folder; return whether there was one."""
        ...


class LatestHook(Protocol):
    """What a feature does when `latest` of an artifact moves or goes, or when the artifact is deleted.

    All are called inside the write that does it; what they raise undoes it.
    """

    def latest_moved(self, artifact: Artifact, version: Version, by: str) -> None:
        """Take note that `latest` of the artifact points at this version now, and who made it move."""
        ...

    def latest_gone(self, artifact: Artifact, by: str) -> None:
        """Take note that the last ready version of the artifact went; it stays without one."""
        ...

    def deleted(self, artifact: Artifact) -> None:
        """Take note that the artifact is in the trash now."""
        ...
