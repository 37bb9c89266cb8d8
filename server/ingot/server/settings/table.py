"""The fields of `Settings` as rows, from which flags, variables, the file, --help and the page are made."""

import dataclasses
import functools
import typing
from dataclasses import dataclass
from pathlib import Path

from ingot.server.settings.fields import PREFIX, Settings


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    name: str
    kind: type
    help: str
    variables: tuple[str, ...]  # environment variables, the first wins
    default: str  # as shown to people
    secret: bool = False  # never shown, and no flag

    @property
    def is_list(self) -> bool:
        """Whether it may be given several times."""
        return typing.get_origin(self.kind) is tuple

    @property
    def kind_word(self) -> str:
        """What a value looks like."""
        words = {Path: "path", str: "text", bool: "true or false", int: "whole number", float: "number"}
        return words.get(self.kind, "list of texts")


@functools.cache
def table() -> tuple[Setting, ...]:
    """Return all settings in the order in which they are told."""
    kinds = typing.get_type_hints(Settings)
    return tuple(_setting(each, kinds[each.name]) for each in dataclasses.fields(Settings))


def _setting(field: "dataclasses.Field[object]", kind: type) -> Setting:
    shown = field.metadata["default"]
    if not shown:
        value = field.default
        shown = ", ".join(value) if isinstance(value, tuple) else str(value).lower()
    variables = (PREFIX + field.name.upper(), *field.metadata["variables"])
    return Setting(field.name, kind, field.metadata["help"], variables, shown, field.metadata["secret"])
