"""tokens: API tokens of oneself, of others, and of workers."""

from datetime import timedelta
from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.output import Listing
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import auth_pb2

_SPANS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}


class Ls(Command):
    """List one's tokens; administrators may name another user. Secrets are never shown."""

    examples = ("ingot tokens ls", "ingot tokens ls --user admin")
    user: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("--user", default="", metavar="USER", help="whose")

    def run(self, shell: Shell) -> int:
        heading = ("NAME", "FOR", "ROLE", "MADE BY", "LAST USED", "ENDS", "STATE")
        tokens = shell.client.auth.tokens(user=self.user)
        Listing(shell.out, limit=0).show(tokens, heading, _row, lambda token: token.name)
        return 0


class Create(Command):
    """Make a token and print it: this once and never again."""

    examples = (
        "ingot tokens create --title laptop --ttl 30d",
        "ingot tokens create --role worker --title 'machine under the desk' --quiet",
    )
    user: str
    title: str
    role: str
    scope: list[str]
    ttl: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("--user", default="", metavar="USER", help="for whom (administrators)")
        parser.add_argument("--title", default="", metavar="TEXT", help="what it is for")
        parser.add_argument("--role", default="", metavar="ROLE", help="worker, for a machine that trains")
        parser.add_argument(
            "--scope", action="append", default=[], metavar="S", help="at most these (repeat)"
        )
        parser.add_argument(
            "--ttl", default="", metavar="TIME", help="its life: 90m, 12h, 30d; else without end"
        )

    def run(self, shell: Shell) -> int:
        made = shell.client.auth.create_token(
            user=self.user,
            display_name=self.title,
            scopes=self.scope,
            ttl=_span(self.ttl) if self.ttl else None,
            role=self.role,
        )
        # The secret is the point of the command, so it is what --quiet prints.
        shell.out.document(made, made.secret, lambda: shell.out.line(made.secret))
        if not shell.out.quiet:
            shell.out.note(f"{made.token.name}: keep it now, it is not shown again.")
        return 0


class Revoke(Command):
    """Make a token useless from the next call on.

    Tokens that were made with it stay good: look at `ingot tokens ls` when it fell into other hands.
    """

    examples = (
        "ingot tokens revoke users/admin/tokens/tok_3",
        "ingot tokens revoke tok_4",
    )
    name: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument(
            "name", metavar="NAME", help="as in `ingot tokens ls`; of one's own tok_3 will do"
        )

    def run(self, shell: Shell) -> int:
        name = self.name
        if "/" not in name:
            name = f"{shell.client.auth.me().user.name}/tokens/{name}"
        elif not name.startswith("users/"):
            name = f"users/{name}"
        token = shell.client.auth.revoke_token(name)
        shell.out.document(token, token.name, lambda: shell.out.line(f"{token.name} is revoked."))
        return 0


def _row(token: "auth_pb2.ApiToken") -> tuple[str, ...]:
    from ingot.v1 import auth_pb2 as pb

    return (
        token.name,
        token.display_name or "-",
        formats.word(pb.Role.Name(token.role), "ROLE"),
        (named.user(token.creator) or "-") + (" (login)" if token.from_login else ""),
        formats.moment(token.last_use_time),
        formats.moment(token.expire_time) if token.expire_time.seconds else "never",
        "revoked" if token.revoke_time.seconds else "good",
    )


def _span(text: str) -> timedelta:
    number, unit = text[:-1], text[-1:]
    if not number.isdigit() or unit not in _SPANS:
        raise Invalid(
            f"--ttl: expected a number and m, h, d or w, got {text!r}.",
            reason="FIELD_INVALID",
            next_step="Write for example: --ttl 30d",
        )
    return timedelta(seconds=int(number) * _SPANS[unit])
