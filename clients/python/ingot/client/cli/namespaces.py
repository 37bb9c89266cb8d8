"""namespaces: what people and teams have stored, and how much they may."""

import re
from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser, declare_yes
from ingot.client.cli.output import Listing
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import auth_pb2

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}
_DEFAULT = "default"


class Ls(Command):
    """List namespaces with what they have and may have: one's own, or all for administrators."""

    examples = ("ingot namespaces ls", "ingot namespaces ls --json")

    def run(self, shell: Shell) -> int:
        heading = ("NAMESPACE", "ROLE", "SIZE", "QUOTA", "STORED", "PHYSICAL QUOTA")
        found = shell.client.auth.namespaces()
        Listing(shell.out, limit=0).show(found, heading, _row, lambda each: named.short(each.name))
        return 0


class Show(Command):
    """Show one namespace: one's own unless told otherwise."""

    examples = ("ingot namespaces show", "ingot namespaces show sara")
    namespace: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("namespace", nargs="?", default="", metavar="NAMESPACE", help="its name")

    def run(self, shell: Shell) -> int:
        _show(shell, shell.client.auth.namespace(self.namespace))
        return 0


class Create(Command):
    """Create a namespace for a team, which you own; its id is nobody else's, then or later."""

    examples = ("ingot namespaces create team-nlp", "ingot namespaces create team-vision --json")
    namespace: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("namespace", metavar="NAMESPACE", help="id: lower-case letters, digits and '-'")

    def run(self, shell: Shell) -> int:
        found = shell.client.auth.create_namespace(self.namespace)
        name = named.short(found.name)
        shell.out.document(found, name, lambda: shell.out.line(name))
        if not shell.out.quiet:
            shell.out.note(f"Let others in: ingot members set {name} USER reader|writer|owner")
        return 0


class Rm(Command):
    """Remove a namespace that has nothing in it; its id is never used again."""

    examples = ("ingot namespaces rm team-vision --yes", "ingot namespaces rm team-nlp --yes")
    namespace: str
    yes: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("namespace", metavar="NAMESPACE", help="its name")
        declare_yes(parser)

    def run(self, shell: Shell) -> int:
        lost = shell.client.auth.delete_namespace(self.namespace, validate_only=True)
        loss = f"{named.short(self.namespace)} goes, and its id is never used again."
        if lost.members:
            loss += f" Its members lose it: {', '.join(each.rpartition('/')[2] for each in lost.members)}."
        if not shell.confirm(loss, self.yes):
            return 8
        shell.client.auth.delete_namespace(self.namespace)
        if not shell.out.quiet:
            shell.out.note(f"{named.short(self.namespace)} is no more.")
        return 0


class Quota(Command):
    """Set how much a namespace may have (administrators): 0 is no limit, `default` the server's own quota."""

    examples = (
        "ingot namespaces quota sara --size 100G",
        "ingot namespaces quota sara --size default --physical 0",
    )
    namespace: str
    size: str
    physical: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("namespace", metavar="NAMESPACE", help="its name")
        parser.add_argument(
            "--size", default="", metavar="BYTES", help="of versions and checkpoints, each counted whole"
        )
        parser.add_argument("--physical", default="", metavar="BYTES", help="of different chunks")

    def run(self, shell: Shell) -> int:
        wanted = {"quota_bytes": self.size, "physical_quota_bytes": self.physical}
        quotas = {field: _bytes(text) for field, text in wanted.items() if text}
        if not quotas:
            raise Invalid(
                "No quota was given.",
                reason="USAGE",
                next_step=f"Write for example: ingot namespaces quota {self.namespace} --size 100G",
            )
        _show(shell, shell.client.auth.set_quotas(self.namespace, quotas))
        return 0


def _bytes(text: str) -> int | None:
    """Return the bytes that `100G` means, None for `default`. Raises Invalid."""
    if text == _DEFAULT:
        return None
    found = re.fullmatch(r"([0-9]+)\s*([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    if found is None:
        raise Invalid(
            f"Expected a number of bytes such as 100G, 0 for no limit, or {_DEFAULT}; got {text!r}.",
            reason="USAGE",
            next_step="K, M, G and T count in 1024.",
        )
    return int(found[1]) * _UNITS[found[2].upper()]


def _show(shell: Shell, found: "auth_pb2.Namespace") -> None:
    _, _, size, quota, stored, physical = _row(found)
    facts = {
        "Namespace": named.short(found.name),
        "Your role": _role(found),
        "Created": formats.moment(found.create_time),
        "Size": f"{size} of versions and checkpoints",
        "Quota": quota,
        "Stored": f"{stored} of different chunks",
        "Physical quota": physical,
    }
    shell.out.document(found, named.short(found.name), lambda: shell.out.facts(facts))


def _role(found: "auth_pb2.Namespace") -> str:
    from ingot.v1 import auth_pb2 as pb

    return formats.word(pb.MemberRole.Name(found.role), "MEMBER_ROLE") if found.role else "-"


def _row(found: "auth_pb2.Namespace") -> tuple[str, ...]:
    return (
        named.short(found.name),
        _role(found),
        formats.size(found.size_bytes),
        _limit(found.effective_quota_bytes, own=found.HasField("quota_bytes")),
        formats.size(found.stored_bytes),
        _limit(found.effective_physical_quota_bytes, own=found.HasField("physical_quota_bytes")),
    )


def _limit(limit: int, *, own: bool) -> str:
    return (formats.size(limit) if limit else "no limit") + ("" if own else " (default)")
