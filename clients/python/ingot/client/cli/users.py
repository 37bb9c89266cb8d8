"""users: people and their namespaces (administrators)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client.cli import formats, named, passwords
from ingot.client.cli.command import Command, Parser, declare_yes
from ingot.client.cli.output import Listing
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import auth_pb2

    Ended = auth_pb2.LogoutResponse | auth_pb2.ChangePasswordResponse

_MOST_NAMED = 20


class Ls(Command):
    """List users."""

    examples = ("ingot users ls", "ingot users ls --quiet")

    def run(self, shell: Shell) -> int:
        heading = ("USER", "NAME", "ROLE", "NAMESPACE", "CREATED")
        users = shell.client.auth.users()
        Listing(shell.out, limit=0).show(users, heading, _row, lambda user: named.user(user.name))
        return 0


class Create(Command):
    """Create a user with a namespace of the same name. Give them a password or a token afterwards."""

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
            shell.out.note(f"A password for them: ingot users passwd {name}")
            shell.out.note(f"Or a token: ingot tokens create --user {name}")
        return 0


class Show(Command):
    """Show one user (administrators)."""

    examples = ("ingot users show sara", "ingot users show sara --json")
    user: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("user", metavar="USER", help="as in `ingot users ls`")

    def run(self, shell: Shell) -> int:
        found = shell.client.auth.user(self.user)
        locked = [f"{each.address} until {formats.moment(each.until_time)}" for each in found.locks]
        facts = {
            **_facts(found.user),
            "password": "set" if found.has_password else "none",
            "logins": str(found.login_count),
            "tokens": str(found.token_count),
            "locked": ", ".join(locked) or "nowhere",
        }
        shell.out.document(found, named.user(found.user.name), lambda: shell.out.facts(facts))
        return 0


class Edit(Command):
    """Change a user's name or role, or whether they may sign in; it counts from their next call on."""

    examples = ("ingot users edit sara --title 'سارا'", "ingot users edit omid --role member --enable")
    user: str
    title: str | None
    role: str | None
    disabled: bool | None
    keep_tokens: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("user", metavar="USER", help="as in `ingot users ls`")
        parser.add_argument("--title", metavar="TEXT", help="their name in any script")
        parser.add_argument("--role", metavar="ROLE", help="admin, member or viewer")
        either = parser.add_mutually_exclusive_group()
        either.add_argument(
            "--disable",
            dest="disabled",
            action="store_true",
            default=None,
            help="refuse all their credentials and end their logins",
        )
        either.add_argument(
            "--enable", dest="disabled", action="store_false", default=None, help="let them sign in again"
        )
        parser.add_argument(
            "--keep-tokens",
            action="store_true",
            help="tokens stay good that they made for others while an administrator",
        )

    def run(self, shell: Shell) -> int:
        if self.title is None and self.role is None and self.disabled is None:
            raise Invalid(
                "Nothing to change was named.",
                reason="USAGE",
                next_step="Write for example: ingot users edit sara --role viewer",
            )
        changed = shell.client.auth.update_user(
            self.user,
            display_name=self.title,
            role=self.role,
            disabled=self.disabled,
            keep_tokens=self.keep_tokens,
        )
        user = changed.user
        shell.out.document(user, named.user(user.name), lambda: shell.out.facts(_facts(user)))
        if changed.ended_tokens:
            shell.out.note(f"Tokens that they made for others were ended: {_some(changed.ended_tokens)}.")
        for namespace in changed.ownerless_namespaces:
            team = named.short(namespace)
            shell.out.note(
                f"{team} has no owner now who can act; name one: ingot members set {team} USER owner"
            )
        return 0


class Rm(Command):
    """Remove a user with all credentials; the namespace must be empty, and the name stays taken."""

    examples = ("ingot users rm omid", "ingot users rm omid --yes")
    user: str
    yes: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("user", metavar="USER", help="as in `ingot users ls`")
        declare_yes(parser)

    def run(self, shell: Shell) -> int:
        lost = shell.client.auth.delete_user(self.user, validate_only=True)
        name = named.user(self.user)
        loss = f"{name} goes for good, with all tokens, logins and kept secrets; the name stays taken."
        if lost.memberships:
            teams = ", ".join(each.split("/")[1] for each in lost.memberships)
            loss += f" They leave these namespaces: {teams}."
        if lost.ended_tokens:
            loss += f" Tokens that they made for others end: {_some(lost.ended_tokens)}."
        if not shell.confirm(loss, self.yes):
            return 8
        shell.client.auth.delete_user(self.user)
        if not shell.out.quiet:
            shell.out.note(f"Removed {name}; nobody can have that name again.")
        return 0


class Passwd(Command):
    """Set one's password, or as an administrator somebody else's; all other logins of the user end.

    It is asked for unseen. With --password-stdin it is read from standard input: the new one on a line, after
    a line with the old one where there is one.
    """

    examples = (
        "ingot users passwd --password-stdin < password.txt",
        "ingot users passwd sara --password-stdin < password.txt",
    )
    user: str
    password_stdin: bool
    tokens: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("user", nargs="?", default="", metavar="USER", help="whose (one's own)")
        parser.add_argument("--password-stdin", action="store_true", help="read it from standard input")
        parser.add_argument(
            "--tokens", action="store_true", help="also end the API tokens that were made in their logins"
        )

    def run(self, shell: Shell) -> int:
        auth = shell.client.auth
        me = named.user(auth.me().user.name)
        user = named.user(self.user) or me
        old, new = passwords.asked_change(shell, user, own=user == me, from_stdin=self.password_stdin)
        ended = auth.change_password(new, old_password=old, user=user, revoke_tokens=self.tokens)
        if not shell.out.quiet:
            logins = formats.plural(ended.ended_logins, "other login")
            shell.out.note(f"{user} has a new password; {logins} ended.")
            tell_tokens(shell, ended, again="--tokens")
        return 0


def tell_tokens(shell: Shell, ended: "Ended", *, again: str) -> None:
    """Say how many tokens that were made in logins ended, or stay; `again` is what ends them."""
    if ended.revoked_tokens:
        shell.out.note(f"Revoked {formats.plural(ended.revoked_tokens, 'token')} made in logins.")
    if ended.kept_tokens:
        kept = formats.plural(ended.kept_tokens, "API token")
        shell.out.note(f"{kept} made in logins stay good (ingot tokens ls); {again} ends them too.")


def _facts(user: "auth_pb2.User") -> dict[str, str]:
    return dict(zip(("user", "name", "role", "namespace", "created"), _row(user), strict=True))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _row(user: "auth_pb2.User") -> tuple[str, ...]:
    from ingot.v1 import auth_pb2 as pb

    return (
        named.user(user.name),
        user.display_name or "-",
        formats.word(pb.Role.Name(user.role), "ROLE") + (" (disabled)" if user.disabled else ""),
        named.short(user.namespace),
        formats.moment(user.create_time),
    )
