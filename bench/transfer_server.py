"""Measure what the server itself can take and give, beside raw gRPC streaming of the same bytes.

    python bench/transfer_server.py [--mib 1024] [--rounds 3] [--streams 2]

The client sends messages that were built before and throws away what it reads, so that the server is what is
measured. The raw server receives or sends the same messages, through the same options and the generated code,
and does nothing with them. Rounds are interleaved; medians are printed. Rates are in GB/s (1e9), CPU is the
server process's own, in seconds per GB. A push counts from its first byte until everything is durable.
"""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import psutil

from ingot.content import chunking, cuts, digests, malloc
from ingot.server.rpc.server import OPTIONS
from ingot.v1 import catalog_pb2, transfer_pb2, transfer_pb2_grpc

MIB = 1024 * 1024
STREAM = 64 * MIB
SERVICE = "/ingot.v1.TransferService"
ARTIFACT = "namespaces/{namespace}/datasets/bench"


async def take(messages: AsyncIterator[transfer_pb2.PutChunksRequest], context: object) -> bytes:
    """Receive everything and forget it."""
    size = 0
    async for message in messages:
        size += len(message.pieces.data)
    return transfer_pb2.PutChunksResponse(stored_bytes=size).SerializeToString()


async def give(
    request: transfer_pb2.ReadChunksRequest, context: object
) -> AsyncIterator[transfer_pb2.ReadChunksResponse]:
    """Send one message of 1 MiB for each chunk that is asked for."""
    message = transfer_pb2.ReadChunksResponse(
        pieces=transfer_pb2.Pieces(data=os.urandom(MIB), lengths=[MIB], digests=bytes(32))
    )
    for _ in range(request.ranges[0].count):
        yield message


async def serve_raw(socket: str) -> None:
    """Run the raw server until it is killed."""
    server = grpc.aio.server(options=OPTIONS)
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "PutChunks": grpc.stream_unary_rpc_method_handler(take, transfer_pb2.PutChunksRequest.FromString),
        "ReadChunks": grpc.unary_stream_rpc_method_handler(
            give,
            transfer_pb2.ReadChunksRequest.FromString,
            transfer_pb2.ReadChunksResponse.SerializeToString,
        ),
    }
    handler = grpc.method_handlers_generic_handler("ingot.v1.TransferService", handlers)
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


class Server:
    """A server in its own process: its channels' target, token and CPU time."""

    def __init__(self, command: Sequence[str], target: str, token: str = "") -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.ready = json.loads(line) if line.startswith("{") else {}
        self.target = target
        self.token = token
        self._process = psutil.Process(self.process.pid)

    def cpu(self) -> float:
        """Return the CPU seconds that it used."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def peak_mib(self) -> float:
        """Return the most memory it had, in MiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(30)


class Client:
    """Sends prepared messages over as many channels as there are streams."""

    def __init__(self, server: Server, streams: int) -> None:
        self.server = server
        self.metadata = (("authorization", f"Bearer {server.token}"),) if server.token else ()
        options = [*OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
        self.channels = [grpc.insecure_channel(server.target, options=options) for _ in range(streams)]
        self.stub = transfer_pb2_grpc.TransferServiceStub(self.channels[0])
        self.pool = ThreadPoolExecutor(streams)

    def each(self, work: Callable[[grpc.Channel, int], None], count: int) -> None:
        """Do `work` for 0 … count - 1, every channel one at a time."""
        waiting = iter(range(count))
        lock = threading.Lock()

        def run(channel: grpc.Channel) -> None:
            while True:
                with lock:
                    index = next(waiting, None)
                if index is None:
                    return
                work(channel, index)

        list(self.pool.map(run, self.channels))

    def put(self, streams: Sequence[Sequence[bytes]]) -> None:
        """Send streams of serialised messages."""

        def send(channel: grpc.Channel, index: int) -> None:
            call = channel.stream_unary(
                f"{SERVICE}/PutChunks",
                request_serializer=_same,
                response_deserializer=transfer_pb2.PutChunksResponse.FromString,
            )
            call(iter(streams[index]), metadata=self.metadata)

        self.each(send, len(streams))

    def read(self, requests: Sequence[transfer_pb2.ReadChunksRequest]) -> int:
        """Read streams and return the bytes of their messages."""
        sizes = [0] * len(requests)

        def receive(channel: grpc.Channel, index: int) -> None:
            call = channel.unary_stream(
                f"{SERVICE}/ReadChunks",
                request_serializer=transfer_pb2.ReadChunksRequest.SerializeToString,
                response_deserializer=_same,
            )
            for message in call(requests[index], metadata=self.metadata):
                sizes[index] += len(message)

        self.each(receive, len(requests))
        return sum(sizes)


def _same(message: bytes) -> bytes:
    return message


Chunks = list[tuple[bytes, memoryview]]


def cut(data: bytes) -> Chunks:
    """Cut the bytes with the profile cdc."""
    view = memoryview(data)
    return [(each.digest, view[each.offset : each.offset + each.length]) for each in chunking.cut_bytes(data)]


def messages(upload: str, chunks: Chunks) -> list[list[bytes]]:
    """Return the serialised messages of the streams that bring the chunks."""
    streams: list[list[bytes]] = []
    for group in _groups(chunks, STREAM):
        size = sum(len(data) for _, data in group)
        header = transfer_pb2.PutChunksHeader(upload=upload, declared_chunks=len(group), declared_bytes=size)
        finish = transfer_pb2.PutChunksFinish(chunks=len(group), bytes=size)
        stream = [transfer_pb2.PutChunksRequest(header=header).SerializeToString()]
        for some in _groups(group, MIB):
            pieces = transfer_pb2.Pieces(
                digests=b"".join(digest for digest, _ in some),
                lengths=[len(data) for _, data in some],
                data=b"".join(data for _, data in some),
            )
            stream.append(transfer_pb2.PutChunksRequest(pieces=pieces).SerializeToString())
        stream.append(transfer_pb2.PutChunksRequest(finish=finish).SerializeToString())
        streams.append(stream)
    return streams


def _groups(chunks: Chunks, size: int) -> Iterator[Chunks]:
    group: Chunks = []
    total = 0
    for chunk in chunks:
        if group and total + len(chunk[1]) > size:
            yield group
            group, total = [], 0
        group.append(chunk)
        total += len(chunk[1])
    if group:
        yield group


class Results:
    """Rates and CPU times by row."""

    def __init__(self) -> None:
        self.rates: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}

    @contextlib.contextmanager
    def measured(self, row: str, server: Server, size: int) -> Iterator[None]:
        """Measure what happens inside the with block."""
        cpu, start = server.cpu(), time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self.rates.setdefault(row, []).append(size / seconds / 1e9)
        self.cpu.setdefault(row, []).append((server.cpu() - cpu) / size * 1e9)

    def show(self) -> None:
        """Print the medians."""
        print(f"{'':24}{'GB/s':>8}{'best':>8}{'CPU-s/GB':>10}")
        for row, rates in self.rates.items():
            cpu = statistics.median(self.cpu[row])
            print(f"{row:24}{statistics.median(rates):8.2f}{max(rates):8.2f}{cpu:10.2f}")
        for way in ("push", "pull"):
            share = statistics.median(self.rates[way]) / statistics.median(self.rates[f"raw {way}"])
            print(f"{way} at {share:.2f} of raw streaming")


def one_round(client: Client, raw: Client, size: int, results: Results) -> None:
    """Push and pull new random bytes, and stream the same messages raw."""
    data = os.urandom(size)
    chunks = cut(data)
    upload = begin(client)
    streams = messages(upload, chunks)
    with results.measured("raw push", raw.server, size):
        raw.put(streams)
    with results.measured("push", client.server, size):
        client.put(streams)
    version = commit(client, upload, chunks)
    asked = [
        transfer_pb2.ReadChunksRequest(
            tree=version, ranges=[transfer_pb2.ChunkRange(path="data.bin", first=first, count=count)]
        )
        for first, count in _runs(len(chunks), size // STREAM or 1)
    ]
    blocks = [
        transfer_pb2.ReadChunksRequest(ranges=[transfer_pb2.ChunkRange(count=min(size, STREAM) // MIB)])
        for _ in range(max(1, size // STREAM))
    ]
    with results.measured("raw pull", raw.server, size):
        raw.read(blocks)
    with results.measured("pull", client.server, size):
        assert client.read(asked) >= size
    with results.measured("pull again", client.server, size):
        client.read(asked)


def _runs(count: int, parts: int) -> Iterator[tuple[int, int]]:
    for part in range(parts):
        first, end = count * part // parts, count * (part + 1) // parts
        yield first, end - first


def begin(client: Client) -> str:
    """Open an upload."""
    version = transfer_pb2.NewVersion(
        artifact=ARTIFACT.format(namespace="admin"), create=catalog_pb2.Artifact()
    )
    request = transfer_pb2.BeginUploadRequest(target=transfer_pb2.UploadTarget(version=version))
    return client.stub.BeginUpload(request, metadata=client.metadata).upload.name


def commit(client: Client, upload: str, chunks: Chunks) -> str:
    """Put the manifest and commit; return the version."""
    entries = [(digest, len(data)) for digest, data in chunks]
    size = sum(length for _, length in entries)
    segments = digests.split_segments(entries)
    file = transfer_pb2.FileManifest(
        path="data.bin",
        profile=cuts.CDC,
        size_bytes=size,
        segment_count=len(segments),
        segments=[transfer_pb2.Segment(index=index, entries=each) for index, each in enumerate(segments)],
    )
    client.stub.PutManifest(
        transfer_pb2.PutManifestRequest(upload=upload, files=[file]), metadata=client.metadata
    )
    root = digests.file_root(cuts.CDC, size, [digests.segment_digest(each) for each in segments])
    tree = digests.format_digest(digests.tree_digest([("data.bin", size, root)]))
    request = transfer_pb2.CommitUploadRequest(upload=upload, expected_digest=tree, file_count=1)
    return client.stub.CommitUpload(request, metadata=client.metadata).version.name


def start_server(folder: pathlib.Path) -> Server:
    """Start `ingot-server serve` with its data in the folder."""
    command = [sys.executable, "-m", "ingot.server.cli", "serve", "--data", str(folder)]
    command += ["--listen", "127.0.0.1:0", "--json"]
    server = Server(command, "")
    server.target = f"unix:{server.ready['socket']}"
    server.token = (folder / "admin.token").read_text().strip()
    return server


def main() -> None:
    """Run the rounds and print what they gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=2)
    parser.add_argument("--raw-server", help=argparse.SUPPRESS)
    options = parser.parse_args()
    malloc.raise_thresholds()
    if options.raw_server:
        asyncio.run(serve_raw(options.raw_server))
        return
    results = Results()
    with tempfile.TemporaryDirectory(prefix="ingot-bench-") as temporary:
        folder = pathlib.Path(temporary)
        server = start_server(folder / "data")
        socket = str(folder / "raw")
        raw = Server([sys.executable, __file__, "--raw-server", socket], f"unix:{socket}")
        try:
            client, plain = Client(server, options.streams), Client(raw, options.streams)
            for _ in range(options.rounds):
                one_round(client, plain, options.mib * MIB, results)
            results.show()
            print(f"server's peak memory {server.peak_mib():.0f} MiB")
        finally:
            server.stop()
            raw.stop()


if __name__ == "__main__":
    main()
