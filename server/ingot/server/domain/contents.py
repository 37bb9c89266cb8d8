"""Which files of a version are looked at to show what is in it, and where the facts go that they tell.

Nothing here reads a file: a look gives the files that may tell something, their bytes are read on a thread
for file work (rpc/content_reading.py), and the facts come back to be kept. Versions wait for that in a queue
of rows, so that none is forgotten when the server stops.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ingot.server.core.contents import FormatShare
from ingot.server.core.errors import NotFound
from ingot.server.core.facts import FactsStore, VersionFacts
from ingot.server.core.identity import Caller, system_caller
from ingot.server.core.manifests import FileFacts
from ingot.server.core.names import Kind, VersionName, VersionReference
from ingot.server.core.transfer_stores import TreeStore
from ingot.server.domain.downloads import Downloads, OpenedTree
from ingot.server.domain.versions import Versions

LISTED = 5000  # files of a version whose names are looked at


@dataclass(frozen=True, slots=True)
class Look:
    """A version whose files may be read: the first of them, and how many bytes each format has."""

    opened: OpenedTree
    name: VersionName
    version_uid: str
    digest: bytes
    facts: VersionFacts | None
    files: Sequence[FileFacts] = ()
    formats: Sequence[FormatShare] = ()
    listed_all: bool = True

    @property
    def of_model(self) -> bool:
        """Return whether it is a version of a model."""
        return self.name.artifact.kind is Kind.MODEL


class Contents:
    """The rules; every method runs inside a unit of work."""

    def __init__(self, versions: Versions, downloads: Downloads, trees: TreeStore, facts: FactsStore) -> None:
        self._versions = versions
        self._downloads = downloads
        self._trees = trees
        self._facts = facts

    def look(self, caller: Caller, reference: VersionReference) -> Look:
        """Return what may be looked at of a version that the caller may read; inside a read.

        Raises NotFound (ARTIFACT_NOT_FOUND, VERSION_NOT_FOUND, ALIAS_NOT_FOUND, FILE_NOT_FOUND), Precondition
        (NOT_FETCHED).
        """
        version = self._versions.get(caller, reference)
        opened = self._downloads.open(caller, version.name)
        files = self._trees.files(opened.tree.id, None, LISTED + 1)
        return Look(
            opened,
            version.name,
            version.uid,
            version.digest,
            version.facts,
            tuple(files[:LISTED]),
            tuple(self._trees.formats(opened.tree.id)),
            len(files) <= LISTED,
        )

    def file(self, look: Look, path: str) -> FileFacts:
        """Return one file of a version. Raises NotFound (FILE_NOT_FOUND)."""
        return self._downloads.file(look.opened, path)

    def accessed(self, caller: Caller, look: Look) -> None:
        """Count an access; callable anywhere."""
        self._downloads.count(caller, look.opened, "")

    def waiting(self) -> tuple[str, Look | None] | None:
        """Return the uid of the next version that waits to be read, and what may be looked at of it.

        None without any; no look when it cannot be read any more. Inside a read.
        """
        found = self._facts.wanted(1)
        if not found:
            return None
        uid, name = found[0]
        try:
            look = self.look(system_caller(), name)
        except NotFound:  # it went to the trash
            return uid, None
        return uid, look if look.version_uid == uid else None

    def keep(self, version_uid: str, facts: VersionFacts) -> bool:
        """Keep the facts of a version and stop waiting for them; return whether they are news."""
        return self._facts.put(version_uid, facts)

    def skip(self, version_uid: str) -> None:
        """Stop waiting for a version of which nothing can be read."""
        self._facts.skip(version_uid)
