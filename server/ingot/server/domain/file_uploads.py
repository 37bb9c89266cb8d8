"""Files that are uploaded in one call: where one goes, and what is left when it breaks off.

For a new version the call begins an upload of its own and commits it. When it breaks off that upload is
FAILED: nothing can be seen of it but that it failed and why, and the same call with the same request id opens
it again. An open upload of the sender's own is left as it was.
"""

from ingot.server.core import manifests
from ingot.server.core.clock import Clock
from ingot.server.core.errors import Exhausted, IngotError, Problem, Reason, invalid_field
from ingot.server.core.file_uploads import FileClaim, FilePlan, UploadedFile
from ingot.server.core.identity import Caller
from ingot.server.core.manifests import MAX_FILE_BYTES
from ingot.server.core.names import UploadName, version_reference
from ingot.server.core.transfer_stores import UploadStore
from ingot.server.core.uploads import Upload, UploadDraft, UploadMove, UploadState, closed
from ingot.server.domain.commits import Commits
from ingot.server.domain.downloads import Downloads
from ingot.server.domain.failed_uploads import FailedUploads
from ingot.server.domain.manifest_check import check_paths
from ingot.server.domain.requests import RequestKey
from ingot.server.domain.uploads import Uploads


class FileUploads:
    """The rules about such files; methods run inside a unit of work, except `check`."""

    def __init__(
        self,
        uploads: Uploads,
        store: UploadStore,
        failed: FailedUploads,
        commits: Commits,
        downloads: Downloads,
        clock: Clock,
    ) -> None:
        self._uploads = uploads
        self._store = store
        self._failed = failed
        self._commits = commits
        self._downloads = downloads
        self._clock = clock

    def check(self, plan: FilePlan) -> None:
        """Check the form of a plan. Raises Invalid (BAD_PATH, FIELD_INVALID)."""
        check_paths([plan.path])
        check_claim(plan.claim, "header")
        manifests.check_told("header", "", "", plan.format)

    def open(self, caller: Caller, plan: FilePlan, key: RequestKey) -> Upload:
        """Return the upload that the file goes through, OPEN, or COMMITTED when this call was made before.

        Inside a write. Raises as Uploads.begin for a new version, else NotFound (UPLOAD_NOT_FOUND);
        Precondition (UPLOAD_CLOSED); Exhausted (BUSY) while an earlier call commits it.
        """
        if not isinstance(plan.destination, UploadDraft):
            return self._uploads.require_open(caller, plan.destination)
        upload = self._uploads.begin(
            caller, plan.destination, key.request_id, key.payload, method="UploadFile"
        )
        if upload.state is UploadState.SEALING:
            raise Exhausted(
                Reason.BUSY,
                f"{upload.name} is being committed by an earlier call.",
                next_step="Send it again in a moment: the answer will be that of the earlier call.",
                facts={"upload": str(upload.name)},
                retry_after=1.0,
            )
        if upload.state in (UploadState.FAILED, UploadState.EXPIRED):
            return self._failed.again(caller, upload.name)
        if upload.state is UploadState.ABORTED:
            raise closed(upload.name, upload.state)
        return upload

    def check_size(self, upload: Upload, size: int) -> None:
        """Refuse a file that has become too large, with what its upload has already. Touches no rows.

        Raises Exhausted (TOO_LARGE).
        """
        self._uploads.check_size(upload.target, size)
        if size > MAX_FILE_BYTES:
            raise Exhausted(
                Reason.TOO_LARGE,
                f"A file has at most {MAX_FILE_BYTES} bytes, and more came.",
                next_step="Split the file.",
                facts={"limit": str(MAX_FILE_BYTES)},
            )

    def done(self, caller: Caller, upload: Upload, path: str) -> UploadedFile:
        """Return what an earlier call made. Inside a read."""
        committed = self._commits.committed(caller, upload)
        file, _ = self._downloads.stat(caller, version_reference(upload.result), path)
        return UploadedFile(committed.upload, committed.version, file)

    def fail(self, name: UploadName, error: BaseException) -> None:
        """Note that the call that should have filled and committed an upload broke off. Inside a write.

        Without effect unless the upload is OPEN.
        """
        upload = self._store.find(name)
        if upload is None or upload.state is not UploadState.OPEN:
            return
        self._uploads.move(upload, UploadMove.FAIL, problem=self._problem(upload, error))

    def _problem(self, upload: Upload, error: BaseException) -> Problem:
        now = self._clock.now()
        if isinstance(error, IngotError):
            return error.problem(now)
        facts, again = {"upload": str(upload.name)}, "Send it again with the same request id."
        if isinstance(error, Exception):
            said = f"The server failed while it received {upload.name}."
            return Problem(Reason.INTERNAL, said, facts, f"{again} The server's log has the cause.", now)
        said = f"The sender of {upload.name} went away before its finish message."
        return Problem(Reason.STREAM_UNFINISHED, said, facts, again, now)


def check_claim(claim: FileClaim, place: str) -> None:
    """Check the form of what a sender says of a file. Raises Invalid (FIELD_INVALID)."""
    if claim.size is not None and not 0 <= claim.size <= MAX_FILE_BYTES:
        raise invalid_field(f"{place}.size_bytes", f"expected 0 to {MAX_FILE_BYTES}, got {claim.size}")
    manifests.check_told(place, claim.blake3, claim.sha256, "")
