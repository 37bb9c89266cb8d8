"""push: files and folders become a new version of a model or dataset."""

from typing import TYPE_CHECKING

from ingot.client._errors import Integrity, Invalid, NotFound
from ingot.client._references import parse_artifact
from ingot.client.cli import describing, formats, named, values
from ingot.client.cli.command import Parser
from ingot.client.cli.output import Output
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.client._push import PushResult

_FINDINGS = 10  # of a validation that are shown


class Push(describing.Describing):
    """Send files or folders as a new version of a model or dataset, which is created when it is missing.

    Only what the server does not have travels. Stopped or killed, the same command goes on where it was. The
    last line is the reference of the version and its digest.

    Where the artifact requires a validation, this waits for it, tells what it found, and ends with 6 when the
    version did not pass.
    """

    examples = (
        "ingot push datasets/chat docs/samples/sample_persian_chat.jsonl --language fa --tag chat",
        "ingot push datasets/chat docs/samples --include '*.jsonl' -m 'two samples' --alias reviewed",
    )
    ref: str
    paths: list[str]
    changelog: str
    version: str
    alias: list[str]
    meta: list[str]
    metric: list[str]
    tag: list[str]
    artifact_meta: list[str]
    include: list[str]
    exclude: list[str]
    hidden: bool
    format: str
    limit_rate: str
    dry_run: bool
    no_wait: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("ref", metavar="REF", help="datasets/NAME or models/NAME[@VERSION]")
        parser.add_argument("paths", nargs="+", metavar="PATH", help="files and folders")
        parser.add_argument("-m", "--changelog", default="", metavar="TEXT", help="what changed")
        parser.add_argument("--version", default="", metavar="V", help="its number (the next by default)")
        parser.add_argument(
            "--alias", action="append", default=[], metavar="A", help="point this at it (repeat)"
        )
        parser.add_argument(
            "--meta", action="append", default=[], metavar="K=V", help="keep with it (repeat)"
        )
        parser.add_argument(
            "--metric", action="append", default=[], metavar="K=V", help="how good it is (repeat)"
        )
        parser.add_argument(
            "--tag", action="append", default=[], metavar="T", help="tag the artifact (repeat)"
        )
        cls.declare_words(parser)
        parser.add_argument(
            "--artifact-meta",
            action="append",
            default=[],
            metavar="K=V",
            help="keep with the artifact (repeat)",
        )
        parser.add_argument("--format", default="", metavar="F", help="main format (found from the files)")
        parser.add_argument("--include", action="append", default=[], metavar="G", help="only these (repeat)")
        parser.add_argument("--exclude", action="append", default=[], metavar="G", help="not these (repeat)")
        parser.add_argument("--hidden", action="store_true", help="also names that begin with a dot")
        parser.add_argument(
            "--limit-rate", default="", metavar="R", help="at most so fast: 500K, 10M a second"
        )
        parser.add_argument("--dry-run", action="store_true", help="only tell what would travel")
        parser.add_argument("--no-wait", action="store_true", help="do not wait for its validation")

    def run(self, shell: Shell) -> int:
        from ingot.client.cli.bars import TransferBar

        if not named.is_long(self.ref) and len(self.paths) == 1 and named.is_long(self.paths[0]):
            raise Invalid(
                f"What it becomes stands first, then the files; got {self.ref!r} first.",
                reason="USAGE",
                next_step=f"Write: ingot push {self.paths[0]} {self.ref}",
            )
        words = self.words(self.tag, values.pairs(self.artifact_meta, "--artifact-meta"))
        # Who sees it changes only by a command that says nothing else. Told before anything travels.
        asked = {name: text for name, text in words.texts.items() if name == "visibility"}
        describing.warn_unsaid(shell, self.ref, describing.Words(asked))
        bar = TransferBar(shell.out)
        try:
            done = shell.client.push(
                self.ref,
                *self.paths,
                changelog=self.changelog,
                version=self.version,
                aliases=self.alias,
                metadata=values.pairs(self.meta, "--meta"),
                metrics=values.pairs(self.metric, "--metric"),
                fields=words.over(),
                format=self.format,
                include=self.include,
                exclude=self.exclude,
                hidden=self.hidden,
                limit_rate=values.rate(self.limit_rate),
                dry_run=self.dry_run,
                wait=not self.no_wait,
                on_progress=bar.show,
            )
        except Integrity as error:
            bar.end()
            if error.reason == "VALIDATION_FAILED":
                tell_findings(shell, error.facts.get("operation", ""))
            raise
        finally:
            bar.end()
        if not self.dry_run:
            self._describe(shell, words)
        _print(shell.out, done)
        return 0

    def _describe(self, shell: Shell, words: describing.Words) -> None:
        """Say the same of an artifact that was there before; one made by this push has it already."""
        # Who sees it changes only where nothing else is asked for; an empty text says nothing here.
        said = [path for path in words.paths if path != "visibility" and words.texts.get(path) != ""]
        if not said:
            return
        found = parse_artifact(self.ref)
        artifact, catalog = type(found)(found.kind, found.artifact, found.namespace), shell.client.catalog

        def change() -> None:
            before = catalog.get(artifact)
            wanted = words.over(before)
            paths = [path for path in said if getattr(wanted, path) != getattr(before, path)]
            if paths:
                catalog.update(artifact, wanted, paths, etag=before.etag)

        describing.retried(change)

    def how_to_go_on(self) -> str:
        """Say that nothing is lost."""
        return "What was sent is kept for a while: the same command goes on from there."


def tell_findings(shell: Shell, operation: str) -> None:
    """Print the first findings of a validation that did not pass."""
    from ingot.client._results import ValidationReport
    from ingot.client.cli import validating
    from ingot.v1 import operations_pb2

    if not operation or shell.out.json:
        return
    try:
        found = shell.client.operations.get(operation)
    except NotFound:  # its record is gone, or was never ours to see: the error itself says enough
        return
    if found.state != operations_pb2.OPERATION_STATE_SUCCEEDED:
        return
    report = ValidationReport.of(found)
    for finding in report.findings[:_FINDINGS]:
        shell.out.note(validating.line(finding))
    if report.finding_count > _FINDINGS:
        shell.out.note(f"These are the first {_FINDINGS} of {formats.count(report.finding_count)}.")


def _print(out: Output, done: "PushResult") -> None:
    reference = named.short(done.name)
    if out.json:
        from ingot.client.cli import plain

        out.line(
            plain.dumps(
                {
                    "name": done.name,
                    "digest": done.digest,
                    "file_count": done.file_count,
                    "size_bytes": done.size_bytes,
                    "sent_bytes": done.sent_bytes,
                    "reused_bytes": done.reused_bytes,
                    "upload": done.upload,
                    "version": plain.message(done.version) if done.version is not None else None,
                },
                indent=2,
            )
        )
        return
    files = formats.plural(done.file_count, "file")
    if not out.quiet:
        verb = "Sent" if reference else "Would send"
        there = f", {formats.size(done.reused_bytes)} was there" if done.reused_bytes else ""
        out.note(
            f"{verb} {formats.size(done.sent_bytes)} of {formats.size(done.size_bytes)} in {files}{there};"
            f" {formats.seconds(done.seconds)}."
        )
        _note_state(out, done)
    if out.quiet:
        out.line(reference)
    else:
        out.line(f"{reference}  {done.digest}".strip())


def _note_state(out: Output, done: "PushResult") -> None:
    """Say so when others cannot see the version yet."""
    from ingot.v1 import catalog_pb2 as pb

    if done.version is not None and done.version.state != pb.VERSION_STATE_READY:
        state = formats.word(pb.VersionState.Name(done.version.state), "VERSION_STATE")
        upload = done.upload.removeprefix("uploads/")
        out.note(f"It is {state} until it passed its validation: ingot uploads show {upload}")
