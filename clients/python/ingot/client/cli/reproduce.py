"""reproduce: train a model again from the same data, settings and seed, and compare what comes of it."""

from typing import TYPE_CHECKING

from ingot.client import _names
from ingot.client._errors import Integrity, Invalid
from ingot.client._references import MODELS
from ingot.client.cli import formats, jobs, named, watching
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import catalog_pb2, training_pb2

_CARD = "README.md"
_SHOWN = 20  # files that differ


class Reproduce(Command):
    """Train a model again from the same dataset, base, settings and seed, and compare the digests.

    The result is a new version of the same model, or of --output. Ends with 0 when its digest is the same,
    with 6 when it is not: the files that differ are listed then. On other hardware or with other software
    numbers may be rounded another way.
    """

    examples = (
        "ingot reproduce models/tiny@1 --output models/tiny-again",
        "ingot reproduce models/tiny --no-wait",
    )
    model: str
    output: str
    start: bool
    wait: bool
    request_id: str
    _job: "training_pb2.TrainingJob | None" = None
    _original = ""
    _seen = 0

    @classmethod
    def declare(cls, parser: Parser) -> None:
        import argparse

        parser.add_argument("model", metavar="MODEL", help="models/NAME[@VERSION-OR-ALIAS], or a job: job_12")
        parser.add_argument("-o", "--output", default="", metavar="MODEL", help="model that gets the result")
        parser.add_argument(
            "--start", action=argparse.BooleanOptionalAction, default=True, help="queue it, or leave a draft"
        )
        waits = parser.add_mutually_exclusive_group()
        waits.add_argument(
            "--watch", dest="wait", action="store_true", default=True, help="follow it and compare (usual)"
        )
        waits.add_argument("--no-wait", dest="wait", action="store_false", help="only tell which job it is")
        parser.add_argument(
            "--request-id", default="", metavar="UUID", help="the same id never starts two jobs"
        )

    def run(self, shell: Shell) -> int:
        made = shell.client.training.reproduce(
            self.model if _names.is_job(self.model) else _model(self.model),
            output=_model(self.output) if self.output else None,
            start=self.start,
            request_id=self.request_id,
        )
        job, self._original = made.training_job, made.original_version
        for line in job.plan.warnings:
            shell.out.warn(line)
        if not (self.start and self.wait):
            shell.out.document(made, job.name, lambda: self._tell(shell, job))
            return 0
        self._job = job
        if not shell.out.quiet and not shell.out.json:
            shell.out.line(f"{job.name}: {job.display_name}")
        outcome = watching.follow(shell, job.name, 0, self._remember)
        if outcome:
            return outcome
        if not self._original:
            shell.out.warn(f"{job.reproduces} has no model to compare with.")
            return 0
        return _compare(shell, self._original, shell.client.training.get(job.name).output_version)

    def _tell(self, shell: Shell, job: "training_pb2.TrainingJob") -> None:
        shell.out.line(f"{job.name} is {jobs.state_of(job)}: {job.display_name}")
        then = "watch" if self.start else "start"
        shell.out.note(f"Next: ingot jobs {then} {jobs.bare(job.name)}{self._comparison(job)}")

    def _remember(self, number: int) -> None:
        self._seen = number

    def how_to_go_on(self) -> str:
        """Say how to come back to the job, once there is one."""
        job = self._job
        if job is None:
            return ""
        return watching.detached(job.name, self._seen, ingot=self.ingot) + self._comparison(job)

    def _comparison(self, job: "training_pb2.TrainingJob") -> str:
        """Say how to compare the results when the job has ended."""
        if not self._original:
            return ""
        original, result = named.short(self._original), named.short(job.output_artifact)
        return f"    Then: {self.ingot} diff {original} {result}"


def _model(ref: str) -> str:
    """Return the reference; a bare name is a model. Raises Invalid for a dataset."""
    if named.is_long(ref):
        if ref.startswith("datasets/"):
            raise Invalid(
                f"Expected a model, got {ref!r}.",
                reason="USAGE",
                next_step="Write for example: ingot reproduce models/tiny@1",
            )
        return ref
    return f"{MODELS}/{ref}"


def _compare(shell: Shell, original: str, result: str) -> int:
    """Tell whether the result is the original, byte for byte. Raises Integrity where it is not."""
    found = shell.client.versions.compare(original, result)
    first, second = named.short(found.base.name), named.short(found.other.name)
    if shell.out.json:
        shell.out.plain(found, indent=None)
    if found.base.digest == found.other.digest:
        if not shell.out.json and not shell.out.quiet:
            files = formats.plural(found.totals.same, "file")
            shell.out.line(f"{second} is {first}, byte for byte: {found.other.digest}, {files}")
        return 0
    raise Integrity(
        _difference(found, first, second),
        reason="DIGEST_MISMATCH",
        next_step=f"See: ingot diff {first} {second}",
    )


def _difference(found: "catalog_pb2.CompareVersionsResponse", first: str, second: str) -> str:
    from ingot.v1 import catalog_pb2 as pb

    words = [formats.word(pb.ChangeKind.Name(each.change), "CHANGE_KIND") for each in found.files]
    changes = [f"{each.path} ({word})" for each, word in zip(found.files, words, strict=True)]
    more = "…" if len(changes) > _SHOWN else ""
    text = (
        f"{second} is not {first} byte for byte: {formats.plural(len(changes), 'file')} "
        f"{'differs' if len(changes) == 1 else 'differ'}, {found.totals.same} the same. "
        f"{', '.join(changes[:_SHOWN])}{more}."
    )
    if [each.path for each in found.files] == [_CARD]:
        text += " Only the card differs: weights, settings and tokenizer are the same."
    return text
