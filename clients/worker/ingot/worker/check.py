"""Say what this machine can do and what it lacks for training. torch is imported in a child process, and only
if asked.

`software(folder)` reads versions and disk without importing anything heavy. `devices()` asks torch, in a
child. And `rehearse(folder)` trains a model of 64 hidden units for two steps the way a job is trained: the
one check that proves it.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil

from ingot.worker import launch
from ingot.worker.config import Reference, TrainerSpec, TrainingConfig
from ingot.worker.problem import Problem
from ingot.worker.progress import Outcome

SMALLEST_PYTHON = (3, 11)
SMALLEST_DISK = 2 * 1024**3  # bytes
PACKAGES = {  # smallest version that is known to work
    "torch": (2, 8),
    "deepspeed": (0, 19),
    "transformers": (5, 0),
    "tokenizers": (0, 22),
    "safetensors": (0, 6),
    "numpy": (2, 0),
    "psutil": (6, 0),
}
INSTALL = "pip install 'ingot[worker]'"
DEVICE_SECONDS = 120
REHEARSAL = "Two steps are enough to see that everything is here. "


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what was found, whether it is enough, and what to do when not."""

    name: str
    found: str
    fine: bool
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """Something that computes: kind is cpu or cuda."""

    kind: str
    name: str
    memory_bytes: int


def software(work_folder: Path) -> list[Finding]:
    """Look at Python, the packages and the disk under `work_folder`; nothing heavy is imported."""
    found = [_python(), *(_package(name, smallest) for name, smallest in PACKAGES.items())]
    free = shutil.disk_usage(_existing(work_folder)).free
    text = f"{free / 1e9:.1f} GB free under {work_folder}"
    found.append(Finding("disk", text, free >= SMALLEST_DISK, f"Free at least {SMALLEST_DISK / 1e9:.1f} GB."))
    return found


def missing(findings: Sequence[Finding]) -> Problem | None:
    """Return what a job on this machine would be refused with, or None."""
    lacking = [finding for finding in findings if not finding.fine]
    if not lacking:
        return None
    facts = {finding.name: finding.found for finding in lacking}
    steps = " ".join(dict.fromkeys(finding.next_step for finding in lacking))
    names = ", ".join(finding.name for finding in lacking)
    return Problem("ENVIRONMENT_MISSING", f"This machine cannot train: {names}.", facts, steps)


def processor() -> Device:
    """Return the CPU as the system names it; torch is not asked."""
    return Device("cpu", platform.processor() or platform.machine(), psutil.virtual_memory().total)


def devices(python: str = sys.executable) -> list[Device]:
    """Ask torch, in a child process, what can compute here.

    Without torch it is the CPU, as the system names it.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    answer = subprocess.run(
        [python, "-m", "ingot.worker.devices"],
        env=environment,
        capture_output=True,
        timeout=DEVICE_SECONDS,
        check=False,
    )
    if answer.returncode:
        return [processor()]
    return [processor(), *(Device(**row) for row in json.loads(answer.stdout.splitlines()[-1]))]


def rehearse(folder: Path) -> Outcome:
    """Train a tiny model for two steps in `folder`, as a job is trained; it takes seconds."""
    dataset = folder / "dataset"
    dataset.mkdir(parents=True, exist_ok=True)
    (dataset / "rehearsal.txt").write_text((REHEARSAL + "\n\n") * 50, encoding="utf-8")
    config = TrainingConfig(
        hidden_size=64,
        num_layers=1,
        num_heads=2,
        vocab_size=320,
        max_sequence_length=32,
        max_steps=2,
        batch_size=2,
        train_split=1.0,
        val_split=0.0,
        test_split=0.0,
    )
    spec = TrainerSpec("rehearsal", Reference("rehearsal"), dataset, folder / "work", config=config)
    spec.work_folder.mkdir(parents=True, exist_ok=True)
    path = folder / "spec.json"
    spec.save(path)
    trainer = launch.start(path, folder / "logs")
    last: Outcome | None = None
    for report in trainer.events():
        if isinstance(report.event, Outcome):
            last = report.event
    trainer.wait()
    if last is None:
        problem = Problem("TRAINER_FAILED", "The trainer died.", {"stderr": trainer.stderr_tail(limit=1000)})
        return Outcome("failed", problem=problem)
    return last


def _python() -> Finding:
    text = f"{platform.python_version()} ({sys.executable})"
    smallest = ".".join(map(str, SMALLEST_PYTHON))
    return Finding("python", text, sys.version_info >= SMALLEST_PYTHON, f"Use Python {smallest} or newer.")


def _package(name: str, smallest: tuple[int, ...]) -> Finding:
    wanted = ".".join(map(str, smallest))
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, f"not installed, {wanted} or newer is needed", False, f"Run: {INSTALL}")
    numbers = tuple(int(part) for part in version.split("+")[0].split(".")[:2] if part.isdigit())
    fine = numbers >= smallest
    return Finding(
        name, version if fine else f"{version}, {wanted} or newer is needed", fine, f"Run: {INSTALL}"
    )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.resolve().parents) if path.exists())
