"""Small datasets, small specs, and ways to run the trainer: in this process, or as the agent runs it."""

import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from ingot.worker import launch
from ingot.worker.config import DeepSpeedOptions, Reference, TrainerSpec, TrainingConfig
from ingot.worker.progress import Event, EventWriter, Outcome, Progress, Report

E = TypeVar("E")

CITIES = {"Tehran": "تهران", "Shiraz": "شیراز", "Tabriz": "تبریز", "Yazd": "یزد", "Isfahan": "اصفهان"}


class Recorder(EventWriter):
    """An event writer that keeps what it is given."""

    def __init__(self, then: Callable[[Event], None] = lambda event: None) -> None:
        super().__init__(None)
        self.events: list[Event] = []
        self._then = then

    def send(self, event: Event) -> None:
        self.events.append(event)
        self._then(event)


def conversations(count: int, seed: int = 0) -> list[dict[str, object]]:
    """Make bilingual conversations with many different sums in them."""
    draw = random.Random(seed)
    rows: list[dict[str, object]] = []
    for _ in range(count):
        a, b = draw.randint(1, 99), draw.randint(1, 99)
        city, persian = draw.choice(sorted(CITIES.items()))
        turns = draw.choice(
            [
                [f"What is {a} plus {b}?", f"{a} plus {b} is {a + b}."],
                [f"{a} به‌علاوهٔ {b} چند می‌شود؟", f"{a} به‌علاوهٔ {b} می‌شود {a + b}."],
                [
                    f"I live in {city}.",
                    f"{city} is nice.",
                    "Where do I live?",
                    f"You live in {city}, number {a}.",
                ],
                [f"من در {persian} زندگی می‌کنم.", "چه خوب!", "کجا؟", f"شما در {persian}، پلاک {a} هستید."],
            ]
        )
        roles = ["user", "assistant"] * 2
        rows.append({"messages": [{"role": r, "content": t} for r, t in zip(roles, turns, strict=False)]})
    return rows


def write_jsonl(folder: Path, rows: Iterable[object], name: str = "train.jsonl") -> Path:
    """Write rows as a JSONL dataset and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def tiny(**changes: object) -> TrainingConfig:
    """Make a config of a model that trains a step in a few milliseconds."""
    values: dict[str, object] = {
        "hidden_size": 64,
        "num_layers": 2,
        "num_heads": 4,
        "vocab_size": 512,
        "max_sequence_length": 32,
        "batch_size": 4,
        "learning_rate": 3e-3,
        "logging_steps": 1,
        "save_steps": 1000,
        "eval_steps": 1000,
        "cpu_only": True,
        **changes,
    }
    return TrainingConfig(**values)  # type: ignore[arg-type]


def make_spec(
    dataset: Path,
    work: Path,
    config: TrainingConfig,
    *,
    base: Path | None = None,
    resume: Path | None = None,
    deepspeed: DeepSpeedOptions | None = None,
) -> TrainerSpec:
    """Make the spec of one attempt."""
    return TrainerSpec(
        job="trainingJobs/job_1",
        dataset=Reference("namespaces/sara/datasets/chat/versions/1", "b3:data"),
        dataset_folder=dataset,
        work_folder=work,
        base=Reference("namespaces/sara/models/base/versions/2", "b3:base") if base else None,
        base_folder=base,
        resume_folder=resume,
        config=config,
        deepspeed=deepspeed or DeepSpeedOptions(),
    )


def run(spec: TrainerSpec) -> tuple[Outcome, list[Event]]:
    """Train in this process, with one thread, and return the outcome and every event."""
    import torch

    from ingot.worker import attempt

    torch.set_num_threads(1)
    recorder = Recorder()
    spec.work_folder.mkdir(parents=True, exist_ok=True)
    path = spec.work_folder / "spec.json"
    spec.save(path)
    return attempt.run(path, recorder, launch.Control()), recorder.events


def start(spec: TrainerSpec, threads: int = 1) -> launch.Trainer:
    """Start the trainer as the agent does."""
    spec.work_folder.mkdir(parents=True, exist_ok=True)
    path = spec.work_folder / "spec.json"
    spec.save(path)
    return launch.start(path, spec.work_folder / "logs", threads)


def finish(trainer: launch.Trainer, on: Callable[[Report], None] = lambda report: None) -> list[Event]:
    """Read a trainer to its end, calling `on` with each report; return the events."""
    events: list[Event] = []
    for report in trainer.events():
        events.append(report.event)
        on(report)
    trainer.wait(100)
    return events


def losses(events: Iterable[Event]) -> dict[int, str]:
    """Return the loss of each step as a hexadecimal float: equal text is equal bits."""
    return {event.step: event.loss.hex() for event in events if isinstance(event, Progress)}


def of(kind: type[E], events: Iterable[Event]) -> list[E]:
    """Return the events of one kind."""
    return [event for event in events if isinstance(event, kind)]
