"""Fetch the files of a Hub repository, a few at once, each checked against the Hub's digests.

Large files have a SHA-256, which the fetcher checks on the way; the others have the id that git gives them.
A file that does not agree is thrown away and fetched once more before the import fails.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ingot.server.bodies.fetching import FetchPool
from ingot.server.bodies.web import hub_fetcher
from ingot.server.bodies.work import Work
from ingot.server.core import params
from ingot.server.core.errors import Conflict, DataLoss, Denied, NotFound, Reason
from ingot.server.core.events import FileProgress
from ingot.server.sources import hub
from ingot.server.sources.hub import Hub, HubFile, HubRepository
from ingot.server.sources.urls import Fetcher


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
        self._pool = FetchPool(work, lambda attention: hub_fetcher(work, attention, source), file_count)
        self._there: dict[HubFile, int] = {}  # bytes of the files that are on their way

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._pool.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, trace)

    @property
    def fetched_bytes(self) -> int:
        """Bytes that came from the Hub, those thrown away among them."""
        return self._pool.budget.taken_bytes

    def text(self, file: HubFile) -> str:
        """Return the content of a small file."""
        place = self._fetch(file)
        self._there.pop(file, None)
        return place.read_text(encoding="utf-8", errors="replace")

    def fetch(self, files: Sequence[HubFile], before: int, total: int) -> Iterator[list[FetchedFile]]:
        """Yield files as they are complete; who takes them removes them. Raises IngotError, Cancelled.

        `before` bytes of `total` are done already, for the progress.
        """
        count = 0
        for done in self._pool.each(files, self._fetch):
            for file, _ in done:
                self._there.pop(file, None)
                before += file.size
            count += len(done)
            self._tell(before, total, f"{count} of {len(files)} files")
            if done:
                yield [FetchedFile(file, place) for file, place in done]

    def _tell(self, before: int, total: int, message: str) -> None:
        there = dict(self._there)
        files = sorted(FileProgress(file.path, done, file.size) for file, done in there.items())
        done = before + sum(there.values())
        self._work.progress(done, total, phase="fetching", message=message, files=files)

    def _fetch(self, file: HubFile) -> Path:
        """Fetch one file with whichever fetcher is idle."""
        # A name of its own: paths may be longer than names on this disk, and lead into folders.
        place = self._folder / hashlib.sha256(file.path.encode()).hexdigest()[:32]
        try:
            with self._pool.fetcher() as fetcher:
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
