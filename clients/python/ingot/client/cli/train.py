"""train: from a dataset, and perhaps a base model, to a model."""

import argparse
from pathlib import Path

from ingot.client._errors import Invalid
from ingot.client._references import DATASETS, KINDS, MODELS
from ingot.client.cli import jobs, named, watching
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.shell import Shell


class Train(Command):
    """Train a model on a dataset, from scratch or from a base model; a worker does the work.

    Settings come from --config (TOML or JSON, the systems before Ingot's files too) and --set, which wins. An
    unknown setting is refused. --plan only tells what the training would need.
    """

    examples = (
        "ingot train datasets/chat -o models/tiny --config docs/samples/sample_model_config.json --plan",
        "ingot train datasets/chat --output models/tiny --set epochs=60 --set learningRate=0.002 --watch",
    )
    dataset: str | None
    output: str
    base: str
    config: Path | None
    set: list[str]
    title: str
    plan: bool
    start: bool
    watch: bool
    request_id: str
    _job = ""
    _seen = 0

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("dataset", nargs="?", metavar="DATASET", help="datasets/NAME[@VERSION-OR-ALIAS]")
        parser.add_argument("-o", "--output", default="", metavar="MODEL", help="model that gets the result")
        parser.add_argument("--base", default="", metavar="MODEL", help="model to start from")
        parser.add_argument("--config", type=Path, metavar="FILE", help="settings, .toml or .json")
        parser.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting (repeat)"
        )
        parser.add_argument("--title", default="", metavar="TEXT", help="what to call the job")
        parser.add_argument("--plan", action="store_true", help="only tell what it would need")
        parser.add_argument(
            "--start", action=argparse.BooleanOptionalAction, default=True, help="queue it, or leave a draft"
        )
        parser.add_argument("--watch", action="store_true", help="follow it to its end")
        parser.add_argument(
            "--request-id", default="", metavar="UUID", help="the same id never starts two jobs"
        )

    def run(self, shell: Shell) -> int:
        from ingot.client.cli import training_file

        asked = training_file.read(self.config) if self.config else training_file.TrainingFile()
        asked.change(self.set)
        dataset = self.dataset or asked.dataset
        if not dataset:
            raise Invalid(
                "There is no dataset to learn from.",
                reason="USAGE",
                next_step="Name one: ingot train datasets/NAME --output models/NAME",
            )
        if self.watch and not self.start:
            raise Invalid(
                "A draft cannot be watched.", reason="USAGE", next_step="Drop --no-start or --watch."
            )
        base, output = self.base or asked.base, self.output or asked.output
        job = shell.client.training.create(
            _of_kind(dataset, DATASETS),
            output=_of_kind(output, MODELS) if output else None,
            base=_of_kind(base, MODELS) if base else None,
            config=asked.config,
            deepspeed=asked.deepspeed,
            namespace=self.namespace,
            display_name=self.title or asked.name,
            start=self.start and not self.plan,
            validate_only=self.plan,
            request_id=self.request_id,
        )
        if self.plan:
            shell.out.document(
                job.plan, "", lambda: shell.out.text("".join(f"{x}\n" for x in jobs.plan_lines(job.plan)))
            )
            return 1 if job.plan.problems else 0
        self._job = job.name
        if self.watch:
            return watching.follow(shell, job.name, 0, self._remember)

        def text() -> None:
            shell.out.line(f"{job.name} is {jobs.state_of(job)}: {named.short(job.dataset_version)}")
            for line in (
                *job.plan.warnings,
                *(f"no worker has {each}" for each in job.plan.missing_software),
            ):
                shell.out.warn(line)
            then = "watch" if self.start else "start"
            shell.out.note(f"Next: ingot jobs {then} {jobs.bare(job.name)}")

        shell.out.document(job, job.name, text)
        return 0

    def _remember(self, number: int) -> None:
        self._seen = number

    def how_to_go_on(self) -> str:
        """Say how to come back to the job, once there is one."""
        if not self._job:
            return ""
        return watching.detached(self._job, self._seen, ingot=self.ingot)


def _of_kind(ref: str, kind: str) -> str:
    """Return the reference; a bare id, as `dataset_12`, is of the expected kind."""
    return ref if ref.split("/", maxsplit=1)[0] in (*KINDS, "namespaces") else f"{kind}/{ref}"
