"""What of training is stored as JSON: the fixed and the changing part of a job, event bodies, operations.

Numbers that are not finite survive (Python writes and reads them as NaN and Infinity). Reading is exact: a
key that this code does not know is an error, so a newer database is never half understood.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ingot.server.core.errors import Problem, Reason
from ingot.server.core.events import (
    KIND_OF,
    Body,
    CheckpointNote,
    EventKind,
    LogLevel,
    LogLine,
    Metrics,
    Progress,
    StateChange,
    WarningNote,
)
from ingot.server.core.names import VersionName, artifact_name, version_reference
from ingot.server.core.operations import Operation, OperationState, RetryPolicy
from ingot.server.core.training import (
    Desired,
    JobState,
    PinnedVersion,
    ResumeCertificate,
    TrainingJob,
    TrainingPlan,
)
from ingot.server.core.training_config import DeepSpeedConfig, TrainingConfig
from ingot.server.core.workers import Device, WorkerFacts

_Json = dict[str, Any]  # parsed JSON; every reader below gives it its types back


def _text(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# --- jobs ---------------------------------------------------------------------------------------------


def definition(job: TrainingJob) -> str:
    """Return what never changes of a job."""
    return _text(
        {
            "creator": job.creator,
            "display_name": job.display_name,
            "dataset": _pinned(job.dataset),
            "base": None if job.base is None else _pinned(job.base),
            "config": asdict(job.config),
            "deepspeed": asdict(job.deepspeed),
            "output_artifact": str(job.output_artifact),
            "plan": {**asdict(job.plan), "problems": [asdict(each) for each in job.plan.problems]},
            "create_time": job.create_time,
            "reproduces": job.reproduces,
        }
    )


def condition(job: TrainingJob) -> str:
    """Return what changes of a job and is not searched by."""
    return _text(
        {
            "update_time": job.update_time,
            "desired": job.desired,
            "last_outcome": job.last_outcome,
            "fruitless": job.fruitless,
            "output_version": job.output_version,
            "progress": None if job.progress is None else asdict(job.progress),
            "latest_metrics": None if job.latest_metrics is None else asdict(job.latest_metrics),
            "best_step": job.best_step,
            "latest_step": job.latest_step,
            "certificate": None if job.certificate is None else asdict(job.certificate),
            "problem": None if job.problem is None else asdict(job.problem),
            "start_time": job.start_time,
            "finish_time": job.finish_time,
        }
    )


def job_of(columns: Mapping[str, Any], fixed: str, changing: str) -> TrainingJob:
    """Return a job from its columns (by their names in TrainingJob) and the two texts."""
    one: _Json = json.loads(fixed)
    two: _Json = json.loads(changing)
    plan = one["plan"]
    return TrainingJob(
        **{
            **columns,
            **one,
            **two,
            "state": JobState(columns["state"]),
            "dataset": _pinned_of(one["dataset"]),
            "base": _pinned_of(one["base"]) if one["base"] else None,
            "config": TrainingConfig(**one["config"]),
            "deepspeed": DeepSpeedConfig(**one["deepspeed"]),
            "output_artifact": artifact_name(one["output_artifact"]),
            "plan": TrainingPlan(
                **{
                    **plan,
                    "warnings": tuple(plan["warnings"]),
                    "problems": tuple(map(problem_of, plan["problems"])),
                    "missing_software": tuple(plan["missing_software"]),
                }
            ),
            "desired": Desired(two["desired"]) if two["desired"] else None,
            "progress": Progress(**two["progress"]) if two["progress"] else None,
            "latest_metrics": Metrics(**two["latest_metrics"]) if two["latest_metrics"] else None,
            "certificate": ResumeCertificate(**two["certificate"]) if two["certificate"] else None,
            "problem": problem_of(two["problem"]) if two["problem"] else None,
        }
    )


def problem_of(fields: _Json) -> Problem:
    """Return a problem from its fields."""
    return Problem(**{**fields, "reason": Reason(fields["reason"])})


def _pinned(version: PinnedVersion) -> _Json:
    return {"name": str(version.name), "digest": version.digest.hex()}


def _pinned_of(fields: _Json) -> PinnedVersion:
    name = version_reference(fields["name"])
    assert isinstance(name, VersionName)
    return PinnedVersion(name, bytes.fromhex(fields["digest"]))


# --- events -------------------------------------------------------------------------------------------


def body(event: Body) -> str:
    """Return the body of an event; its kind stands in a column."""
    return _text(asdict(event))


def body_of(kind: str, text: str) -> Body:
    """Return the body of an event of this kind."""
    fields: _Json = json.loads(text)
    match EventKind(kind):
        case EventKind.LOG:
            return LogLine(LogLevel(fields["level"]), fields["rank"], fields["text"])
        case EventKind.WARNING:
            return WarningNote(Reason(fields["reason"]), fields["message"])
        case EventKind.STATE:
            return StateChange(**fields)
        case EventKind.PROGRESS:
            return Progress(**fields)
        case EventKind.METRICS:
            return Metrics(**fields)
        case EventKind.CHECKPOINT:
            return CheckpointNote(**fields)


def kind_of(event: Body) -> str:
    """Return the kind of an event as its column has it."""
    return KIND_OF[type(event)].value


# --- workers and operations ---------------------------------------------------------------------------


def facts(worker: WorkerFacts) -> str:
    """Return what a worker told about its machine, without its name, which has a column."""
    fields = asdict(worker)
    del fields["display_name"]
    return _text(fields)


def facts_of(display_name: str, text: str) -> WorkerFacts:
    """Return what a worker told about its machine."""
    fields: _Json = json.loads(text)
    return WorkerFacts(
        display_name=display_name,
        devices=tuple(Device(**device) for device in fields["devices"]),
        versions=fields["versions"],
        missing_software=tuple(fields["missing_software"]),
        free_disk_bytes=fields["free_disk_bytes"],
    )


_OPERATION_COLUMNS = (
    "number",
    "kind",
    "state",
    "requester",
    "queue",
    "target",
    "namespace",
    "priority",
    "due_time",
    "attempt",
    "runner",
    "lease_time",
    "finish_time",
    "change",
    "revision",
)


def document(operation: Operation) -> str:
    """Return what is not searched by of an operation."""
    fields = asdict(operation)
    for column in _OPERATION_COLUMNS:
        del fields[column]
    return _text(fields)


def operation_of(columns: Mapping[str, Any], text: str) -> Operation:
    """Return an operation from its columns (by their names in Operation) and its document."""
    fields: _Json = json.loads(text)
    return Operation(
        **{
            **columns,
            **fields,
            "state": OperationState(columns["state"]),
            "reads": tuple(fields.get("reads", ())),
            "policy": RetryPolicy(**fields.get("policy", {})),
            "progress": Progress(**fields["progress"]) if fields["progress"] else None,
            "problem": problem_of(fields["problem"]) if fields["problem"] else None,
        }
    )
