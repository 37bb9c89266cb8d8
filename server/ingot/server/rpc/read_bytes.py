"""Sends stored bytes: messages are read, checked and built on threads while the ones before travel.

Work is handed to a thread in runs of 4 MiB, which become messages of up to 2 MiB (chunks) or 1 MiB (files);
one run is sent while the next is read, so a stream holds at most 12 MiB however slow its reader is. A chunk
that turns out damaged ends the stream with DATA_LOSS before any of its bytes went out, and is noted; one that
was moved to another pack meanwhile ends it with UNAVAILABLE, so that its reader asks for the rest again.

What is asked of the rows goes through `ChunkRows`: they are in this process, or, for a data process, in the
main one (data_streams.py).
"""

import asyncio
import functools
import itertools
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ingot.server.core.errors import DataLoss
from ingot.server.core.manifests import FileFacts
from ingot.server.core.packs import ChunkPlace
from ingot.server.core.stores import PackStore
from ingot.server.core.transfer_stores import ChunkRun
from ingot.server.domain import downloads
from ingot.server.domain.downloads import Downloads, OpenedTree, Slice
from ingot.server.rpc import bulk_messages
from ingot.server.rpc.hops import FileWork, Hops

_MIB = 1024 * 1024
_CHUNK_MESSAGE = 2 * _MIB  # each message costs the same beside its bytes, and all of them fit into a cache
_FILE_MESSAGE = _MIB
_RUN_BYTES = 4 * _MIB
_RUN_CHUNKS = 8192
_CHUNK_HEAD = 40  # bytes of a message that tell of a chunk: digest, length, what goes round them
_AHEAD = 1  # runs that are read while another one is sent

M = TypeVar("M")
W = TypeVar("W")
Slices = Sequence[Slice]


class ChunkRows(Protocol):
    """What sending chunks of one tree asks of the rows."""

    async def slices(self, runs: Sequence[ChunkRun]) -> Slices:
        """Return where the chunks of runs lie, each inside one segment. Raises as Downloads.run_slices."""
        ...

    async def lost(self, place: ChunkPlace) -> None:
        """Note that a chunk could not be read."""
        ...


class TreeRows:
    """The rows of an opened tree, in this process."""

    def __init__(self, hops: Hops, rules: Downloads, opened: OpenedTree) -> None:
        self._hops = hops
        self._downloads = rules
        self._opened = opened

    async def slices(self, runs: Sequence[ChunkRun]) -> Slices:
        """Ask the index."""
        return await self._hops.read(self._downloads.run_slices, self._opened, runs)

    async def lost(self, place: ChunkPlace) -> None:
        """Let it count as missing, unless it was moved or deleted meanwhile; raises as Downloads.failed."""
        await self._hops.keep(self._downloads.failed, self._opened, place)

    async def segments(
        self, path: str, offset: int, length: int
    ) -> tuple[FileFacts, list[tuple[int, int, int]]]:
        """Return a file and what of its segments a range touches; raises as Downloads.range_segments."""
        return await self._hops.read(self._downloads.range_segments, self._opened, path, offset, length)

    async def range_slices(self, path: str, segment: int, start: int, length: int) -> Slices:
        """Return where a range of one segment lies; raises as Downloads.range_slices."""
        return await self._hops.read(self._downloads.range_slices, self._opened, path, segment, start, length)


class ByteSender:
    """Turns ranges and runs of chunks into serialised messages; one object serves all streams."""

    def __init__(self, files: FileWork, packs: PackStore) -> None:
        self._files = files
        self._packs = packs

    async def file_range(
        self, rows: TreeRows, path: str, offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a range of one file as ReadFileResponses; the first one carries the file's size.

        Raises as Downloads.range_segments, and DataLoss.
        """
        file, segments = await rows.segments(path, offset, length)
        if not segments:
            yield bulk_messages.read_file_response(offset, 0, memoryview(b""), file.size_bytes)
            return
        runs = self._range_runs(rows, path, segments, offset, file.size_bytes)
        async for messages in self._ahead(rows, runs, self._parts):
            for message in messages:
                yield message

    async def chunks(self, rows: ChunkRows, runs: Sequence[ChunkRun]) -> AsyncGenerator[bytes, None]:
        """Yield whole chunks in the order asked as ReadChunksResponses.

        A chunk above a message's size goes on over several. Raises as Downloads.run_slices.
        """
        async for messages in self._ahead(rows, self._chunk_runs(rows, runs), self._messages):
            for message in messages:
                yield message

    # --- what to read -----------------------------------------------------------------------------------

    async def _range_runs(
        self,
        rows: TreeRows,
        path: str,
        segments: Sequence[tuple[int, int, int]],
        offset: int,
        total: int,
    ) -> AsyncIterator["_RangeRun"]:
        for segment, start, length in segments:
            slices = await rows.range_slices(path, segment, start, length)
            for run in grouped(slices, _RUN_BYTES):
                yield _RangeRun(run, offset, total)
                offset, total = offset + _size(run), 0

    async def _chunk_runs(self, rows: ChunkRows, runs: Sequence[ChunkRun]) -> AsyncIterator[Slices]:
        waiting: list[Slice] = []  # small files share messages
        for group in downloads.cut_runs(runs):
            waiting += await rows.slices(group)
            *full, waiting = grouped(waiting, _RUN_BYTES, head=_CHUNK_HEAD) or [[]]
            for run in full:
                yield run
        if waiting:
            yield waiting

    # --- reading ----------------------------------------------------------------------------------------

    async def _ahead(
        self, rows: ChunkRows, runs: AsyncIterator[W], build: Callable[[W], list[bytes]]
    ) -> AsyncIterator[list[bytes]]:
        """Build the messages of each run, in order, one run ahead."""
        running: deque[asyncio.Task[list[bytes]]] = deque()
        try:
            async for run in runs:
                running.append(asyncio.create_task(self._files.io(build, run)))
                if len(running) > _AHEAD:
                    yield await self._result(rows, running.popleft())
            while running:
                yield await self._result(rows, running.popleft())
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _result(self, rows: ChunkRows, task: "asyncio.Task[M]") -> M:
        try:
            return await task
        except _ChunkLostError as lost:
            await rows.lost(lost.place)
            raise lost.error from None

    def _parts(self, run: "_RangeRun") -> list[bytes]:
        """Return the messages with a part of a range."""
        messages: list[bytes] = []
        offset, total = run.offset, run.total
        for group in grouped(run.slices, _FILE_MESSAGE):
            for part, content in self._contents(group, _FILE_MESSAGE):
                messages.append(bulk_messages.read_file_response(offset, part, content, total))
                offset, total = offset + part, 0
        return messages

    def _messages(self, run: Slices) -> list[bytes]:
        """Return the messages with the chunks of a run."""
        messages: list[bytes] = []
        for group in grouped(run, _CHUNK_MESSAGE, head=_CHUNK_HEAD):
            packed = b"".join(each.place.digest for each in group)
            lengths = [each.length for each in group]
            left = sum(lengths)
            for part, content in self._contents(group, _CHUNK_MESSAGE):
                left -= part
                messages.append(
                    bulk_messages.read_chunks_response(packed, lengths, part, content, more=left > 0)
                )
                packed, lengths = b"", []
        return messages

    def _contents(self, group: Slices, most: int) -> Iterator[tuple[int, bulk_messages.Content]]:
        """Yield size and content of each message of a group: one, or several for a large chunk."""
        size = _size(group)
        if size <= most:
            yield size, functools.partial(self._read_all, group)
            return
        data = memoryview(bytearray(size))
        self._read_all(group, data)
        for start in range(0, size, most):
            part = data[start : start + most]
            yield len(part), part

    def _read_all(self, slices: Slices, buffer: memoryview) -> None:
        """Read slices one behind the other into a buffer, which they fill."""
        todo = list(slices)
        while todo:
            whole = list(itertools.takewhile(lambda each: each.is_whole, todo))
            if whole:
                done = self._packs.read_into([each.place for each in whole], buffer[: _size(whole)])
                todo, buffer = todo[done:], buffer[_size(whole[:done]) :]
                if done == len(whole):
                    continue
            each = todo.pop(0)
            buffer[: each.length] = self._read(each)
            buffer = buffer[each.length :]

    def _read(self, each: Slice) -> memoryview:
        try:
            data = self._packs.read(each.place)
        except DataLoss as error:
            raise _ChunkLostError(each.place, error) from error
        return memoryview(data)[each.start : each.start + each.length]


@dataclass(frozen=True, slots=True)
class _RangeRun:
    """Slices of a file that are read together: from which byte of it, and its size if that is to be told."""

    slices: Slices
    offset: int
    total: int


class _ChunkLostError(Exception):
    """Carries a damaged chunk from the thread that met it to the stream that reports it."""

    def __init__(self, place: ChunkPlace, error: DataLoss) -> None:
        super().__init__(str(error))
        self.place = place
        self.error = error


def grouped(slices: Slices, size: int, *, head: int = 0) -> list[list[Slice]]:
    """Cut slices into groups of at most `size` bytes, or of one slice that is larger; none is very long.

    `head` bytes are added for each slice.
    """
    groups: list[list[Slice]] = []
    room = 0
    for each in slices:
        if not groups or each.length + head > room or len(groups[-1]) == _RUN_CHUNKS:
            groups.append([])
            room = size
        groups[-1].append(each)
        room -= each.length + head
    return groups


def _size(slices: Slices) -> int:
    return sum(each.length for each in slices)
