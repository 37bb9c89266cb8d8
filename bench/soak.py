"""A server under mixed load for a while: what grows, and by how much an hour.

    python bench/soak.py [--minutes 10] [--clients 4] [--kib 512] [--restart-minutes 3] [--folder DIR]

Clients push, push again with changes, pull, read, list, delete and purge; one watches; upkeep collects. From
time to time the server is told to stop and started again, and the clients go on. Each `--every` seconds it is
looked at: resident memory, descriptors, threads, the database with its log, and the disk against the bytes of
chunks. The slope is that of a straight line through the second half, for memory, descriptors and threads
through the second half of the server's last life.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from processes import MIB, Server, ingot_server

from ingot.client import Client, IngotError

KEPT = 5  # versions of each artifact


@dataclass(frozen=True, slots=True)
class Look:
    """The server at one moment: seconds since the begin, which life, MiB, counts."""

    at: float
    life: int
    rss_mib: float
    descriptors: int
    threads: int
    database_mib: float
    disk_mib: float
    live_mib: float


class Soak:
    """The server, its lives, and what was seen and done."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.looks: list[Look] = []
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._begun = time.monotonic()
        self._over = threading.Event()
        self.life = 0
        self.server = self._start()

    def run(self) -> None:
        """Let everything run for the time that is asked for."""
        work = [*(self._loop(self._client, number) for number in range(self.options.clients))]
        work += [self._loop(self._upkeep), self._loop(self._watch)]
        threads = [threading.Thread(target=each, daemon=True) for each in work]
        for thread in threads:
            thread.start()
        end = self._begun + self.options.minutes * 60
        restart = time.monotonic() + self.options.restart_minutes * 60
        while time.monotonic() < end:
            time.sleep(self.options.every)
            self.look()
            if time.monotonic() > restart:
                restart = time.monotonic() + self.options.restart_minutes * 60
                self.server.stop()
                self.server = self._start()
                self.done["restart"] += 1
        self._over.set()
        for thread in threads:
            thread.join(60)
        self.look()
        self.server.stop()

    def look(self) -> None:
        """Note how the server is."""
        process = Path("/proc", str(json.loads(self.server.first_line)["pid"]))
        status = dict(
            line.split(":", 1) for line in (process / "status").read_text(encoding="ascii").splitlines()
        )
        data = self.folder / "data"
        self.looks.append(
            Look(
                at=time.monotonic() - self._begun,
                life=self.life,
                rss_mib=int(status["VmRSS"].split()[0]) / 1024,
                descriptors=len(os.listdir(process / "fd")),
                threads=int(status["Threads"]),
                database_mib=sum(file.stat().st_size for file in data.glob("ingot.db*")) / MIB,
                disk_mib=_allocated(data) / MIB,
                live_mib=self._live() / MIB,
            )
        )
        print(" ".join(f"{name}={value:.1f}" for name, value in asdict(self.looks[-1]).items()), flush=True)

    def _start(self) -> Server:
        self.life += 1
        settings = {
            "INGOT_COLLECT_GRACE_SECONDS": "5",
            "INGOT_ADOPTED_PACK_DAYS": "0",
            "INGOT_TRASH_DAYS": "0",
        }
        server, _ = ingot_server(self.folder / "data", settings)
        return server

    def client(self) -> Client:
        """Return a client of the administrator, over the socket, whose name outlives the server."""
        token = (self.folder / "data" / "admin.token").read_text(encoding="ascii").strip()
        return Client(f"unix:{self.folder}/data/server.sock", token, user="soak")

    def _live(self) -> float:
        try:
            with self.client() as client:
                return float(client.system.storage().chunk_bytes)
        except IngotError:
            return 0.0

    # --- the load ---------------------------------------------------------------------------------------

    def _loop(self, work: "Callable[..., None]", *arguments: object) -> Callable[[], None]:
        def run() -> None:
            with self.client() as client:
                while not self._over.is_set():
                    try:
                        work(client, *arguments)
                    except IngotError as error:
                        self.failed[f"{work.__name__}: {error.reason}"] += 1
                        self._over.wait(1)

        return run

    def _client(self, client: Client, number: int) -> None:
        """One turn of a client: a new version, what there is of it, and an end to old ones."""
        chance = random.Random()
        source, target = self.folder / f"source-{number}", self.folder / f"target-{number}"
        source.mkdir(exist_ok=True)
        for name in ("large.bin", *(f"small-{chance.randrange(20)}.bin" for _ in range(5))):
            size = self.options.kib * 1024 if name == "large.bin" else 2000
            (source / name).write_bytes(chance.randbytes(size))
        artifact = f"datasets/soak-{number}"
        pushed = client.push(artifact, source).name
        self.done["push"] += 1
        client.push(artifact, source)
        self.done["push unchanged"] += 1
        client.pull(pushed, target, force=True)
        self.done["pull"] += 1
        for _ in client.read(f"{pushed}:large.bin"):
            pass
        list(client.catalog.list())
        self.done["read and list"] += 1
        for version in list(client.catalog.versions(artifact))[KEPT:]:
            client.catalog.delete_version(version.name, force=True)
            self.done["delete"] += 1
        client.catalog.purge(artifact, versions_only=True)
        self.done["purge"] += 1

    def _upkeep(self, client: Client) -> None:
        for kind in ("clean", "collect", "scrub"):
            client.operations.wait(client.operations.start_upkeep(kind).name)
            self.done[kind] += 1
        self._over.wait(5)

    def _watch(self, client: Client) -> None:
        """Follow an operation to its end, as dashboards do."""
        name = client.operations.start_upkeep("verify").name
        for _ in client.operations.watch(name):
            pass
        self.done["watch"] += 1
        self._over.wait(1)


def main() -> None:
    """Run it, print what was seen."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--kib", type=int, default=512, help="of the large file of each push")
    parser.add_argument("--restart-minutes", type=float, default=3.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two looks")
    parser.add_argument("--folder", default=None, help="where to work; the temporary folder otherwise")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ingot-soak-", dir=options.folder))
    os.environ["INGOT_CACHE_DIR"] = str(folder / "cache")
    try:
        soak = Soak(options, folder)
        soak.run()
        report(soak)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if soak.failed else 0)


def report(soak: Soak) -> None:
    """Print a table: first, median, last, most, and the slope an hour."""
    print("\n| | first | median | last | most | slope an hour |\n|---|---|---|---|---|---|")
    half = [each for each in soak.looks if each.at > soak.looks[-1].at / 2]
    last_life = [each for each in soak.looks if each.life == soak.life]
    for name in ("rss_mib", "descriptors", "threads", "database_mib", "disk_mib", "live_mib"):
        values = [float(getattr(each, name)) for each in soak.looks]
        of_process = name in ("rss_mib", "descriptors", "threads")
        seen = last_life[len(last_life) // 2 :] if of_process else half
        slope = _slope([each.at for each in seen], [float(getattr(each, name)) for each in seen])
        figures = (values[0], statistics.median(values), values[-1], max(values), slope * 3600)
        print(f"| {name} | " + " | ".join(f"{figure:.1f}" for figure in figures) + " |")
    print(f"\ndone: {dict(soak.done)}\nfailed: {dict(soak.failed)}")


def _slope(times: Sequence[float], values: Sequence[float]) -> float:
    if len(times) < 3:
        return float("nan")
    return statistics.linear_regression(times, values).slope


def _allocated(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.lstat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


if __name__ == "__main__":
    main()
