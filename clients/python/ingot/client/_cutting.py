"""Cut the files of a push in a few threads and hand their chunks on as they come.

Each file is read once: its chunks keep their bytes until they are sent, as long as there is room for that.
What the journal knows already is not read at all. A file that changes while it is cut is cut once more; if it
changes again the push fails and says which file it was.
"""

import contextlib
import os
import queue
import stat
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from ingot.client import _mapped
from ingot.client._errors import Invalid
from ingot.client._held import Room
from ingot.client._journal import ENTRY, Cut, FileState, Journal
from ingot.client._progress import Reporter
from ingot.client._streams import Batch, ChunkSource, changed
from ingot.client._walk import SourceFile
from ingot.content import chunking
from ingot.content.cuts import Cuts

_QUEUED = 64
_TOGETHER = 256  # what is found of small files is handed on together: so much of it, or so many bytes
_TOGETHER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class CutFile:
    """A file with its chunks and the state it had when it was read."""

    file: SourceFile
    state: FileState
    cut: Cut
    from_journal: bool = False

    def sources(self) -> Iterator[ChunkSource]:
        """Yield its chunks with where to read them."""
        for offset, length, digest in self.cut.chunks():
            yield ChunkSource(self.file.source, offset, length, digest)


Found = Batch | CutFile


def cut_files(
    files: Sequence[SourceFile], journal: Journal | None, report: Reporter, room: Room | None = None
) -> Generator[Found, None, None]:
    """Yield runs of chunks, and each file when it is complete; close it to stop early.

    Without a journal every file is read, and nothing is remembered. Chunks keep their bytes as far as there
    is `room` for them.
    """
    return _Cutter(files, journal, report, room).run() if files else _nothing()


def _nothing() -> Generator[Found, None, None]:
    yield from ()


class _Cutter:
    """The threads and what they have found."""

    def __init__(
        self, files: Sequence[SourceFile], journal: Journal | None, report: Reporter, room: Room | None
    ) -> None:
        self._files = iter(files)
        self._journal = journal
        self._report = report
        self._room = room
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._found: queue.Queue[list[Found] | BaseException | None] = queue.Queue(_QUEUED)
        # A large file keeps two cores busy by itself; small ones need company.
        self._threads = [
            threading.Thread(target=self._work, name=f"ingot-cut-{index}", daemon=True)
            for index in range(min(4, os.cpu_count() or 1, len(files)))
        ]

    def run(self) -> Generator[Found, None, None]:
        """Yield what the threads find. Raises what a thread raised."""
        for thread in self._threads:
            thread.start()
        running = len(self._threads)
        try:
            while running:
                found = self._found.get()
                if found is None:
                    running -= 1
                elif isinstance(found, BaseException):
                    raise found
                else:
                    self._remember(found)
                    yield from found
        finally:
            self._stopping.set()

    def _remember(self, found: list[Found]) -> None:
        if self._journal is not None:
            cuts = [each for each in found if isinstance(each, CutFile) and not each.from_journal]
            self._journal.put_all((each.file.source, each.state, each.cut) for each in cuts)

    def _work(self) -> None:
        with contextlib.suppress(_Stopped):
            try:
                self._cut_all()
            except _Stopped:
                raise
            except BaseException as failure:  # noqa: BLE001  # handed to the caller, whatever it is
                self._hand_on(failure)
            self._hand_on(None)

    def _cut_all(self) -> None:
        handful = _Handful()
        while (file := self._next()) is not None:
            whole = self._cut(file, handful)
            handful.found.append(whole)
            handful.files += 1
            if len(handful.found) >= _TOGETHER:
                self._hand_over(handful)
        self._hand_over(handful)

    def _next(self) -> SourceFile | None:
        with self._lock:
            return next(self._files, None)

    def _hand_over(self, handful: "_Handful") -> None:
        """Hand on what was found, and count it."""
        if handful.found:
            self._report.add(files=handful.files, hashed=handful.hashed)
            self._hand_on(handful.found)
            handful.found, handful.files, handful.hashed = [], 0, 0

    def _hand_on(self, found: list[Found] | BaseException | None) -> None:
        while not self._stopping.is_set():
            try:
                self._found.put(found, timeout=0.5)
                return
            except queue.Full:
                continue
        raise _Stopped

    def _cut(self, file: SourceFile, handful: "_Handful") -> CutFile:
        try:
            try:
                return self._cut_once(file, handful)
            except chunking.SourceChangedError:
                return self._cut_once(file, handful)
        except chunking.SourceChangedError as failure:
            raise changed(file.source, str(failure)) from failure
        except OSError as failure:
            raise Invalid(
                f"Cannot read {file.source}: {failure.strerror}.",
                reason="FIELD_INVALID",
                next_step="Check its permissions, or leave it out with --exclude.",
            ) from failure

    def _cut_once(self, file: SourceFile, handful: "_Handful") -> CutFile:
        descriptor = os.open(file.source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise changed(file.source, "it is no file any more")
            state = FileState.of(found)
            known = self._journal.get(file.source, state) if self._journal is not None else None
            if known is not None:
                done = CutFile(file, state, known, from_journal=True)
                self._take(handful, list(done.sources()), state.size)
                return done
            cut = self._cut_open(file, descriptor, state, handful)
            if FileState.of(os.fstat(descriptor)) != state:
                raise chunking.SourceChangedError(f"{file.source} was written to while it was read")
            return CutFile(file, state, cut)
        finally:
            os.close(descriptor)

    def _cut_open(self, file: SourceFile, descriptor: int, state: FileState, handful: "_Handful") -> Cut:
        if not state.size and os.pread(descriptor, 1, 0):
            raise _unsized(file.source)
        entries, cuts = bytearray(), Cuts()
        pages = _mapped.Pages(descriptor, state)
        pages.let_writes_show(read=0)
        for window in chunking.cut_windows(descriptor, state.size, cuts):
            pages.let_writes_show(read=window.start + len(window.data))
            held = self._room.hold(window.start, window.data) if self._room else None
            run: Batch = []
            for chunk in window.chunks:
                entries += ENTRY.pack(chunk.digest, chunk.length)
                run.append(ChunkSource(file.source, chunk.offset, chunk.length, chunk.digest, held))
            self._take(handful, run, sum(each.length for each in run))
        return Cut(state.size, bytes(entries), cuts.profile)

    def _take(self, handful: "_Handful", run: Batch, size: int) -> None:
        handful.found.append(run)
        handful.hashed += size
        if handful.hashed >= _TOGETHER_BYTES:
            self._hand_over(handful)


def _unsized(source: str) -> Invalid:
    """Return the error for a file that says to have no bytes and has some, as those below /proc do."""
    return Invalid(
        f"Cannot push {source}: the system says that it has 0 bytes, and it has more.",
        reason="BAD_PATH",
        facts={"path": source},
        next_step="Push a copy of it (cp), or leave it out with --exclude.",
    )


@dataclass(slots=True)
class _Handful:
    """What one thread has found and not handed on yet."""

    found: list[Found] = field(default_factory=list)
    files: int = 0
    hashed: int = 0


class _Stopped(Exception):
    """The push ended; the thread should too."""
