"""login, logout, whoami and context: who one is, and where."""

import os
import re
import sys
from typing import TYPE_CHECKING

from ingot.client._connection import find_endpoint
from ingot.client._contexts import Context, load_contexts
from ingot.client._errors import IngotError, Unauthenticated
from ingot.client.cli import formats, named
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.shell import Shell

if TYPE_CHECKING:
    from ingot.v1 import auth_pb2


class Login(Command):
    """Sign in to a server and remember it as the one to talk to.

    The token comes from INGOT_TOKEN, or standard input, or is asked for; the server on this machine needs
    none: its own token is found in its data folder. It is kept in a file that only you can read.
    """

    examples = ("ingot login", "ingot login --server localhost:7070 --name home")
    name: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument(
            "--name", default="", metavar="NAME", help="what to call it (the host by default)"
        )

    def run(self, shell: Shell) -> int:
        from ingot.client._client import Client

        found = find_endpoint(self.server)
        token = found.token or _asked_token(shell)
        # Without TLS to another machine this refuses before anything is sent.
        with Client(self.server, token, namespace=self.namespace) as client:
            me = client.auth.me()
            endpoint = client.endpoint
        scheme = "https://" if endpoint.tls else ""
        name = self.name or _name_of(endpoint.target)
        context = Context(name, scheme + endpoint.target, token, self.namespace, endpoint.ca_file)
        contexts = load_contexts(shell.environ).with_context(context)
        contexts.save()
        text = f"Signed in to {endpoint.target} as {_who(me)}; kept as {name!r} in {contexts.path}."
        shell.out.document(me, named.user(me.user.name), lambda: shell.out.line(text))
        return 0


class Logout(Command):
    """Forget a server and its token. The token itself stays good: see `ingot tokens revoke`."""

    examples = ("ingot logout", "ingot logout --name home")
    name: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument("--name", default="", metavar="NAME", help="which (the current one by default)")

    def run(self, shell: Shell) -> int:
        contexts = load_contexts(shell.environ)
        name = self.name or contexts.current_name
        if not name:
            shell.out.note("Not signed in anywhere.")
            return 0
        contexts.without(name).save()
        shell.out.note(f"Forgot {name!r}.")
        return 0


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


def _asked_token(shell: Shell) -> str:
    if not shell.stdin.isatty():
        token = shell.stdin.readline().strip()
    else:
        import getpass

        token = getpass.getpass("Token: ", stream=sys.stderr).strip()
    if not token:
        raise Unauthenticated(
            "No token was given.",
            reason="TOKEN_MISSING",
            next_step="Ask an administrator for one: ingot tokens create --user YOU",
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
