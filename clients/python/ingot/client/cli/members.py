"""members: who belongs to a namespace."""

from typing import TYPE_CHECKING

from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.output import Listing
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import auth_pb2


class Ls(Command):
    """List the members of a namespace with their roles."""

    examples = ("ingot members ls team-nlp", "ingot members ls team-nlp --quiet")
    namespace: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("namespace", metavar="NAMESPACE", help="its name")

    def run(self, shell: Shell) -> int:
        members = shell.client.auth.members(self.namespace)
        Listing(shell.out, limit=0).show(
            members, ("USER", "ROLE", "SINCE"), _row, lambda each: named.user(each.user)
        )
        return 0


class Set(Command):
    """Add a user to a namespace, or give a member another role. It counts from their next call."""

    examples = ("ingot members set team-nlp sara writer", "ingot members set team-nlp omid reader")
    namespace: str
    user: str
    role: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("namespace", metavar="NAMESPACE", help="its name; yours, or one that you own")
        parser.add_argument("user", metavar="USER", help="who")
        parser.add_argument(
            "role",
            metavar="ROLE",
            help="reader (sees private things), writer (changes them) or owner (also says who belongs to it)",
        )

    def run(self, shell: Shell) -> int:
        member = shell.client.auth.set_member(self.namespace, self.user, self.role)
        user, role = named.user(member.user), _role(member)
        line = f"{user} is {role} of {member.name.split('/')[1]}"
        shell.out.document(member, user, lambda: shell.out.line(line))
        return 0


class Rm(Command):
    """Remove a member from a namespace; members may remove themselves."""

    examples = ("ingot members rm team-nlp omid", "ingot members rm team-nlp sara --json")
    namespace: str
    user: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("namespace", metavar="NAMESPACE", help="its name")
        parser.add_argument("user", metavar="USER", help="who")

    def run(self, shell: Shell) -> int:
        shell.client.auth.remove_member(self.namespace, self.user)
        if not shell.out.quiet:
            shell.out.note(
                f"{named.user(self.user)} does not belong to {named.short(self.namespace)} any more."
            )
        return 0


def _row(member: "auth_pb2.Member") -> tuple[str, ...]:
    return (named.user(member.user), _role(member), formats.moment(member.create_time))


def _role(member: "auth_pb2.Member") -> str:
    from ingot.v1 import auth_pb2 as pb

    return formats.word(pb.MemberRole.Name(member.role), "MEMBER_ROLE")
