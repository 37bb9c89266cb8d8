"""From what checks of single files found to the facts of a version: what a model has, what a dataset holds.

    of_file(report) → FileFacts;  together(files, kind) → VersionFacts

A model often lies in a version several times: in shards, in two formats, as variants of one size each. The
shards of one set (`model-00001-of-00004`) count together; of several sets in one folder the largest counts;
of several formats the one that is read most safely. Folders add up, as those of a diffusion pipeline do.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeGuard

from ingot.server.core.facts import LARGEST, MOST_COLUMNS, MOST_DTYPES, MOST_NAME, VersionFacts
from ingot.server.core.params import FileReport

CONFIG = "config.json"
MOST_CONFIG = 1024 * 1024  # bytes of a config.json that are read
_FORMATS = ("safetensors", "gguf", "pytorch", "onnx", "keras", "h5", "npz", "npy")  # the best told first
_DATA = ("jsonl", "csv", "json")
_PLAIN = "txt"  # records only where there is nothing better: notes are plain text too
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.)")


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What one file adds to the facts of its version; small, whatever the file."""

    path: str
    format: str
    parameters: int = 0
    tensors: int = 0
    dtypes: Mapping[str, int] = field(default_factory=dict)
    architecture: str = ""
    records: int | None = None
    estimated: bool = False
    columns: tuple[str, ...] = ()


def of_file(report: FileReport) -> FileFacts:
    """Return the facts that the check of a file found."""
    told = report.statistics
    dtypes = told.get("dtypes") or told.get("types")
    columns = told.get("columns")
    architecture = told.get("architecture")
    return FileFacts(
        report.path,
        report.format,
        _count(told.get("parameters")),
        _count(told.get("tensors") or told.get("datasets")),
        dict(Counter(dtypes).most_common(MOST_DTYPES)) if _are_counts(dtypes) else {},
        architecture[:MOST_NAME] if isinstance(architecture, str) else "",
        report.records,
        columns=tuple(str(name)[:MOST_NAME] for name in list(columns)[:MOST_COLUMNS])
        if isinstance(columns, dict)
        else (),
    )


def architecture_of(config: bytes) -> str:
    """Return the architecture that a config.json names, "" when it names none or is none."""
    try:
        found: object = json.loads(config)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(found, dict):
        return ""
    named = found.get("architectures")
    first = named[0] if isinstance(named, list) and named else found.get("model_type")
    return _clean(first) if isinstance(first, str) else ""


def of_model(files: Sequence[FileFacts], architecture: str = "", *, validated: bool = False) -> VersionFacts:
    """Return the facts of a model; `architecture` is what its config.json says."""
    chosen = _weights(files)
    dtypes: Counter[str] = Counter()
    for each in chosen:
        dtypes.update(each.dtypes)
    told = (each.architecture for each in (*chosen, *files) if each.architecture)
    return VersionFacts(
        parameters=min(sum(each.parameters for each in chosen), LARGEST),
        tensors=min(sum(each.tensors for each in chosen), LARGEST),
        architecture=architecture or _clean(next(told, "")),
        dtypes=tuple(name for name, _ in dtypes.most_common(MOST_DTYPES)),
        validated=validated,
    )


def of_dataset(files: Sequence[FileFacts], *, validated: bool = False) -> VersionFacts:
    """Return the facts of a dataset."""
    data = [each for each in files if each.format in _DATA and (each.records is not None or each.columns)]
    data = data or [each for each in files if each.format == _PLAIN and each.records is not None]
    known = bool(data) and all(each.records is not None for each in data)
    columns = dict.fromkeys(name for each in data for name in each.columns)
    return VersionFacts(
        records=sum(each.records or 0 for each in data) if known else None,
        estimated=known and any(each.estimated for each in data),
        columns=tuple(_clean(name) for name in list(columns)[:MOST_COLUMNS]),
        validated=validated,
    )


def _weights(files: Iterable[FileFacts]) -> list[FileFacts]:
    """Return the files that make up the model once."""
    with_tensors = [each for each in files if each.tensors or each.parameters]
    by_format: dict[str, list[FileFacts]] = {}
    for each in with_tensors:
        by_format.setdefault(each.format, []).append(each)
    for name in (*_FORMATS, *by_format):
        if name in by_format:
            return _largest_sets(by_format[name])
    return []


def _largest_sets(files: Sequence[FileFacts]) -> list[FileFacts]:
    folders: dict[str, dict[str, list[FileFacts]]] = {}
    for each in files:
        folder, _, name = each.path.rpartition("/")
        folders.setdefault(folder, {}).setdefault(_SHARD.sub("", name), []).append(each)
    largest = (max(sets.values(), key=_size) for sets in folders.values())
    return [each for chosen in largest for each in chosen]


def _size(files: Sequence[FileFacts]) -> int:
    return sum(each.parameters for each in files)


def _count(value: object) -> int:
    return min(value, LARGEST) if isinstance(value, int) and value > 0 else 0


def _are_counts(value: object) -> TypeGuard[dict[str, int]]:
    return isinstance(value, dict) and all(isinstance(each, int) for each in value.values())


def _clean(text: str) -> str:
    """Return a bounded text without halves of surrogate pairs, which no answer can hold."""
    return text[:MOST_NAME].encode("utf-8", "replace").decode()
