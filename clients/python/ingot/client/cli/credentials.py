"""credentials: secrets that the server keeps, encrypted, to sign in to outside hosts on one's behalf."""

from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client.cli import formats, passwords
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.output import Listing
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import auth_pb2

_HUB = "huggingface.co"


class Set(Command):
    """Keep a secret for an outside host, such as a Hub token for private and gated repositories.

    It is read from standard input, or asked for on a terminal; never from the command line, where others
    could see it. It is kept encrypted, used only for your own imports and exports, and never shown again.
    """

    examples = (
        "ingot credentials set < ~/.cache/huggingface/token",
        "ingot credentials set huggingface.co < ~/.cache/huggingface/token",
    )
    host: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("host", nargs="?", default=_HUB, metavar="HOST", help=f"for whom ({_HUB})")

    def run(self, shell: Shell) -> int:
        kept = shell.client.auth.set_credential(self.host, _asked(shell, self.host))
        shell.out.document(kept, _host(kept), lambda: shell.out.line(f"Kept a secret for {_host(kept)}."))
        return 0


class Ls(Command):
    """List for which hosts a secret is kept; the secrets themselves are never shown."""

    examples = ("ingot credentials ls", "ingot credentials ls --json")

    def run(self, shell: Shell) -> int:
        found = shell.client.auth.credentials()
        Listing(shell.out, limit=0).show(found, ("HOST", "KEPT", "CHANGED"), _row, _host)
        return 0


class Rm(Command):
    """Forget the secret for a host."""

    examples = ("ingot credentials rm huggingface.co", "ingot credentials rm huggingface.co --quiet")
    host: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("host", metavar="HOST", help="as in `ingot credentials ls`")

    def run(self, shell: Shell) -> int:
        shell.client.auth.delete_credential(self.host)
        if not shell.out.quiet:
            shell.out.note(f"No secret is kept for {self.host}.")
        return 0


def _asked(shell: Shell, host: str) -> str:
    if shell.stdin.isatty():
        secret = passwords.typed(f"Secret for {host}: ").strip()
    else:
        secret = shell.stdin.readline().strip()
    if not secret:
        raise Invalid(
            f"No secret for {host} was given.",
            reason="USAGE",
            next_step=f"Type it when asked, or write: ingot credentials set {host} < FILE",
        )
    return secret


def _host(credential: "auth_pb2.Credential") -> str:
    return credential.name.rpartition("/")[2]


def _row(credential: "auth_pb2.Credential") -> tuple[str, ...]:
    return _host(credential), formats.moment(credential.create_time), formats.moment(credential.update_time)
