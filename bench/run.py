"""`make bench`: measure transfers and training beside what they are compared with; one table.

    python bench/run.py [--quick] [--only transfer,trainer] [--rounds N] [--mib N] [--files N] [--folder PATH]

Prints medians with their ratios and writes everything, each single run included, to build/bench.json. Rates
are GB/s (1e9 bytes), CPU is seconds per GB, memory the peak in MiB. Client and server share the machine, so
compare rows of one run, never rows of two. Where gRPC or torch is missing, that part is left out and said so.
"""

import argparse
import datetime
import importlib.util
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from processes import Sample

HERE = Path(__file__).parent
RESULT = HERE.parent / "build" / "bench.json"
PARTS = ("transfer", "trainer")
_NEEDS = {
    "transfer": ("grpc", "blake3", "pyfastcdc", "peewee"),
    "trainer": ("torch", "transformers", "deepspeed"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of one row of the table."""

    row: str
    runs: int
    seconds: float
    gb_per_second: float
    best_gb_per_second: float
    files_per_second: float | None
    moved_percent: float
    client_cpu_per_gb: float
    server_cpu_per_gb: float
    client_mib: float
    server_mib: float


def main() -> None:
    """Measure, print, write the file."""
    options = arguments()
    wanted = [part for part in PARTS if part in options.only.split(",")]
    found: dict[str, object] = {
        "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "load": os.getloadavg()},
    }
    for part in wanted:
        missing = [name for name in _NEEDS[part] if importlib.util.find_spec(name) is None]
        if missing:
            found[part] = {"left_out": f"not installed: {', '.join(missing)}"}
            print(f"\n{part}: left out, not installed: {', '.join(missing)}")
        else:
            found[part] = transfer(options) if part == "transfer" else trainer(options)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"\nload now {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; everything is in {RESULT}")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure transfers and training; print one table.")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: does it work at all?")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (default: 3)")
    parser.add_argument("--mib", type=int, help="size of the large file (default: 1024)")
    parser.add_argument("--files", type=int, help="number of small files (default: 10000)")
    parser.add_argument("--folder", type=Path, help="on the disk to measure (default: temporary)")
    options = parser.parse_args()
    small = options.quick
    options.rounds = options.rounds or (1 if small else 3)
    options.mib = options.mib or (64 if small else 1024)
    options.files = options.files or (500 if small else 10_000)
    if unknown := set(options.only.split(",")) - set(PARTS):
        parser.error(f"--only: expected some of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    return options


# --- transfers ----------------------------------------------------------------------------------------------


def transfer(options: argparse.Namespace) -> dict[str, object]:
    """Measure push and pull."""
    from transfers import Rounds  # needs gRPC, which a machine for training may lack

    with tempfile.TemporaryDirectory(dir=options.folder, prefix="ingot-bench-") as temporary:
        rounds = Rounds(Path(temporary), options.mib << 20, options.files)
        try:
            for number in range(options.rounds):
                rounds.one(number)
        finally:
            rounds.stop()
    rows = [
        median_row([each for each in rounds.samples if each.row == name])
        for name in dict.fromkeys(each.row for each in rounds.samples)
    ]
    sizes = f"{options.mib} MiB and {options.files} files of 10 KiB"
    print(f"\ntransfer: {sizes}, medians of {options.rounds} rounds, {os.cpu_count()} cores shared by all\n")
    show(rows)
    ratios = transfer_ratios(rows)
    for name, (ratio, best) in ratios.items():
        print(f"  {ratio:8.2f}  {name}   ({best:.2f} of the fastest runs, which no neighbour slowed)")
    print(f"  {rounds.server.idle_mib:8.0f}  MiB of the idle server")
    if not rounds.rsync:
        print("  rsync is not installed: the small files have no row beside it")
    return {
        "rows": [asdict(each) for each in rows],
        "ratios": ratios,
        "server_idle_mib": rounds.server.idle_mib,
        "rsync": rounds.rsync is not None,
        "samples": [asdict(each) for each in rounds.samples],
    }


def median_row(samples: Sequence[Sample]) -> Row:
    """Return the medians of the runs of one row."""

    def middle(figure: Callable[[Sample], float]) -> float:
        return round(statistics.median(map(figure, samples)), 3)

    files = samples[0].files
    return Row(
        row=samples[0].row,
        runs=len(samples),
        seconds=middle(lambda each: each.seconds),
        gb_per_second=middle(lambda each: each.bytes / each.seconds / 1e9),
        best_gb_per_second=round(max(each.bytes / each.seconds for each in samples) / 1e9, 3),
        files_per_second=middle(lambda each: files / each.seconds) if files > 1 else None,
        moved_percent=middle(lambda each: 100 * each.moved / each.bytes),
        client_cpu_per_gb=middle(lambda each: each.client_cpu / each.bytes * 1e9),
        server_cpu_per_gb=middle(lambda each: each.server_cpu / each.bytes * 1e9),
        client_mib=middle(lambda each: each.client_mib),
        server_mib=middle(lambda each: each.server_mib),
    )


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    heads = (
        "s",
        "GB/s",
        "best",
        "files/s",
        "moved %",
        "client CPU",
        "server CPU",
        "client MiB",
        "server MiB",
    )
    print(f"  {'':27}" + "".join(f"{head:>11}" for head in heads))
    for row in rows:
        files = f"{row.files_per_second:11.0f}" if row.files_per_second else f"{'':11}"
        print(
            f"  {row.row:27}{row.seconds:11.2f}{row.gb_per_second:11.2f}{row.best_gb_per_second:11.2f}{files}"
            f"{row.moved_percent:11.3f}{row.client_cpu_per_gb:11.2f}{row.server_cpu_per_gb:11.2f}"
            f"{row.client_mib:11.0f}{row.server_mib:11.0f}"
        )
    print()


def transfer_ratios(rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
    """Return our rates divided by those they are compared with: of the medians, and of the fastest runs."""
    rate = {each.row: each for each in rows}
    pairs = [(verb, other) for verb in ("push", "pull") for other in (f"raw gRPC {verb}", "cp + fsync")]
    small = [
        (f"{verb}, small files", f"{other}, small files")
        for verb in ("push", "pull")
        for other in ("cp -r + sync", "rsync")
    ]
    return {
        f"{ours} / {other}": (
            round(rate[ours].gb_per_second / rate[other].gb_per_second, 3),
            round(rate[ours].best_gb_per_second / rate[other].best_gb_per_second, 3),
        )
        for ours, other in [*pairs, *small]
        if other in rate
    }


# --- training -----------------------------------------------------------------------------------------------


def trainer(options: argparse.Namespace) -> dict[str, object]:
    """Measure a training step beside a plain PyTorch loop; each precision in a process of its own."""
    results: dict[str, object] = {}
    roots = [HERE.parent / "clients" / part for part in ("worker", "python")]  # installed or not
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots))}
    print("\ntrainer: tokens/s beside a plain PyTorch loop\n")
    for name, extra in (("fp32", []), ("bf16", ["--mixed-precision"])):
        steps = ["--steps", "6" if options.quick else "40"]
        command = [sys.executable, str(HERE / "trainer.py"), *steps, *extra]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            print(f"  {name:6}failed:\n{done.stderr[-2000:]}")
            results[name] = {"failed": done.stderr[-2000:]}
            continue
        figures = trainer_figures(done.stdout)
        results[name] = figures
        print(
            f"  {name:6}ours {figures['ours']:12,.0f}   plain {figures['plain']:12,.0f}"
            f"   ratio {figures['ratio']:.3f}"
        )
        results[f"{name}_text"] = done.stdout.strip().splitlines()
    return results


def trainer_figures(text: str) -> dict[str, float]:
    """Return the figures of what bench/trainer.py printed."""
    return {
        key: float(number.replace(",", ""))
        for key, number in re.findall(r"^(ours|plain|ratio)\s+([\d,.]+)", text, re.MULTILINE)
    }


if __name__ == "__main__":
    main()
