"""Between the API and the trainer: specs, problems, and calls that outlast a lost server."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ingot.client import IngotError, LimitReached, ServerFault, TimedOut, Unreachable
from ingot.v1 import common_pb2, errors_pb2, training_pb2
from ingot.worker import folders
from ingot.worker.config import DeepSpeedOptions, Reference, TrainerSpec, TrainingConfig
from ingot.worker.problem import Problem

log = logging.getLogger(__name__)

T = TypeVar("T")

PAUSE = 2.0  # seconds between tries while the server is away
_PASSING = (Unreachable, TimedOut, LimitReached, ServerFault)


def passes(error: IngotError) -> bool:
    """Tell whether a failure may go away by itself."""
    return isinstance(error, _PASSING)


def tell_away(error: IngotError) -> None:
    """Log why the server does not answer, in the words of the error."""
    log.warning("server.away %s %s", error.message, error.next_step)


def persist(
    call: Callable[[], T], stop: Callable[[], bool], wait: Callable[[float], object] = time.sleep
) -> T | None:
    """Make a call until it is answered, however long the server is away; None once `stop` says so.

    Raises IngotError for failures that waiting does not cure.
    """
    while not stop():
        try:
            return call()
        except IngotError as error:
            if not passes(error):
                raise
            tell_away(error)
            wait(PAUSE)
    return None


def problem_of(error: IngotError) -> Problem:
    """Turn a failed call into what is stored with the job."""
    facts = dict(error.facts) | ({"request_id": error.request_id} if error.request_id else {})
    return Problem(error.reason or "INTERNAL", error.message, facts, error.next_step)


def to_wire(problem: Problem) -> common_pb2.Problem:
    """Turn a problem of the trainer into the API's; a reason the API does not know becomes TRAINER_FAILED."""
    wire = common_pb2.Problem(message=problem.message, facts=problem.facts, next_step=problem.next_step)
    wire.reason = reason_of(problem.reason)
    wire.time.GetCurrentTime()
    return wire


def reason_of(name: str) -> errors_pb2.ErrorReason.ValueType:
    """Return the API's value for a reason's name."""
    full = f"ERROR_REASON_{name}"
    known = full in errors_pb2.ErrorReason.keys()  # noqa: SIM118 (an enum wrapper is no mapping)
    return errors_pb2.ErrorReason.Value(full) if known else errors_pb2.ERROR_REASON_TRAINER_FAILED


def spec_of(
    job: training_pb2.TrainingJob,
    attempt: int,
    dataset: Path,
    base: Path | None,
    resume: Path | None,
    work: Path,
) -> TrainerSpec:
    """Write the trainer's spec for an attempt. The server filled in every default; unset stays unset."""
    return TrainerSpec(
        job=job.name,
        attempt=attempt,
        dataset=Reference(job.dataset_version, job.dataset_digest),
        dataset_folder=dataset,
        base=Reference(job.base_version, job.base_digest) if job.base_version else None,
        base_folder=base,
        resume_folder=resume,
        work_folder=work,
        config=config_of(job.config),
        deepspeed=deepspeed_of(job.deepspeed),
    )


def config_of(wire: training_pb2.TrainingConfig) -> TrainingConfig:
    """Turn the API's config into the trainer's; keys that are not set keep the trainer's default."""
    given: dict[str, object] = {
        field.name: value for field, value in wire.ListFields() if field.name != "max_time"
    }
    if wire.HasField("max_time"):
        given["max_time"] = wire.max_time.ToTimedelta().total_seconds()
    return TrainingConfig(**given)  # type: ignore[arg-type]  # a test holds the names and types of both equal


def deepspeed_of(wire: training_pb2.DeepSpeedConfig) -> DeepSpeedOptions:
    """Turn the API's engine settings into the trainer's."""
    defaults = DeepSpeedOptions()
    return DeepSpeedOptions(
        zero_stage=wire.zero_stage if wire.HasField("zero_stage") else defaults.zero_stage,
        offload_optimizer=wire.offload == "optimizer",
        reduce_bucket_size=wire.reduce_bucket_size if wire.HasField("reduce_bucket_size") else None,
    )


def as_checkpoint(pulled: Path, name: str, job_folder: Path) -> Path:
    """Give a pulled checkpoint the folder name of its step, which the trainer reads; return that path."""
    step = int(name.rpartition("/")[2])
    link = job_folder / "resume" / folders.step_name(step)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(pulled, target_is_directory=True)
    return link
