"""Bodies in child processes: spec on stdin, reports on a pipe, output in a log file, a folder of their own.

    data/staging/op_12                 the folder: kept from attempt to attempt, gone when the operation is
    data/logs/operations/op_12.log     what it and its attempts before wrote to stdout and stderr: the first
                                       32 MiB and the last, which a line tells that divides them

The child leads a session of its own, so that killing its group takes its children with it. A small step in
between asks the kernel to kill it when the server dies, bounds its memory, offers it to the kernel before the
server when memory runs out, and then becomes the body: nothing is ever run between fork and exec in the
server, whose threads could hold any lock at that moment.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingot.server.core import failpoints
from ingot.server.core.artifacts import JsonObject
from ingot.server.core.body_protocol import REPORTS, BodySpec, out_of_memory
from ingot.server.core.operations import Operation
from ingot.server.runner import reports
from ingot.server.runner.seams import Ending, Failed, Hops, Told, Vanished

BODY_COMMAND = (sys.executable, "-P", "-m", "ingot.server.bodies")  # -P: nothing is imported from its folder
# -I -S: nothing is imported from the folder here either, and it starts fast.
# The limit is that of data: what a process may write to, not what it maps from files or only reserves.
_FIRST_STEP = (
    sys.executable,
    "-I",
    "-S",
    "-c",
    """
import ctypes, os, resource, signal, sys
parent, memory, *command = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:  # not mounted, or not writable, as in some containers
        pass
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if int(memory) and (most == resource.RLIM_INFINITY or int(memory) < most):
        resource.setrlimit(resource.RLIMIT_DATA, (int(memory), int(memory)))
if os.getppid() == int(parent):  # else it died before the line above
    os.execv(command[0], command)
""",
)
# What the server may know and a body must not: it gets the secrets of its requester, and no others.
_KEPT_BACK = ("INGOT_HUB_TOKEN", "HUGGINGFACE_TOKEN", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
MOST_OUTPUT = 64 * 1024 * 1024  # bytes of a log file
KEPT_OUTPUT = MOST_OUTPUT // 2  # what stays of it when it is larger
_LEFT_OUT = b"\n[output was left out here: a log keeps its first 32 MiB, and the latest]\n"
_LAST_OUTPUT = 64 * 1024
_OUTPUT_SECONDS = 1.0  # between two looks at its size
_TAIL = 1500  # bytes of its output that a problem quotes
_DRAIN_SECONDS = 2.0  # for what is left in the pipe of a process that has ended
_BLACK = "[secret]"
# What libraries say that end the process themselves when they get no memory.
_NO_MEMORY = ("MemoryError", "memory allocation of", "bad_alloc", "out of memory", "Cannot allocate memory")

SettingValue = str | int | float | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BodyMeans:
    """What every body is given: how it reaches the server, and as whom."""

    server: str  # address: unix:/…
    token: Callable[[Operation], str]
    params: Callable[[Operation], JsonObject]  # whole, with what is secret of them
    secrets: Callable[[Operation], Mapping[str, str]]  # by host; called inside a read
    settings: Mapping[str, SettingValue]
    memory_bytes: int = 0  # that a body may take, 0 is any number


class BodyFolders:
    """Where bodies keep their files, below the data folder."""

    def __init__(self, home: Path) -> None:
        self.staging = home / "staging"
        self.logs = home / "logs" / "operations"

    def folder(self, operation: str) -> Path:
        """Return the folder of an operation, by its id."""
        return self.staging / operation

    def log(self, operation: str) -> Path:
        """Return the log file of an operation, by its id."""
        return self.logs / f"{operation}.log"

    def make(self, operation: str) -> None:
        """Make what a body needs."""
        self.folder(operation).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)

    def remove(self, operation: str) -> None:
        """Remove the folder of an operation that has ended; its log stays."""
        shutil.rmtree(self.folder(operation), ignore_errors=True)

    def known(self) -> set[str]:
        """Return the ids of the operations that have a folder or a log."""
        folders = {each.name for each in self.staging.glob("op_*")}
        return folders | {each.stem for each in self.logs.glob("op_*.log")}

    def forget(self, operation: str) -> None:
        """Remove folder and log of an operation that nobody remembers."""
        self.remove(operation)
        self.log(operation).unlink(missing_ok=True)


class ProcessBodies:
    """Starts bodies in child processes; implements Bodies."""

    def __init__(
        self,
        hops: Hops,
        folders: BodyFolders,
        means: BodyMeans,
        command: Sequence[str] = BODY_COMMAND,
    ) -> None:
        self._hops = hops
        self._folders = folders
        self._means = means
        self._command = tuple(command)

    async def start(self, operation: Operation) -> "ProcessBody":
        """Start the body of a claimed operation."""
        await self._hops.io(self._folders.make, operation.id)
        secrets = await self._hops.read(self._means.secrets, operation)
        log = self._folders.log(operation.id)
        spec = BodySpec.model_validate(
            {
                "operation": operation.name,
                "attempt": operation.attempt,
                "kind": operation.kind,
                "target": operation.target,
                "requester": operation.requester,
                "params": self._means.params(operation),
                "server": self._means.server,
                "token": self._means.token(operation),
                "folder": str(self._folders.folder(operation.id)),
                "log": str(log),
                "secrets": secrets,
                "settings": self._means.settings,
            }
        )
        body = await ProcessBody.start(self._command, spec, log, self._means.memory_bytes)
        failpoints.hit("body.started")
        return body


class ProcessBody:
    """A body in a child process; made by `start`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        pipe: asyncio.ReadTransport,
        reader: asyncio.StreamReader,
        spec: BodySpec,
        output_from: int,
        memory: int,
    ) -> None:
        self._process = process
        self._pipe = pipe
        self._spec = spec
        self._output_from = output_from
        self._memory = memory
        self._telling = reports.Telling()
        self._over = asyncio.Event()
        self._listening = asyncio.create_task(reports.listen(reader, self._telling, self._over))
        self._feeding = asyncio.create_task(self._feed())
        self._bounding = asyncio.create_task(self._bound_output())

    @classmethod
    async def start(cls, command: Sequence[str], spec: BodySpec, log: Path, memory: int = 0) -> "ProcessBody":
        """Start `command` as the body of a spec, with so many bytes of memory; its output goes to `log`."""
        loop = asyncio.get_running_loop()
        ours, theirs = os.pipe()
        reader = asyncio.StreamReader()
        try:
            pipe, _ = await loop.connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", 0)
            )
        except BaseException:
            os.close(theirs)
            raise
        try:
            with log.open("ab") as output:
                begin = output.tell()
                process = await asyncio.create_subprocess_exec(
                    *_FIRST_STEP,
                    str(os.getpid()),
                    str(memory),
                    *command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    cwd=spec.folder,
                    env={**_environment(), REPORTS: str(theirs)},
                    pass_fds=(theirs,),
                    start_new_session=True,
                )
        except BaseException:
            pipe.close()
            raise
        finally:
            os.close(theirs)
        return cls(process, pipe, reader, spec, begin, memory)

    @property
    def pid(self) -> int:
        """The process, which leads a group of the same number."""
        return self._process.pid

    async def ended(self) -> Ending:
        """Wait for the end of the process, end its children, and return what it said last."""
        status = await self._process.wait()
        self._signal(signal.SIGKILL)  # what it may have left behind
        self._over.set()
        await asyncio.to_thread(bound_output, Path(self._spec.log))
        await asyncio.wait({self._listening}, timeout=_DRAIN_SECONDS)
        tasks = (self._listening, self._feeding, self._bounding)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pipe.close()
        if self._telling.ending is not None:
            return self._telling.ending
        how = f"exit status {status}" if status >= 0 else signal.Signals(-status).name
        tail = await asyncio.to_thread(self._tail)
        if self._memory and any(words in tail for words in _NO_MEMORY):
            return Failed(out_of_memory(self._memory))
        facts = {"status": how, "log": self._spec.log, **({"output": tail} if tail else {})}
        return Vanished(f"its process ended with {how} before it gave a result", facts)

    def signs(self) -> int | None:
        """Return the number of reports so far."""
        return self._telling.signs

    def take(self) -> Told:
        """Return what it reported since the last call."""
        return self._telling.take()

    def stop(self) -> None:
        """Ask it to stop: SIGTERM, for it alone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """Kill it with all its children, frozen or not."""
        if self._process.returncode is None:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def _feed(self) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(ConnectionError):  # it ended before it had read everything
            stdin.write(self._spec.model_dump_json().encode())
            await stdin.drain()
        stdin.close()
        with contextlib.suppress(ConnectionError):
            await stdin.wait_closed()

    async def _bound_output(self) -> None:
        """Keep its log within its bounds while it runs."""
        while True:
            await asyncio.sleep(_OUTPUT_SECONDS)
            await asyncio.to_thread(bound_output, Path(self._spec.log))

    def _tail(self) -> str:
        """Return the end of what this attempt wrote, without secrets."""
        with contextlib.suppress(OSError), open(self._spec.log, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(min(self._output_from, KEPT_OUTPUT), end - _TAIL))
            text = file.read(_TAIL).decode("utf-8", "replace").strip()
            for secret in self._spec.hidden:
                text = text.replace(secret, _BLACK) if secret else text
            return text
        return ""


def bound_output(log: Path) -> None:
    """Take out the middle of a log that is too large; whoever writes to it goes on behind its end."""
    with contextlib.suppress(OSError):  # it is tried again, and a log is not worth an attempt
        if log.stat().st_size <= MOST_OUTPUT:
            return
        with log.open("rb") as file:
            file.seek(-_LAST_OUTPUT, os.SEEK_END)
            last = file.read(_LAST_OUTPUT)
        os.truncate(log, KEPT_OUTPUT)
        with log.open("ab") as file:
            file.write(_LEFT_OUT + last)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _KEPT_BACK}
