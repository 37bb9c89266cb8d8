"""alias: movable names of versions."""

from typing import TYPE_CHECKING

from ingot.client._references import parse_artifact
from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser, declare_limit
from ingot.client.cli.output import Listing
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import catalog_pb2


class Ls(Command):
    """List the aliases of a model or dataset; `latest` moves by itself."""

    examples = ("ingot alias ls datasets/chat", "ingot alias ls datasets/chat --json")
    ref: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("ref", metavar="REF", help="datasets/NAME or models/NAME")

    def run(self, shell: Shell) -> int:
        aliases = shell.client.catalog.aliases(self.ref)
        heading = ("ALIAS", "VERSION", "MOVED", "BY")
        Listing(shell.out, limit=0).show(aliases, heading, _row, lambda alias: named.short(alias.name))
        return 0


class History(Command):
    """Show where an alias pointed, the newest move first. `latest` has a history too; it moves by itself."""

    examples = ("ingot alias history datasets/chat latest", "ingot alias history datasets/chat latest --json")
    ref: str
    name: str
    limit: int

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("ref", metavar="REF", help="datasets/NAME or models/NAME")
        parser.add_argument("name", metavar="NAME", help="the alias, also one that was removed")
        declare_limit(parser)

    def run(self, shell: Shell) -> int:
        listing = Listing(shell.out, self.limit)
        moves = shell.client.versions.alias_moves(self.ref, self.name, limit=listing.wanted)
        listing.show(moves, ("MOVED", "TO", "FROM", "BY"), _move_row, lambda move: named.short(move.version))
        return 0


class Set(Command):
    """Point an alias at a version, creating it when needed."""

    examples = ("ingot alias set datasets/chat@1 prod", "ingot alias set datasets/chat@latest prod")
    ref: str
    name: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("ref", metavar="REF", help="the version, for example models/tiny@3")
        parser.add_argument("name", metavar="NAME", help="lower-case word, for example prod")

    def run(self, shell: Shell) -> int:
        alias = shell.client.catalog.set_alias(self.ref, self.name)
        name = named.short(alias.name)
        shell.out.document(alias, name, lambda: shell.out.line(f"{name} is {named.short(alias.version)}"))
        return 0


class Rm(Command):
    """Remove an alias; the version it pointed at stays."""

    examples = ("ingot alias rm datasets/chat prod", "ingot alias rm datasets/chat@reviewed")
    ref: str
    name: str | None

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("ref", metavar="REF", help="datasets/NAME, or models/NAME@ALIAS")
        parser.add_argument("name", nargs="?", metavar="NAME", help="the alias, unless REF names it")

    def run(self, shell: Shell) -> int:
        found = parse_artifact(self.ref)
        alias = self.name or found.alias
        if not alias:
            found = parse_artifact(f"{self.ref}@")  # raises: says that a name must follow
        artifact = type(found)(found.kind, found.artifact, found.namespace)
        shell.client.catalog.delete_alias(artifact, alias)
        if not shell.out.quiet:
            shell.out.note(f"{artifact}@{alias} is no more.")
        return 0


def _move_row(move: "catalog_pb2.AliasMove") -> tuple[str, ...]:
    return (
        formats.moment(move.time),
        named.short(move.version) or "-",
        named.short(move.previous) or "-",
        named.user(move.moved_by) or "-",
    )


def _row(alias: "catalog_pb2.Alias") -> tuple[str, ...]:
    return (
        alias.name.rpartition("/")[2] + (" (protected)" if alias.protected else ""),
        named.short(alias.version),
        formats.moment(alias.update_time),
        named.user(alias.updated_by) or "-",
    )
