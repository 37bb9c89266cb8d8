"""login, logout, whoami and context: who one is, and where."""

import os
import re
from typing import TYPE_CHECKING

from ingot.client._connection import TlsFiles, endpoint_of, find_endpoint
from ingot.client._contexts import Context, load_contexts, locked
from ingot.client._errors import IngotError, Invalid, NotAllowed, Unauthenticated
from ingot.client.cli import formats, named, passwords
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.shell import Shell
from ingot.client.cli.users import tell_tokens

if TYPE_CHECKING:
    from ingot.v1 import auth_pb2


class Login(Command):
    """Sign in to a server and remember it as the one to talk to.

    With --user a password is asked for, unseen, or read from standard input; such a login renews itself for
    weeks. Else a token is asked for, or comes from INGOT_TOKEN or standard input. The server on this machine
    needs neither: its own token is found in its data folder. All is kept in a file that only you can read.
    """

    examples = ("ingot login", "ingot login --server localhost:7070 --name home")
    name: str
    user: str
    password_stdin: bool
    ca: str
    cert: str
    key: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument(
            "--name", default="", metavar="NAME", help="what to call it (the host by default)"
        )
        parser.add_argument("--user", default="", metavar="USER", help="sign in with the password of a user")
        parser.add_argument(
            "--password-stdin", action="store_true", help="read the password from standard input"
        )
        parser.add_argument("--ca", default="", metavar="FILE", help="authorities to trust, for TLS")
        parser.add_argument("--cert", default="", metavar="FILE", help="certificate of one's own, for TLS")
        parser.add_argument("--key", default="", metavar="FILE", help="and its key")

    def run(self, shell: Shell) -> int:
        from ingot.client._client import Client
        from ingot.client._logins import LoginTokens, kept

        files = TlsFiles(*(_absolute(each) for each in (self.ca, self.cert, self.key)))
        found = find_endpoint(self.server, files=files)
        known = "" if found.login else found.token
        user = self.user or ("" if known else passwords.asked_user(shell))
        token = None if user else known or _asked_token(shell)
        # Without TLS to another machine this refuses before anything is sent.
        with Client(self.server, token, namespace=self.namespace, tls=files) as client:
            tokens = None
            if user:
                password = passwords.asked(shell, f"Password of {user}", from_stdin=self.password_stdin)
                tokens = LoginTokens.of(client.auth.login(user, password))
            me = client.auth.me()
            endpoint = client.endpoint
        scheme = "https://" if endpoint.tls else ""
        name = self.name or _name_of(endpoint.target)
        context = Context(
            name,
            scheme + endpoint.target,
            token or "",
            self.namespace,
            endpoint.ca_file,
            endpoint.cert_file,
            endpoint.key_file,
        )
        with locked(shell.environ):
            contexts = load_contexts(shell.environ).with_context(kept(context, tokens) if tokens else context)
            contexts.save()
        text = f"Signed in to {endpoint.target} as {_who(me)}; kept as {name!r} in {contexts.path}."
        shell.out.document(me, named.user(me.user.name), lambda: shell.out.line(text))
        return 0


class Logout(Command):
    """Forget a server, and end the login there. A token that was given stays good: `ingot tokens revoke`."""

    examples = ("ingot logout", "ingot logout --name home")
    name: str
    everywhere: bool
    tokens: bool

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("--name", default="", metavar="NAME", help="which (the current one by default)")
        parser.add_argument(
            "--everywhere", action="store_true", help="end all logins of the user, on all machines"
        )
        parser.add_argument(
            "--tokens", action="store_true", help="with --everywhere: also API tokens made in logins"
        )

    def run(self, shell: Shell) -> int:
        if self.tokens and not self.everywhere:
            raise Invalid(
                "--tokens: expected --everywhere with it.",
                reason="USAGE",
                next_step="End single tokens by name: ingot tokens revoke NAME",
            )
        contexts = load_contexts(shell.environ)
        name = self.name or contexts.current_name
        if not name:
            shell.out.note("Not signed in anywhere.")
            return 0
        contexts.without(name)
        context = next(each for each in contexts.all if each.name == name)
        if context.refresh_token or self.everywhere:
            self._end(shell, context)
        with locked(shell.environ):
            load_contexts(shell.environ).without(name).save()
        shell.out.note(f"Forgot {name!r}.")
        return 0

    def _end(self, shell: Shell, context: Context) -> None:
        """End the login at the server; a login that cannot be ended now ends by itself."""
        from ingot.client._client import Client, dialled

        try:
            with Client(link=dialled(endpoint_of(context))) as client:
                ended = client.auth.logout(everywhere=self.everywhere, revoke_tokens=self.tokens)
        except NotAllowed:
            return  # it has ended already
        except IngotError as error:
            if self.everywhere:
                raise
            shell.out.warn(f"The login could not be ended at the server: {error.message}")
            return
        if self.everywhere:
            shell.out.note(f"Ended {formats.plural(ended.ended_logins, 'login')}.")
            tell_tokens(shell, ended, again="ingot users passwd --tokens")


class Whoami(Command):
    """Show who is signed in, with which role and scopes."""

    examples = ("ingot whoami", "ingot whoami --json")

    def run(self, shell: Shell) -> int:
        me = shell.client.auth.me()
        facts = {
            "user": named.user(me.user.name),
            "name": me.user.display_name,
            "role": _role(me),
            "namespace": named.short(me.namespace),
            "scopes": ", ".join(me.scopes),
            "recorded as": me.principal,
            "token": me.token,
            "server": shell.client.endpoint.shown,
        }
        shell.out.document(me, named.user(me.user.name), lambda: shell.out.facts(facts))
        return 0


class ContextLs(Command):
    """List the servers one has signed in to; the current one is marked."""

    examples = ("ingot context ls", "ingot context ls --quiet")

    def run(self, shell: Shell) -> int:
        from ingot.client.cli import plain

        contexts = load_contexts(shell.environ)
        if shell.out.json:
            known: list[plain.Plain] = [
                {
                    "name": each.name,
                    "server": each.server,
                    "namespace": each.namespace,
                    "current": each.name == contexts.current_name,
                }
                for each in contexts.all
            ]
            shell.out.line(plain.dumps(known, indent=2))
        elif shell.out.quiet:
            for each in contexts.all:
                shell.out.line(each.name)
        elif contexts.all:
            rows = [
                (
                    "*" if each.name == contexts.current_name else "",
                    each.name,
                    each.server,
                    each.namespace or "-",
                )
                for each in contexts.all
            ]
            shell.out.table([("", "NAME", "SERVER", "NAMESPACE"), *rows])
        else:
            shell.out.note("Signed in nowhere: ingot login --server ADDRESS")
        return 0


class ContextUse(Command):
    """Talk to another of the servers one has signed in to."""

    examples = ("ingot context use home", "ingot context use run")
    name: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("name", metavar="NAME", help="as in `ingot context ls`")

    def run(self, shell: Shell) -> int:
        contexts = load_contexts(shell.environ).using(self.name)
        contexts.save()
        current = contexts.current
        shell.out.line(self.name if shell.out.quiet or current is None else f"{self.name}: {current.server}")
        return 0


def _absolute(path: str) -> str:
    """Return a path as it can be kept for programs that run elsewhere."""
    return os.path.abspath(os.path.expanduser(path)) if path else ""


def _asked_token(shell: Shell) -> str:
    if not shell.stdin.isatty():
        token = shell.stdin.readline().strip()
    else:
        token = passwords.typed("Token: ").strip()
    if not token:
        raise Unauthenticated(
            "No token was given.",
            reason="TOKEN_MISSING",
            next_step="Ask an administrator for one: ingot tokens create --user YOU; or sign in with a "
            "password: ingot login --user YOU",
        )
    return token


def _name_of(target: str) -> str:
    if target.startswith("unix:"):
        folder = os.path.basename(os.path.dirname(target.removeprefix("unix:")))
        return re.sub(r"[^A-Za-z0-9_-]", "", folder) or "local"
    return target.rpartition(":")[0].strip("[]") or target


def _role(me: "auth_pb2.GetMeResponse") -> str:
    from ingot.v1 import auth_pb2 as pb

    return formats.word(pb.Role.Name(me.role), "ROLE")


def _who(me: "auth_pb2.GetMeResponse") -> str:
    return f"{named.user(me.user.name)} ({_role(me)})"


def signed_in(shell: Shell) -> str:
    """Return who is signed in in words, also when nobody is, for reports."""
    try:
        return _who(shell.client.auth.me())
    except IngotError as error:
        return f"no ({error.message})"
