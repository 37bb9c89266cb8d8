"""Start the trainer's processes, signal them, and make sure they never outlive the agent.

One process per rank, each in its own session, with an environment and one spec file and no flags. The link to
the agent's life is PDEATHSIG, which the child asks for itself (`tether`): the kernel kills it when the
*thread* that started it ends, so one thread of this module starts every process and lives as long as the
agent. That thread also blocks the control signals; the child inherits the mask and opens it once its handlers
stand, so a signal can never come too early.

Signals: USR1 = pause (save at the step edge, leave), USR2 = save now and go on, TERM = cancel (leave without
a save). No torch is imported here.
"""

import ctypes
import functools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import BinaryIO, TypeVar

from ingot.worker import progress
from ingot.worker.config import TrainerSpec, wants_gpu
from ingot.worker.problem import failed

PAUSE, CANCEL, SAVE = signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR2
CONTROL_SIGNALS = (PAUSE, CANCEL, SAVE)
PARENT = "INGOT_PARENT_PID"
STDERR_TAIL = 8192  # bytes of a rank's stderr that explain a death
_PR_SET_PDEATHSIG = 1

T = TypeVar("T")


@dataclass(slots=True)
class Control:
    """What the agent asked of a trainer; set by signals, obeyed at step edges."""

    pause: bool = False
    cancel: bool = False
    save: bool = False


class Trainer:
    """The running ranks of one attempt. Read `events` until it ends, then `wait`."""

    def __init__(
        self, ranks: Sequence["subprocess.Popen[bytes]"], events: BinaryIO, logs: Sequence[Path]
    ) -> None:
        self._ranks = ranks
        self._events = events
        self.logs = logs

    @property
    def pids(self) -> list[int]:
        """Process ids by rank; each is also the id of the rank's process group."""
        return [rank.pid for rank in self._ranks]

    def events(self) -> Iterator[progress.Report]:
        """Yield rank 0's reports until it closes the pipe or dies; call once, from one thread."""
        with self._events:
            yield from progress.read_events(self._events)

    def pause(self) -> None:
        """Ask for a checkpoint at the step edge and an end; before step 1 it ends without a checkpoint."""
        self._signal(PAUSE)

    def cancel(self) -> None:
        """Ask for an end at the step edge, without a checkpoint."""
        self._signal(CANCEL)

    def save(self) -> None:
        """Ask for a checkpoint at the step edge; training goes on."""
        self._signal(SAVE)

    def dump_stacks(self) -> None:
        """Have every rank write the stacks of its threads to its log."""
        self._signal(signal.SIGQUIT)

    def kill(self) -> None:
        """End every rank and everything it started, at once."""
        for rank in self._ranks:
            if rank.poll() is None:
                with suppress(ProcessLookupError):  # it ends this moment, and another thread waits for that
                    os.killpg(rank.pid, signal.SIGKILL)

    def alive(self) -> bool:
        """Tell whether any rank still runs."""
        return any(rank.poll() is None for rank in self._ranks)

    def wait(self, timeout: float | None = None) -> list[int]:
        """Wait for every rank and return the exit codes (evidence, never the outcome).

        Raises TimeoutError.
        """
        try:
            return [rank.wait(timeout) for rank in self._ranks]
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"the trainer still runs after {timeout} s") from error

    def stderr_tail(self, rank: int = 0, limit: int = STDERR_TAIL) -> str:
        """Return the last bytes a rank wrote to stderr."""
        return tail(self.logs[rank], limit)

    def _signal(self, number: signal.Signals) -> None:
        for rank in self._ranks:
            if rank.poll() is None:
                with suppress(ProcessLookupError):  # likewise
                    os.kill(rank.pid, number)


def start(spec_path: Path, logs: Path, threads: int | None = None, python: str = sys.executable) -> Trainer:
    """Start the ranks of a spec; stderr and stdout of rank r go to `logs`/rank-r.log (appended).

    `threads` is the number of compute threads per rank (default: all cores over the ranks). A resumed attempt
    is bitwise equal only with the same number. Raises TrainingError when the spec asks for more than one
    rank.
    """
    spec = TrainerSpec.load(spec_path)
    if spec.ranks != 1:
        raise failed(
            "FIELD_INVALID", f"ranks is {spec.ranks}; this worker drives one process per job.", "Use 1."
        )
    command = [python, "-m", "ingot.worker.attempt", str(spec_path)]
    count = threads or max(1, (os.cpu_count() or 1) // spec.ranks)
    common = compute_environment(wants_gpu(spec.config), count)
    port = str(_free_port())
    logs.mkdir(parents=True, exist_ok=True)
    running: list[subprocess.Popen[bytes]] = []
    paths = [logs / f"rank-{rank}.log" for rank in range(spec.ranks)]
    read_end, write_end = os.pipe()
    try:
        for rank, path in enumerate(paths):
            # All five names, or DeepSpeed goes looking for MPI.
            place = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(spec.ranks),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            }
            running.append(spawn(command, common | place, path, write_end if rank == 0 else None))
    except BaseException:
        os.close(read_end)
        for process in running:
            process.kill()
        raise
    finally:
        os.close(write_end)
    return Trainer(running, os.fdopen(read_end, "rb"), paths)


def compute_environment(gpu: bool | None, threads: int) -> dict[str, str]:
    """Return the environment of a process that computes; `gpu` None leaves the choice to the process."""
    environment = {
        "OMP_NUM_THREADS": str(threads),
        "GOMP_SPINCOUNT": "1000",  # the default spins: 20 times slower beside one busy neighbour
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
        "PYTHONUNBUFFERED": "1",
    }
    if gpu is False:
        environment |= {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    elif gpu:
        environment["DS_ACCELERATOR"] = "cuda"
    return environment


def spawn(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    events: int | None,
    stdin: int = subprocess.DEVNULL,
) -> "subprocess.Popen[bytes]":
    """Start one process in its own session, tethered to this one.

    `events` is the descriptor it reports on.
    """
    full = {**os.environ, **environment, PARENT: str(os.getpid())}
    full.pop(progress.EVENTS_FD, None)
    if events is not None:
        full[progress.EVENTS_FD] = str(events)
    # torch makes this folder when it is imported, in the shared temporary folder unless told otherwise.
    full.setdefault("TORCHINDUCTOR_CACHE_DIR", str(log.parent / "torchinductor"))
    full["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)  # the child finds what we found
    with log.open("ab") as output:

        def begin() -> "subprocess.Popen[bytes]":
            return subprocess.Popen(
                list(command),
                env=full,
                stdin=stdin,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=() if events is None else (events,),
            )

        return _in_spawner(begin)


def tether() -> None:
    """In the child, first of all.

    Die with the process that started us. Without a launcher it does nothing.
    """
    parent = os.environ.get(PARENT)
    if parent is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):  # it died before the line above
        os.kill(os.getpid(), signal.SIGKILL)


def listen() -> Control:
    """In the child: take the control signals, also those that waited, and return where they show."""
    control = Control()

    def handle(number: int, _: FrameType | None) -> None:
        control.pause |= number == PAUSE
        control.cancel |= number == CANCEL
        control.save |= number == SAVE

    for number in CONTROL_SIGNALS:
        signal.signal(number, handle)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, CONTROL_SIGNALS)
    return control


def tail(path: Path, limit: int = STDERR_TAIL) -> str:
    """Return the last `limit` bytes of a log file as text; an absent file is empty."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - limit))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


@functools.cache
def _spawner() -> ThreadPoolExecutor:
    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, CONTROL_SIGNALS)

    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner", initializer=block)


def _in_spawner(begin: Callable[[], T]) -> T:
    return _spawner().submit(begin).result()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
