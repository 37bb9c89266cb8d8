"""One file that is uploaded in one call, by a sender that knows nothing of chunks: what is told of it."""

from dataclasses import dataclass

from ingot.content import cuts
from ingot.server.core.artifacts import Version
from ingot.server.core.manifests import FileFacts
from ingot.server.core.names import UploadName
from ingot.server.core.uploads import Upload, UploadDraft


@dataclass(frozen=True, slots=True)
class FileClaim:
    """What a sender says of a file; empty or None where it says nothing. Digests as people see them."""

    size: int | None = None
    blake3: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class FilePlan:
    """Where a file goes and what it will be."""

    destination: UploadDraft | UploadName  # a version to be, or an open upload
    path: str
    claim: FileClaim
    format: str = ""
    profile: str = cuts.TENSOR  # as far as it fits the file

    @property
    def begins(self) -> bool:
        """Return whether an upload is begun and committed for this file alone."""
        return isinstance(self.destination, UploadDraft)


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """What became of it: the upload as it is now, the version if it became one, and the file."""

    upload: Upload
    version: Version | None
    file: FileFacts
