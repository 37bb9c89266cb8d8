"""What was pushed may have to pass a validation before others see it: wait for the verdict.

A commit answers at once; the version is STAGED and its validation an operation, which is followed here.
Whoever may not look at operations asks for the upload instead, once a second.
"""

import time
from collections.abc import Callable

from ingot.client import _problems
from ingot.client._calls import Calls
from ingot.client._channels import Link
from ingot.client._errors import Denied, IngotError, NotFound, Precondition
from ingot.client._names import Names
from ingot.client._operations import Operations
from ingot.v1 import catalog_pb2, catalog_pb2_grpc, common_pb2, transfer_pb2_grpc
from ingot.v1 import transfer_pb2 as pb

OnValidation = Callable[[common_pb2.Progress], None]
_PAUSE = 1.0  # seconds between two looks at an upload
_VALIDATED = (pb.UPLOAD_STAGE_STAGED, pb.UPLOAD_STAGE_VALIDATING)


class Verdict:
    """Waits until uploads are fresh or failed."""

    def __init__(self, link: Link, calls: Calls) -> None:
        self._uploads = transfer_pb2_grpc.TransferServiceStub(link.channel)
        self._catalog = catalog_pb2_grpc.CatalogServiceStub(link.channel)
        self._operations = Operations(link, calls, Names(str))  # all names here are long ones
        self._calls = calls

    def wait(self, upload: str, on_progress: OnValidation | None = None) -> pb.Upload:
        """Return an upload, by its long name, once it is fresh; raise why it failed.

        `on_progress` is told how far its validation is.
        """
        while True:
            found = self._calls.unary(self._uploads.GetUpload, pb.GetUploadRequest(name=upload)).upload
            if found.stage == pb.UPLOAD_STAGE_FRESH:
                return found
            if found.stage == pb.UPLOAD_STAGE_FAILED:
                raise _failure(found)
            if found.stage not in _VALIDATED or not self._follow(found.result, on_progress):
                time.sleep(_PAUSE)

    def version(self, name: str) -> catalog_pb2.Version:
        """Return a version as it is now."""
        request = catalog_pb2.GetVersionRequest(name=name)
        return self._calls.unary(self._catalog.GetVersion, request).version

    def _follow(self, version: str, on_progress: OnValidation | None) -> bool:
        """Follow the validation of a version to its end; False when the caller may not see it."""
        try:
            operation = self.version(version).last_validation
            for message in self._operations.watch(operation):
                told = message.snapshot if message.HasField("snapshot") else message.event
                if on_progress is not None and told.HasField("progress"):
                    on_progress(told.progress)
        except (Denied, NotFound):
            return False
        return True


def _failure(upload: pb.Upload) -> IngotError:
    if upload.HasField("problem"):
        return _problems.error_of(upload.problem, upload=upload.name)
    state = pb.UploadState.Name(upload.state).removeprefix("UPLOAD_STATE_")
    return Precondition(
        f"{upload.name} is {state}: nothing more comes of it.",
        reason="UPLOAD_CLOSED",
        facts={"upload": upload.name, "state": state},
        next_step="Push again.",
    )
