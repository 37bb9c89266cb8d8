"""How many round trips commands need, one after the other: a server that is 100 ms away, and the same near.

    python bench/distance.py [--mib 256] [--files 2000] [--round-trip 0.1] [--rounds 3]

A proxy on this machine adds the way to each connection, not more (tests/helpers/slow_path.py).
Each command is a whole process. What it takes longer when the server is far, divided by the round trip, is
how often it waited for an answer. Near and far take turns; medians.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from processes import MIB, Server, ingot_server, measured

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from helpers.slow_path import slow_path

_FILE = 10 * 1024  # bytes of a small one


@dataclass(frozen=True, slots=True)
class Step:
    """One command; `size` are the bytes that it moves, `before` is removed so that it has work to do."""

    name: str
    words: tuple[str, ...]
    size: int = 0
    before: Path | None = None


def main() -> None:
    """Measure and print."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="ingot-bench-", dir=options.folder) as folder:
        server, environment = ingot_server(Path(folder, "data"))
        try:
            with slow_path(environment["INGOT_SERVER"], options.round_trip) as address:
                report(options, run(options, Path(folder), server, environment, address))
        finally:
            server.stop()


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mib", type=int, default=256, help="size of the large file")
    parser.add_argument("--files", type=int, default=2000, help="number of small files")
    parser.add_argument("--round-trip", type=float, default=0.1, help="seconds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=None, help="where to work; the temporary folder otherwise")
    return parser.parse_args()


Times = dict[str, list[tuple[float, float]]]  # of each command, in each round: near, far


def run(
    options: argparse.Namespace, folder: Path, server: Server, environment: dict[str, str], far: str
) -> Times:
    """Do everything near and far, in turns."""
    near = environment["INGOT_SERVER"]
    ways = {"near": near, "far": far}
    found: Times = {}
    for turn in range(options.rounds):
        seconds: dict[str, dict[str, float]] = {}
        for way, address in sorted(ways.items(), reverse=bool(turn % 2)):
            place = folder / f"{way}-{turn}"
            made = {**environment, "INGOT_SERVER": address, "INGOT_CACHE_DIR": str(place / "cache")}
            for step in steps(place, way, options.mib * MIB, options.files):
                if step.before is not None:
                    shutil.rmtree(step.before, ignore_errors=True)
                words: list[str | Path] = [Path(sys.executable).parent / "ingot", *step.words]
                sample = measured(step.name, words, step.size, server=server, environment=made)
                seconds.setdefault(step.name, {})[way] = sample.seconds
            shutil.rmtree(place)
        for name, both in seconds.items():
            found.setdefault(name, []).append((both["near"], both["far"]))
    return found


def steps(place: Path, way: str, large: int, files: int) -> Iterator[Step]:
    """Make content that is new to the server, and yield the commands."""
    (place / "small").mkdir(parents=True)
    source, small = place / "large.bin", place / "small"
    with source.open("wb") as file:
        for _ in range(large // MIB):
            file.write(os.urandom(MIB))
    for number in range(files):
        (small / f"{number:05}.bin").write_bytes(os.urandom(_FILE))
    name = f"datasets/{way}-{place.name}"
    yield Step("push a large file", ("push", f"{name}-large", str(source)), large)
    yield Step("push small files", ("push", f"{name}-small", str(small)), files * _FILE)
    yield Step("push them unchanged", ("push", f"{name}-small", str(small)))
    out = place / "out"
    yield Step("pull a large file", ("pull", f"{name}-large", str(out / "large")), large)
    yield Step("pull small files", ("pull", f"{name}-small", str(out / "small")), files * _FILE)
    yield Step("pull them unchanged", ("pull", f"{name}-small", str(out / "small")))
    yield Step("ls", ("ls",))
    yield Step("ls of the files", ("ls", f"{name}-small"))
    yield Step("show", ("show", f"{name}-small"))
    yield Step("whoami", ("whoami",))


def report(options: argparse.Namespace, times: Times) -> None:
    """Print a table."""
    size = f"{options.mib} MiB, {options.files} files of {_FILE // 1024} KiB"
    print(f"{size}, medians of {options.rounds} rounds\n")
    print(f"| | near, s | {options.round_trip * 1000:g} ms away, s | round trips |\n|---|---|---|---|")
    for name, rounds in times.items():
        near, far = (statistics.median(each[at] for each in rounds) for at in (0, 1))
        print(f"| {name} | {near:.2f} | {far:.2f} | {(far - near) / options.round_trip:.1f} |")


if __name__ == "__main__":
    main()
