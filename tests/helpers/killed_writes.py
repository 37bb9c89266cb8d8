"""Kill whoever writes below a folder at a certain step, without a process of its own.

What a process does to a folder goes through a few calls of the system. From the chosen one on none of them
does anything any more: each raises `Killed`, so that the folder stays as kill -9 would have left it, however
the program winds up. A write that is killed leaves half of its bytes.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

_BY_DESCRIPTOR = ("pwrite", "fsync", "fdatasync", "ftruncate", "fchmod")
_BY_PATH = ("replace", "unlink", "mkdir", "rmdir", "chmod")


class Killed(BaseException):
    """What the killed program meets."""


class Steps:
    """How many steps were made; `at` is the one that is not, None for none."""

    def __init__(self, folder: pathlib.Path, at: int | None) -> None:
        self.made = 0
        self._folder = os.path.realpath(folder)
        self._at = at

    def concerns(self, place: int | str | os.PathLike[str]) -> bool:
        """Return whether a descriptor or a path lies below the folder."""
        if isinstance(place, int):
            found = os.readlink(f"/proc/self/fd/{place}")
        else:
            found = os.path.abspath(os.fspath(place))
        return f"{found}/".startswith(f"{self._folder}/")

    def step(self) -> bool:
        """Count a step; return whether it is the one that is cut short. Raises Killed for those behind it."""
        self.made += 1
        if self._at is not None and self.made > self._at:
            raise Killed
        return self.made == self._at


@contextlib.contextmanager
def killed_at(folder: pathlib.Path, at: int | None) -> Iterator[Steps]:
    """Kill what writes below a folder at its step `at`, counted from 1, for the length of a with block."""
    steps = Steps(folder, at)
    with pytest.MonkeyPatch.context() as patch:
        for name in (*_BY_DESCRIPTOR, *_BY_PATH):
            patch.setattr(os, name, _cut_short(steps, name, getattr(os, name)))
        patch.setattr(os, "open", _cut_short_open(steps, os.open))
        yield steps


def _cut_short(steps: Steps, name: str, real: Any) -> Any:
    def call(place: Any, *rest: Any, **named: Any) -> Any:
        if steps.concerns(place) and steps.step():
            if name == "pwrite":
                real(place, bytes(rest[0])[: len(rest[0]) // 2], *rest[1:])
            raise Killed
        return real(place, *rest, **named)

    return call


def _cut_short_open(steps: Steps, real: Any) -> Any:
    def call(place: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & os.O_CREAT and steps.concerns(place) and steps.step():
            raise Killed
        found: int = real(place, flags, *rest, **named)
        return found

    return call
