"""Processes that are measured: a server with its CPU time and peak memory, a client from start to end."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MIB = 1024 * 1024
_CLEAR_PEAK = "5"  # what the kernel takes in clear_refs to begin a new peak
_START_SECONDS = 60.0
_LAST_WORDS = 2000  # characters
_TRY_SECONDS = 0.05
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one row: seconds, also of CPU; peaks of memory in MiB; `bytes` of content, `moved` of it."""

    row: str
    seconds: float
    bytes: int
    moved: int
    client_cpu: float
    server_cpu: float = 0.0
    client_mib: float = 0.0
    server_mib: float = 0.0
    files: int = 1


@dataclass(frozen=True, slots=True)
class Said:
    """What a client said at its end; what it did not say (None) is all bytes, and the life of the process."""

    moved: int | None = None
    seconds: float | None = None


def said_number(text: str) -> Said:
    """Read output that is one number, the bytes that moved, or anything else, which says nothing."""
    return Said(int(text)) if text.strip().isdigit() else Said()


@dataclass(frozen=True, slots=True)
class Command:
    """A client: its words, what it finds in the environment, where it starts, how to read what it prints."""

    words: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    read: Callable[[str], Said] = said_number


class Server:
    """A server in a process of its own, with the processes that it starts.

    It is ready when it says its first line, or, where `port` is given, when something listens there.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        port: int = 0,
        forks: bool = False,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.forks = forks  # a process for each client: its memory must be looked at while it lives
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the server)
        self._process = subprocess.Popen(
            command,
            stdout=self._said if port else subprocess.PIPE,
            stderr=self._said,
            text=True,
            env={**os.environ, **(environment or {})},
            cwd=folder,
        )
        self.first_line = ""
        if port:
            self._wait_for(port)
        elif self._process.stdout is not None:
            self.first_line = self._process.stdout.readline().strip()
        if not port and not self.first_line:
            raise SystemExit(self._not_started())
        self.idle_mib = 0.0
        self._highest = 0.0
        self.note_idle()

    def cpu(self) -> float:
        """Return the CPU seconds that it and the processes it started have used, those that ended too."""
        total = 0
        for process in self._processes():
            text = _text(process, "stat")
            total += sum(map(int, text.rpartition(")")[2].split()[11:15])) if text else 0
        return total / os.sysconf("SC_CLK_TCK")

    def note_idle(self) -> None:
        """Note the memory it has now for what it takes when nobody asks it anything."""
        self.idle_mib = self._tree("VmRSS")

    def new_peak(self) -> None:
        """Forget the peak memory so far."""
        self._highest = 0.0
        for process in self._processes():
            try:
                Path(f"/proc/{process}/clear_refs").write_text(_CLEAR_PEAK, encoding="ascii")
            except OSError:
                continue  # it has just ended

    def look(self) -> None:
        """Note the memory of all its processes now, those too which will be gone when the client is."""
        self._highest = max(self._highest, self._tree("VmRSS"))

    def peak_mib(self) -> float:
        """Return the peak memory since the last `new_peak`: exact for what still runs, else as looked at."""
        return max(self._highest, self._tree("VmHWM"))

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _wait_for(self, port: int) -> None:
        last = time.monotonic() + _START_SECONDS
        while time.monotonic() < last and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(_TRY_SECONDS)
            else:
                return
        self.stop()
        raise SystemExit(self._not_started())

    def _not_started(self) -> str:
        self._said.seek(0)
        last = self._said.read().decode(errors="replace")[-_LAST_WORDS:]
        return f"a server did not start: {self._process.args!r}\n{last}"

    def _processes(self) -> list[int]:
        found = [self._process.pid]
        for process in found:  # which grows meanwhile
            found += _children(process)
        return found

    def _tree(self, key: str) -> float:
        total = 0
        for process in self._processes():
            if figure := _text(process, "status").partition(f"{key}:")[2]:
                total += int(figure.split()[0])
        return total / 1024


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def ingot_server(data: Path, environment: Mapping[str, str] | None = None) -> tuple[Server, dict[str, str]]:
    """Start an `ingot-server`; return it and the environment in which a client finds it."""
    command = [sys.executable, "-m", "ingot.server.cli", "serve", "--json"]
    server = Server([*command, "--data", str(data), "--listen", "127.0.0.1:0"], environment=environment)
    token = (data / "admin.token").read_text(encoding="ascii").strip()
    return server, {"INGOT_SERVER": str(json.loads(server.first_line)["listen"][0]), "INGOT_TOKEN": token}


def measured(
    row: str,
    command: Sequence[str | Path] | Command,
    size: int,
    *,
    server: Server | None = None,
    environment: Mapping[str, str] | None = None,
    files: int = 1,
) -> Sample:
    """Run a client to its end."""
    wanted = command if isinstance(command, Command) else Command(command, environment or {})
    before = server.cpu() if server else 0.0
    if server:
        server.new_peak()
    begun = time.perf_counter()
    process = subprocess.Popen(
        wanted.words,
        env={**os.environ, **wanted.environment},
        stdout=subprocess.PIPE,
        text=True,
        cwd=wanted.folder,
    )
    assert process.stdout is not None
    ended = threading.Event()
    looker = threading.Thread(target=_look, args=(server, ended))
    looker.start()
    text = process.stdout.read().strip()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    ended.set()
    looker.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{row} failed: {' '.join(map(str, wanted.words))}\n{text}")
    said = wanted.read(text)
    return Sample(
        row,
        seconds if said.seconds is None else said.seconds,
        size,
        size if said.moved is None else said.moved,
        usage.ru_utime + usage.ru_stime,
        server.cpu() - before if server else 0.0,
        usage.ru_maxrss / 1024,
        server.peak_mib() if server else 0.0,
        files,
    )


def _look(server: Server | None, ended: threading.Event) -> None:
    """Look at the memory of a server until the client has ended."""
    while server and server.forks and not ended.wait(_LOOK_SECONDS):
        server.look()


def _children(process: int) -> Iterator[int]:
    try:
        threads = list(Path(f"/proc/{process}/task").iterdir())
    except OSError:
        return
    for thread in threads:
        try:
            yield from map(int, (thread / "children").read_text(encoding="ascii").split())
        except OSError:
            continue


def _text(process: int, name: str) -> str:
    """Return a file of a process below /proc, empty when it is gone."""
    try:
        return Path(f"/proc/{process}/{name}").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
