"""import: content from the Hub, from URLs, from a bundle or from where it is registered becomes a version."""

import os
from typing import TYPE_CHECKING

from ingot.client._errors import Integrity, Invalid
from ingot.client.cli import describing, formats, named, operation_flags, push, values
from ingot.client.cli.command import Parser
from ingot.client.cli.output import Output
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.client._results import ImportResult
    from ingot.v1 import operations_pb2


class Import(operation_flags.Tuned):
    """Let the server fetch a model or dataset: from the Hub, from URLs, from a bundle, or what is registered.

    SOURCE is hf://OWNER/NAME[@REVISION] or hf://datasets/OWNER/NAME, one or more https://… files, a bundle on
    the server (FILE.ingot), or a model or dataset that is registered with its source. REF is what it becomes;
    without it the source gives the name. What is here already is not fetched again.

    The server does the work: Ctrl-C only stops watching, and the same command comes back to it. The last line
    is the reference of the version and its digest.

    Where the artifact requires a validation, the import waits for it; when the version did not pass, this
    tells what was found and ends with 6. The same import again finds that version and fetches nothing.
    """

    examples = (
        "ingot import hf://google/flan-t5-small --include '*.safetensors' --include '*.json'",
        "ingot import hf://datasets/openai/openai_humaneval datasets/humaneval --check",
    )
    words: list[str]
    ref: str | None
    revision: str
    include: list[str]
    exclude: list[str]
    path: list[str]
    checksum: list[str]
    mirror: list[str]
    unpack: bool
    signer: str
    changelog: str
    alias: list[str]
    tag: list[str]
    force: bool
    limit_rate: str
    check: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("words", nargs="+", metavar="SOURCE", help="where from")
        parser.add_argument("ref", nargs="?", metavar="REF", help="what it becomes: models/NAME[@VERSION]")
        hub = parser.add_argument_group("from the Hub")
        hub.add_argument(
            "--revision", default="", metavar="R", help="branch, tag or commit; pinned to a commit"
        )
        hub.add_argument("--include", action="append", default=[], metavar="G", help="only these (repeat)")
        hub.add_argument("--exclude", action="append", default=[], metavar="G", help="not these (repeat)")
        urls = parser.add_argument_group("from URLs")
        urls.add_argument(
            "--path", action="append", default=[], metavar="P", help="its path, for each URL in their order"
        )
        urls.add_argument(
            "--checksum", action="append", default=[], metavar="C", help="sha256:HEX that it has, likewise"
        )
        urls.add_argument(
            "--mirror", action="append", default=[], metavar="URL", help="has the same bytes (repeat)"
        )
        urls.add_argument("--unpack", action="store_true", help="unpack tar and zip archives")
        bundle = parser.add_argument_group("from a bundle")
        bundle.add_argument(
            "--signer", default="", metavar="KEY", help="ed25519:HEX that must have signed it"
        )
        parser.add_argument("-m", "--changelog", default="", metavar="TEXT", help="what changed")
        parser.add_argument(
            "--alias", action="append", default=[], metavar="A", help="point this at it (repeat)"
        )
        parser.add_argument("--tag", action="append", default=[], metavar="T", help="tag a new one (repeat)")
        describing.declare_texts(parser, without=("source",))  # that is told by itself
        parser.add_argument("--force", action="store_true", help="fetch even what is here already")
        parser.add_argument(
            "--limit-rate", default="", metavar="R", help="at most so fast: 500K, 10M a second"
        )
        parser.add_argument(
            "--check", action="store_true", help="only look: is it there, how large, is there room"
        )
        super().declare(parser)

    def run(self, shell: Shell) -> int:
        sources, target = split([*self.words, *([self.ref] if self.ref else [])])
        words = describing.Words(describing.texts_of(self), tuple(self.tag))
        if target is not None and os.path.isfile(sources[0]) and not sources[0].endswith(".ingot"):
            raise Invalid(
                f"{sources[0]} is a file of this machine; the server imports from the Hub, URLs and bundles.",
                reason="USAGE",
                next_step=f"Send it: ingot push {target} {sources[0]}",
            )
        if target is not None:
            describing.warn_unsaid(shell, target, words)
        operation = shell.client.operations.start_import(
            sources,
            target,
            revision=self.revision,
            include=self.include,
            exclude=self.exclude,
            paths=self.path,
            checksums=self.checksum,
            mirrors=self.mirror,
            unpack=self.unpack,
            signer=self.signer,
            changelog=self.changelog,
            aliases=self.alias,
            fields=words.over(),
            force=self.force,
            limit_rate=values.rate(self.limit_rate),
            options=self.options(),
            validate_only=self.check,
        )
        try:
            found = self.followed(shell, operation)
        except Integrity as error:
            if error.reason == "VALIDATION_FAILED":
                push.tell_findings(shell, error.facts.get("validation", ""))
            raise
        if found is not None:
            if target is None and (made := _made(found)):  # its name came with what was fetched
                describing.warn_unsaid(shell, made, words, before=found.create_time.ToNanoseconds())
            if not shell.out.json:
                _print(shell.out, found, looked=self.check)
        return 0


def split(words: list[str]) -> tuple[list[str], str | None]:
    """Return the sources, and what they become when the last word says so. Raises Invalid."""
    *sources, last = words
    if not sources:
        return [last], None
    if named.is_long(last):
        return sources, last
    if not all(word.startswith(("http://", "https://")) for word in words):
        raise Invalid(
            f"Expected one source and what it becomes, got {' '.join(words)}.",
            reason="USAGE",
            next_step=f"Write for example: ingot import {words[0]} models/NAME",
        )
    return words, None


def _made(operation: "operations_pb2.Operation") -> str:
    """Return the name of the version that came of it, or is there; empty when there is none."""
    from ingot.client._results import ImportResult

    return ImportResult.of(operation).version


def _print(out: Output, operation: "operations_pb2.Operation", *, looked: bool) -> None:
    from ingot.client._results import ImportResult

    done = ImportResult.of(operation)
    if looked:
        _print_look(out, done)
        return
    if not out.quiet:
        files = formats.plural(done.file_count, "file")
        begun, ended = operation.start_time, operation.finish_time
        seconds = ended.seconds - begun.seconds + (ended.nanos - begun.nanos) / 1e9
        if done.existed:
            out.note(f"It was here already: {formats.size(done.size_bytes)} in {files}; nothing was fetched.")
        else:
            out.note(
                f"Fetched {formats.size(done.fetched_bytes)} of {formats.size(done.size_bytes)} in {files}"
                f" from {done.source}; {formats.seconds(max(seconds, 0))}."
            )
    for name in done.versions or (done.version,):
        digest = f"  {done.digest}" if name == done.version and not out.quiet else ""
        out.line(f"{named.short(name)}{digest}")


def _print_look(out: Output, done: "ImportResult") -> None:
    if out.quiet:
        out.line(named.short(done.version) or done.source)
        return
    out.facts(
        {
            "source": done.source,
            "commit": done.commit,
            "here already": named.short(done.version) if done.existed else "no",
            "size": f"{formats.size(done.size_bytes)} in {formats.plural(done.file_count, 'file')}",
            "needs": formats.size(done.needed_bytes) if done.needed_bytes else "",
            "free": formats.size(done.free_bytes) if done.free_bytes else "",
        }
    )
