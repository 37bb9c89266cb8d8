"""Settings of one start: each from the first place that has it, turned into its own type, then checked."""

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path

from ingot.server.settings import checks
from ingot.server.settings.fields import Settings, SettingsError
from ingot.server.settings.table import Setting, table

Value = Path | str | bool | int | float | tuple[str, ...]

_LARGEST = 2**63 - 1  # what the API and the database can hold
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    """The settings of one start, and by name where those came from that are no defaults."""

    settings: Settings
    origins: Mapping[str, str]


def load(flags: Mapping[str, Value], environment: Mapping[str, str], config: Path | None = None) -> Settings:
    """Return the settings of one start, as `load_with_origins` does."""
    return load_with_origins(flags, environment, config).settings


def load_with_origins(
    flags: Mapping[str, Value], environment: Mapping[str, str], config: Path | None = None
) -> Loaded:
    """Return the settings of one start. Raises SettingsError.

    `flags` are the given ones only, by the name of their setting; `config` is the path of a TOML file.
    """
    file = _read(config) if config else {}
    values: dict[str, Value] = {}
    origins: dict[str, str] = {}
    for setting in table():
        found = _find(setting, flags, environment, file, str(config))
        if found is not None:
            values[setting.name], origins[setting.name] = found
    settings = dataclasses.replace(Settings(), **values)  # type: ignore[arg-type]  # _convert has seen to it
    checks.check(settings)
    return Loaded(settings, origins)


def _find(
    setting: Setting,
    flags: Mapping[str, Value],
    environment: Mapping[str, str],
    file: Mapping[str, object],
    path: str,
) -> tuple[Value, str] | None:
    """Return the value and where it came from, None where nobody set it."""
    if setting.name in flags:
        flag = "--" + setting.name.replace("_", "-")
        return _convert(setting, flags[setting.name], flag), flag
    for variable in setting.variables:
        text = environment.get(variable, "")
        if text:
            given = f"127.0.0.1:{text}" if variable == "PORT" else text
            return _convert(setting, given, variable), variable
    if setting.name in file:
        return _convert(setting, file[setting.name], f"{setting.name} in {path}"), path
    return None


def _convert(setting: Setting, value: object, source: str) -> Value:
    """Return the value in the setting's own type, from text or as TOML has it."""
    text = value.strip() if isinstance(value, str) else value
    match setting.kind:
        case kind if kind is Path and isinstance(text, str | Path) and str(text):
            return Path(text).expanduser()
        case kind if kind is bool:
            if isinstance(text, bool):
                return text
            if isinstance(text, str) and text.lower() in (*_TRUE, *_FALSE):
                return text.lower() in _TRUE
        case kind if kind is str and isinstance(text, str):
            return text
        case kind if kind in (int, float) and isinstance(text, str | int | float) and text is not True:
            try:
                number = int(text) if kind is int and not isinstance(text, float) else float(text)
            except ValueError:
                number = math.nan
            if -_LARGEST <= number <= _LARGEST:  # not so for nan, which no check would find
                return number
        case _ if setting.is_list:
            parts = text.split(",") if isinstance(text, str) else text
            if isinstance(parts, list | tuple) and all(isinstance(part, str) for part in parts):
                return tuple(part.strip() for part in parts)
    expected = setting.kind_word if setting.kind is bool else f"a {setting.kind_word}"
    shown = "something else" if setting.secret else repr(value)
    raise SettingsError(f"{source}: expected {expected}, got {shown}.")


def _read(path: Path) -> dict[str, object]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The configuration {path} is not TOML: {error}.") from error
    names = [setting.name for setting in table()]
    for name in values:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"Did you mean {near[0]}?" if near else "`ingot-server settings` lists all."
            raise SettingsError(f"{path}: there is no setting {name!r}. {hint}")
    return values
