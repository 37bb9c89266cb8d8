"""users: people and their namespaces (administrators)."""

from typing import TYPE_CHECKING

from ingot.client._errors import Invalid
from ingot.client.cli import formats, named, passwords
from ingot.client.cli.command import Command, Parser, declare_yes
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
        _show(shell, shell.client.auth.user(self.user))
        return 0


class Edit(Command):
    """Change a user's name or role, or whether they may sign in; it counts from their next call on."""

    examples = ("ingot users edit sara --title 'سارا'", "ingot users edit omid --role member --enable")
    user: str
    title: str | None
    role: str | None
    disabled: bool | None

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

    def run(self, shell: Shell) -> int:
        if self.title is None and self.role is None and self.disabled is None:
            raise Invalid(
                "Nothing to change was named.",
                reason="USAGE",
                next_step="Write for example: ingot users edit sara --role viewer",
            )
        changed = shell.client.auth.update_user(
            self.user, display_name=self.title, role=self.role, disabled=self.disabled
        )
        _show(shell, changed)
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
        loss = f"{named.user(self.user)} goes for good, with all tokens, logins and kept secrets."
        if lost.memberships:
            teams = ", ".join(each.split("/")[1] for each in lost.memberships)
            loss += f" They leave these namespaces: {teams}."
        if not shell.confirm(loss, self.yes):
            return 8
        shell.client.auth.delete_user(self.user)
        if not shell.out.quiet:
            shell.out.note(f"Removed {named.user(self.user)}.")
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

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("user", nargs="?", default="", metavar="USER", help="whose (one's own)")
        parser.add_argument("--password-stdin", action="store_true", help="read it from standard input")

    def run(self, shell: Shell) -> int:
        auth = shell.client.auth
        me = named.user(auth.me().user.name)
        user = named.user(self.user) or me
        old, new = passwords.asked_change(shell, user, own=user == me, from_stdin=self.password_stdin)
        ended = auth.change_password(new, old_password=old, user=user)
        if not shell.out.quiet:
            shell.out.note(f"{user} has a new password; {formats.plural(ended, 'other login')} ended.")
        return 0


def _show(shell: Shell, user: "auth_pb2.User") -> None:
    name, title, role, namespace, created = _row(user)
    facts = {"user": name, "name": title, "role": role, "namespace": namespace, "created": created}
    shell.out.document(user, name, lambda: shell.out.facts(facts))


def _row(user: "auth_pb2.User") -> tuple[str, ...]:
    from ingot.v1 import auth_pb2 as pb

    return (
        named.user(user.name),
        user.display_name or "-",
        formats.word(pb.Role.Name(user.role), "ROLE") + (" (disabled)" if user.disabled else ""),
        named.short(user.namespace),
        formats.moment(user.create_time),
    )
