"""A data process: `python -m ingot.server.data_process`, which the server starts for each of data_listen.

It serves PutChunks and ReadChunks and nothing else. It reads packs, finishes new ones and has no database and
no secret of the server: whatever a stream needs of these it asks the main process (`rpc/data_streams.py`).
What it is to do comes as a line of JSON on stdin. That stays open as long as the main process lives; when it
ends, this process ends in the same moment. It says on stdout, in a line of JSON, that it serves, and where;
from then on a line each second says that the loop that serves still turns.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from ingot.content import malloc, tuning
from ingot.server import logs

P = ParamSpec("P")
T = TypeVar("T")

LIMITS = (
    "max_ranges",
    "max_stream_seconds",
    "idle_seconds",
    "min_bytes_per_second",
    "grace_seconds",
    "read_idle_seconds",
)
_BEAT_SECONDS = 1.0
_LET_GO_SECONDS = 1.0  # how long a pack that was removed takes its space
_LAST_REPLIES = 2.0  # seconds for what is answered while it is told to end


@dataclasses.dataclass(frozen=True, slots=True)
class DataSpec:
    """What a data process is to do; `limits` are those of TransferLimits that LIMITS names."""

    folder: str
    key_file: str
    key: str  # the id of the key for new packs that the main process has, "" without encryption
    address: str
    socket: str
    main: str  # unix socket of the main process for questions
    io_threads: int
    log_level: str
    limits: Mapping[str, float]
    tls: tuple[str, str, str] | None = None  # certificate, key, authority of clients or nothing


class Threads:
    """Threads for work on files."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, "ingot-io")

    async def io(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` on one of them."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: fn(*args, **kwargs))


def main() -> int:
    """Serve until told to stop, or until the main process ends."""
    tuning.begin()
    malloc.raise_thresholds()
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # before gRPC is loaded
    told = json.loads(sys.stdin.readline())
    spec = DataSpec(**{**told, "tls": tuple(told["tls"]) if told["tls"] else None})
    threading.Thread(target=_end_with_main, name="ingot-main", daemon=True).start()
    logs.start_beside(spec.log_level)
    return asyncio.run(_serve(spec))


def _end_with_main() -> None:
    """Leave at once when the main process is gone: what was acknowledged is on disk, no more counts."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(0)


async def _serve(spec: DataSpec) -> int:
    import grpc

    from ingot.server.core.uploads import TransferLimits
    from ingot.server.rpc.data_streams import DataStreams
    from ingot.server.rpc.idle_memory import Trimming
    from ingot.server.rpc.server import INNER_OPTIONS, OPTIONS, AddressError, bind
    from ingot.server.rpc.tls import Tls
    from ingot.server.storage.pack_keys import KeyFileError, keyring
    from ingot.server.storage.packs_data import DataPacks

    folder = Path(spec.folder)
    try:
        keys = keyring(Path(spec.key_file), folder)
    except KeyFileError as error:
        _tell({"error": str(error)})
        return 1
    if (keys.active.hex() if keys else "") != spec.key:
        _tell({"error": "encryption_key_file has changed since the server started. Restart the server."})
        return 1
    packs = DataPacks(folder, keys)
    tls = None
    if spec.tls is not None:
        certificate, key, authority = spec.tls
        tls = Tls(Path(certificate), Path(key), Path(authority) if authority else None)
    limits = TransferLimits(**spec.limits)  # type: ignore[arg-type]  # counts come as they went
    options = [*INNER_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"unix:{spec.main}", options=options) as channel:
        server = grpc.aio.server(options=OPTIONS)
        threads = Threads(spec.io_threads)
        DataStreams(channel, threads, packs, packs, limits, Trimming(malloc.trim)).add_to(server)
        try:
            address = bind(server, spec.address, tls)
        except AddressError as error:
            packs.close()
            _tell({"error": str(error)})
            return 1
        server.add_insecure_port(f"unix:{spec.socket}")
        await server.start()
        _tell({"address": address, "ingest": packs.ingest})
        async with asyncio.TaskGroup() as beside:
            tasks = [beside.create_task(_beat()), beside.create_task(_let_go(threads, packs.let_go))]
            await _told()
            for task in tasks:
                task.cancel()
        await server.stop(_LAST_REPLIES)
    packs.close()
    return 0


def _tell(facts: Mapping[str, str]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def _beat() -> None:
    """Say each second that the loop turns; whoever reads it has a limit for silence."""
    while True:
        with contextlib.suppress(BrokenPipeError):  # then this process is about to end
            os.write(sys.stdout.fileno(), b"\n")
        await asyncio.sleep(_BEAT_SECONDS)


async def _let_go(threads: Threads, let_go: Callable[[], None]) -> None:
    """Let go of packs that are not there any more, again and again; on a thread, since a disk may be slow."""
    while True:
        await threads.io(let_go)
        await asyncio.sleep(_LET_GO_SECONDS)


async def _told() -> None:
    """Wait for SIGTERM."""
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await told.wait()


if __name__ == "__main__":
    sys.exit(main())
