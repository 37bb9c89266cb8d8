"""How long a commit may take, and what a run does that finds the one before in its commit."""

import time

from ingot.client._calls import Calls
from ingot.client._progress import Reporter, Stage
from ingot.v1 import transfer_pb2 as pb
from ingot.v1 import transfer_pb2_grpc

SECONDS = 600.0  # the server reads every chunk's row
_BETWEEN_LOOKS = 0.5  # seconds


def settled(
    stub: transfer_pb2_grpc.TransferServiceStub, calls: Calls, upload: pb.Upload, report: Reporter
) -> pb.Upload:
    """Wait for the commit of a run that was killed in it, and return the upload as it is then."""
    end = time.monotonic() + SECONDS
    while upload.state == pb.UPLOAD_STATE_SEALING and time.monotonic() < end:
        report.stage(Stage.COMMITTING)
        calls.pause(_BETWEEN_LOOKS)
        upload = calls.unary(stub.GetUpload, pb.GetUploadRequest(name=upload.name)).upload
    return upload
