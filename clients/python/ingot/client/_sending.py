"""Send one file as it flows: to a new version, or into an open upload, without knowing its size before.

The server cuts it, so every byte travels, whatever it has already. That is for what comes out of a pipe or a
program; files on disk are better pushed.
"""

from collections.abc import Callable, Iterable, Iterator

from blake3 import blake3

from ingot.client._calls import Calls
from ingot.content import digests
from ingot.v1 import transfer_pb2 as pb
from ingot.v1 import transfer_pb2_grpc

Source = Callable[[int], bytes] | Iterable[bytes]  # what reads up to so many bytes, as `pipe.read`, or pieces

MESSAGE_BYTES = 1024 * 1024


def send(
    calls: Calls,
    stub: transfer_pb2_grpc.TransferServiceStub,
    header: pb.UploadFileHeader,
    source: Source,
) -> pb.UploadFileResponse:
    """Send a file once; both sides compare its digest. Raises IngotError, and what `source` raises."""
    return calls.send(stub.UploadFile, _messages(header, source))


def _messages(header: pb.UploadFileHeader, source: Source) -> Iterator[pb.UploadFileRequest]:
    yield pb.UploadFileRequest(header=header)
    hasher, size = blake3(), 0
    for data in _pieces(source):
        hasher.update(data)
        size += len(data)
        yield pb.UploadFileRequest(data=data)
    told = digests.format_digest(hasher.digest())
    yield pb.UploadFileRequest(finish=pb.UploadFileFinish(size_bytes=size, blake3=told))


def _pieces(source: Source) -> Iterator[bytes]:
    if callable(source):
        while data := source(MESSAGE_BYTES):
            yield data
        return
    for data in source:
        for start in range(0, len(data), MESSAGE_BYTES):
            yield data[start : start + MESSAGE_BYTES]
