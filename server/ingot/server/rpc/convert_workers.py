"""Wire ↔ core for WorkersService."""

from collections.abc import Iterable

from ingot.content import digests
from ingot.server.core import texts
from ingot.server.core.errors import invalid_field
from ingot.server.core.generation import GenerationAssignment
from ingot.server.core.training import JobView
from ingot.server.core.workers import (
    Device,
    HeldWork,
    ReportedEvent,
    TextPiece,
    TrainingAssignment,
    Worker,
    WorkerFacts,
    WorkerState,
    WorkerView,
    WorkKind,
    WorkOrder,
    WorkOutcome,
)
from ingot.server.domain.work_reports import Ending
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import convert_training
from ingot.v1 import workers_pb2

_LONGEST_NAME, _LONGEST_TEXT = 200, 2000

# --- requests -----------------------------------------------------------------------------------------


def facts_of(request: workers_pb2.RegisterWorkerRequest) -> WorkerFacts:
    """Return what a worker tells about its machine. Raises Invalid (FIELD_INVALID)."""
    for position, device in enumerate(request.devices):
        if device.kind not in ("cpu", "cuda"):
            raise invalid_field(f"devices[{position}].kind", f"expected cpu or cuda, got {device.kind!r}")
    return WorkerFacts(
        display_name=texts.line("display_name", request.display_name, _LONGEST_NAME),
        devices=tuple(
            Device(
                each.kind,
                texts.line(f"devices[{position}].name", each.name, _LONGEST_NAME),
                each.memory_bytes,
                max(1, each.count),
            )
            for position, each in enumerate(request.devices)
        ),
        versions={
            texts.line("versions", name, _LONGEST_NAME): texts.line(
                f"versions[{name!r}]", version, _LONGEST_NAME
            )
            for name, version in request.versions.items()
        },
        missing_software=tuple(
            texts.text("missing_software", each, _LONGEST_TEXT) for each in request.missing_software
        ),
        free_disk_bytes=request.free_disk_bytes,
    )


def kind_of(value: workers_pb2.WorkKind.ValueType) -> WorkKind | None:
    """Return a kind of work, None for any. Raises Invalid for a number that is none."""
    if value == workers_pb2.WORK_KIND_UNSPECIFIED:
        return None
    if value not in workers_pb2.WorkKind.values():
        raise invalid_field("kind", f"expected a kind of work, got {value}")
    return WorkKind(workers_pb2.WorkKind.Name(value).removeprefix("WORK_KIND_"))


def held_of(messages: Iterable[workers_pb2.HeldWork]) -> list[HeldWork]:
    """Return the work that a worker says it has."""
    return [HeldWork(each.name, each.attempt) for each in messages]


def events_of(messages: Iterable[workers_pb2.ReportedEvent]) -> list[ReportedEvent]:
    """Return reported events. Raises Invalid (FIELD_INVALID) for one without a body or a real date."""
    return [_event_of(position, each) for position, each in enumerate(messages)]


def _event_of(position: int, message: workers_pb2.ReportedEvent) -> ReportedEvent:
    where = f"events[{position}]"
    seq, time = message.producer_seq, common.date_of(message.time, f"{where}.time")
    match message.WhichOneof("body"):
        case "state":
            state = convert_training.state_of(message.state, f"{where}.state")
            if state is None:
                raise invalid_field(f"{where}.state", "expected PREPARING or RUNNING, got nothing")
            return ReportedEvent(seq, time, state)
        case "progress":
            return ReportedEvent(seq, time, common.progress_of(message.progress))
        case "metrics":
            return ReportedEvent(seq, time, common.metrics_of(message.metrics))
        case "log":
            return ReportedEvent(seq, time, common.log_line_of(message.log))
        case "warning":
            return ReportedEvent(seq, time, common.warning_of(message.warning))
        case "text":
            return ReportedEvent(seq, time, TextPiece(message.text))
        case "resume_certificate":
            certificate = convert_training.certificate_of(message.resume_certificate)
            return ReportedEvent(seq, time, certificate)
        case _:
            raise invalid_field(where, "expected a body, got none this server knows")


def ending_of(request: workers_pb2.FinishWorkRequest, now: float) -> Ending:
    """Return how work ended. Raises Invalid (FIELD_INVALID)."""
    known = request.outcome in workers_pb2.WorkOutcome.values()
    name = workers_pb2.WorkOutcome.Name(request.outcome).removeprefix("WORK_OUTCOME_") if known else ""
    if name not in WorkOutcome.__members__:
        expected = ", ".join(WorkOutcome.__members__)
        raise invalid_field("outcome", f"expected how the work ended ({expected}), got {request.outcome}")
    done = request.generation if request.HasField("generation") else None
    return Ending(
        outcome=WorkOutcome(name),
        problem=common.problem_of(request.problem, now, "problem") if request.HasField("problem") else None,
        retry=request.retry,
        generation=convert_training.generation_done_of(done) if done else None,
    )


# --- replies ------------------------------------------------------------------------------------------


def worker(found: Worker, state: WorkerState, assignments: Iterable[str] = ()) -> workers_pb2.Worker:
    """Return a worker as a message."""
    facts = found.facts
    return workers_pb2.Worker(
        name=found.name,
        display_name=facts.display_name,
        state=workers_pb2.WorkerState.Value(f"WORKER_STATE_{state}"),
        devices=[
            workers_pb2.Device(
                kind=each.kind, name=each.name, memory_bytes=each.memory_bytes, count=each.count
            )
            for each in facts.devices
        ],
        versions=dict(facts.versions),
        missing_software=facts.missing_software,
        assignments=assignments,
        create_time=common.timestamp(found.create_time),
        last_heartbeat_time=common.timestamp(found.last_heartbeat_time),
        address=found.address,
        free_disk_bytes=facts.free_disk_bytes,
    )


def worker_view(found: WorkerView) -> workers_pb2.Worker:
    """Return a worker with its state and work as a message."""
    return worker(found.worker, found.state, found.assignments)


def assignment(
    found: TrainingAssignment | GenerationAssignment | None,
) -> workers_pb2.Assignment | None:
    """Return claimed work as a message; None when there was none."""
    if found is None:
        return None
    if isinstance(found, GenerationAssignment):
        return workers_pb2.Assignment(
            name=found.name,
            attempt=found.attempt,
            lease_expire_time=common.timestamp(found.lease_expire_time),
            generation=workers_pb2.GenerationAssignment(
                name=found.name,
                model_version=str(found.model),
                model_digest=digests.format_digest(found.digest),
                request=convert_training.generation(found.request, str(found.model)),
            ),
        )
    return workers_pb2.Assignment(
        name=found.job.name,
        attempt=found.job.attempt,
        lease_expire_time=common.timestamp(found.job.lease_expire_time),
        training=workers_pb2.TrainingAssignment(
            training_job=convert_training.job(JobView(found.job, "", found.job.training_seconds)),
            resume_checkpoint=found.resume_checkpoint,
            resume_digest=found.resume_digest,
        ),
    )


def order(found: WorkOrder) -> workers_pb2.WorkOrder:
    """Return what work is asked to do as a message."""
    return workers_pb2.WorkOrder(
        name=found.name,
        attempt=found.attempt,
        desired_state=convert_training.desired(found.desired),
        lost=found.lost,
        lease_expire_time=common.timestamp(found.lease_expire_time),
    )


def work_kind(found: WorkKind) -> workers_pb2.WorkKind.ValueType:
    """Return a kind of work as the enum of the wire."""
    return workers_pb2.WorkKind.Value(f"WORK_KIND_{found}")
