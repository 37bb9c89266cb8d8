"""Several clients at once, with and without data processes: does the server take more, and who pays?

    python bench/data_processes.py [--clients 4] [--mib 256] [--rounds 3] [--processes 0,2] [--folder DIR]

Each client is a process of its own that pushes a file of new random bytes through the SDK and pulls it again;
all push at the same time, then all pull. Rounds are interleaved and medians printed. Rates are of all clients
together, in GB/s (1e9); CPU is in seconds per GB, of the main process, of its data processes and of the
clients. What came back is compared with what was sent, and at the end `ingot-server doctor --deep` looks at
every byte.

A process of Python fills about one processor with what it does under its lock. So what one learns on any
machine is how little is left for the main process; that more processors then move more data shows only where
there are some: on two, clients and server fill them already.
"""

import argparse
import filecmp
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import psutil

MIB = 1024 * 1024
CLIENT = Path(__file__).with_name("transfers.py")


class Server:
    """An `ingot-server` with so many data processes."""

    def __init__(self, data: Path, processes: int) -> None:
        self.data = data
        command = [sys.executable, "-m", "ingot.server.cli"]
        listen = ["--listen", "127.0.0.1:0", *["--data-listen", "127.0.0.1:0"] * processes]
        self._process = subprocess.Popen(
            [*command, "serve", "--json", "--data", str(data), *listen],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline())
        self._main = psutil.Process(self._process.pid)
        token = (data / "admin.token").read_text(encoding="ascii").strip()
        self.environment = {"INGOT_SERVER": f"unix:{ready['socket']}", "INGOT_TOKEN": token}

    def cpu(self) -> tuple[float, float]:
        """Return the CPU seconds that the main process has used, and those of its data processes."""
        beside = [each for each in self._main.children() if "data_process" in " ".join(each.cmdline())]
        return _cpu(self._main), sum(map(_cpu, beside))

    def stop(self) -> int:
        """End it, check what it holds, and return how the check ended: 0 is good."""
        self._process.terminate()
        self._process.wait(60)
        doctor = [sys.executable, "-m", "ingot.server.cli", "doctor", "--deep", "--data", str(self.data)]
        return subprocess.run(doctor, stdout=subprocess.DEVNULL, check=False).returncode


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


class Clients:
    """So many clients, each with a file of its own."""

    def __init__(self, folder: Path, count: int, mib: int) -> None:
        self._folder = folder
        self._count = count
        self._mib = mib
        self.size = count * mib * MIB

    def renew(self) -> None:
        """Make new files."""
        for number in range(self._count):
            with (self._folder / f"in-{number}").open("wb") as file:
                for _ in range(self._mib):
                    file.write(os.urandom(MIB))

    def run(self, server: Server, verb: str, name: str) -> tuple[float, float]:
        """Let all of them do one thing at the same time; return seconds and their CPU seconds."""
        begun = time.perf_counter()
        running = [
            self._start(server, verb, f"datasets/{name}-{number}", number) for number in range(self._count)
        ]
        used = 0.0
        for process in running:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"a client could not {verb}")
            used += usage.ru_utime + usage.ru_stime
        return time.perf_counter() - begun, used

    def compare(self) -> None:
        """Compare what came back, and drop it."""
        for number in range(self._count):
            (came,) = (self._folder / f"out-{number}").glob("in-*")
            if not filecmp.cmp(self._folder / f"in-{number}", came, shallow=False):
                raise SystemExit(f"client {number} got other bytes than it sent")
            came.unlink()

    def _start(self, server: Server, verb: str, reference: str, number: int) -> "subprocess.Popen[bytes]":
        place = self._folder / (f"in-{number}" if verb == "push" else f"out-{number}")
        return subprocess.Popen(
            [sys.executable, CLIENT, verb, reference, place],
            env={**os.environ, **server.environment},
            stdout=subprocess.DEVNULL,
        )


class Rows:
    """Rates and CPU seconds of each way and number of processes."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], list[tuple[float, ...]]] = defaultdict(list)

    def measure(self, way: str, processes: int, server: Server, clients: Clients, name: str) -> None:
        """Run all clients once."""
        os.sync()  # nobody pays for a neighbour
        main, beside = server.cpu()
        seconds, used = clients.run(server, way, name)
        main, beside = server.cpu()[0] - main, server.cpu()[1] - beside
        gigabytes = clients.size / 1e9
        figures = (gigabytes / seconds, main / gigabytes, beside / gigabytes, used / gigabytes)
        self._found[way, processes].append(figures)

    def show(self) -> None:
        """Print the medians."""
        print("| way | data processes | GB/s together | CPU-s/GB main | data processes | clients |")
        print("|---|---:|---:|---:|---:|---:|")
        for (way, processes), runs in sorted(self._found.items(), reverse=True):
            figures = [statistics.median(column) for column in zip(*runs, strict=True)]
            print(f"| {way} | {processes} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |")


def measure(folder: Path, counts: Sequence[int], clients: Clients, rounds: int) -> bool:
    """Run all rounds, print the table, and return whether nothing was lost."""
    servers = {count: Server(folder / f"data-{count}", count) for count in counts}
    rows = Rows()
    try:
        for number in range(rounds):
            clients.renew()
            for count in [*counts[number % len(counts) :], *counts[: number % len(counts)]]:
                for way in ("push", "pull"):
                    rows.measure(way, count, servers[count], clients, f"round{number}")
                clients.compare()
    finally:
        checked = {count: server.stop() for count, server in servers.items()}
    rows.show()
    lost = [count for count, status in checked.items() if status]
    print(f"doctor --deep: {'clean' if not lost else f'not clean with {lost} data processes'}")
    return not lost


def main() -> int:
    """Measure; the status tells whether nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--mib", type=int, default=256, help="of each client")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", default="0,2", help="numbers of data processes to compare")
    parser.add_argument("--folder", type=Path, help="where to measure")
    options = parser.parse_args()
    counts = [int(count) for count in options.processes.split(",")]
    with tempfile.TemporaryDirectory(prefix="ingot-bench-", dir=options.folder) as temporary:
        folder = Path(temporary)
        print(f"{options.clients} clients, {options.mib} MiB each, {os.cpu_count()} processors")
        clients = Clients(folder, options.clients, options.mib)
        return 0 if measure(folder, counts, clients, options.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
