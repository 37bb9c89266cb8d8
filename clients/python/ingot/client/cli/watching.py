"""jobs watch and wait: follow a training job until it has ended."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from ingot.client._errors import IngotError, Precondition, TimedOut
from ingot.client.cli import jobs, named, uploads
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.job_view import JobView
from ingot.client.cli.live import LiveLine
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import training_pb2

_OUTCOMES = {"succeeded": 0, "failed": 1, "cancelled": 8}


class Watch(Command):
    """Follow a job live: state, step, loss, speed, time left, evaluations and checkpoints.

    Broken connections are resumed without losing an event. Ctrl-C leaves the job alone. Ends by the job's
    outcome: 0 succeeded, 1 failed, 8 cancelled.
    """

    examples = ("ingot jobs watch 1", "ingot jobs watch job_1 --json")
    job: str
    after: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("job", metavar="JOB", help="12, job_12 or trainingJobs/job_12")
        parser.add_argument("--after", type=int, default=0, metavar="N", help="only events after number N")

    def run(self, shell: Shell) -> int:
        return follow(shell, self.job, self.after, self._seen)

    def _seen(self, number: int) -> None:
        self.after = number

    def how_to_go_on(self) -> str:
        """Say how to come back, to where one was."""
        return detached(self.job, self.after, ingot=self.ingot)


class Wait(Command):
    """Wait until a job has ended, or has come to a state. Ends by the outcome, or 0 once in that state."""

    examples = ("ingot jobs wait 1", "ingot jobs wait job_1 --for paused --timeout 60")
    job: str
    state: str | None
    timeout: float

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("job", metavar="JOB", help="12, job_12 or trainingJobs/job_12")
        parser.add_argument(
            "--for", dest="state", choices=jobs.STATES, metavar="STATE", help="until it is in this state"
        )
        parser.add_argument("--timeout", type=float, default=0, metavar="SECONDS", help="at most so long")

    def run(self, shell: Shell) -> int:
        _limit(self.timeout, self.job, self.ingot)
        try:
            return self._wait(shell)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _wait(self, shell: Shell) -> int:
        view, replaying = JobView(), False
        for message in shell.client.training.watch(self.job):
            for _ in view.lines(message):
                continue
            if not replaying and view.state == self.state:
                break
            # Between the snapshot and `synced` come old events: states that may be long over.
            kind = message.WhichOneof("message")
            replaying = kind == "snapshot" or (replaying and kind != "synced")
            if kind == "synced" and view.state == self.state:
                break
        job = shell.client.training.get(self.job)
        shell.out.document(job, job.name, lambda: shell.out.line(f"{job.name} is {jobs.state_of(job)}."))
        if self.state is None:
            return _outcome(shell, job)
        if jobs.state_of(job) != self.state:
            raise Precondition(
                f"{job.name} ended as {jobs.state_of(job)} and was not seen {self.state}.",
                reason="STATE_INVALID",
                next_step=f"See: ingot jobs show {jobs.bare(job.name)}",
            )
        return 0

    def how_to_go_on(self) -> str:
        """Say how to come back."""
        return detached(self.job, ingot=self.ingot)


def follow(shell: Shell, name: str, after: int, seen: Callable[[int], None]) -> int:
    """Show a job until it has ended and return the exit code of its outcome.

    `after` is the number of the last event that was shown before; `seen` is told each that is shown now.
    """
    view, line, present = JobView(), LiveLine(shell.out), False

    broken: set[str] = set()

    def on_break(error: IngotError) -> None:
        line.clear()
        if error.message not in broken:  # a server that is away says the same each time
            shell.out.note(f"{error.message} Trying again.")
        broken.add(error.message)

    try:
        for message in shell.client.training.watch(name, after=after, on_break=on_break):
            if shell.out.json:
                shell.out.plain(message, indent=None)
            for text in view.lines(message):
                line.clear()
                if not shell.out.quiet and not shell.out.json:
                    shell.out.line(text)
            present = present or message.HasField("synced")
            line.show(view.now() if present else "")  # what is replayed first is the past
            if message.HasField("event"):
                seen(message.event.seq)
    finally:
        line.clear()
    job = shell.client.training.get(name)
    if shell.out.quiet:
        shell.out.line(named.short(job.output_version) or job.name)
    return _outcome(shell, job)


def detached(job: str, after: int = 0, *, ingot: str = "ingot") -> str:
    """Return what to say when somebody stops watching; `ingot` calls the program with the same server."""
    further = f" --after {after}" if after else ""
    return f"The job goes on. Come back: {ingot} jobs watch {jobs.bare(job)}{further}"


def _outcome(shell: Shell, job: "training_pb2.TrainingJob") -> int:
    state = jobs.state_of(job)
    if job.output_version and not shell.out.json and not shell.out.quiet:
        model = named.short(job.output_version)
        shell.out.line(f"The model is {model}")
        shell.out.note(f'Try it: ingot generate {model} "Hello"    Fetch it: ingot pull {model}')
    if state == "failed":
        why = uploads.problem_text(job.problem).replace("\n", "\n  ")
        shell.out.error(why)
        shell.out.note(f"  Its log: ingot jobs logs {jobs.bare(job.name)} --tail 50")
    return _OUTCOMES.get(state, 1)


def _limit(seconds: float, job: str, ingot: str) -> None:
    """Let the wait end with TimedOut after so many seconds; 0 is no limit."""

    def expire(number: int, frame: FrameType | None) -> None:
        raise TimedOut(
            f"{jobs.bare(job)} took longer than {seconds:g} s.",
            reason="DEADLINE_EXCEEDED",
            next_step=detached(job, ingot=ingot),
        )

    if seconds > 0:
        signal.signal(signal.SIGALRM, expire)
        signal.setitimer(signal.ITIMER_REAL, seconds)
