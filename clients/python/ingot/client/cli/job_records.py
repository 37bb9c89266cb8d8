"""jobs logs, metrics and checkpoints: what a training job left."""

from typing import TYPE_CHECKING

from ingot.client._errors import NotFound
from ingot.client.cli import formats, jobs
from ingot.client.cli.command import Command, Parser, declare_limit
from ingot.client.cli.output import Listing, Output
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import training_pb2

_LEVELS = ("debug", "info", "warning", "error")


class Logs(Command):
    """Print the log of a job; --follow goes on until the job ends."""

    examples = ("ingot jobs logs 1 --tail 20", "ingot jobs logs job_1 --follow --level warning")
    job: str
    follow: bool
    tail: int
    level: str | None
    rank: int | None

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("job", metavar="JOB", help="12, job_12 or trainingJobs/job_12")
        parser.add_argument("-f", "--follow", action="store_true", help="go on until the job ends")
        parser.add_argument("--tail", type=int, default=0, metavar="N", help="only the last N lines")
        parser.add_argument("--level", choices=_LEVELS, metavar="LEVEL", help="at least this serious")
        parser.add_argument("--rank", type=int, metavar="N", help="only this process; -1 is the agent")

    def run(self, shell: Shell) -> int:
        from ingot.v1 import common_pb2

        level = common_pb2.LogLevel.Value(f"LOG_LEVEL_{(self.level or 'unspecified').upper()}")
        lines = shell.client.training.logs(
            self.job, min_level=level, rank=self.rank, follow=self.follow, tail=self.tail
        )
        for line in lines:
            if shell.out.json:
                shell.out.plain(line, indent=None)
            elif shell.out.quiet:
                shell.out.line(line.line.text)
            else:
                shell.out.line(log_text(line))
        return 0

    def how_to_go_on(self) -> str:
        """Say that the job goes on."""
        return f"The job goes on; its log: {self.ingot} jobs logs {jobs.bare(self.job)} --follow"


class Metrics(Command):
    """Print series of numbers: the last value of each, or with --points their course."""

    examples = ("ingot jobs metrics 1", "ingot jobs metrics job_1 --series eval_loss --points 20")
    job: str
    series: list[str]
    points: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("job", metavar="JOB", help="12, job_12 or trainingJobs/job_12")
        parser.add_argument(
            "--series", action="append", default=[], metavar="NAME", help="only these (repeat)"
        )
        parser.add_argument(
            "--points", type=int, default=0, metavar="N", help="their course in at most N points"
        )

    def run(self, shell: Shell) -> int:
        found = shell.client.training.metrics(self.job, self.series, max_points=self.points)
        if self.points and not shell.out.json and not shell.out.quiet:
            rows = [
                (
                    each.name,
                    formats.count(point.step),
                    formats.number(point.value),
                    formats.moment(point.time),
                )
                for each in found
                for point in each.points
            ]
            shell.out.table([("SERIES", "STEP", "VALUE", "TIME"), *rows])
            return 0
        heading = ("SERIES", "POINTS", "STEP", "LAST", "LOWEST", "HIGHEST")
        shown = [each for each in found if each.points or shell.out.json]
        Listing(shell.out, limit=0).show(shown, heading, _series_row, lambda each: each.name)
        return 0


class Checkpoints(Command):
    """List the checkpoints of a job, newest first. They can be pulled like a version."""

    examples = ("ingot jobs checkpoints 1", "ingot jobs checkpoints job_1 --quiet")
    job: str
    limit: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("job", metavar="JOB", help="12, job_12 or trainingJobs/job_12")
        declare_limit(parser)

    def run(self, shell: Shell) -> int:
        listing = Listing(shell.out, self.limit)
        found = shell.client.training.checkpoints(self.job, limit=listing.wanted)
        heading = ("NAME", "KIND", "EPOCH", "EVAL LOSS", "SIZE", "CREATED")
        listing.show(found, heading, _checkpoint_row, lambda checkpoint: checkpoint.name)
        return 0


def show_checkpoint(shell: Shell, name: str) -> None:
    """Print one checkpoint. Raises NotFound."""
    job = name.partition("/checkpoints/")[0]
    for checkpoint in shell.client.training.checkpoints(job):
        if checkpoint.name == name:
            break
    else:
        raise NotFound(
            f"There is no checkpoint {name}.",
            reason="CHECKPOINT_NOT_FOUND",
            next_step=f"See them: ingot jobs checkpoints {jobs.bare(job)}",
        )
    shell.out.document(checkpoint, checkpoint.name, lambda: _show(shell.out, checkpoint))


def log_text(line: "training_pb2.ReadTrainingLogsResponse") -> str:
    """Return a log line with its time and seriousness."""
    from ingot.v1 import common_pb2

    level = formats.word(common_pb2.LogLevel.Name(line.line.level), "LOG_LEVEL")
    who = "agent" if line.line.rank < 0 else f"rank {line.line.rank}"
    return f"{formats.clock(line.time)}  {level:<7}  {who:<6}  {line.line.text}"


def _series_row(series: "training_pb2.MetricSeries") -> tuple[str, ...]:
    values = [point.value for point in series.points]
    last = series.points[-1]
    return (
        series.name,
        formats.count(len(values)),
        formats.count(last.step),
        formats.number(last.value),
        formats.number(min(values)),
        formats.number(max(values)),
    )


def _checkpoint_row(checkpoint: "training_pb2.Checkpoint") -> tuple[str, ...]:
    loss = checkpoint.metrics.get("eval_loss", checkpoint.metrics.get("val/loss"))
    return (
        checkpoint.name,
        _kind(checkpoint),
        f"{checkpoint.epoch:.2f}",
        "-" if loss is None else formats.number(loss),
        formats.size(checkpoint.size_bytes),
        formats.moment(checkpoint.create_time),
    )


def _kind(checkpoint: "training_pb2.Checkpoint") -> str:
    from ingot.v1 import transfer_pb2 as pb

    return formats.word(pb.CheckpointKind.Name(checkpoint.kind), "CHECKPOINT_KIND")


def _show(out: Output, checkpoint: "training_pb2.Checkpoint") -> None:
    numbers = sorted(checkpoint.metrics.items())
    out.facts(
        {
            "name": checkpoint.name,
            "kind": _kind(checkpoint),
            "epoch": f"{checkpoint.epoch:.2f}",
            "digest": checkpoint.digest,
            "size": formats.size(checkpoint.size_bytes),
            "files": formats.count(checkpoint.file_count),
            "numbers": "\n".join(f"{name} = {formats.number(value)}" for name, value in numbers),
            "attempt": str(checkpoint.attempt),
            "created": formats.moment(checkpoint.create_time),
        }
    )
