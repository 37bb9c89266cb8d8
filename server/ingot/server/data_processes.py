"""Data processes: one for each address of `data_listen`, kept running beside the server.

    processes = DataProcesses(settings, folder, hops, packs, addresses)
    await processes.start(pipeline, doors, limits)     # they serve when this returns
    await processes.stop()

A process that ends is started again, and what it left in its ingest folder is dropped. Its clients go on
through the main process, or ask again. One that hangs is killed: it says each second that its loop turns, and
has fallen silent for half a minute. It is told to end by closing its stdin, so it also ends when this
process is killed.
"""

import asyncio
import contextlib
import dataclasses
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import grpc

from ingot.server.core.data_addresses import DataAddresses
from ingot.server.core.uploads import TransferLimits
from ingot.server.data_process import LIMITS, DataSpec
from ingot.server.rpc.data_doors import DataDoors
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.server import AddressError
from ingot.server.settings.fields import Settings
from ingot.server.storage.data_folder import DataFolder
from ingot.server.storage.packs_disk import DiskPacks

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0  # seconds before one that ended is started again
_QUICK = 10.0  # seconds; one that ran longer was no failure of its start
_START_SECONDS = 30.0
_END_SECONDS = 5.0
_TURN_SECONDS, _SILENT_TURNS = 2.0, 15  # so often it is listened for a line, and so often in vain at most
_MANY = 4096  # bytes


@dataclasses.dataclass(slots=True)
class _Running:
    """A process that serves: where, and the name of its ingest folder."""

    process: asyncio.subprocess.Process
    address: str
    ingest: str


async def falls_silent(lines: asyncio.StreamReader, turn_seconds: Callable[[], float]) -> bool:
    """Return True once nothing has been said for so many turns in a row, False when there will be no more.

    Turns are counted instead of seconds: when this process, or the machine, stood still meanwhile, that was
    one turn, and what was said in it is heard in the next.
    """
    silent = 0
    while silent < _SILENT_TURNS:
        try:
            async with asyncio.timeout(turn_seconds()):
                said = await lines.read(_MANY)
        except TimeoutError:
            silent += 1
            continue
        if not said:
            return False
        silent = 0
    return True


class DataProcesses:
    """The data processes of one server; none where `data_listen` is empty."""

    def __init__(
        self,
        settings: Settings,
        folder: DataFolder,
        hops: Hops,
        packs: DiskPacks,
        addresses: DataAddresses,
        key: str,
    ) -> None:
        """`key` is the id of the key for new packs, "" without encryption."""
        self._key = key
        self._settings = settings
        self._folder = folder
        self._hops = hops
        self._packs = packs
        self._addresses = addresses
        addresses.wanted = len(settings.data_listen)
        self._turn_seconds = _TURN_SECONDS
        self._server: grpc.aio.Server | None = None
        self._keeping: list[asyncio.Task[None]] = []
        self._running: dict[int, _Running] = {}

    @property
    def pids(self) -> list[int]:
        """The processes that run now, in the order of their addresses; for any thread."""
        running = dict(self._running)  # at once: the loop may change it meanwhile
        return [running[number].process.pid for number in sorted(running)]

    async def start(
        self, through: grpc.aio.ServerInterceptor, doors: DataDoors, limits: TransferLimits
    ) -> None:
        """Start them all. Raises AddressError when one cannot serve."""
        if not self._settings.data_listen:
            return
        self._server = await doors.serve(through, self._socket("data"))
        wanted = enumerate(self._settings.data_listen, start=1)
        starts = [self._begin(number, self._spec(number, address, limits)) for number, address in wanted]
        for failed in filter(None, await asyncio.gather(*starts, return_exceptions=True)):
            raise failed
        for number, running in sorted(self._running.items()):
            spec = self._spec(
                number, running.address, limits
            )  # again on the same port, if it was any free one
            self._keeping.append(asyncio.create_task(self._keep(number, spec)))
        log.info("data.started addresses=%s", ",".join(each.address for each in self._running.values()))

    async def stop(self) -> None:
        """End them all; their streams have ended with those of the main process."""
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        await asyncio.gather(*(self._end(number) for number in list(self._running)))
        if self._server is not None:
            await self._server.stop(0)

    async def _keep(self, number: int, spec: DataSpec) -> None:
        """Start a process again whenever it ends."""
        pause, loop = _FIRST_PAUSE, asyncio.get_running_loop()
        while True:
            began = loop.time()
            if number in self._running:
                status = await self._ended(number)
                log.error("data.ended number=%d status=%d: it is started again", number, status)
                await self._gone(number)
            pause = _FIRST_PAUSE if loop.time() - began > _QUICK else min(2 * pause, _LONGEST_PAUSE)
            await asyncio.sleep(pause)
            try:
                await self._begin(number, spec)
            except (AddressError, OSError) as error:
                log.error("data.not_started number=%d error=%s", number, error)

    async def _ended(self, number: int) -> int:
        """Return the status of a process once it has ended; one that falls silent is killed."""
        process = self._running[number].process
        assert process.stdout is not None
        if await falls_silent(process.stdout, lambda: self._turn_seconds):
            log.error("data.silent number=%d pid=%d: it hangs and is killed", number, process.pid)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        return await process.wait()

    async def _begin(self, number: int, spec: DataSpec) -> None:
        with (self._folder.logs / f"data-{number}.log").open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "ingot.server.data_process"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches the server alone, which ends it in order
            )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(dataclasses.asdict(spec)).encode() + b"\n")
        try:
            async with asyncio.timeout(_START_SECONDS):
                line = await process.stdout.readline()
            told = json.loads(line) if line else {"error": "It ended before it served; see its log."}
        except (TimeoutError, ValueError):
            told = {"error": f"It did not serve within {_START_SECONDS:g} s."}
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if "error" in told:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise AddressError(f"data_listen: {told['error'].replace('--listen', '--data-listen')}")
        self._running[number] = _Running(process, told["address"], told["ingest"])
        self._packs.ingests.keep(told["ingest"])
        self._addresses.began(number, told["address"].rpartition(":")[2], spec.socket)
        log.info("data.began number=%d pid=%d address=%s", number, process.pid, told["address"])

    async def _gone(self, number: int) -> None:
        """Forget a process that has ended, and drop what it left."""
        self._addresses.ended(number)
        running = self._running.pop(number)
        await self._hops.io(self._packs.ingests.drop, running.ingest)

    async def _end(self, number: int) -> None:
        process = self._running[number].process
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await self._gone(number)

    def _spec(self, number: int, address: str, limits: TransferLimits) -> DataSpec:
        chosen = self._settings
        authority = "" if chosen.tls_client_ca == Path() else str(chosen.tls_client_ca)
        return DataSpec(
            folder=str(self._folder.path),
            key_file=str(chosen.encryption_key_file),
            key=self._key,
            address=address,
            socket=str(self._socket(f"data-{number}")),
            main=str(self._socket("data")),
            io_threads=chosen.io_threads,
            log_level=chosen.log_level,
            limits={name: getattr(limits, name) for name in LIMITS},
            tls=(str(chosen.tls_cert), str(chosen.tls_key), authority) if chosen.has_tls else None,
        )

    def _socket(self, name: str) -> Path:
        return self._folder.socket_path().with_name(f"{name}.sock")
