"""access: who sees a model or dataset, and whose it is."""

from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import catalog_pb2


class Show(Command):
    """Show who sees a model or dataset, and whose it is."""

    examples = ("ingot access show datasets/chat", "ingot access show datasets/chat --json")
    ref: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        _declare_ref(parser)

    def run(self, shell: Shell) -> int:
        _show(shell, shell.client.catalog.access(self.ref))
        return 0


class Set(Command):
    """Set who sees a model or dataset at large, or give it to another member of its namespace."""

    examples = (
        "ingot access set datasets/chat --visibility internal",
        "ingot access set datasets/chat --visibility private --owner admin",
    )
    ref: str
    visibility: str
    owner: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        _declare_ref(parser)
        parser.add_argument(
            "--visibility",
            default="",
            metavar="WORD",
            help="private (its namespace), internal (all who are signed in) or public (approved versions)",
        )
        parser.add_argument("--owner", default="", metavar="USER", help="a member who may write there")

    def run(self, shell: Shell) -> int:
        if not self.visibility and not self.owner:
            raise Invalid(
                "Nothing to set was given.",
                reason="USAGE",
                next_step=f"Write for example: ingot access set {self.ref} --visibility internal",
            )
        catalog = shell.client.catalog
        _show(shell, catalog.set_access(self.ref, visibility=self.visibility, owner=self.owner))
        return 0


class _ForUsers(Command):
    """What is said about single users of a model or dataset."""

    ref: str
    users: list[str]

    @classmethod
    def declare(cls, parser: Parser) -> None:
        _declare_ref(parser)
        parser.add_argument("users", nargs="+", metavar="USER", help="who")


class Grant(_ForUsers):
    """Show a model or dataset to single users who do not belong to its namespace; they may read it."""

    examples = ("ingot access grant datasets/chat sara", "ingot access grant datasets/chat sara omid")

    def run(self, shell: Shell) -> int:
        _show(shell, shell.client.catalog.set_access(self.ref, grant=self.users))
        return 0


class Revoke(_ForUsers):
    """Do not show a model or dataset to single users any more."""

    examples = ("ingot access revoke datasets/chat sara", "ingot access revoke datasets/chat sara omid")

    def run(self, shell: Shell) -> int:
        _show(shell, shell.client.catalog.set_access(self.ref, revoke=self.users))
        return 0


def _declare_ref(parser: Parser) -> None:
    parser.add_argument("ref", metavar="REF", help="datasets/NAME or models/NAME")


def _show(shell: Shell, access: "catalog_pb2.Access") -> None:
    from ingot.v1 import catalog_pb2 as pb

    name = named.short(access.name)
    facts = {
        "Name": name,
        "Owner": named.user(access.owner),
        "Visibility": formats.word(pb.Visibility.Name(access.visibility), "VISIBILITY"),
        "Readers": ", ".join(named.user(each.user) for each in access.readers) or "-",
    }
    shell.out.document(access, name, lambda: shell.out.facts(facts))
