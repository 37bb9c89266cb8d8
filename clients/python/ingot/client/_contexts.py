"""Contexts: servers that one has signed in to, kept in ~/.config/ingot/config.toml for its owner alone.

current = "home"

[contexts.home]
server = "ingot.example:7070"
token = "…"
namespace = "team"        # optional: default namespace
ca_file = "/path/ca.pem"  # optional: certificates to trust instead of the system's
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ingot.client._errors import Invalid, NotFound


@dataclass(frozen=True, slots=True)
class Context:
    """One server and how to be somebody there."""

    name: str
    server: str
    token: str = field(default="", repr=False)
    namespace: str = ""
    ca_file: str = ""


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
            for key in ("token", "namespace", "ca_file"):
                if value := getattr(context, key):
                    lines.append(f"{key} = {_quoted(value)}")
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
    base = environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    path = Path(base) / "ingot" / "config.toml"
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


def _context(path: Path, name: str, table: object) -> Context:
    if not isinstance(table, dict) or not isinstance(table.get("server"), str):
        raise Invalid(
            f"Context {name!r} in {path} has no server.",
            reason="FIELD_INVALID",
            next_step='Add a line such as: server = "localhost:7070"',
        )
    text = {key: value for key, value in table.items() if isinstance(value, str)}
    return Context(
        name,
        server=text["server"],
        token=text.get("token", ""),
        namespace=text.get("namespace", ""),
        ca_file=text.get("ca_file", ""),
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML basic string
