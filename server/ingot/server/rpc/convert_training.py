"""Wire ↔ core for TrainingService."""

from typing import Any

from ingot.content import digests
from ingot.server.core.errors import invalid_field
from ingot.server.core.facts import MOST_NAME
from ingot.server.core.generation import (
    DEFAULT_MAX_TOKENS,
    DEFAULT_TEMPERATURE,
    DEFAULT_TOP_P,
    ChatTurn,
    GenerationDone,
    GenerationRequest,
)
from ingot.server.core.names import artifact_name, made_id, namespace_id, version_reference
from ingot.server.core.training import (
    HELD_STATES,
    Checkpoint,
    Desired,
    JobState,
    JobView,
    ResumeCertificate,
    TrainingPlan,
    TrainingStats,
)
from ingot.server.core.training_config import DeepSpeedConfig, TrainingConfig
from ingot.server.domain.reproductions import Reproduction, WantedReproduction
from ingot.server.domain.training import JobDraft
from ingot.server.domain.training_views import Series
from ingot.server.rpc import convert_common as common
from ingot.v1 import common_pb2, training_pb2, transfer_pb2

_STATE = "TRAINING_JOB_STATE_"
_JOBS = "trainingJobs"


# --- requests -----------------------------------------------------------------------------------------


def draft_of(request: training_pb2.CreateTrainingJobRequest) -> JobDraft:
    """Return what a caller says about a new job. Raises Invalid (NAME_INVALID, FIELD_INVALID)."""
    if not request.dataset:
        raise invalid_field("dataset", "expected the name of a dataset or of one of its versions")
    return JobDraft(
        dataset=version_reference(request.dataset, "dataset"),
        base=version_reference(request.base_model, "base_model") if request.base_model else None,
        output=(
            artifact_name(request.output_artifact, "output_artifact") if request.output_artifact else None
        ),
        namespace=namespace_id(request.namespace, "namespace") if request.namespace else "",
        display_name=request.display_name,
        config=config_of(request.config),
        deepspeed=deepspeed_of(request.deepspeed),
        start=request.start,
    )


def reproduction_of(request: training_pb2.ReproduceTrainingJobRequest) -> WantedReproduction:
    """Return what to do again. Raises Invalid (NAME_INVALID)."""
    name = request.name
    return WantedReproduction(
        what=made_id(name, _JOBS) if name.startswith(f"{_JOBS}/") else version_reference(name),
        output=(
            artifact_name(request.output_artifact, "output_artifact") if request.output_artifact else None
        ),
        start=request.start,
    )


_RECORD_FIELDS = ("text_field", "prompt_field", "answer_field")


def config_of(message: training_pb2.TrainingConfig) -> TrainingConfig:
    """Return a configuration; what is unset stays None. Raises Invalid (FIELD_INVALID)."""
    for field in _RECORD_FIELDS:
        if (length := len(getattr(message, field))) > MOST_NAME:
            raise invalid_field(
                f"config.{field}",
                f"expected the name of a field, at most {MOST_NAME} characters, got {length}",
            )
    given: dict[str, Any] = {
        name: getattr(message, name)
        for name in TrainingConfig.__slots__
        if name != "max_time" and message.HasField(name)  # type: ignore[arg-type]  # a test compares the names
    }
    if message.HasField("max_time"):
        given["max_time"] = common.seconds_of(message.max_time)
    return TrainingConfig(**given)


def deepspeed_of(message: training_pb2.DeepSpeedConfig) -> DeepSpeedConfig:
    """Return engine settings; what is unset stays None."""
    return DeepSpeedConfig(
        zero_stage=message.zero_stage if message.HasField("zero_stage") else None,
        offload=message.offload if message.HasField("offload") else None,
        reduce_bucket_size=message.reduce_bucket_size if message.HasField("reduce_bucket_size") else None,
    )


def state_of(value: training_pb2.TrainingJobState.ValueType, field: str = "state") -> JobState | None:
    """Return a state, None when unset. Raises Invalid for a number that is none."""
    if value == training_pb2.TRAINING_JOB_STATE_UNSPECIFIED:
        return None
    if value not in training_pb2.TrainingJobState.values():
        raise invalid_field(field, f"expected a state of a training job, got {value}")
    return JobState(training_pb2.TrainingJobState.Name(value).removeprefix(_STATE))


def generation_of(request: training_pb2.GenerateTextRequest) -> GenerationRequest:
    """Return what to write, with the defaults filled in."""
    return GenerationRequest(
        prompt=request.prompt,
        messages=tuple(ChatTurn(each.role, each.content) for each in request.messages),
        max_tokens=request.max_tokens if request.HasField("max_tokens") else DEFAULT_MAX_TOKENS,
        temperature=request.temperature if request.HasField("temperature") else DEFAULT_TEMPERATURE,
        top_p=request.top_p if request.HasField("top_p") else DEFAULT_TOP_P,
        seed=request.seed if request.HasField("seed") else None,
        stop=tuple(request.stop),
    )


# --- replies ------------------------------------------------------------------------------------------


def job(view: JobView) -> training_pb2.TrainingJob:
    """Return a job as a message; one that was only planned has no name."""
    found = view.job
    prefix = f"{found.name}/checkpoints/"
    held = found.state in HELD_STATES
    return training_pb2.TrainingJob(
        name=found.name if found.number else "",
        uid=found.uid if found.number else "",
        display_name=found.display_name,
        namespace=f"namespaces/{found.namespace}",
        dataset_version=str(found.dataset.name),
        dataset_digest=digests.format_digest(found.dataset.digest),
        base_version=str(found.base.name) if found.base else "",
        base_digest=digests.format_digest(found.base.digest) if found.base else "",
        config=config(found.config),
        deepspeed=deepspeed(found.deepspeed),
        output_artifact=str(found.output_artifact) if found.number else "",
        output_version=found.output_version,
        plan=plan(found.plan),
        state=state(found.state),
        desired_state=desired(found.desired),
        pending_reason=view.pending_reason,
        attempt=found.attempt,
        worker=f"workers/{found.worker}" if held else "",
        progress=common.progress(found.progress),
        latest_metrics=common.metrics(found.latest_metrics),
        best_checkpoint="" if found.best_step is None else f"{prefix}{found.best_step}",
        latest_checkpoint="" if found.latest_step is None else f"{prefix}{found.latest_step}",
        resume_certificate=certificate(found.certificate) if found.certificate else None,
        problem=common.problem(found.problem),
        training_time=common.duration(view.training_seconds),
        creator=found.creator,
        create_time=common.timestamp(found.create_time),
        start_time=common.timestamp(found.start_time),
        finish_time=common.timestamp(found.finish_time),
        update_time=common.timestamp(found.update_time),
        etag=found.etag,
        reproduces=found.reproduces,
    )


def reproduction(found: Reproduction) -> training_pb2.ReproduceTrainingJobResponse:
    """Return a job that does another one again, and what to compare its result with."""
    return training_pb2.ReproduceTrainingJobResponse(
        training_job=job(found.job),
        original_version=str(found.original.name) if found.original else "",
        original_digest=digests.format_digest(found.original.digest) if found.original else "",
    )


def state(found: JobState) -> training_pb2.TrainingJobState.ValueType:
    """Return a state as the enum of the wire."""
    return training_pb2.TrainingJobState.Value(_STATE + found.value)


def desired(found: Desired | None) -> training_pb2.DesiredState.ValueType:
    """Return what work is asked to do as the enum of the wire; None is unspecified."""
    return training_pb2.DesiredState.Value(f"DESIRED_STATE_{found or 'UNSPECIFIED'}")


def config(found: TrainingConfig) -> training_pb2.TrainingConfig:
    """Return a configuration as a message; None stays unset."""
    given = {
        name: value
        for name in TrainingConfig.__slots__
        if name != "max_time" and (value := getattr(found, name)) is not None
    }
    return training_pb2.TrainingConfig(**given, max_time=common.duration(found.max_time))


def deepspeed(found: DeepSpeedConfig) -> training_pb2.DeepSpeedConfig:
    """Return engine settings as a message."""
    return training_pb2.DeepSpeedConfig(
        zero_stage=found.zero_stage,
        offload=found.offload,
        reduce_bucket_size=found.reduce_bucket_size,
    )


def plan(found: TrainingPlan) -> training_pb2.TrainingPlan:
    """Return a plan as a message."""
    return training_pb2.TrainingPlan(
        steps=found.steps,
        tokens=found.tokens,
        parameters=found.parameters,
        memory_bytes=found.memory_bytes,
        disk_bytes=found.disk_bytes,
        duration=common.duration(found.duration),
        warnings=found.warnings,
        problems=[message for each in found.problems if (message := common.problem(each))],
        missing_software=found.missing_software,
        global_batch_size=found.global_batch_size,
    )


def certificate(found: ResumeCertificate) -> training_pb2.ResumeCertificate:
    """Return the evidence of an exact resume as a message."""
    return training_pb2.ResumeCertificate(
        step=found.step,
        checkpoint=found.checkpoint,
        digest=found.digest,
        exact=found.exact,
        reason=found.reason,
    )


def certificate_of(message: training_pb2.ResumeCertificate) -> ResumeCertificate:
    """Return the evidence that a worker tells of."""
    return ResumeCertificate(message.step, message.checkpoint, message.digest, message.exact, message.reason)


def checkpoint(found: Checkpoint) -> training_pb2.Checkpoint:
    """Return a checkpoint as a message."""
    return training_pb2.Checkpoint(
        name=found.name,
        step=found.step,
        epoch=found.epoch,
        digest=digests.format_digest(found.digest),
        size_bytes=found.size_bytes,
        file_count=found.file_count,
        metrics=dict(found.metrics),
        kind=transfer_pb2.CheckpointKind.Value(f"CHECKPOINT_KIND_{found.kind.name}"),
        world_size=found.world_size,
        attempt=found.attempt,
        create_time=common.timestamp(found.create_time),
    )


def series(found: Series) -> training_pb2.MetricSeries:
    """Return a series of numbers as a message."""
    return training_pb2.MetricSeries(
        name=found.name,
        points=[
            training_pb2.MetricPoint(step=each.step, value=each.value, time=common.timestamp(each.time))
            for each in found.points
        ],
    )


def stats(found: TrainingStats) -> training_pb2.GetTrainingStatsResponse:
    """Return totals as a message; times in milliseconds."""
    count = found.by_state
    running = (JobState.PREPARING, JobState.RUNNING, JobState.PAUSING)
    return training_pb2.GetTrainingStatsResponse(
        total_jobs=sum(count.values()),
        running_jobs=sum(count.get(each, 0) for each in running),
        completed_jobs=count.get(JobState.SUCCEEDED, 0),
        failed_jobs=count.get(JobState.FAILED, 0),
        queued_jobs=count.get(JobState.QUEUED, 0),
        paused_jobs=count.get(JobState.PAUSED, 0),
        total_training_time_ms=round(found.training_seconds * 1000),
    )


def generation(found: GenerationRequest, model: str) -> training_pb2.GenerateTextRequest:
    """Return what a worker shall write as a message, every setting filled in."""
    return training_pb2.GenerateTextRequest(
        model=model,
        prompt=found.prompt,
        messages=[common_pb2.ChatMessage(role=each.role, content=each.content) for each in found.messages],
        max_tokens=found.max_tokens,
        temperature=found.temperature,
        top_p=found.top_p,
        seed=found.seed,
        stop=found.stop,
    )


def generation_done(found: GenerationDone, model: str, digest: bytes) -> training_pb2.GenerationDone:
    """Return the end of a generation as a message, with the version that wrote."""
    return training_pb2.GenerationDone(
        finish_reason=found.finish_reason,
        prompt_tokens=found.prompt_tokens,
        completion_tokens=found.completion_tokens,
        duration=common.duration(found.seconds),
        model_version=model,
        model_digest=digests.format_digest(digest),
    )


def generation_done_of(message: training_pb2.GenerationDone) -> GenerationDone:
    """Return the counts that a worker tells of."""
    return GenerationDone(message.finish_reason or "stop", message.prompt_tokens, message.completion_tokens)
