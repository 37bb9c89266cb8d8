"""Fetch the files of a URL import, a few at once, within the limits that the settings give.

A file lies in the operation's folder under its number until the server has it, so what one attempt fetched is
there for the next, and what it half fetched goes on.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from ingot.server.bodies.failures import Cancelled
from ingot.server.bodies.work import Work
from ingot.server.core import params
from ingot.server.core.events import FileProgress
from ingot.server.sources import addresses
from ingot.server.sources.addresses import Addresses
from ingot.server.sources.budgets import Limits, WantedFile
from ingot.server.sources.connections import Patience
from ingot.server.sources.urls import Fetcher, Seen

AT_ONCE = 4
_LOOK_SECONDS = 0.25


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


class UrlFetching:
    """Fetches into the folder of the operation; use it in a with block."""

    def __init__(self, work: Work[params.ImportParams], count: int) -> None:
        """Prepare for `count` files."""
        self._work = work
        self._stop = threading.Event()
        self._stack = ExitStack()
        settings = work.settings
        patience = Patience(
            settings.number("import_stall_seconds"), settings.number("import_min_bytes_per_second")
        )
        limits = Limits(settings.whole("import_max_file_bytes"), settings.whole("import_max_bytes"))
        networks = addresses.parse_networks(settings.texts("import_private_networks"))
        first = Fetcher(
            Addresses(networks),
            self,
            patience=patience,
            limits=limits,
            rate=work.params.max_bytes_per_second,
            secrets=work.secrets,
        )
        at_once = max(1, min(AT_ONCE, count))
        fetchers = [first, *(first.another() for _ in range(at_once - 1))]
        self.budget = first.budget
        self._idle: SimpleQueue[Fetcher] = SimpleQueue()
        for fetcher in fetchers:
            self._idle.put(self._stack.enter_context(fetcher))
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="fetch")
        self._there: dict[Item, int] = {}  # bytes of the files that are on their way
        self._sizes: dict[int, int] = {}  # of files by number, as far as servers told

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        # The threads stop at their next slice of waiting, and leave what they have safe behind.
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._stack.close()

    def check(self) -> None:
        """Raise Cancelled when somebody asked to stop, or another file failed."""
        self._work.check()
        if self._stop.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Pause; raise Cancelled as `check` does."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            self._stop.wait(min(left, _LOOK_SECONDS))
        self.check()

    def look(self, items: Sequence[Item]) -> list[Seen]:
        """Ask for the sizes of files. Raises IngotError, Cancelled."""
        seen: list[Seen] = []
        for item, each in zip(items, self._pool.map(self._look, items), strict=True):
            seen.append(each)
            self._sizes[item.number] = each.size or 0
            self._work.progress(len(seen), len(items), phase="looking up", unit="files")
        return seen

    def fetch(self, items: Sequence[Item], before: int, total: int) -> Iterator[Item]:
        """Yield each file when it is complete at its place. Raises IngotError, Cancelled.

        `before` bytes of `total` (0 is not known) are done already, for the progress.
        """
        left = list(reversed(items))
        running: dict[Future[int], Item] = {}
        count = 0
        while left or running:
            while left and len(running) < AT_ONCE:
                item = left.pop()
                running[self._pool.submit(self._fetch, item)] = item
            done, _ = wait(running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            complete = [(running.pop(each), each.result()) for each in done]
            for item, size in complete:
                self._there.pop(item, None)
                before += size
                count += 1
            self._tell(before, total, f"{count} of {len(items)} files")
            yield from (item for item, _ in complete)

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
        fetcher = self._idle.get()
        try:
            return fetcher.look(item.wanted)
        finally:
            self._idle.put(fetcher)

    def _fetch(self, item: Item) -> int:
        """Fetch one file with whichever fetcher is idle, unless it is there; return its size."""
        if item.place.exists():
            return item.place.stat().st_size
        fetcher = self._idle.get()

        def told(there: int) -> None:
            self._there[item] = there

        try:
            return fetcher.fetch(item.wanted, item.place, told)
        finally:
            self._idle.put(fetcher)
