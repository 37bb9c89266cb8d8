"""Save and restore everything a step depends on, so that a resumed run goes on bit by bit.

A checkpoint (see `folders` for its place) holds the engine's state in `ds/`, the random generators of this
rank in `rng_<rank>.pt` (DeepSpeed saves none), and `trainer.json`: position, counters, best metric, and what
must be the same for the claim "bitwise": config, data, versions, thread count. The order of data needs no
state, it is a function of position. All ranks call `save`; it ends with the folder complete or with an error
and the old checkpoint whole.
"""

import dataclasses
import json
import os
import random
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import deepspeed
import numpy as np
import torch

from ingot.worker import config as configs
from ingot.worker import folders
from ingot.worker.config import TrainerSpec, TrainingConfig
from ingot.worker.problem import failed

TAG = "ds"
BYTES_PER_PARAMETER = 16  # weights and moments in fp32; bf16 needs 14
FREE_TO_CHANGE = (
    "save_steps",
    "eval_steps",
    "logging_steps",
    "save_total_limit",
    "max_time",
    "gradient_checkpointing",
)
PACKAGES = ("torch", "deepspeed", "transformers", "tokenizers", "numpy")


@dataclasses.dataclass(slots=True)
class Position:
    """Where training stands; mutable, moved by the loop."""

    step: int = 0
    consumed: int = 0  # blocks
    tokens: int = 0
    seconds: float = 0.0  # of training, over all attempts
    smoothed: float | None = None
    best: float | None = None  # lowest validation loss of a kept checkpoint
    best_step: int | None = None
    skipped: int = 0
    skipped_in_a_row: int = 0


def needed_bytes(parameters: int) -> int:
    """Return the free space a save asks for: two checkpoints."""
    return 2 * BYTES_PER_PARAMETER * parameters + (1 << 20)


def save(
    engine: deepspeed.DeepSpeedEngine,
    root: Path,
    position: Position,
    facts: Mapping[str, object],
    parameters: int,
) -> Path:
    """Write a complete checkpoint and return its folder.

    Raises TrainingError DISK_LOW with the old one untouched.
    """
    root.mkdir(parents=True, exist_ok=True)
    folders.require_space(root, needed_bytes(parameters))
    folder = folders.part(root, position.step)
    try:
        engine.save_checkpoint(str(folder), tag=TAG, save_latest=False)
        torch.save(random_state(), folder / f"rng_{os.environ.get('RANK', '0')}.pt")
        text = json.dumps({**dataclasses.asdict(position), **facts}, indent=1, ensure_ascii=False)
        (folder / folders.STATE).write_text(text, encoding="utf-8")
        return folders.commit(folder)
    except (OSError, RuntimeError) as error:  # torch reports a short write as a RuntimeError
        free = shutil.disk_usage(root).free
        shutil.rmtree(folder, ignore_errors=True)
        if folders.is_disk_full(error) or free < needed_bytes(parameters) // 2:
            raise folders.disk_low(root, needed_bytes(parameters), free) from error
        raise


def facts(spec: TrainerSpec, digest: str, length: int) -> dict[str, object]:
    """Return what a resumed run is compared with."""
    return {
        "job": spec.job,
        "config": configs.to_json(spec.config),
        "zero_stage": spec.deepspeed.zero_stage,
        "data": digest,
        "length": length,
        "world": spec.ranks,
        "threads": torch.get_num_threads(),
        "device": os.environ.get("DS_ACCELERATOR", "cpu"),
        "versions": {name: version(name) for name in PACKAGES},
    }


def find(spec: TrainerSpec) -> Path | None:
    """Return the newest complete checkpoint of this job, local or given; None starts from the beginning."""
    local = folders.latest(spec.work_folder / "ckpt")
    given = spec.resume_folder
    if given is not None and (local is None or folders.step_of(given) > folders.step_of(local)):
        return given
    return local


def load(
    engine: deepspeed.DeepSpeedEngine, folder: Path, now: Mapping[str, object]
) -> tuple[Position, list[str]]:
    """Restore a verified checkpoint, random generators last; return the position and why it may not be
    bitwise.

    Raises TrainingError DATA_LOSS when a file differs from the manifest (nothing is unpickled then), and
    CONFIG_CONTRADICTION when the checkpoint belongs to other data or another config.
    """
    folders.verify(folder)
    state = json.loads((folder / folders.STATE).read_text(encoding="utf-8"))
    _require_same(state, now)
    path, _ = engine.load_checkpoint(str(folder), tag=TAG)
    if path is None:
        raise failed(
            "DATA_LOSS", f"DeepSpeed found nothing to load in {folder.name}.", "Resume from an older one."
        )
    names = {part.name for part in dataclasses.fields(Position)}
    position = Position(**{name: value for name, value in state.items() if name in names})
    reasons = [
        f"{key} was {state.get(key)} and is {now[key]}"
        for key in ("threads", "device", "versions")
        if state.get(key) != now[key]
    ]
    restore_random(torch.load(folder / f"rng_{os.environ.get('RANK', '0')}.pt", weights_only=False))
    return position, reasons


def random_state() -> dict[str, object]:
    """Return the state of every random generator of this process."""
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": np.random.get_state(),
        "python": random.getstate(),
    }


def restore_random(state: Mapping[str, object]) -> None:
    """Set every random generator of this process."""
    torch.set_rng_state(state["torch"])  # type: ignore[arg-type]
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])  # type: ignore[arg-type]
    np.random.set_state(state["numpy"])  # type: ignore[arg-type]
    random.setstate(state["python"])  # type: ignore[arg-type]


def _require_same(state: Mapping[str, object], now: Mapping[str, object]) -> None:
    for key in ("data", "length", "world", "zero_stage"):
        if state.get(key) != now[key]:
            message = f"The checkpoint was made with {key} {state.get(key)}; this attempt has {now[key]}."
            raise failed(
                "CONFIG_CONTRADICTION", message, "Resume with what the job began with, or start a new job."
            )
    then, asked = state.get("config"), now["config"]
    assert isinstance(then, dict)
    assert isinstance(asked, dict)
    names = [part.name for part in dataclasses.fields(TrainingConfig) if part.name not in FREE_TO_CHANGE]
    if changed := [
        f"{name} {then.get(name)} → {asked[name]}" for name in names if then.get(name) != asked[name]
    ]:
        message = f"The config changed since the checkpoint: {', '.join(changed)}."
        raise failed(
            "CONFIG_CONTRADICTION", message, f"Only {', '.join(FREE_TO_CHANGE)} may change on resume."
        )
