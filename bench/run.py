"""`make bench`: measure transfers beside limits and peers, and training beside plain PyTorch; one table.

    python bench/run.py [--quick] [--only transfer,trainer] [--rounds N] [--mib N] [--files N]
                        [--peers FOLDER] [--with ingot,cp,...] [--folder PATH] [--results FOLDER]

Prints medians with their ratios and writes everything, each single run included, to bench/results/: a
`.json`, and the tables as `.md`. Rates are GB/s (1e9 bytes), CPU is seconds per GB, memory the peak in MiB.
Clients and servers share the machine, so compare rows of one run, never rows of two. What is not installed
is left out, and said. Ctrl-C ends it with what was measured until then.
"""

import argparse
import datetime
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PARTS = ("transfer", "trainer")
_NEEDS = {
    "transfer": ("grpc", "blake3", "pyfastcdc", "peewee"),
    "trainer": ("torch", "transformers", "deepspeed"),
}

_HOW = (
    "Whole processes, durable and verified where a note does not say else. `Ingot ×` is Ingot's rate divided "
    "by that of the row, CPU seconds per GB."
)


def main() -> None:
    """Measure, print, write the files."""
    options = arguments()
    now = datetime.datetime.now(datetime.UTC)
    found: dict[str, object] = {
        "measured": now.isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "load": os.getloadavg()},
    }
    texts = [f"# Measured {now:%Y-%m-%d %H:%M} UTC on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"]
    for part in options.only.split(","):
        missing = [name for name in _NEEDS[part] if importlib.util.find_spec(name) is None]
        if missing:
            found[part], text = (
                {"left_out": missing},
                f"{part}: left out, not installed: {', '.join(missing)}",
            )
        else:
            found[part], text = transfer(options) if part == "transfer" else trainer(options)
        print(f"\n{text}")
        texts.append(text)
    texts.append(f"Load at the end: {os.getloadavg()[0]:.1f}.")
    options.results.mkdir(parents=True, exist_ok=True)
    place = options.results / f"{now:%Y%m%d-%H%M%S}"
    place.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    place.with_suffix(".md").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    print(f"\n{texts[-1]} Everything is in {place}.json and .md")
    if any(line.startswith("FAILED") for line in "\n".join(texts).splitlines()):
        raise SystemExit("Ingot failed in what is told above")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure transfers and training; print one table.")
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: does it work at all?")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (default: 3)")
    parser.add_argument("--mib", type=int, help="size of the large file (default: 1024)")
    parser.add_argument("--files", type=int, help="number of small files (default: 10000)")
    parser.add_argument("--folder", type=Path, help="on the disk to measure (default: temporary)")
    parser.add_argument("--peers", type=Path, help="where peers are installed, beside PATH (bench/README.md)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to write (default: %(default)s)")
    parser.add_argument("--with", dest="names", default="", help="contenders, separated by commas (all)")
    options = parser.parse_args()
    small = options.quick
    options.rounds = options.rounds or (1 if small else 3)
    options.mib = options.mib or (64 if small else 1024)
    options.files = options.files or (500 if small else 10_000)
    options.peers = options.peers and options.peers.resolve()
    if unknown := set(options.only.split(",")) - set(PARTS):
        parser.error(f"--only: expected some of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    return options


# --- transfers ----------------------------------------------------------------------------------------------


def transfer(options: argparse.Namespace) -> tuple[dict[str, object], str]:
    """Measure pushes and pulls; return what was found and its text."""
    import tables  # these need gRPC, which a machine for training may lack
    from peers.peer import Found
    from rounds import CONTENDERS, Rounds, Sizes

    from ingot.client import _lanes

    names = options.names.split(",") if options.names else list(CONTENDERS)
    if unknown := set(names) - set(CONTENDERS):
        raise SystemExit(
            f"--with: expected some of {', '.join(CONTENDERS)}, got {', '.join(sorted(unknown))}"
        )
    sizes = Sizes(options.mib << 20, options.files, options.mib << 19)
    done = 0
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="ingot-bench-") as temporary:
        _room(Path(temporary), sizes.large * (26 if options.peers else 14))
        rounds = Rounds(Path(temporary), sizes, names, Found(options.peers))
        try:
            for done in range(1, options.rounds + 1):
                rounds.one(models=done == 1)
        except KeyboardInterrupt:
            print("\nstopped: what follows was measured until now", file=sys.stderr)
        finally:
            rounds.stop()
    measured = rounds.measured
    rows = tables.table(measured.samples, rounds.peers)
    goals = tables.goals(rows, rounds.peers, _lanes.FIRST, measured.new_share)
    text = [
        f"## Transfer: {options.mib} MiB, {options.files:,} files, a model of {options.mib // 2} MiB",
        f"Medians of {done} interleaved rounds (changed models: one). {_HOW}",
        tables.markdown(rows),
        tables.markdown_of_goals(goals),
    ]
    text.append("\n".join(f"- {peer.name}: {peer.note}" for peer in rounds.peers))
    text += [f"Left out: {name}: {why}" for name, why in measured.absent.items()]
    text += [f"FAILED: {each}" for each in measured.failures]
    return {
        "rounds": done,
        "rows": {str(case): [asdict(row) for row in those] for case, those in rows.items()},
        "goals": [asdict(goal) for goal in goals],
        "notes": {peer.name: peer.note for peer in rounds.peers},
        "idle_mib": {peer.name: peer.server.idle_mib for peer in rounds.peers if peer.server},
        "left_out": measured.absent,
        "failures": measured.failures,
        "samples": {str(case): [asdict(each) for each in those] for case, those in measured.samples.items()},
    }, "\n\n".join(text)


def _room(folder: Path, needed: int) -> None:
    """Ask for `needed` bytes in `folder` before anything is measured: a server refuses a full disk."""
    total, _, free = shutil.disk_usage(folder)
    plenty = int(os.environ.get("INGOT_DISK_PLENTY_BYTES", str(64 << 30)))
    if free - min(total // 10, plenty // 4) < needed:
        raise SystemExit(
            f"{folder.parent}: expected {needed / 1e9:.1f} GB free beside a tenth of the disk, got "
            f"{free / 1e9:.0f} of {total / 1e9:.0f} GB. Free some, "
            "or use --folder, a smaller --mib or --quick."
        )


# --- training -----------------------------------------------------------------------------------------------


def trainer(options: argparse.Namespace) -> tuple[dict[str, object], str]:
    """Measure a training step beside a plain PyTorch loop; each precision in a process of its own."""
    results: dict[str, object] = {}
    roots = [HERE.parent / "clients" / part for part in ("worker", "python")]  # installed or not
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots))}
    lines = [
        "## Training: tokens/s beside a plain PyTorch loop\n",
        "| | ours | plain | ratio |",
        "|---|---:|---:|---:|",
    ]
    for name, extra in (("fp32", []), ("bf16", ["--mixed-precision"])):
        steps = ["--steps", "6" if options.quick else "40"]
        command = [sys.executable, str(HERE / "trainer.py"), *steps, *extra]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            results[name] = {"failed": done.stderr[-2000:]}
            lines.append(f"| {name} failed: {(done.stderr.strip().splitlines() or ['?'])[-1]} | | | |")
            continue
        figures = trainer_figures(done.stdout)
        results[name] = figures
        results[f"{name}_text"] = done.stdout.strip().splitlines()
        lines.append(
            f"| {name} | {figures['ours']:,.0f} | {figures['plain']:,.0f} | {figures['ratio']:.3f} |"
        )
    return results, "\n".join(lines)


def trainer_figures(text: str) -> dict[str, float]:
    """Return the figures of what bench/trainer.py printed."""
    return {
        key: float(number.replace(",", ""))
        for key, number in re.findall(r"^(ours|plain|ratio)\s+([\d,.]+)", text, re.MULTILINE)
    }


if __name__ == "__main__":
    main()
