"""Contexts: servers that one has signed in to, kept in ~/.config/ingot/config.toml for its owner alone.

current = "home"

[contexts.home]
server = "ingot.example:7070"
token = "…"
namespace = "team"        # optional: default namespace
ca_file = "/path/ca.pem"  # optional: certificates to trust instead of the system's
cert_file = "/path/me.pem"  # optional, with key_file: certificate of this client
key_file = "/path/me.key"
refresh_token = "…"       # of a login with a password; `token` is its access token then
renew_time = "1795262400" # when that is replaced, in seconds since the epoch
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ingot.client._errors import Invalid, NotFound

_KEYS = ("token", "namespace", "ca_file", "cert_file", "key_file", "refresh_token")


@dataclass(frozen=True, slots=True)
class Context:
    """One server and how to be somebody there."""

    name: str
    server: str
    token: str = field(default="", repr=False)
    namespace: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    refresh_token: str = field(default="", repr=False)
    renew_time: float = 0.0


@dataclass(frozen=True, slots=True)
class Contexts:
    """What the file holds."""

    path: Path
    all: tuple[Context, ...] = ()
    current_name: str = ""

    @property
    def current(self) -> Context | None:
        """The context in use; None when there is none."""
        return next((each for each in self.all if each.name == self.current_name), None)

    def with_context(self, context: Context) -> "Contexts":
        """Return them with one added or replaced, and in use."""
        others = tuple(each for each in self.all if each.name != context.name)
        return replace(self, all=(*others, context), current_name=context.name)

    def without(self, name: str) -> "Contexts":
        """Return them without one. Raises NotFound."""
        self._require(name)
        current = "" if name == self.current_name else self.current_name
        return replace(self, all=tuple(each for each in self.all if each.name != name), current_name=current)

    def using(self, name: str) -> "Contexts":
        """Return them with another in use. Raises NotFound."""
        self._require(name)
        return replace(self, current_name=name)

    def with_tokens(self, name: str, token: str, refresh_token: str, renew_time: float) -> "Contexts":
        """Return them with newer tokens of the login that one keeps. Raises NotFound."""
        self._require(name)
        changed = tuple(
            replace(each, token=token, refresh_token=refresh_token, renew_time=renew_time)
            if each.name == name
            else each
            for each in self.all
        )
        return replace(self, all=changed)

    def save(self) -> None:
        """Write the file in one step, readable by its owner alone."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(self._text())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)

    def _text(self) -> str:
        lines = [f"current = {_quoted(self.current_name)}"]
        for context in self.all:
            lines += ["", f"[contexts.{_quoted(context.name)}]", f"server = {_quoted(context.server)}"]
            for key in _KEYS:
                if value := getattr(context, key):
                    lines.append(f"{key} = {_quoted(value)}")
            if context.refresh_token:
                lines.append(f'renew_time = "{context.renew_time:.0f}"')
        return "\n".join(lines) + "\n"

    def _require(self, name: str) -> None:
        if all(each.name != name for each in self.all):
            known = ", ".join(sorted(each.name for each in self.all)) or "none"
            raise NotFound(
                f"No context is called {name!r}; known: {known}.",
                reason="CONTEXT_NOT_FOUND",
                next_step="See them with: ingot context ls",
            )


def load_contexts(environ: Mapping[str, str] = os.environ) -> Contexts:
    """Return the contexts of this user; none when there is no file. Raises Invalid for a broken file."""
    path = _path(environ)
    if not path.exists():
        return Contexts(path)
    import tomllib  # only for those who have the file

    try:
        written = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise Invalid(
            f"Cannot read {path}: {failure}.",
            reason="FIELD_INVALID",
            next_step="Repair the file, or remove it and sign in again with: ingot login",
        ) from failure
    tables = written.get("contexts", {})
    found = tuple(_context(path, name, table) for name, table in tables.items())
    return Contexts(path, found, str(written.get("current", "")))


@contextlib.contextmanager
def locked(environ: Mapping[str, str] = os.environ) -> Iterator[None]:
    """Keep other programs from changing the contexts for the length of a with block."""
    import fcntl  # only for those who share a login

    path = _path(environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(".config.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _path(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(base) / "ingot" / "config.toml"


def _context(path: Path, name: str, table: object) -> Context:
    if not isinstance(table, dict) or not isinstance(table.get("server"), str):
        raise Invalid(
            f"Context {name!r} in {path} has no server.",
            reason="FIELD_INVALID",
            next_step='Add a line such as: server = "localhost:7070"',
        )
    text = {key: value for key, value in table.items() if isinstance(value, str)}
    known = {key: text.get(key, "") for key in _KEYS}
    return Context(name, text["server"], renew_time=_seconds(text.get("renew_time", "")), **known)


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0  # then the token is replaced at once


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML basic string
