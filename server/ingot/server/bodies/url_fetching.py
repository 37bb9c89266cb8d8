"""Fetch the files of a URL import, a few at once, within the limits that the settings give.

A file lies in the operation's folder under its number until the server has it, so what one attempt fetched is
there for the next, and what it half fetched goes on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ingot.server.bodies.fetching import FetchPool
from ingot.server.bodies.web import new_fetcher
from ingot.server.bodies.work import Work
from ingot.server.core import params
from ingot.server.core.events import FileProgress
from ingot.server.sources.budgets import WantedFile
from ingot.server.sources.urls import Seen


@dataclass(frozen=True, slots=True)
class Item:
    """One file to fetch: its number, its path in the version (or folder of what it unpacks to)."""

    number: int
    path: str
    wanted: WantedFile
    unpack: bool
    folder: Path

    @property
    def place(self) -> Path:
        """Where it lies once it is complete."""
        return self.folder / f"{self.number:05d}" / Path(self.wanted.name).name[:100]

    @property
    def tree(self) -> Path:
        """Where it is unpacked; not beside it, since it may have any name."""
        return self.folder / f"{self.number:05d}.unpacked"


class UrlFetching:
    """Fetches into the folder of the operation; use it in a with block."""

    def __init__(self, work: Work[params.ImportParams], count: int) -> None:
        """Prepare for `count` files."""
        self._work = work
        self._pool = FetchPool(work, lambda attention: new_fetcher(work, attention, work.secrets), count)
        self.budget = self._pool.budget
        self._there: dict[Item, int] = {}  # bytes of the files that are on their way
        self._sizes: dict[int, int] = {}  # of files by number, as far as servers told

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, trace)

    def look(self, items: Sequence[Item]) -> list[Seen]:
        """Ask for the sizes of files. Raises IngotError, Cancelled."""
        seen: dict[int, Seen] = {}
        for done in self._pool.each(items, self._look):
            for item, each in done:
                seen[item.number] = each
                self._sizes[item.number] = each.size or 0
            self._work.progress(len(seen), len(items), phase="looking up", unit="files")
        return [seen[item.number] for item in items]

    def fetch(self, items: Sequence[Item], before: int, total: int) -> Iterator[Item]:
        """Yield each file when it is complete at its place. Raises IngotError, Cancelled.

        `before` bytes of `total` (0 is not known) are done already, for the progress.
        """
        count = 0
        for done in self._pool.each(items, self._fetch):
            for item, size in done:
                self._there.pop(item, None)
                before += size
            count += len(done)
            self._tell(before, total, f"{count} of {len(items)} files")
            yield from (item for item, _ in done)

    def _tell(self, before: int, total: int, message: str) -> None:
        there = dict(self._there)
        files = sorted(
            FileProgress(
                item.path or item.place.name, done, item.wanted.size or self._sizes.get(item.number, 0)
            )
            for item, done in there.items()
        )
        done = before + sum(there.values())
        self._work.progress(done, total, phase="fetching", message=message, files=files)

    def _look(self, item: Item) -> Seen:
        with self._pool.fetcher() as fetcher:
            return fetcher.look(item.wanted)

    def _fetch(self, item: Item) -> int:
        """Fetch one file unless it is there; return its size."""
        if item.place.exists():
            return item.place.stat().st_size

        def told(there: int) -> None:
            self._there[item] = there

        with self._pool.fetcher() as fetcher:
            return fetcher.fetch(item.wanted, item.place, told)
