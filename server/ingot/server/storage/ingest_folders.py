"""The folders where packs are written: of this run, of each data process, and what earlier runs left."""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


class IngestFolders:
    """The folders in `root`; `own` is the one of this run."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.own = root / secrets.token_hex(8)
        self._beside: set[str] = set()  # names of those of data processes

    def file(self, folder: str, name: str) -> Path:
        """Return the path of a file of a data process."""
        return self._root / Path(folder).name / Path(name).name

    def keep(self, folder: str) -> None:
        """Leave a folder alone: a data process works in it."""
        self._beside.add(folder)

    def drop(self, folder: str) -> None:
        """Drop what a data process left that has ended."""
        self._beside.discard(folder)
        found = self._root / Path(folder).name
        if found != self.own and found.is_dir():
            _empty(found)

    def leftovers(self) -> int:
        """Count the files in the folders of earlier runs."""
        return sum(len(list(folder.iterdir())) for folder in self._earlier())

    def recover(self) -> int:
        """Delete the folders of earlier runs; return how many files were in them."""
        return sum(map(_empty, list(self._earlier())))

    def _earlier(self) -> Iterator[Path]:
        for folder in sorted(self._root.iterdir()):  # files that other programs leave there are none of ours
            if folder.is_dir() and folder != self.own and folder.name not in self._beside:
                yield folder


def _empty(folder: Path) -> int:
    """Remove a folder with its files; return how many there were."""
    removed = 0
    for file in folder.iterdir():
        file.unlink(missing_ok=True)
        removed += 1
    with suppress(OSError):  # a data process that dies this moment has put one more there
        folder.rmdir()
    return removed
