"""Failed uploads: try one again, and forget those that nobody came back to.

An upload fails when it is left alone too long (EXPIRED), when its commit is refused for a reason that
sending again cannot cure (FAILED), when it is given up (ABORTED: somebody decided so, it is not tried again),
and when the version that it became was rejected, or could not be validated.
"""

import dataclasses
import logging

from ingot.server.core.artifacts import NewVersion
from ingot.server.core.clock import Clock
from ingot.server.core.errors import Denied, Precondition, Reason
from ingot.server.core.identity import Caller
from ingot.server.core.names import UploadName, made_id
from ingot.server.core.transfer_stores import TreeStore, UploadStore
from ingot.server.core.uploads import Upload, UploadMove, UploadStage, UploadState
from ingot.server.domain.publishing import Publishing
from ingot.server.domain.requests import RequestKey, Requests
from ingot.server.domain.uploads import Uploads

log = logging.getLogger(__name__)

_BATCH = 100  # uploads in one write: keeps it short


class FailedUploads:
    """The rules about failed uploads; every method runs inside a write."""

    def __init__(
        self,
        uploads: Uploads,
        store: UploadStore,
        trees: TreeStore,
        publishing: Publishing,
        requests: Requests,
        clock: Clock,
    ) -> None:
        self._uploads = uploads
        self._store = store
        self._trees = trees
        self._publishing = publishing
        self._requests = requests
        self._clock = clock

    def retry(self, caller: Caller, name: UploadName, key: RequestKey) -> Upload:
        """Try a failed upload again and return it as it is then.

        An expired or failed one is OPEN again; its chunks may be gone meanwhile: FindMissing tells. A
        rejected version is validated again, with the rules that count now.
        Raises NotFound (UPLOAD_NOT_FOUND), Precondition (STATE_INVALID) when it has not failed, and as
        Uploads.begin where its target cannot be committed any more.
        """
        done, _ = self._requests.run(caller, "RetryUpload", key, lambda: str(self.again(caller, name).name))
        return self._uploads.find(caller, UploadName(made_id(done, "uploads")))

    def purge(self, caller: Caller, seconds: float, *, all_users: bool) -> int:
        """Forget failed uploads that last changed so long ago, some of them; return how many.

        The versions that never became READY go with them, unless a training made them: that is dear.
        Call it until it gives 0, then `sweep`: a manifest may have gigabytes. Raises Denied (SCOPE_MISSING)
        when others than administrators ask for all.
        """
        if all_users and not caller.is_admin:
            raise Denied(
                Reason.SCOPE_MISSING,
                f"Only administrators may forget everybody's failed uploads; {caller.principal} is none.",
                next_step="Leave all_users out to forget your own.",
            )
        creator = None if all_users else caller.principal
        found = self._store.failed(self._clock.now() - seconds, creator, _BATCH)
        for upload in found:
            self._drop(upload)
        return len(found)

    def sweep(self) -> bool:
        """Forget some files of what was purged; return whether some may be left. Call it until it says no."""
        tree = self._trees.abandoned()
        if tree is None:
            return False
        if not self._trees.clear_some(tree):
            self._trees.drop(tree)
        return True

    def again(self, caller: Caller, name: UploadName) -> Upload:
        """As `retry`, for whoever recognises repeated requests itself."""
        upload = self._uploads.find(caller, name)
        if upload.stage is UploadStage.FAILED and upload.state is UploadState.COMMITTED:
            self._publishing.retry(caller, upload.name)
            return upload
        if upload.state not in (UploadState.EXPIRED, UploadState.FAILED):
            raise _not_failed(upload)
        target, _ = self._uploads.checked_target(caller, upload.target)
        self._uploads.check_size(target, upload.size_bytes or upload.manifest_bytes)
        self._uploads.check_room(caller)
        if not upload.tree:
            upload = self._emptied(upload)
        opened = self._uploads.move(
            upload, UploadMove.RETRY, target=target, problem=None, open_time=self._clock.now()
        )
        return self._uploads.touch(opened)

    def _drop(self, upload: Upload) -> None:
        made_by_training = isinstance(upload.target, NewVersion) and upload.target.training_job
        if upload.state is UploadState.COMMITTED:
            if not made_by_training:
                self._publishing.discard(upload.name)
        elif upload.tree:
            self._trees.abandon(upload.tree)
        self._store.remove(upload.name)

    def _emptied(self, upload: Upload) -> Upload:
        """Return the upload with a new tree; what it had held may have been collected."""
        now = self._clock.now()
        tree = self._trees.add(str(upload.name), upload.namespace, now, now)
        return dataclasses.replace(
            upload,
            tree=tree,
            stored_bytes=0,
            stored_chunks=0,
            new_bytes=0,
            file_count=0,
            manifest_bytes=0,
            chunk_count=0,
            missing_chunks=0,
            revision=upload.revision + 1,
        )


def _not_failed(upload: Upload) -> Precondition:
    return Precondition(
        Reason.STATE_INVALID,
        f"{upload.name} is {upload.state}; only one that is EXPIRED or FAILED can be tried again.",
        next_step="Begin a new upload; chunks that are stored already need not be sent again.",
        facts={"upload": str(upload.name), "state": upload.state},
    )
