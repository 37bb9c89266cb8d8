"""Training configurations from files: TOML, or JSON as the systems before Ingot wrote it.

A file holds either the settings alone, or a whole request with `name`, `datasetId`, `baseModelId`, `output`,
`config` and `deepspeed`. Settings may be spelt as in the API (`batch_size`) or as in those systems
(`batchSize`, `useGPU`). YAML is not read: Python cannot without a further package, and TOML and JSON say
the same.
"""

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingot.client._errors import Invalid
from ingot.v1 import training_pb2 as pb

Values = dict[str, object]

_BODY = {
    "name": "name",
    "datasetId": "dataset",
    "dataset": "dataset",
    "baseModelId": "base",
    "base_model": "base",
    "base": "base",
    "output": "output",
    "config": "config",
    "deepspeed": "deepspeed",
}
_DEEPSPEED = "deepspeed."


@dataclass(slots=True)
class TrainingFile:
    """What a file asks for; texts are empty where it says nothing."""

    name: str = ""
    dataset: str = ""
    base: str = ""
    output: str = ""
    config: Values = field(default_factory=dict)
    deepspeed: Values = field(default_factory=dict)

    def change(self, settings: Sequence[str]) -> None:
        """Apply `key=value` settings over the file; the value is JSON or else text. Raises Invalid."""
        for setting in settings:
            key, mark, text = setting.partition("=")
            if not mark or not key:
                raise Invalid(
                    f"--set: expected KEY=VALUE, got {setting!r}.",
                    reason="USAGE",
                    next_step="Write for example: --set batchSize=16",
                )
            try:
                value: object = json.loads(text)
            except ValueError:
                value = text
            if key.startswith(_DEEPSPEED):
                self.deepspeed[
                    _known(key.removeprefix(_DEEPSPEED), _spellings(pb.DeepSpeedConfig), "--set")
                ] = value
            else:
                self.config[_known(key, _spellings(pb.TrainingConfig), "--set")] = value


def read(path: Path) -> TrainingFile:
    """Read a configuration file. Raises Invalid with the nearest right word for an unknown key."""
    values = _load(path)
    is_body = any(key in _BODY for key in values) or not values
    known = _BODY if is_body else _spellings(pb.TrainingConfig)
    if not is_body:
        return TrainingFile(config=_renamed(values, known, str(path)))
    body = _renamed(values, known, str(path))
    texts = {key: _text(path, key, body.get(key, "")) for key in ("name", "dataset", "base", "output")}
    return TrainingFile(
        **texts,
        config=_renamed(_table(path, body, "config"), _spellings(pb.TrainingConfig), f"config in {path}"),
        deepspeed=_renamed(
            _table(path, body, "deepspeed"), _spellings(pb.DeepSpeedConfig), f"deepspeed in {path}"
        ),
    )


def _load(path: Path) -> Mapping[str, object]:
    if path.suffix.lower() not in (".toml", ".json"):
        raise Invalid(
            f"Expected a .toml or .json file, got {path}.",
            reason="FIELD_INVALID",
            next_step="Write the same settings as TOML, for example: batch_size = 16",
        )
    try:
        text = path.read_text(encoding="utf-8")
        found = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except ValueError as failure:
        raise Invalid(
            f"{path} cannot be read: {failure}.", reason="FIELD_INVALID", next_step="Repair it at that place."
        ) from failure
    if not isinstance(found, dict):
        raise Invalid(
            f"{path}: expected settings with names, got {type(found).__name__}.",
            reason="FIELD_INVALID",
            next_step='Write for example: {"batchSize": 16}',
        )
    return found


def _spellings(kind: type[pb.TrainingConfig] | type[pb.DeepSpeedConfig]) -> dict[str, str]:
    """Return every accepted spelling of the settings, with the name in the API."""
    fields = kind.DESCRIPTOR.fields
    return {field.json_name: field.name for field in fields} | {field.name: field.name for field in fields}


def _renamed(values: Mapping[str, object], known: Mapping[str, str], place: str) -> Values:
    return {_known(key, known, place): value for key, value in values.items()}


def _known(key: str, known: Mapping[str, str], place: str) -> str:
    if key in known:
        return known[key]
    near = _nearest(key, known)
    raise Invalid(
        f"{place}: there is no setting {key!r}.",
        reason="FIELD_INVALID",
        next_step=f"Did you mean {near}?" if near else f"Known: {', '.join(sorted(set(known.values())))}",
    )


def _nearest(key: str, known: Iterable[str]) -> str:
    folded = {each.lower(): each for each in known}
    near = difflib.get_close_matches(key.lower(), folded, n=1)
    return folded[near[0]] if near else ""


def _text(path: Path, key: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise Invalid(
        f"{path}: {key}: expected text, got {value!r}.", reason="FIELD_INVALID", next_step="Put it in quotes."
    )


def _table(path: Path, body: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = body.get(key, {})
    if isinstance(value, dict):
        return value
    raise Invalid(
        f"{path}: {key}: expected settings with names, got {value!r}.",
        reason="FIELD_INVALID",
        next_step=f"Write a table, in TOML [{key}].",
    )
