"""upkeep: what the server does for its store by itself, done now."""

from ingot.client.cli import following
from ingot.client.cli import operation_view as views
from ingot.client.cli.command import Parser
from ingot.client.cli.shell import Shell

KINDS = ("clean", "collect", "scrub", "verify", "backup")


class Upkeep(following.Starting):
    """Do upkeep of the server's store now; `operations kinds` says when it does so by itself.

    clean expires uploads and old records, collect frees space that nothing holds, scrub reads a share of what
    is stored and checks it, verify reads all of it, backup writes a consistent copy. For administrators.
    """

    examples = ("ingot upkeep clean", "ingot upkeep scrub --no-wait")
    kind: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("kind", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
        super().declare(parser)

    def run(self, shell: Shell) -> int:
        found = self.followed(shell, shell.client.operations.start_upkeep(self.kind))
        if found is None or shell.out.json:
            return 0
        from google.protobuf import json_format

        if shell.out.quiet:
            shell.out.line(found.name)
        else:
            text = views.values(json_format.MessageToDict(found.result))
            shell.out.text(f"{text}\n" if text else "")
            shell.out.note(f"{self.kind} is done ({views.bare(found.name)}).")
        return 0
