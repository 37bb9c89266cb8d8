"""One file on its way in: cut, hashed and counted as it flows. Called on threads for file work, no rows."""

import hashlib
from collections.abc import Sequence

from blake3 import blake3

from ingot.content import digests, feeding
from ingot.server.core.chunks import ReceivedChunk
from ingot.server.core.errors import Invalid, Precondition, Reason
from ingot.server.core.file_uploads import FileClaim
from ingot.server.core.manifests import FileFacts
from ingot.server.domain.file_record import FileRecord


class FileStream:
    """One file, cut by `profile` as far as that fits it; `sha256` says whether that digest is computed too.

    Close its record at the end.
    """

    def __init__(self, path: str, format_: str, profile: str, *, sha256: bool) -> None:
        self.record = FileRecord(path, format_)
        self._path = path
        self._feeder = feeding.Feeder(profile)
        self._blake3 = blake3()
        self._sha256 = hashlib.sha256() if sha256 else None

    def feed(self, parts: Sequence[feeding.Part], *, last: bool = False) -> list[ReceivedChunk]:
        """Take the next bytes; return the chunks that are certain by now, all of them with `last`."""
        for part in parts:
            self._blake3.update(part)
            if self._sha256 is not None:
                self._sha256.update(part)
        found = self._feeder.feed(parts, last=last)
        self.record.add([(digest, len(data)) for digest, data in found])
        return [ReceivedChunk(digest, len(data), (data,)) for digest, data in found]

    def check(self, claim: FileClaim) -> None:
        """Compare the whole file with what was told.

        Raises Invalid (BAD_LENGTH), Precondition (DIGEST_MISMATCH).
        """
        if claim.size is not None and claim.size != self.record.size:
            raise other_size(self._path, claim.size, f"{self.record.size}")
        for told, found in ((claim.blake3, self.blake3), (claim.sha256, self.sha256)):
            if told and told != found:
                raise Precondition(
                    Reason.DIGEST_MISMATCH,
                    f"UploadFile: {self._path!r} was told to have the digest {told}, its bytes have {found}.",
                    next_step="Read the source again: it changed, or was damaged on the way.",
                    facts={"told": told, "digest": found},
                )

    def facts(self) -> FileFacts:
        """Return the whole file with its root and digests."""
        return self.record.facts(self._feeder.profile, self.blake3, self.sha256)

    @property
    def blake3(self) -> str:
        """Return the digest of what has come."""
        return digests.format_digest(self._blake3.digest())

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of what has come in hex; empty when nobody asked."""
        return self._sha256.hexdigest() if self._sha256 else ""


class FileAgain:
    """A file that a call brings again after it has been stored; nothing of it is kept."""

    def __init__(self, file: FileFacts) -> None:
        self._file = file
        self._blake3 = blake3()
        self._size = 0

    def feed(self, part: feeding.Part) -> None:
        """Take the next bytes. Raises Precondition (REQUEST_ID_REUSED) once they are too many."""
        self._blake3.update(part)
        self._size += len(part)
        if self._size > self._file.size_bytes:
            raise self._other(f"more than {self._file.size_bytes} bytes")

    def check(self, claim: FileClaim) -> None:
        """Compare the whole file, and what was told of it. Raises Precondition (REQUEST_ID_REUSED)."""
        file = self._file
        came = digests.format_digest(self._blake3.digest())
        for told, stored in (
            (self._size, file.size_bytes),
            (claim.size, file.size_bytes),
            (came, file.blake3),
            (claim.blake3 or None, file.blake3),
        ):
            if told is not None and told != stored:
                raise self._other(f"{told} for {stored}")

    def _other(self, what: str) -> Precondition:
        return Precondition(
            Reason.REQUEST_ID_REUSED,
            f"UploadFile: {self._file.path!r} was stored with this request id, now another came: {what}.",
            next_step="Make a new request id for each new file; keep it only to send the same one again.",
            facts={"path": self._file.path},
        )


def other_size(path: str, told: int, came: str) -> Invalid:
    """Return the error for a file of another size than told."""
    return Invalid(
        Reason.BAD_LENGTH,
        f"UploadFile: {path!r} was told to have {told} bytes, {came} came.",
        next_step="Send the file again, whole, once nothing writes to it.",
        facts={"told": str(told)},
    )
