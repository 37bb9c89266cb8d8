"""Half a gibibyte over as many lanes as a client has here, and out again: the server's memory stays small."""

import contextlib
import pathlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from helpers import model_files
from helpers.patterns import pattern
from helpers.processes import ServerProcess, server_process
from helpers.transfers import MIB, Pusher, finish, header, pieces
from ingot.client._streams import most_lanes
from ingot.content import digests
from ingot.server.core.uploads import TransferLimits
from ingot.v1 import catalog_pb2, transfer_pb2, transfer_pb2_grpc

pytestmark = pytest.mark.long

STREAMS = min(TransferLimits().max_streams // 2, most_lanes())  # as the client has lanes
CHUNKS = 512 // STREAMS  # of 1 MiB each, in a stream
MOST = 96 * MIB + STREAMS * 32 * MIB  # more than when idle: less than is moved, twice what was measured
ARTIFACT = "namespaces/admin/datasets/large"


def _memory(process: int) -> int:
    """Return the most bytes that a process ever had in memory."""
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def _lane(server: ServerProcess) -> grpc.Channel:
    """Return a connection of its own, as each lane of a client has."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    return grpc.insecure_channel(f"unix:{server.facts['socket']}", options=options)


def _chunk(stream: int, index: int) -> tuple[bytes, bytes]:
    data = pattern(f"{stream} {index}", MIB)
    return digests.chunk_digest(data), data


def _messages(upload: str, stream: int) -> Iterator[transfer_pb2.PutChunksRequest]:
    yield header(upload, CHUNKS, CHUNKS * MIB)
    for index in range(CHUNKS):
        yield pieces(_chunk(stream, index))
    yield finish(CHUNKS, CHUNKS * MIB)


@pytest.mark.contract("S3-1", "S1-4")
def test_memory_does_not_grow_with_what_is_moved(tmp_path: pathlib.Path) -> None:
    with server_process(tmp_path / "data") as server, ThreadPoolExecutor(STREAMS) as pool:
        with contextlib.ExitStack() as channels:
            lanes = [channels.enter_context(_lane(server)) for _ in range(STREAMS)]
            metadata = (("authorization", f"Bearer {server.admin_token}"),)
            pushers = [Pusher(transfer_pb2_grpc.TransferServiceStub(lane), metadata) for lane in lanes]
            pusher = pushers[0]
            upload = pusher.begin(ARTIFACT)
            idle = _memory(server.process.pid)
            list(pool.map(lambda at: pushers[at].put(_messages(upload, at)), range(STREAMS)))

            entries = [
                (_chunk(stream, index)[0], MIB) for stream in range(STREAMS) for index in range(CHUNKS)
            ]
            (segment,) = digests.split_segments(entries)
            file = transfer_pb2.FileManifest(
                path="large.bin",
                profile="cdc",
                size_bytes=len(entries) * MIB,
                segment_count=1,
                segments=[transfer_pb2.Segment(index=0, entries=segment)],
            )
            pusher.stub.PutManifest(
                transfer_pb2.PutManifestRequest(upload=upload, files=[file]), metadata=pusher.metadata
            )
            sizes = pool.map(lambda at: _read(pushers[at], upload, at), range(STREAMS))
            assert list(sizes) == [CHUNKS * MIB] * STREAMS
        grown = _memory(server.process.pid) - idle
        server.stop()
    assert grown < MOST, f"{grown / MIB:.0f} MiB"


@pytest.mark.contract("S3-1", "S3-61")
def test_memory_does_not_grow_with_a_file_that_the_server_cuts(tmp_path: pathlib.Path) -> None:
    size = 275 * STREAMS * MIB  # every other stream has tensors of 6 MiB, which are cut by themselves
    spans = [
        (at, min(at + 6 * MIB, size // STREAMS - MIB)) for at in range(0, size // STREAMS - MIB, 6 * MIB)
    ]
    tensors = {
        f"t{at}": {"dtype": "U8", "shape": [b - a], "data_offsets": [a, b]} for at, (a, b) in enumerate(spans)
    }
    head = model_files.safetensors(tensors, pad=MIB - len(model_files.safetensors(tensors)))

    def messages(stream: int) -> Iterator[transfer_pb2.UploadFileRequest]:
        target = transfer_pb2.NewVersion(artifact=f"{ARTIFACT}-{stream}", create=catalog_pb2.Artifact())
        told = transfer_pb2.UploadFileHeader(version=target, path="large.bin", size_bytes=size // STREAMS)
        yield transfer_pb2.UploadFileRequest(header=told)
        for index in range(size // STREAMS // MIB):
            begins = stream % 2 == 0 and index == 0
            yield transfer_pb2.UploadFileRequest(data=head if begins else _chunk(stream, index)[1])
        yield transfer_pb2.UploadFileRequest(finish=transfer_pb2.UploadFileFinish())

    with server_process(tmp_path / "data") as server, ThreadPoolExecutor(STREAMS) as pool:
        with contextlib.ExitStack() as channels:
            stubs = [
                transfer_pb2_grpc.TransferServiceStub(channels.enter_context(_lane(server)))
                for _ in range(STREAMS)
            ]
            metadata = (("authorization", f"Bearer {server.admin_token}"),)
            idle = _memory(server.process.pid)
            calls = pool.map(lambda at: stubs[at].UploadFile(messages(at), metadata=metadata), range(STREAMS))
            replies = list(calls)
            assert [reply.file.size_bytes for reply in replies] == [size // STREAMS] * STREAMS
            assert [reply.file.profile for reply in replies] == ["tensor", "cdc"] * (STREAMS // 2)
        grown = _memory(server.process.pid) - idle
        server.stop()
    assert grown < MOST, f"{grown / MIB:.0f} MiB"


def _read(pusher: Pusher, upload: str, stream: int) -> int:
    """Read a quarter of the file and return its size."""
    request = transfer_pb2.ReadFileRequest(
        tree=upload, path="large.bin", offset=stream * CHUNKS * MIB, length=CHUNKS * MIB
    )
    return sum(len(each.data) for each in pusher.stub.ReadFile(request, metadata=pusher.metadata))
