"""env, version and completion: about this program and this machine."""

import os
import platform
import sys

from ingot.client._connection import find_endpoint
from ingot.client._contexts import load_contexts
from ingot.client._errors import IngotError
from ingot.client._identity import declared_user, version
from ingot.client.cli import account, formats
from ingot.client.cli.command import Command, Parser
from ingot.client.cli.shell import Shell

_PACKAGES = ("grpcio", "protobuf", "blake3", "pyfastcdc")


class Env(Command):
    """Show versions, server, folders and the user name that is recorded: what a report of a fault needs.

    Tokens are never shown.
    """

    examples = ("ingot env", "ingot env --json")

    def run(self, shell: Shell) -> int:
        facts = {
            "ingot": version(),
            "python": f"{platform.python_version()} ({sys.executable})",
            "system": platform.platform(),
            **{name: _installed(name) for name in _PACKAGES},
            "user": f"{declared_user(shell.environ) or 'unknown'} (recorded beside the credential)",
            "contexts": str(load_contexts(shell.environ).path),
            "data folder": _data_folder(shell),
            **_server(shell),
        }
        if shell.out.json:
            from ingot.client.cli import plain

            shell.out.line(
                plain.dumps({name.replace(" ", "_"): value for name, value in facts.items()}, indent=2)
            )
        else:
            shell.out.facts(facts)
        return 0


class Version(Command):
    """Show the version of this program; see `ingot env` for that of the server."""

    examples = ("ingot version", "ingot version --quiet")

    def run(self, shell: Shell) -> int:
        if shell.out.json:
            from ingot.client.cli import plain

            shell.out.line(plain.dumps({"version": version()}, indent=2))
        else:
            shell.out.line(version() if shell.out.quiet else f"ingot {version()}")
        return 0


class Completion(Command):
    """Print what makes a shell complete the commands: eval "$(ingot completion bash)"."""

    examples = ("ingot completion bash", "ingot completion fish > ~/.config/fish/completions/ingot.fish")
    kind: str

    @classmethod
    def declare(cls, parser: Parser) -> None:
        parser.add_argument(
            "kind", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish"
        )

    def run(self, shell: Shell) -> int:
        from ingot.client.cli import completion

        shell.out.text(completion.script(self.kind))
        return 0


def _installed(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _data_folder(shell: Shell) -> str:
    named = shell.environ.get("INGOT_DATA_DIR")
    return (
        f"{named} (INGOT_DATA_DIR)"
        if named
        else f"{os.path.join(os.getcwd(), '.run')}, else the standard one"
    )


def _server(shell: Shell) -> dict[str, str]:
    try:
        endpoint = find_endpoint(shell.server)
        info = shell.client.system.info()
    except IngotError as error:
        return {"server": f"none ({error.message})"}
    drift = info.server_time.seconds + info.server_time.nanos / 1e9
    return {
        "server": endpoint.shown,
        "protection": "TLS" if endpoint.tls else "none, this machine" if endpoint.is_loopback else "none",
        "server version": info.version,
        "server id": info.server_id,
        "server time": formats.moment(info.server_time) if drift else "",
        "signed in": account.signed_in(shell),
    }
