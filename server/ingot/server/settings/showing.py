"""The settings of a start as ListSettings shows them: with where each came from, and without secrets."""

import re
from collections.abc import Mapping
from pathlib import Path

from ingot.server.core.shown_settings import ShownSetting
from ingot.server.settings.fields import Settings
from ingot.server.settings.table import table

DEFAULT = "default"
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")  # user and password in a URL


def shown(settings: Settings, origins: Mapping[str, str]) -> tuple[ShownSetting, ...]:
    """Return all settings in the order of the table; `origins` names those that somebody set."""
    found = []
    for setting in table():
        text = _text(getattr(settings, setting.name))
        found.append(
            ShownSetting(
                name=setting.name,
                value="" if setting.secret else _LOGIN.sub("…@", text),
                origin=origins.get(setting.name, DEFAULT),
                help=setting.help,
                default=setting.default,
                kind=setting.kind_word,
                secret=setting.secret,
                populated=bool(text),
            )
        )
    return tuple(found)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, Path):
        return "" if value == Path() else str(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
