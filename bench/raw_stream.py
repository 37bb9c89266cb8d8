"""Raw gRPC streaming: what any program on this transport can reach at best, and keeps nothing.

    python bench/raw_stream.py serve                        prints its address
    python bench/raw_stream.py push|pull ADDRESS FILE

A push reads a file in messages of 1 MiB and sends them over as many connections as the SDK begins with; the
far end throws them away. A pull streams as many bytes from the far end's memory and throws them away here.
Messages are plain bytes without protobuf, through the options of our server and client, with malloc tuned.
"""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc

from ingot.content import malloc
from ingot.server.rpc.server import OPTIONS

MESSAGE = 1024 * 1024
LANES = 2
_SERVICE = "raw.Stream"


async def _take(messages: AsyncIterator[bytes], context: object) -> bytes:
    size = 0
    async for message in messages:
        size += len(message)
    return str(size).encode()


async def _give(request: bytes, context: object) -> AsyncIterator[bytes]:
    block = os.urandom(MESSAGE)
    for _ in range(int(request)):
        yield block


async def serve() -> None:
    """Serve on a free port, say which, run until it is ended."""
    server = grpc.aio.server(options=OPTIONS)
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Take": grpc.stream_unary_rpc_method_handler(_take),
        "Give": grpc.unary_stream_rpc_method_handler(_give),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


def push(channel: grpc.Channel, path: str, start: int, end: int) -> None:
    """Send a part of a file."""

    def messages() -> Iterator[bytes]:
        descriptor = os.open(path, os.O_RDONLY)
        for offset in range(start, end, MESSAGE):
            yield os.pread(descriptor, min(MESSAGE, end - offset), offset)
        os.close(descriptor)

    call: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(f"/{_SERVICE}/Take", None, None)
    if int(call(messages())) != end - start:
        raise SystemExit("not everything arrived")


def pull(channel: grpc.Channel, path: str, start: int, end: int) -> None:
    """Receive as many bytes as that part of a file has."""
    call: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(f"/{_SERVICE}/Give", None, None)
    count = (end - start) // MESSAGE
    if sum(map(len, call(str(count).encode()))) != count * MESSAGE:
        raise SystemExit("not everything arrived")


def client(verb: str, address: str, path: str) -> None:
    """Push or pull the size of a file over all lanes."""
    size = os.path.getsize(path)
    share = -(-size // LANES // MESSAGE) * MESSAGE
    threads = []
    for start in range(0, size, share):
        channel = grpc.insecure_channel(address, [*OPTIONS, ("grpc.use_local_subchannel_pool", 1)])
        end = min(size, start + share)
        work = push if verb == "push" else pull
        threads.append(threading.Thread(target=work, args=(channel, path, start, end)))
        threads[-1].start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    malloc.raise_thresholds()
    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        client(*sys.argv[1:4])
