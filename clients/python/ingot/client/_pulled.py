"""What pulls wrote into a folder, so that a pull never overwrites anything else unasked.

    ~/.cache/ingot/pulled/<key>    one for each folder that was pulled into

A line says which content, by file root, a pull put where; the last one about a path counts. One that begins
with + is written right before: a pull that is killed may have put that there, or left what was. What is read
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
_SOON = "+"  # what is about to be put there
_STALE_LINES = 10_000  # that are put up with before the file is written anew


class Pulled:
    """The record of one folder; may be added to from several threads."""

    def __init__(self, folder: Path) -> None:
        self._path = _journal.place_for("pulled", folder)
        with suppress(FileNotFoundError):
            os.utime(self._path)  # so that it is not forgotten while it is used
        self._roots: dict[str, set[bytes]] | None = None  # read when first asked for
        self._lock = threading.Lock()

    def brought(self, path: str, cut: Cut | None) -> bool:
        """Return whether a pull put exactly these bytes at a path of the tree; not if they cannot be read."""
        if self._roots is None:
            self._roots = self._load()
        return cut is not None and cut.root() in self._roots.get(path, ())

    def expect(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Record paths and file roots that are about to be put in place."""
        self._append("".join(_line(path, root, _SOON) for path, root in files))

    def add(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Record paths and file roots that are in place now."""
        self._append("".join(_line(path, root) for path, root in files))

    def _append(self, text: str) -> None:
        lines = text.encode("ascii")
        with self._lock, _journal.keeping(self._path), self._path.open("ab") as file:
            file.write(lines)

    def _load(self) -> dict[str, set[bytes]]:
        try:
            text = self._path.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return {}
        lines, found = text.split("\n"), dict[str, set[bytes]]()
        for line in lines:
            root, _, name = line.removeprefix(_SOON).partition(" ")
            try:
                path, content = str(json.loads(name)), bytes.fromhex(root)
            except ValueError:
                continue
            before = found.get(path, set()) if line.startswith(_SOON) else set()
            found[path] = before | {content}
        if len(lines) > len(found) + _STALE_LINES:
            _journal.replace(self._path, [_lines(*each).encode("ascii") for each in found.items()])
        return found


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


def _lines(path: str, roots: Iterable[bytes]) -> str:
    first, *others = roots
    return _line(path, first) + "".join(_line(path, each, _SOON) for each in others)


def _line(path: str, root: bytes, mark: str = "") -> str:
    # The line break in front keeps what comes after a line that was cut off readable.
    return f"\n{mark}{root.hex()} {json.dumps(path)}"
