"""Many watchers of operations on one server, with breaks forced on them: what is lost, doubled, and how late.

    python bench/watchers.py [--watchers 5000] [--breaks 2000] [--operations 50] [--events 20] [--pause 1.0]

One process serves and writes events through the rules that runners use; two others watch, 100 streams on a
connection, all opened at once. A break cancels the call in the middle of its events; the watcher calls again
with the last number it handled. A delivery is late by the time from the event's own time stamp, which is
taken before its commit, to its arrival in the watcher. Prints one table; exits with 1 when anything was lost
or doubled.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
from processes import Server

from ingot.server import app as composition
from ingot.server.app import App
from ingot.server.core.events import LogLevel, LogLine
from ingot.server.core.identity import system_caller
from ingot.server.core.operations import NewOperation, Operation, QueueLimits
from ingot.server.settings.fields import Settings
from ingot.server.storage.data_folder import DataFolder
from ingot.v1 import operations_pb2 as pb
from ingot.v1 import operations_pb2_grpc

CLIENTS = 2
STREAMS = 100  # on one connection
STILL = ("download=0", "validate=0", "export=0", "maintenance=2")
ANY = QueueLimits({"download": 10_000})
PARAMS = {
    "source": {"kind": "hub", "repository": "org/bench"},
    "target": {"artifact": "namespaces/admin/models/bench"},
}
_RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED)
_TRIES = 20


@dataclass(slots=True)
class Seen:
    """What the watchers of one process saw; delays in milliseconds."""

    watchers: int = 0
    deliveries: int = 0
    breaks: int = 0
    again: int = 0  # calls that the server or the network ended, and that were made again
    lost: int = 0
    doubled: int = 0
    unfinished: int = 0
    delays: list[int] = field(default_factory=list)


def main() -> int:
    """Measure and print, or be one of the processes that are measured."""
    options = arguments()
    if options.serve:
        asyncio.run(serve(options))
        return 0
    if options.watch:
        asyncio.run(watch(options))
        return 0
    with tempfile.TemporaryDirectory(prefix="ingot-bench-") as folder:
        return measure(options, folder)


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--watchers", type=int, default=5000)
    parser.add_argument("--breaks", type=int, default=2000, help="forced breaks in all")
    parser.add_argument("--operations", type=int, default=50)
    parser.add_argument("--events", type=int, default=20, help="log lines of each operation")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two lines of an operation")
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    parser.add_argument("--watch", default="", help=argparse.SUPPRESS)
    parser.add_argument("--part", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


# --- the whole ------------------------------------------------------------------------------------------


def measure(options: argparse.Namespace, folder: str) -> int:
    """Run server and clients; print what they saw."""
    again = [sys.executable, __file__, *sys.argv[1:]]
    with contextlib.ExitStack() as stack:
        server = Server([*again, "--serve", folder])
        stack.callback(server.stop)
        clients = [
            subprocess.Popen(
                [*again, "--watch", server.first_line, "--part", str(part)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for part in range(CLIENTS)
        ]
        for client in clients:
            stack.callback(_end, client)
        begun = time.perf_counter()
        for client in clients:
            _line(client)
        opened = time.perf_counter() - begun
        watching_mib, cpu = server.peak_mib(), server.cpu()
        os.kill(json.loads(server.first_line)["process"], signal.SIGUSR1)
        begun = time.perf_counter()
        parts = [Seen(**json.loads(_line(client))) for client in clients]
        seconds, cpu = time.perf_counter() - begun, server.cpu() - cpu
        peak = server.peak_mib()
        return report(parts, opened, seconds, cpu, (server.idle_mib, watching_mib, peak))


def report(
    parts: list[Seen], opened: float, seconds: float, cpu: float, mib: tuple[float, float, float]
) -> int:
    """Print the figures; return the exit status."""
    total = {name: sum(getattr(part, name) for part in parts) for name in asdict(Seen()) if name != "delays"}
    delays = sorted(delay for part in parts for delay in part.delays)
    rows = {
        "watchers": total["watchers"],
        "opened in": f"{opened:.1f} s",
        "deliveries": f"{total['deliveries']} in {seconds:.1f} s",
        "forced breaks": total["breaks"],
        "calls made again": total["again"],
        "lost": total["lost"],
        "doubled": total["doubled"],
        "watchers without an end": total["unfinished"],
        "delay p50 / p99 / max": " / ".join(f"{delays[int((len(delays) - 1) * q)]}" for q in (0.5, 0.99, 1))
        + " ms",
        "server's CPU for a delivery": f"{cpu / max(total['deliveries'], 1) * 1e6:.0f} us",
        "server's memory idle / watched / peak": " / ".join(f"{each:.0f}" for each in mib) + " MiB",
        "load of the machine": f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:<{width}}  {value}")
    return 1 if total["lost"] or total["doubled"] or total["unfinished"] else 0


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    found = process.stdout.readline()
    if not found:
        raise SystemExit("a process that watches has ended before its time")
    return found


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    process.wait(60)


# --- the server -----------------------------------------------------------------------------------------


async def serve(options: argparse.Namespace) -> None:
    """Serve until told to end; write all events once SIGUSR1 has come."""
    folder = Path(options.serve)
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, told.set)
    settings = Settings(
        data_dir=folder / "data",
        listen=("127.0.0.1:0",),
        operation_queues=STILL,
        operation_lease_seconds=3600.0,  # nobody beats while the watchers gather
    )
    async with composition.running(settings, DataFolder.hold(settings.data_dir)) as server:
        begun = [await begin(server, number) for number in range(options.operations)]
        facts = {
            "process": os.getpid(),
            "address": server.addresses[0],
            "token": server.folder.token("admin"),
            "operations": [each.name for each in begun],
        }
        print(json.dumps(facts), flush=True)
        await told.wait()
        await asyncio.gather(*(work(server, each, options) for each in begun))
        await asyncio.Event().wait()


async def begin(server: App, number: int) -> Operation:
    """Queue an operation and claim it."""
    parts = server.operations
    new = NewOperation("import", PARAMS, target=f"bench {number}")
    queued = await server.hops.write(parts.operations.enqueue, system_caller(), new)
    claimed = await server.hops.write(parts.claims.claim, "bench", queued.id, ANY)
    assert claimed is not None
    return claimed


async def work(server: App, operation: Operation, options: argparse.Namespace) -> None:
    """Write the lines of one operation, each in a write of its own, and end it."""
    claims, hops = server.operations.claims, server.hops
    await asyncio.sleep(random.uniform(0, options.pause))
    for number in range(options.events):
        line = LogLine(LogLevel.INFO, 0, f"line {number} of {operation.name}")
        await hops.write(claims.beat, operation.id, operation.attempt, None, [line])
        await asyncio.sleep(options.pause)
    await hops.write(claims.succeed, operation.id, operation.attempt, {})


# --- the watchers ---------------------------------------------------------------------------------------


async def watch(options: argparse.Namespace) -> None:
    """Watch with a share of the watchers; say when all are up to date, and at the end what they saw."""
    facts = json.loads(options.watch)
    chosen = range(options.part, options.watchers, CLIENTS)
    broken = set(random.Random(7).sample(range(options.watchers), min(options.breaks, options.watchers)))
    seen = Seen(watchers=len(chosen))
    ready = Gathering(len(chosen))
    async with contextlib.AsyncExitStack() as stack:
        stubs = [await _stub(stack, facts["address"]) for _ in range(-(-len(chosen) // STREAMS))]
        watchers = [
            Watcher(
                stubs[at % len(stubs)],
                facts["operations"][number % len(facts["operations"])],
                (("authorization", f"Bearer {facts['token']}"),),
                random.randint(3, options.events) if number in broken else 0,
                options.events + 3,  # besides its lines an operation is queued, begun and ended
            )
            for at, number in enumerate(chosen)
        ]
        tasks = [asyncio.create_task(each.run(seen, ready.arrive)) for each in watchers]
        await ready.complete.wait()
        print("ready", flush=True)
        await asyncio.gather(*tasks)
    print(json.dumps(asdict(seen)), flush=True)


class Gathering:
    """Waits until all have arrived."""

    def __init__(self, expected: int) -> None:
        self._missing = expected
        self.complete = asyncio.Event()

    def arrive(self) -> None:
        """Count one."""
        self._missing -= 1
        if self._missing == 0:
            self.complete.set()


class Watcher:
    """Follows one operation to its end; it breaks off once, after the event `break_at`."""

    def __init__(
        self, stub: Any, operation: str, metadata: tuple[tuple[str, str], ...], break_at: int, last: int
    ) -> None:
        self._stub = stub
        self._operation = operation
        self._metadata = metadata
        self._break_at = break_at
        self._last = last
        self._handled = 0
        self._told = False

    async def run(self, seen: Seen, arrive: Callable[[], None]) -> None:
        """Watch, through breaks, until the operation has ended."""
        tries = 0
        while True:
            request = pb.WatchOperationRequest(name=self._operation, after=self._handled)
            call = self._stub.WatchOperation(request, metadata=self._metadata)
            try:
                broke = await self._follow(call, seen, arrive)
            except grpc.aio.AioRpcError as error:
                tries += 1
                if tries > _TRIES or error.code() not in _RETRIED:
                    seen.unfinished += 1
                    print(error, file=sys.stderr)
                    return
                seen.again += 1
                await asyncio.sleep(random.uniform(0.1, 1.0))
                continue
            if not broke:
                seen.unfinished += self._handled != self._last
                return

    async def _follow(self, call: Any, seen: Seen, arrive: Callable[[], None]) -> bool:
        """Handle the messages of one call; return whether it was broken off, and not at its end."""
        async for message in call:
            match message.WhichOneof("message"):
                case "event":
                    self._handle(message.event, seen)
                    if message.event.seq == self._break_at:
                        self._break_at = 0
                        seen.breaks += 1
                        call.cancel()
                        return True
                case "synced" if not self._told:
                    self._told = True
                    arrive()
        return False

    def _handle(self, event: Any, seen: Seen) -> None:
        seen.deliveries += 1
        if event.seq <= self._handled:
            seen.doubled += 1
            return
        seen.lost += event.seq - self._handled - 1
        self._handled = event.seq
        if event.HasField("log"):
            seen.delays.append(round((time.time() - event.time.ToMicroseconds() / 1e6) * 1000))


async def _stub(stack: contextlib.AsyncExitStack, address: str) -> Any:
    """Return a stub on a connection of its own."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    channel: Any = await stack.enter_async_context(grpc.aio.insecure_channel(address, options=options))
    return operations_pb2_grpc.OperationsServiceStub(channel)


if __name__ == "__main__":
    sys.exit(main())
