"""What the trainer said, in the words of the API: one report becomes none, one or several events."""

from ingot.v1 import common_pb2, training_pb2, workers_pb2
from ingot.worker import progress

AGENT = -1  # the rank under which the agent's own lines stand in the log

Event = workers_pb2.ReportedEvent

_LEVELS = {
    "debug": common_pb2.LOG_LEVEL_DEBUG,
    "info": common_pb2.LOG_LEVEL_INFO,
    "warning": common_pb2.LOG_LEVEL_WARNING,
    "error": common_pb2.LOG_LEVEL_ERROR,
}
_NAMES = {"train/loss": "loss", "val/loss": "eval_loss", "val/perplexity": "perplexity"}


def state(value: training_pb2.TrainingJobState.ValueType) -> Event:
    """Say that the job went on to another state."""
    return Event(state=value)


def log_line(level: str, text: str, rank: int = 0) -> Event:
    """Make a line of the log."""
    return Event(
        log=common_pb2.LogLine(level=_LEVELS.get(level, common_pb2.LOG_LEVEL_INFO), rank=rank, text=text)
    )


def fetching(what: str, done: int, total: int) -> Event:
    """Say how far pulling an input is, in bytes."""
    return Event(
        progress=common_pb2.Progress(
            phase="fetching",
            done=done,
            total=total,
            unit="bytes",
            percent=_percent(done, total),
            message=f"fetching {what}",
        )
    )


def _percent(done: int, total: int) -> float:
    """Return how much is done, at most 100: totals are estimates while things are being counted."""
    return min(100.0, 100.0 * done / total) if total else 0.0


def events_of(report: progress.Report, job: str = "", resume_digest: str = "") -> list[Event]:
    """Translate one report of a job that was given the checkpoint of `resume_digest` to go on from.

    Checkpoints, results and outcomes reach the server by other ways.
    """
    if isinstance(report.event, progress.Resumed):
        events = [_certificate(report.event, job, resume_digest)]
    else:
        events = _translate(report.event)
    for event in events:
        event.time.FromMicroseconds(int(report.time * 1e6))
    return events


def _certificate(event: progress.Resumed, job: str, digest: str) -> Event:
    wire = training_pb2.ResumeCertificate(
        step=event.step,
        checkpoint=f"{job}/checkpoints/{event.step}",
        digest=digest,
        exact=event.exact,
        reason=event.reason,
    )
    return Event(resume_certificate=wire)


def _translate(event: progress.Event) -> list[Event]:
    if isinstance(event, progress.State):
        return _phase(event)
    if isinstance(event, progress.Preparation):
        wire = common_pb2.Progress(
            phase="preparing",
            done=event.done,
            total=event.total,
            unit=event.unit,
            percent=_percent(event.done, event.total),
        )
        return [Event(progress=wire)]
    if isinstance(event, progress.Progress):
        return [Event(progress=_step_progress(event)), Event(metrics=_step_metrics(event))]
    if isinstance(event, progress.Metrics):
        values = {_NAMES.get(name, name.replace("/", "_")): value for name, value in event.values.items()}
        return [Event(metrics=common_pb2.Metrics(step=event.step, values=values))]
    if isinstance(event, progress.Log):
        return [log_line(event.level, event.text, event.rank)]
    return []


def _phase(event: progress.State) -> list[Event]:
    running = event.phase in ("training", "evaluating", "saving", "exporting")
    job_state = (
        training_pb2.TRAINING_JOB_STATE_RUNNING if running else training_pb2.TRAINING_JOB_STATE_PREPARING
    )
    message = event.message or event.phase
    return [Event(state=job_state), Event(progress=common_pb2.Progress(phase=event.phase, message=message))]


def _step_progress(event: progress.Progress) -> common_pb2.Progress:
    wire = common_pb2.Progress(
        phase="training",
        done=event.step,
        total=event.total,
        unit="steps",
        percent=_percent(event.step, event.total),
        rate=1.0 / event.step_seconds if event.step_seconds else 0.0,
    )
    wire.eta.FromMicroseconds(int(max(event.eta_seconds, 0.0) * 1e6))
    return wire


def _step_metrics(event: progress.Progress) -> common_pb2.Metrics:
    values = {
        "loss": event.loss,
        "smoothed_loss": event.smoothed_loss,
        "grad_norm": event.grad_norm,
        "learning_rate": event.learning_rate,
        "tokens": float(event.tokens),
        "tokens_per_second": event.tokens_per_second,
        "step_seconds": event.step_seconds,
        "eta_seconds": event.eta_seconds,
        "memory_bytes": float(event.memory_bytes),
        "device_memory_bytes": float(event.device_memory_bytes),
        "skipped_steps": float(event.skipped_steps),
        "data_wait": event.data_wait,
    }
    return common_pb2.Metrics(step=event.step, epoch=event.epoch, values=values)
