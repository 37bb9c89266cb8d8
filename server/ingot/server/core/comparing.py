"""What differs between two versions: types, and how two objects of JSON are compared."""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ingot.server.core.json_values import JsonObject, JsonValue

_MOST_OF_PATHS = 200_000  # characters: each change repeats the keys above it


class ChangeKind(StrEnum):
    """How something differs from the base to the other."""

    ADDED = "ADDED"
    REMOVED = "REMOVED"
    CHANGED = "CHANGED"
    SAME = "SAME"


@dataclass(frozen=True, slots=True)
class ValueChange:
    """A value that differs; `before` and `after` mean nothing where the kind says it is not there."""

    path: tuple[str, ...]
    kind: ChangeKind
    before: JsonValue = None
    after: JsonValue = None

    @property
    def difference(self) -> float | None:
        """Return after minus before when both are numbers."""
        numbers = [each for each in (self.before, self.after) if _is_number(each)]
        if self.kind is not ChangeKind.CHANGED or len(numbers) < 2:
            return None
        before, after = (float(str(each)) for each in numbers)
        return after - before


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file of one of two trees, or of both; sizes in bytes, roots empty where it is not there."""

    path: str
    kind: ChangeKind
    size_before: int
    size_after: int
    root_before: bytes
    root_after: bytes


@dataclass(frozen=True, slots=True)
class FileTotals:
    """How many files differ in which way, and their bytes."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    same: int = 0
    added_bytes: int = 0
    removed_bytes: int = 0
    changed_bytes_before: int = 0
    changed_bytes_after: int = 0
    same_bytes: int = 0


class TreeComparer(Protocol):
    """Compares the files of two committed trees by their roots, without reading any."""

    def totals(self, base: int, other: int) -> FileTotals:
        """Count over all files."""
        ...

    def files(
        self, base: int, other: int, after: str, size: int, *, include_same: bool
    ) -> Sequence[FileChange]:
        """Return up to `size` files whose paths sort after `after`, in byte order; those that differ only,
        unless the same ones are asked for."""
        ...


def compare(before: JsonObject, after: JsonObject) -> tuple[ValueChange, ...]:
    """Return what differs, key by key through nested objects, in the order of the paths.

    Where their paths are too long together, each of the outermost keys that differs is told as a whole.
    """
    found = sorted(_walk((), before, after), key=lambda each: each.path)
    if sum(len(key) for each in found for key in each.path) > _MOST_OF_PATHS:
        return tuple(sorted(_walk((), before, after, deep=False), key=lambda each: each.path))
    return tuple(found)


def _walk(
    path: tuple[str, ...], before: JsonObject, after: JsonObject, *, deep: bool = True
) -> Iterator[ValueChange]:
    for key in dict.fromkeys(itertools.chain(before, after)):
        place = (*path, key)
        if key not in before:
            yield ValueChange(place, ChangeKind.ADDED, after=after[key])
        elif key not in after:
            yield ValueChange(place, ChangeKind.REMOVED, before=before[key])
        else:
            yield from _one(place, before[key], after[key], deep=deep)


def _one(place: tuple[str, ...], before: JsonValue, after: JsonValue, *, deep: bool) -> Iterator[ValueChange]:
    if deep and isinstance(before, dict) and isinstance(after, dict):
        yield from _walk(place, before, after)
    elif _canonical(before) != _canonical(after):
        yield ValueChange(place, ChangeKind.CHANGED, before, after)


def _canonical(value: JsonValue) -> str:
    """Return a form that is equal for equal values, and tells true from 1."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
