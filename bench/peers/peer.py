"""What the bench asks of a peer: commands that push and pull, the server that answers them, what is stored.

A peer keeps content under a key. All of it (a file or a folder) comes back below the target as `name`. The
bench runs the commands, measures them and compares what came back.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from processes import Command, Server


class Case(StrEnum):
    """What is measured. The order is the order in which a round does it."""

    PUSH = "push, new random bytes"
    PULL = "pull"
    READ = "read 1 MiB of it, cold"
    AGAIN = "push again, unchanged"
    FRONT = "push with 1000 bytes inserted in front"
    SMALL_PUSH = "push, many files of 10 KiB"
    SMALL_PULL = "pull, many files of 10 KiB"
    MODEL = "push, safetensors of random tensors"
    TENTH = "push with a tenth of its tensors changed"
    SHARDS = "push of the same tensors in three shards"


LARGE = frozenset({Case.PUSH, Case.PULL, Case.READ, Case.AGAIN, Case.FRONT})
SMALL = frozenset({Case.SMALL_PUSH, Case.SMALL_PULL})
MODELS = frozenset({Case.MODEL, Case.TENTH, Case.SHARDS})
VERIFIED = "keeps versions or checks digests"  # the group that a push and a pull must beat by far
LIMIT = "limit"
COPIES = "copies"
OURS = "Ingot"


class Peer:
    """One contender; those that run a server start it when they are made."""

    name: str
    group: str
    note: str  # what it does with the bytes, and what it leaves undone
    cases: frozenset[Case] = LARGE - {Case.READ} | SMALL
    keeps = True  # what is pulled is what was pushed
    by_request = False  # asks once a file: the bench gives it a tenth of the small files
    server: Server | None = None
    stored: Path | None = None  # where the server keeps content; its pages are dropped before a cold read
    kept: Path | None = None  # content that is removed after each round

    def push(self, source: Path, key: str) -> Command:
        """Return what sends a file or a folder."""
        raise NotImplementedError

    def pull(self, key: str, name: str, target: Path) -> Command:
        """Return what brings it back below a folder that exists."""
        raise NotImplementedError

    def read(self, key: str, name: str, offset: int, length: int) -> Command:
        """Return what reads a range of a file and says how long that took, connected already."""
        raise NotImplementedError

    def place(self, target: Path, name: str) -> Path:
        """Return where a pulled file or folder is."""
        return target / name

    def forget(self) -> None:
        """Remove what a round left behind."""
        for each in self.kept.iterdir() if self.kept else ():
            shutil.rmtree(each) if each.is_dir() else each.unlink()

    def stop(self) -> None:
        """End its server."""
        if self.server:
            self.server.stop()


class Absent(Exception):
    """Why a peer is left out."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where peers may be installed: below the folder of `--peers`, else wherever PATH says."""

    peers: Path | None

    def program(self, name: str) -> Path:
        """Return a program. Raises Absent."""
        path = os.pathsep.join([*([str(self.peers)] if self.peers else []), os.environ.get("PATH", "")])
        found = shutil.which(name, path=path)
        if not found:
            raise Absent(f"{name} is not installed")
        return Path(found)

    def python(self, *modules: str) -> Path:
        """Return an interpreter that has these modules. Raises Absent."""
        for each in (self.peers / "venv" / "bin" / "python" if self.peers else None, Path(sys.executable)):
            if each and each.exists() and _imports(each, modules):
                return each
        raise Absent(f"no Python with {' and '.join(modules)}")


@cache
def _imports(python: Path, modules: Sequence[str]) -> bool:
    code = "import importlib.util, sys; sys.exit(not all(map(importlib.util.find_spec, sys.argv[1:])))"
    return subprocess.run([python, "-c", code, *modules], check=False).returncode == 0


Start = Callable[[Path, Found], Peer]
