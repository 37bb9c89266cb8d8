"""verify: check files against their digests, on the server or in a folder."""

from pathlib import Path
from typing import TYPE_CHECKING

from ingot.client._errors import Integrity
from ingot.client._references import KINDS
from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.client._reading import VerifyResult

_TREES = (*KINDS, "namespaces", "trainingJobs", "uploads")


class Verify(Command):
    """Read every byte of a version from the server and check it; or of a folder, against what was pulled.

    Ends with 6 when something is damaged or missing.
    """

    examples = ("ingot verify datasets/chat", "ingot verify ./chat datasets/chat@1")
    what: str
    against: str | None

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("what", metavar="REF|DIR", help="a version, or a folder (write ./NAME)")
        parser.add_argument("against", nargs="?", metavar="REF", help="what the folder should hold")

    def run(self, shell: Shell) -> int:
        from ingot.client.cli.bars import TransferBar

        bar = TransferBar(shell.out)
        in_folder = self.what.split("/")[0] not in _TREES
        try:
            if in_folder:
                done = shell.client.verify_folder(Path(self.what), self.against, on_progress=bar.show)
            else:
                done = shell.client.verify(self.what, on_progress=bar.show)
        finally:
            bar.end()
        _print(shell, done)
        if not done.ok:
            bad = (*done.damaged, *done.missing)
            raise Integrity(
                f"{formats.plural(len(bad), 'file')} of {self.what} differ from {named.short(done.name)}:"
                f" {', '.join(bad[:10])}{'…' if len(bad) > 10 else ''}.",
                reason="DATA_LOSS",
                next_step=f"Remove them, then fetch them: ingot pull {named.short(done.name)} {self.what}",
            )
        return 0


def _print(shell: Shell, done: "VerifyResult") -> None:
    if shell.out.json:
        from ingot.client.cli import plain

        shell.out.line(
            plain.dumps(
                {
                    "name": done.name,
                    "digest": done.digest,
                    "file_count": done.file_count,
                    "size_bytes": done.size_bytes,
                    "damaged": list(done.damaged),
                    "missing": list(done.missing),
                    "ok": done.ok,
                },
                indent=2,
            )
        )
    elif shell.out.quiet:
        for path in (*done.damaged, *done.missing):
            shell.out.line(path)
    elif done.ok:
        files = formats.plural(done.file_count, "file")
        shell.out.line(
            f"{named.short(done.name)}  {done.digest}  {files}, {formats.size(done.size_bytes)}: all good"
        )
