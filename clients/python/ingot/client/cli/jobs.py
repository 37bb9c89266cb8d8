"""jobs: list and show training jobs, and tell them what to do."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ingot.client._names import job_name
from ingot.client.cli import formats, named, uploads
from ingot.client.cli.command import Command, Parser, declare_limit, declare_yes
from ingot.client.cli.output import Listing
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import training_pb2

STATES = (
    "draft",
    "queued",
    "preparing",
    "running",
    "pausing",
    "paused",
    "cancelling",
    "succeeded",
    "failed",
    "cancelled",
)


class Ls(Command):
    """List training jobs, newest first."""

    examples = ("ingot jobs ls", "ingot jobs ls --state running --json")
    state: str | None
    limit: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("--state", choices=STATES, metavar="STATE", help=", ".join(STATES))
        declare_limit(parser)

    def run(self, shell: Shell) -> int:
        from ingot.v1 import training_pb2 as pb

        state = pb.TrainingJobState.Value(f"TRAINING_JOB_STATE_{(self.state or 'unspecified').upper()}")
        listing = Listing(shell.out, self.limit)
        jobs = shell.client.training.list(namespace=self.namespace or None, state=state, limit=listing.wanted)
        heading = ("NAME", "TITLE", "STATE", "STEP", "LOSS", "DATASET", "OUTPUT", "CREATED")
        listing.show(jobs, heading, _row, lambda job: job.name)
        return 0


class _OneJob(Command):
    job: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("job", metavar="JOB", help="12, job_12 or trainingJobs/job_12")


class Show(_OneJob):
    """Show one job: what it learns from, its state and numbers, its plan and, when it failed, why."""

    examples = ("ingot jobs show 1", "ingot jobs show job_1 --json")

    def run(self, shell: Shell) -> int:
        job = shell.client.training.get(self.job)
        shell.out.document(job, job.name, lambda: show(shell, job))
        return 0


class Start(_OneJob):
    """Queue a draft, made by `ingot train --no-start`."""

    examples = ("ingot jobs start 1", "ingot jobs start job_1 --quiet")

    def run(self, shell: Shell) -> int:
        return _steered(shell, shell.client.training.start(self.job), "watch")


class Pause(_OneJob):
    """Ask a job to save a checkpoint and let go of its machine; the watch shows it done."""

    examples = ("ingot jobs pause 1", "ingot jobs pause job_1 && ingot jobs wait job_1 --for paused")

    def run(self, shell: Shell) -> int:
        return _steered(shell, shell.client.training.pause(self.job), "resume")


class Resume(_OneJob):
    """Queue a paused or failed job again; it goes on from its last checkpoint."""

    examples = ("ingot jobs resume 1", "ingot jobs resume job_1 && ingot jobs watch job_1")

    def run(self, shell: Shell) -> int:
        return _steered(shell, shell.client.training.resume(self.job), "watch")


class _Loss(_OneJob):
    """A command on one job after which something is gone: it asks first."""

    yes: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        super().declare(parser)
        declare_yes(parser)


class Cancel(_Loss):
    """Ask a job to end without a result. Its checkpoints stay until it is removed."""

    examples = ("ingot jobs cancel 1 --yes", "ingot jobs cancel job_1 --yes")

    def run(self, shell: Shell) -> int:
        job = shell.client.training.get(self.job)
        loss = (
            f"{job.name} ({state_of(job)}) ends without a model after {formats.duration(job.training_time)}."
        )
        if not shell.confirm(loss, self.yes):
            return 8
        return _steered(shell, shell.client.training.cancel(job.name), "show")


class Rm(_Loss):
    """Remove a job that is not live, with its checkpoints and logs; the model it made stays."""

    examples = ("ingot jobs rm 1 --yes", "ingot jobs rm job_1 --yes")

    def run(self, shell: Shell) -> int:
        job = shell.client.training.get(self.job)
        lost = shell.client.training.delete(job.name, validate_only=True)
        loss = f"{job.name} ({state_of(job)}) goes with its logs and {_checkpoints(lost)}."
        if lost.dependants:
            names = ", ".join(map(named.short, lost.dependants))
            loss += f" These name it and stay, but cannot be reproduced any more: {names}."
        if not shell.confirm(loss, self.yes):
            return 8
        gone = shell.client.training.delete(job.name)
        text = f"{job.name} is gone with {_checkpoints(gone)}."
        shell.out.document(gone, job.name, lambda: shell.out.line(text))
        return 0


def state_of(job: "training_pb2.TrainingJob") -> str:
    """Return the state of a job in a word."""
    from ingot.v1 import training_pb2 as pb

    return formats.word(pb.TrainingJobState.Name(job.state), "TRAINING_JOB_STATE")


def bare(job: str) -> str:
    """Return `job_12` for any form of its name."""
    return job_name(job).removeprefix("trainingJobs/")


def show(shell: Shell, job: "training_pb2.TrainingJob") -> None:
    """Print a job for people."""
    progress = job.progress
    over = job.HasField("finish_time")
    step = ""
    if progress.total:
        done, total = formats.count(progress.done), formats.count(progress.total)
        step = f"{done} of {total} {progress.unit} ({progress.percent:.0f} %)"
    shell.out.facts(
        {
            "name": job.name,
            "title": job.display_name,
            "reproduces": job.reproduces,
            "state": state_of(job) + (f": {job.pending_reason}" if job.pending_reason else ""),
            "dataset": named.short(job.dataset_version),
            "base": named.short(job.base_version),
            "output": named.short(job.output_version or job.output_artifact),
            "progress": "" if over else f"{progress.phase} {step}".rstrip(),
            "numbers": _numbers(job.latest_metrics.values),
            "newest checkpoint": job.latest_checkpoint,
            "best checkpoint": job.best_checkpoint,
            "resumed": _certificate(job),
            "trained for": formats.duration(job.training_time),
            "worker": job.worker,
            "attempt": str(job.attempt or ""),
            "problem": uploads.problem_text(job.problem) if job.HasField("problem") else "",
            "plan": "\n".join(plan_lines(job.plan)),
            "settings": _settings(job),
            "creator": named.user(job.creator),
            "created": formats.moment(job.create_time),
            "ended": formats.moment(job.finish_time) if job.finish_time.seconds else "",
        }
    )
    if job.HasField("problem"):
        shell.out.note(f"Its log: ingot jobs logs {bare(job.name)} --tail 50")


def plan_lines(plan: "training_pb2.TrainingPlan") -> list[str]:
    """Return a plan in words: what it will need, what is odd and what will not work."""
    figures = (
        (plan.steps, "steps", formats.count),
        (plan.tokens, "tokens", formats.count),
        (plan.parameters, "parameters", formats.count),
        (plan.memory_bytes, "of memory", formats.size),
        (plan.disk_bytes, "of disk", formats.size),
    )
    lines = [f"about {write(value)} {what}" for value, what, write in figures if value]
    if plan.global_batch_size:
        lines.append(f"{formats.count(plan.global_batch_size)} sequences a step")
    if plan.HasField("duration"):
        lines.append(f"about {formats.duration(plan.duration)}")
    lines += [f"warning: {text}" for text in plan.warnings]
    lines += [f"no worker has {software}" for software in plan.missing_software]
    lines += [f"problem: {problem.message} {problem.next_step}".rstrip() for problem in plan.problems]
    return lines


def _row(job: "training_pb2.TrainingJob") -> tuple[str, ...]:
    progress = job.progress
    loss = find_number(job.latest_metrics.values, "smoothed_loss", "loss")
    return (
        bare(job.name),
        job.display_name or "-",
        state_of(job),
        f"{formats.count(progress.done)}/{formats.count(progress.total)}" if progress.total else "-",
        "-" if loss is None else formats.number(loss),
        named.short(job.dataset_version),
        named.short(job.output_version or job.output_artifact) or "-",
        formats.moment(job.create_time),
    )


def find_number(values: Mapping[str, float], *names: str) -> float | None:
    """Return the first of the named numbers there is, with or without `train/` before it."""
    for name in names:
        for key in (name, f"train/{name}"):
            if key in values:
                return float(values[key])
    return None


def _steered(shell: Shell, job: "training_pb2.TrainingJob", then: str) -> int:
    def text() -> None:
        shell.out.line(f"{job.name} is {state_of(job)}.")
        shell.out.note(f"Next: ingot jobs {then} {bare(job.name)}")

    shell.out.document(job, job.name, text)
    return 0


def _numbers(values: Mapping[str, float]) -> str:
    return "\n".join(f"{name} = {formats.number(value)}" for name, value in sorted(values.items()))


def _checkpoints(gone: "training_pb2.DeleteTrainingJobResponse") -> str:
    return f"{formats.plural(gone.checkpoint_count, 'checkpoint')} ({formats.size(gone.size_bytes)})"


def _certificate(job: "training_pb2.TrainingJob") -> str:
    if not job.HasField("resume_certificate"):
        return ""
    resumed = job.resume_certificate
    how = "exactly, bit by bit" if resumed.exact else f"not exactly: {resumed.reason}"
    return f"at step {formats.count(resumed.step)} from {resumed.checkpoint}, {how}"


def _settings(job: "training_pb2.TrainingJob") -> str:
    pairs = [*job.config.ListFields(), *job.deepspeed.ListFields()]
    return "\n".join(
        f"{field.name} = {str(value).lower() if isinstance(value, bool) else value}"
        for field, value in pairs
        if field.message_type is None and value != ""
    )
