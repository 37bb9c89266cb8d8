"""The trainer process: `python -m ingot.worker.attempt SPEC.json`, started by `launch`.

First it ties its life to the agent's and takes the signals, before anything slow is imported; then it trains;
and whatever happens, it says as its last event how it ended. Only a kill leaves no outcome. SIGQUIT writes
the stacks of all threads to stderr, for a watchdog that wants to know where a silent trainer hangs.
"""

import faulthandler
import gc
import os
import signal
import sys
import traceback
from pathlib import Path

from ingot.worker import launch
from ingot.worker.config import TrainerSpec
from ingot.worker.problem import Problem, TrainingError
from ingot.worker.progress import EventWriter, Outcome, State

MEMORY_WORDS = ("can't allocate memory", "cannot allocate memory", "out of memory", "not enough memory")


def main() -> int:
    """Run one attempt. The exit code is for people; the outcome event is what counts."""
    launch.tether()
    control = launch.listen()
    faulthandler.enable()
    faulthandler.register(signal.SIGQUIT, all_threads=True)
    events = EventWriter.inherited()
    events.send(State("starting"))
    gc.disable()  # until all is imported, which makes a million objects that stay
    outcome = run(Path(sys.argv[1]), events, control)
    events.send(outcome)
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything that matters is on disk and said; the libraries' own clean-up at exit can only crash or hang.
    os._exit(1 if outcome.outcome == "failed" else 0)


def run(path: Path, events: EventWriter, control: launch.Control) -> Outcome:
    """Train what a spec file says and turn every end into an outcome."""
    try:
        spec = TrainerSpec.load(path)
        try:
            from ingot.worker import train
        except ImportError as error:
            return _failed(environment_missing(error))
        gc.enable()
        try:
            return train.train(spec, events, control)
        except train.Stopped:
            return Outcome("cancelled" if control.cancel else "paused")
    except TrainingError as error:
        traceback.print_exc()
        kind = "paused" if error.problem.reason == "DISK_LOW" else "failed"
        return Outcome(kind, problem=error.problem)
    except Exception as error:  # noqa: BLE001  # the one place where a failure without a name gets one
        traceback.print_exc()
        return _failed(unexpected(error))


def environment_missing(error: ImportError) -> Problem:
    """Say which package a worker lacks."""
    message = f"This worker cannot train: {error}."
    return Problem(
        "ENVIRONMENT_MISSING", message, {"python": sys.executable}, "Run ingot-worker check there."
    )


def unexpected(error: Exception) -> Problem:
    """Name the failures a library raises without a type of their own; the rest keeps its words."""
    text = str(error)
    if isinstance(error, MemoryError) or any(words in text.lower() for words in MEMORY_WORDS):
        next_step = "Lower batch_size or max_sequence_length, or set gradient_checkpointing."
        return Problem(
            "OUT_OF_MEMORY",
            "The model and its batch do not fit into memory.",
            {"error": text[:500]},
            next_step,
        )
    next_step = "Read the trainer's log; the last lines show where it happened."
    return Problem(
        "TRAINER_FAILED", f"The trainer stopped: {type(error).__name__}: {text[:500]}", {}, next_step
    )


def _failed(problem: Problem) -> Outcome:
    return Outcome("failed", problem=problem)


if __name__ == "__main__":
    main()
