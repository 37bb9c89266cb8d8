"""users: people and their namespaces (administrators)."""

from typing import TYPE_CHECKING

from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.output import Listing
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import auth_pb2


class Ls(Command):
    """List users."""

    examples = ("ingot users ls", "ingot users ls --quiet")

    def run(self, shell: Shell) -> int:
        heading = ("USER", "NAME", "ROLE", "NAMESPACE", "CREATED")
        users = shell.client.auth.users()
        Listing(shell.out, limit=0).show(users, heading, _row, lambda user: named.user(user.name))
        return 0


class Create(Command):
    """Create a user with a namespace of the same name. Make a token for them afterwards."""

    examples = ("ingot users create sara", "ingot users create omid --title 'امید' --role viewer")
    user: str
    title: str
    role: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("user", metavar="USER", help="id: lower-case letters, digits and '-'")
        parser.add_argument("--title", default="", metavar="TEXT", help="their name in any script")
        parser.add_argument(
            "--role", default="member", metavar="ROLE", help="admin, member (default) or viewer"
        )

    def run(self, shell: Shell) -> int:
        user = shell.client.auth.create_user(self.user, display_name=self.title, role=self.role)
        name = named.user(user.name)
        shell.out.document(user, name, lambda: shell.out.line(name))
        if not shell.out.quiet:
            shell.out.note(f"A token for them: ingot tokens create --user {name}")
        return 0


def _row(user: "auth_pb2.User") -> tuple[str, ...]:
    from ingot.v1 import auth_pb2 as pb

    return (
        named.user(user.name),
        user.display_name or "-",
        formats.word(pb.Role.Name(user.role), "ROLE") + (" (disabled)" if user.disabled else ""),
        named.short(user.namespace),
        formats.moment(user.create_time),
    )
