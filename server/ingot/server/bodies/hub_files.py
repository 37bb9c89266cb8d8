"""Fetch the files of a Hub repository, a few at once, each checked against the Hub's digests.

Large files have a SHA-256, which the fetcher checks on the way; the others have the id that git gives them.
A file that does not agree is thrown away and fetched once more before the import fails.
"""

import hashlib
import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from ingot.server.bodies.failures import Cancelled
from ingot.server.bodies.web import hub_fetcher
from ingot.server.bodies.work import Work
from ingot.server.core import params
from ingot.server.core.errors import Conflict, DataLoss, Denied, NotFound, Reason
from ingot.server.core.events import FileProgress
from ingot.server.sources import hub
from ingot.server.sources.hub import Hub, HubFile, HubRepository
from ingot.server.sources.urls import Fetcher

AT_ONCE = 4
_LOOK_SECONDS = 0.25
_END_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file of the repository and where it lies now, complete and checked."""

    file: HubFile
    place: Path


class HubFetching:
    """Fetches into the folder of the operation; use it in a with block."""

    def __init__(
        self, work: Work[params.ImportParams], source: Hub, repository: HubRepository, file_count: int
    ) -> None:
        self._work, self._hub, self._repository = work, source, repository
        self._folder = work.folder / repository.commit
        at_once = max(1, min(AT_ONCE, file_count))
        self._stop = threading.Event()
        self._stack = ExitStack()
        first = hub_fetcher(work, self, source)
        self._budget = first.budget
        fetchers = [first, *(first.another() for _ in range(at_once - 1))]
        self._idle: queue.SimpleQueue[Fetcher] = queue.SimpleQueue()
        for fetcher in fetchers:
            self._idle.put(self._stack.enter_context(fetcher))
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="fetch")
        self._running: dict[Future[Path], HubFile] = {}
        self._there: dict[HubFile, int] = {}  # bytes of the files that are on their way

    def __enter__(self) -> "HubFetching":
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        # A thread that connects to nobody is not waited for: the process ends without it.
        if not wait(self._running, timeout=_END_SECONDS).not_done:
            self._stack.close()

    @property
    def fetched_bytes(self) -> int:
        """Bytes that came from the Hub, those thrown away among them."""
        return self._budget.taken_bytes

    def check(self) -> None:
        """Raise Cancelled when somebody asked to stop, or another file failed."""
        self._work.check()
        if self._stop.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Pause; raise Cancelled as `check` does."""
        self.check()
        self._work.wait(seconds)
        self.check()

    def text(self, file: HubFile) -> str:
        """Return the content of a small file."""
        place = self._fetch(file)
        text = place.read_text(encoding="utf-8", errors="replace")
        self._there.pop(file, None)
        return text

    def fetch(self, files: Sequence[HubFile], before: int, total: int) -> Iterator[list[FetchedFile]]:
        """Yield files as they are complete; who takes them removes them. Raises IngotError, Cancelled.

        `before` bytes of `total` are done already, for the progress.
        """
        left = deque(files)
        running = self._running
        count = 0
        while left or running:
            while left and len(running) < AT_ONCE:
                file = left.popleft()
                running[self._pool.submit(self._fetch, file)] = file
            done, _ = wait(running, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
            fetched = [FetchedFile(running.pop(each), each.result()) for each in done]
            for each in fetched:
                self._there.pop(each.file, None)
                before += each.file.size
            count += len(fetched)
            self._tell(before, total, f"{count} of {len(files)} files")
            if fetched:
                yield fetched

    def _tell(self, before: int, total: int, message: str) -> None:
        there = dict(self._there)
        files = sorted(FileProgress(file.path, done, file.size) for file, done in there.items())
        done = before + sum(there.values())
        self._work.progress(done, total, phase="fetching", message=message, files=files)

    def _fetch(self, file: HubFile) -> Path:
        """Fetch one file with whichever fetcher is idle."""
        # A name of its own: paths may be longer than names on this disk, and lead into folders.
        place = self._folder / hashlib.sha256(file.path.encode()).hexdigest()[:32]
        fetcher = self._idle.get()
        try:
            return self._checked(fetcher, file, place)
        except Denied as error:
            if error.reason is not Reason.SOURCE_DENIED:
                raise
            raise self._hub.not_given(self._repository) from error
        except NotFound as error:
            raise Conflict(
                Reason.SOURCE_CHANGED,
                f"{file.path} was in {self._repository.source} and is gone.",
                next_step="Retry; if the commit was removed, import another one.",
                facts={"source": self._repository.source, "path": file.path},
            ) from error
        finally:
            self._idle.put(fetcher)

    def _checked(self, fetcher: Fetcher, file: HubFile, place: Path) -> Path:
        def told(there: int) -> None:
            self._there[file] = there

        for last in (False, True):
            try:
                if not place.exists():
                    fetcher.fetch(self._hub.wanted_file(self._repository, file), place, told)
                if file.sha256 or hub.check_blob(place, file):
                    return place
                place.unlink()
            except DataLoss:
                if last:
                    raise
        raise DataLoss(
            Reason.SOURCE_MISMATCH,
            f"{file.path} of {self._repository.source} is not the file with the id {file.blob_id}.",
            next_step="Retry later; a proxy or a mirror may have changed it.",
            facts={"source": self._repository.source, "path": file.path, "expected": file.blob_id},
        )
