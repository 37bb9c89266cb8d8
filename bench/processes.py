"""Processes that are measured: a server with its CPU time and peak memory, a client from start to end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
_CLEAR_PEAK = "5"  # what the kernel takes in clear_refs to begin a new peak


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


class Server:
    """A server in a process of its own, which says on its first line that it serves."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        self.first_line = self._process.stdout.readline().strip()
        if not self.first_line:
            raise SystemExit(f"the server did not start: {' '.join(command)}")
        self.idle_mib = self._status("VmRSS")

    def cpu(self) -> float:
        """Return the CPU seconds it has used."""
        text = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def new_peak(self) -> None:
        """Forget the peak memory so far."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text(_CLEAR_PEAK, encoding="ascii")

    def peak_mib(self) -> float:
        """Return the peak memory since the last `new_peak`."""
        return self._status("VmHWM")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(60)

    def _status(self, key: str) -> float:
        text = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(text.partition(f"{key}:")[2].split()[0]) / 1024


def ingot_server(data: Path) -> tuple[Server, dict[str, str]]:
    """Start an `ingot-server`; return it and the environment in which a client finds it."""
    command = [sys.executable, "-m", "ingot.server.cli", "serve", "--json"]
    server = Server([*command, "--data", str(data), "--listen", "127.0.0.1:0"])
    token = (data / "admin.token").read_text(encoding="ascii").strip()
    return server, {"INGOT_SERVER": str(json.loads(server.first_line)["listen"][0]), "INGOT_TOKEN": token}


def measured(
    row: str,
    command: Sequence[str | Path],
    size: int,
    *,
    server: Server | None = None,
    environment: Mapping[str, str] | None = None,
    files: int = 1,
) -> Sample:
    """Run a client to its end. A number that it prints is how many bytes it moved, else it moved all."""
    before = server.cpu() if server else 0.0
    if server:
        server.new_peak()
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = process.stdout.read().strip()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{row} failed: {' '.join(map(str, command))}")
    return Sample(
        row,
        seconds,
        size,
        int(said) if said.isdigit() else size,
        usage.ru_utime + usage.ru_stime,
        server.cpu() - before if server else 0.0,
        usage.ru_maxrss / 1024,
        server.peak_mib() if server else 0.0,
        files,
    )
