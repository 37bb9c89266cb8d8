"""verify: check files against their digests, on the server or in a folder."""

from pathlib import Path
from typing import TYPE_CHECKING

from ingot.client._errors import DataLoss, Integrity, Invalid
from ingot.client._references import KINDS
from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.client._reading import VerifyResult
    from ingot.client.cli.bars import TransferBar

_TREES = (*KINDS, "namespaces", "trainingJobs", "uploads")


class Verify(Command):
    """Read every byte of a version from the server and check it; or of a folder, against what was pulled.

    With --repair the chunks of a folder that are damaged or missing are fetched, and only those. A file that
    was edited since it was pulled is only replaced with --force: without it the others are repaired. Files
    that do not belong to the version stay.

    Ends with 6 when something differs and stays so.
    """

    examples = ("ingot verify datasets/chat", "ingot verify ./chat datasets/chat@1 --repair")
    what: str
    against: str | None
    repair: bool
    force: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("what", metavar="REF|DIR", help="a version, or a folder (write ./NAME)")
        parser.add_argument("against", nargs="?", metavar="REF", help="what the folder should hold")
        parser.add_argument("--repair", action="store_true", help="fetch what a folder lacks or has wrong")
        parser.add_argument("--force", action="store_true", help="repair files that were edited, too")

    def run(self, shell: Shell) -> int:
        from ingot.client.cli.bars import TransferBar

        in_folder = self.what.split("/")[0] not in _TREES
        if self.force and not (self.repair and in_folder):
            raise Invalid(
                "--force says what the repair of a folder may replace.",
                reason="USAGE",
                next_step="Use it with --repair, as: ingot verify ./NAME --repair --force",
            )
        bar = TransferBar(shell.out)
        try:
            done = self._in_folder(shell, bar) if in_folder else self._on_server(shell, bar)
        finally:
            bar.end()
        _print(shell, done)
        if not done.ok:
            raise self._differs(done)
        return 0

    def _differs(self, done: "VerifyResult") -> Integrity:
        bad = (*done.damaged, *done.missing) or done.edited
        again = f"ingot verify {self.what} {named.short(done.name)} --repair"
        if not self.repair:
            next_step = f"Fetch what differs: {again}; add --force where files were edited since their pull."
        elif done.damaged:
            next_step = "Check the disk: what was just written to it reads differently."
        else:
            next_step = f"They were edited since their pull and left. To lose that: {again} --force"
        return Integrity(
            f"{formats.plural(len(bad), 'file')} of {self.what} {'differs' if len(bad) == 1 else 'differ'}"
            f" from {named.short(done.name)}: {', '.join(bad[:10])}{'…' if len(bad) > 10 else ''}.",
            reason="DATA_LOSS" if done.damaged or done.missing else "LOCAL_CHANGES",
            next_step=next_step,
        )

    def _in_folder(self, shell: Shell, bar: "TransferBar") -> "VerifyResult":
        folder = Path(self.what)
        if self.repair:
            return shell.client.repair_folder(folder, self.against, force=self.force, on_progress=bar.show)
        return shell.client.verify_folder(folder, self.against, on_progress=bar.show)

    def _on_server(self, shell: Shell, bar: "TransferBar") -> "VerifyResult":
        try:
            return shell.client.verify(self.what, on_progress=bar.show)
        except DataLoss as error:
            if not self.repair:
                raise
            raise DataLoss(
                error.message,
                reason=error.reason,
                facts=error.facts,
                next_step="Only the server can heal this: whoever has these files pushes them again, and it"
                " takes the chunks that it lost. `ingot upkeep verify` names all versions that lost some.",
            ) from error


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
                    "repaired": list(done.repaired),
                    "edited": list(done.edited),
                    "received_bytes": done.received_bytes,
                    "ok": done.ok,
                },
                indent=2,
            )
        )
    elif shell.out.quiet:
        for path in (*done.damaged, *done.missing, *done.edited, *done.repaired):
            shell.out.line(path)
    else:
        if done.repaired:
            repaired = formats.plural(len(done.repaired), "file")
            shell.out.note(f"Repaired {repaired}; fetched {formats.size(done.received_bytes)} for that.")
        if not done.ok:
            return
        files = formats.plural(done.file_count, "file")
        shell.out.line(
            f"{named.short(done.name)}  {done.digest}  {files}, {formats.size(done.size_bytes)}: all good"
        )
