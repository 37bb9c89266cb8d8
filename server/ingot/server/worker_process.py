"""The worker beside the server (`serve --with-worker`): a child process that ends when the server does.

It is a worker like any other, with a token of its own, and speaks to the server over the same API. A small
step in between asks the kernel to end it if the server is killed, and then becomes the worker: nothing is
ever run between fork and exec in the server, whose threads could hold any lock at that moment.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import sys
from pathlib import Path

log = logging.getLogger(__name__)

_END_WITH_PARENT = """
import ctypes, os, signal, sys
parent, *command = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
if os.getppid() == int(parent):  # else it died before the line above
    os.execv(command[0], command)
"""


class WorkerMissingError(Exception):
    """There is no worker to start; the message says what to install."""


def command() -> str:
    """Return the path of the program `ingot-worker`. Raises WorkerMissingError."""
    beside = Path(sys.executable).parent / "ingot-worker"
    found = str(beside) if beside.exists() else shutil.which("ingot-worker")
    if found is None:
        raise WorkerMissingError(
            "There is no ingot-worker to start: install ingot[worker] beside the server."
        )
    return found


class WorkerProcess:
    """A running worker; make it with `start`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._watch = asyncio.create_task(self._report_end())
        self._stopping = False

    @classmethod
    async def start(cls, address: str, token_file: Path, folder: Path, log_file: Path) -> "WorkerProcess":
        """Start a worker for the server at `address` that works in `folder` and prints to `log_file`."""
        program = command()
        with log_file.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _END_WITH_PARENT, str(os.getpid())),
                *(program, "run", "--server", address, "--token-file", str(token_file), "--dir", str(folder)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches the server alone, which ends it in order
            )
        log.info("worker.started pid=%d log=%s", process.pid, log_file)
        return cls(process)

    async def stop(self, seconds: float) -> None:
        """Ask it to end, and end it after so many seconds."""
        self._stopping = True
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            log.warning("worker.killed pid=%d seconds=%g", self._process.pid, seconds)
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._watch

    async def _report_end(self) -> None:
        status = await self._process.wait()
        if not self._stopping:
            log.error(
                "worker.ended pid=%d status=%d: the server goes on without it", self._process.pid, status
            )
