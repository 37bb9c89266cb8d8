"""export: versions go to a folder of the server, to a Hub repository, or into a signed bundle."""

from datetime import datetime
from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client.cli import formats, named, operation_flags
from ingot.client.cli.command import Parser
from ingot.client.cli.output import Output
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.client._results import ExportResult

_LAYOUTS = ("name", "owner-uid")


class Export(operation_flags.Tuned):
    """Let the server write models and datasets to a folder, to the Hub, or into a signed bundle.

    DEST is a folder on the server below one of its folders for exports ('' is its mount point),
    hf://OWNER/NAME or hf://datasets/OWNER/NAME, or FILE.ingot: one file for a server without network, into
    which a REF without a version brings all its versions.

    The server does the work: Ctrl-C only stops watching. The last line is where it is now.
    """

    examples = (
        "ingot export datasets/chat chat.ingot",
        "ingot export datasets/chat '' --check",
    )
    refs: list[str]
    destination: str
    layout: str
    keep: bool
    since: str
    private: bool
    branch: str
    message: str
    check: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("refs", nargs="+", metavar="REF", help="models/NAME or datasets/NAME[@VERSION]")
        parser.add_argument("destination", metavar="DEST", help="folder, hf://OWNER/NAME or FILE.ingot")
        folder = parser.add_argument_group("to a folder")
        folder.add_argument(
            "--layout",
            choices=_LAYOUTS,
            default="name",
            metavar="L",
            help="name/ or owner-uid: owner/uid.ext",
        )
        folder.add_argument(
            "--keep", action="store_true", help="keep it equal to the latest version from now on"
        )
        bundle = parser.add_argument_group("into a bundle")
        bundle.add_argument(
            "--since", default="", metavar="TIME", help="only versions after it: 2026-03-04[T05:06:07Z]"
        )
        hub = parser.add_argument_group("to the Hub")
        hub.add_argument("--private", action="store_true", help="make a new repository private")
        hub.add_argument("--branch", default="", metavar="B", help="to this branch (the main one by default)")
        hub.add_argument("-m", "--message", default="", metavar="TEXT", help="message of the commit")
        parser.add_argument("--check", action="store_true", help="only look whether it can be done")
        super().declare(parser)

    def run(self, shell: Shell) -> int:
        operation = shell.client.operations.start_export(
            self.refs,
            self.destination,
            layout=self.layout,
            keep=self.keep,
            since=moment(self.since) if self.since else None,
            private=self.private,
            branch=self.branch,
            message=self.message,
            options=self.options(),
            validate_only=self.check,
        )
        if operation is None:
            _print_check(shell.out)
            return 0
        found = self.followed(shell, operation)
        if found is not None and not shell.out.json:
            from ingot.client._results import ExportResult

            _print(shell.out, ExportResult.of(found))
        return 0


def moment(text: str, option: str = "--since") -> datetime:
    """Return a time; of this machine's zone unless it names one. Raises Invalid."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as failure:
        raise Invalid(
            f"{option}: expected a day or a time, got {text!r}.",
            reason="FIELD_INVALID",
            next_step=f"Write for example: {option} 2026-03-04 or {option} 2026-03-04T05:06:07Z",
        ) from failure


def _print_check(out: Output) -> None:
    if out.json:
        from ingot.v1 import operations_pb2 as pb

        out.plain(pb.StartExportResponse())  # it has no operation
    elif not out.quiet:
        out.note("It can be done; nothing was written.")


def _print(out: Output, done: "ExportResult") -> None:
    if not out.quiet:
        versions = ", ".join(named.short(each) for each in done.versions)
        out.note(
            f"Wrote {formats.size(done.written_bytes)} of {formats.size(done.size_bytes)} in"
            f" {formats.plural(done.file_count, 'file')}: {versions}."
        )
        if done.signer:
            out.note(f"Signed by {done.signer}.")
    where = done.url or done.path
    out.line(where if out.quiet or not done.digest else f"{where}  {done.digest}")
