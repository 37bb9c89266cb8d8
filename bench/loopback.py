"""Measure push and pull over loopback beside `cp` and fsync of the same file.

    python bench/loopback.py [folder] [--mib 1024] [--rounds 3] [--json FILE]

Each round makes a new random file and then, one after the other: copies and syncs it, pushes it to a real
`ingot-server` (a process of its own), pushes it again unchanged, pulls it into an empty folder, and pulls
again. Client and server verify every byte, and both ends are durable when the clock stops. A client is a
whole process, so its start-up is in its time. Medians are printed; a rate is GB/s (1e9 bytes), CPU is in
seconds per GB, memory is the peak in MiB (of the server: since its start). On fewer cores than four, client
and server share them.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

MIB = 1024 * 1024
REFERENCE = "datasets/bench"


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one row."""

    row: str
    seconds: float
    moved_bytes: int
    client_cpu: float
    server_cpu: float
    client_mib: float
    server_mib: float


class Server:
    """An `ingot-server` in its own process."""

    def __init__(self, data: Path) -> None:
        program = Path(sys.executable).parent / "ingot-server"
        command = [str(program), "serve", "--json", "--data", str(data), "--listen", "127.0.0.1:0"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        self.address = str(json.loads(self._process.stdout.readline())["listen"][0])
        self.token = (data / "admin.token").read_text(encoding="ascii").strip()

    def cpu(self) -> float:
        """Return the CPU seconds it has used."""
        fields = (
            Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        )
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mib(self) -> float:
        """Return its peak resident memory."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(60)


def client(verb: str, place: str) -> None:
    """Push or pull in this process and print what moved; the other half of `measured`."""
    from ingot.client import Client
    from ingot.content import malloc

    malloc.raise_thresholds()
    with Client() as connection:
        if verb == "push":
            print(connection.push(REFERENCE, place).sent_bytes)
        else:
            print(connection.pull(REFERENCE, place).received_bytes)


def measured(row: str, server: Server, cache: Path, verb: str, place: Path) -> Sample:
    """Run a client process and take its and the server's figures."""
    environment = {
        **os.environ,
        "INGOT_SERVER": server.address,
        "INGOT_TOKEN": server.token,
        "INGOT_CACHE_DIR": str(cache),
    }
    before = server.cpu()
    command = [sys.executable, __file__, "--client", verb, str(place)]
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    moved = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{row} failed")
    return Sample(
        row,
        seconds,
        int(moved),
        usage.ru_utime + usage.ru_stime,
        server.cpu() - before,
        usage.ru_maxrss / 1024,
        server.peak_mib(),
    )


def copied(source: Path, target: Path) -> Sample:
    """Copy a file with cp and bring it to the disk."""
    begun = time.perf_counter()
    process = subprocess.Popen(["cp", source, target])
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    descriptor = os.open(target, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    seconds = time.perf_counter() - begun
    size = source.stat().st_size
    return Sample("cp + fsync", seconds, size, usage.ru_utime + usage.ru_stime, 0, usage.ru_maxrss / 1024, 0)


def round_of(folder: Path, server: Server, size: int) -> list[Sample]:
    """Make a file and do everything with it once."""
    source = folder / "source.bin"
    with source.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
        file.flush()
        os.fsync(file.fileno())
    cache = folder / "cache"
    samples = [
        copied(source, folder / "copy.bin"),
        measured("push", server, cache, "push", source),
        measured("push again", server, cache, "push", source),
        measured("pull", server, cache, "pull", folder / "out"),
        measured("pull again", server, cache, "pull", folder / "out"),
    ]
    if subprocess.run(["cmp", source, folder / "out" / "source.bin"], check=False).returncode:
        raise SystemExit("what came back is not what was sent")
    for path in (source, folder / "copy.bin"):
        path.unlink()
    shutil.rmtree(folder / "out")
    return samples


def median_row(row: str, samples: list[Sample], size: int) -> dict[str, float | str]:
    """Return the medians of one row; rates and CPU are over the file's size, whatever of it moved."""
    mine = [each for each in samples if each.row == row]
    gigabytes = size / 1e9

    def middle(values: list[float]) -> float:
        return round(statistics.median(values), 3)

    return {
        "row": row,
        "seconds": middle([each.seconds for each in mine]),
        "gb_per_second": middle([gigabytes / each.seconds for each in mine]),
        "best_gb_per_second": round(max(gigabytes / each.seconds for each in mine), 3),
        "moved_mib": middle([each.moved_bytes / MIB for each in mine]),
        "client_cpu_per_gb": middle([each.client_cpu / gigabytes for each in mine]),
        "server_cpu_per_gb": middle([each.server_cpu / gigabytes for each in mine]),
        "client_peak_mib": middle([each.client_mib for each in mine]),
        "server_peak_mib": middle([each.server_mib for each in mine]),
    }


def measure(folder: Path | None, mib: int, rounds: int) -> dict[str, object]:
    """Run all rounds; return the table and the samples behind it."""
    size = mib * MIB
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory(dir=folder, prefix="ingot-bench-") as temporary:
        server = Server(Path(temporary) / "data")
        try:
            for _ in range(rounds):
                samples += round_of(Path(temporary), server, size)
        finally:
            server.stop()
    rows = list(dict.fromkeys(each.row for each in samples))
    return {
        "what": f"{mib} MiB over loopback, {rounds} rounds, {os.cpu_count()} cores",
        "table": [median_row(row, samples, size) for row in rows],
        "samples": [asdict(each) for each in samples],
    }


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description="Measure push and pull beside cp and fsync.")
    parser.add_argument("folder", nargs="?", type=Path, help="on the disk to measure (default: temporary)")
    parser.add_argument("--mib", type=int, default=1024, help="size of the file in MiB (default: 1024)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default: 3)")
    parser.add_argument("--json", type=Path, help="also write everything into this file")
    parser.add_argument("--client", nargs=2, metavar=("VERB", "PLACE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        client(*options.client)
        return
    found = measure(options.folder, options.mib, options.rounds)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(found["what"])
    table = found["table"]
    assert isinstance(table, list)
    heads = ("s", "GB/s", "best", "moved MiB", "client CPU/GB", "server CPU/GB", "client MiB", "server MiB")
    print(f"{'':12}" + "".join(f"{head:>15}" for head in heads))
    for row in table:
        figures = [value for key, value in row.items() if key != "row"]
        print(f"{row['row']:12}" + "".join(f"{value:15.2f}" for value in figures))


if __name__ == "__main__":
    main()
