"""What pulls wrote into a folder, so that a pull never overwrites anything else unasked.

    ~/.cache/ingot/pulled/<key>    one for each folder that was pulled into

A line says which content, by file root, a pull put where; the last one about a path counts. What is read
back is compared with the file's bytes, so neither clocks nor a copied file can deceive it. A line that a
crash cut off is skipped. All of it may be lost: then a pull refuses to replace files until it is told to.
"""

import json
import os
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from ingot.client import _journal
from ingot.client._errors import Conflict
from ingot.client._journal import Cut

_NAMED = 5  # files that the refusal names
_STALE_LINES = 10_000  # that are put up with before the file is written anew


class Pulled:
    """The record of one folder; may be added to from several threads."""

    def __init__(self, folder: Path) -> None:
        self._path = _journal.place_for("pulled", folder)
        with suppress(FileNotFoundError):
            os.utime(self._path)  # so that it is not forgotten while it is used
        self._roots: dict[str, bytes] | None = None  # read when first asked for
        self._lock = threading.Lock()

    def brought(self, path: str, cut: Cut | None) -> bool:
        """Return whether a pull put exactly these bytes at a path of the tree; not if they cannot be read."""
        if self._roots is None:
            self._roots = self._load()
        return cut is not None and self._roots.get(path) == cut.root()

    def add(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Record paths and file roots that are in place now."""
        lines = "".join(_line(path, root) for path, root in files).encode("ascii")
        with self._lock, _journal.keeping(self._path), self._path.open("ab") as file:
            file.write(lines)

    def _load(self) -> dict[str, bytes]:
        try:
            text = self._path.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return {}
        lines, roots = text.split("\n"), {}
        for line in lines:
            root, _, path = line.partition(" ")
            try:
                roots[str(json.loads(path))] = bytes.fromhex(root)
            except ValueError:
                continue
        if len(lines) > len(roots) + _STALE_LINES:
            _journal.replace(self._path, [_line(*each).encode("ascii") for each in roots.items()])
        return roots


def refusal(folder: Path, paths: Sequence[str]) -> Conflict:
    """Return the error for files that a pull would have overwritten."""
    names = ", ".join(paths[:_NAMED])
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    what = "1 file" if len(paths) == 1 else f"{len(paths)} files"
    return Conflict(
        f"{what} in {folder} would be overwritten and did not come from a pull or changed since:"
        f" {names}{more}.",
        reason="LOCAL_CHANGES",
        facts={"path": paths[0], "count": str(len(paths))},
        next_step="Move them away, pull into another folder, or overwrite them: --force (force=True).",
    )


def _line(path: str, root: bytes) -> str:
    # The line break in front keeps what comes after a line that was cut off readable.
    return f"\n{root.hex()} {json.dumps(path)}"
