"""Trees that claimed work reads, kept on this machine by digest.

    ROOT/trees/<digest>/           a dataset, base model or checkpoint, complete and verified
    ROOT/trees/<digest>.pulling/   on its way; the next pull goes on from there

A tree is pulled through the SDK, which checks every chunk and the digest of the whole, then renamed. The
least recently used ones go when there are more than `KEPT`; those in use stay.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

KEPT = 8  # trees kept for the next job


class Pull(Protocol):
    """How a tree comes here: `client.pull`."""

    def __call__(self, tree: str, folder: Path, progress: Callable[[int, int], None]) -> object:
        """Fill `folder` with the verified files of `tree`; `progress` hears bytes done and total."""
        ...


class Trees:
    """The trees of one worker; safe to use from several threads."""

    def __init__(self, root: Path, pull: Pull) -> None:
        self._root = root
        self._pull = pull
        self._locks: dict[str, threading.Lock] = {}
        self._used: dict[str, int] = {}
        self._guard = threading.Lock()
        root.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def use(self, tree: str, digest: str, progress: Callable[[int, int], None]) -> Iterator[Path]:
        """Give the folder of a tree for the length of a with block, pulling it first when it is not here.

        `tree` is its API name, `digest` its tree digest. Raises what the SDK raises.
        """
        key = digest.removeprefix("blake3:")
        folder = self._root / key
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
            self._used[key] = self._used.get(key, 0) + 1
        try:
            with lock:
                if not folder.is_dir():
                    self._fetch(tree, folder, progress)
                os.utime(folder)
            yield folder
        finally:
            with self._guard:
                self._used[key] -= 1

    def prune(self, kept: int = KEPT) -> list[str]:
        """Remove all but the `kept` last used trees and those in use; return what went."""
        with self._guard:
            idle = [path for path in self._root.iterdir() if not self._used.get(path.name.split(".")[0])]
            idle.sort(key=lambda path: path.stat().st_mtime, reverse=True)
            doomed = [path for path in idle if path.suffix != ".pulling"][kept:]
            doomed += [path for path in idle if path.suffix == ".pulling" and _is_old(path)]
            for path in doomed:
                shutil.rmtree(path)
        return [path.name for path in doomed]

    def _fetch(self, tree: str, folder: Path, progress: Callable[[int, int], None]) -> None:
        arriving = folder.with_suffix(".pulling")
        self._pull(tree, arriving, progress)
        arriving.mkdir(exist_ok=True)  # a tree without files is a tree
        arriving.rename(folder)


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > 7 * 24 * 3600
