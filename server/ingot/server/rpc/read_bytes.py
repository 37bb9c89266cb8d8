"""Sends stored bytes: messages are read, checked and built on threads while the ones before travel.

Work is handed to a thread in runs of four messages of about 1 MiB; one run is sent while the next is read, so
a stream holds at most 12 MiB however slow its reader is. A chunk that turns out damaged ends the stream
with DATA_LOSS before any of its bytes went out, and is noted.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from typing import TypeVar

from ingot.server.core.errors import DataLoss
from ingot.server.core.packs import ChunkPlace
from ingot.server.core.stores import PackStore
from ingot.server.core.transfer_stores import ChunkRun
from ingot.server.domain import downloads
from ingot.server.domain.downloads import Downloads, OpenedTree, Slice
from ingot.server.rpc import bulk_messages
from ingot.server.rpc.hops import Hops

MESSAGE_BYTES = 1024 * 1024
_RUN_BYTES = 4 * MESSAGE_BYTES
_AHEAD = 1  # runs that are read while another one is sent

M = TypeVar("M")
Slices = Sequence[Slice]


class ByteSender:
    """Turns ranges and runs of chunks into serialised messages; one object serves all streams."""

    def __init__(self, hops: Hops, rules: Downloads, packs: PackStore) -> None:
        self._hops = hops
        self._downloads = rules
        self._packs = packs

    async def file_range(
        self, opened: OpenedTree, path: str, offset: int, length: int
    ) -> AsyncGenerator[bytes, None]:
        """Yield a range of one file as ReadFileResponses; the first one carries the file's size.

        Raises as Downloads.range_segments, and DataLoss.
        """
        file, segments = await self._hops.read(self._downloads.range_segments, opened, path, offset, length)
        if not segments:
            yield bulk_messages.read_file_response(offset, (), file.size_bytes)
            return
        position, total = offset, file.size_bytes
        async for run in self._ahead(self._range_runs(opened, path, segments), self._parts):
            for data in run:
                yield bulk_messages.read_file_response(position, data, total)
                position, total = position + sum(map(len, data)), 0

    async def chunks(self, opened: OpenedTree, runs: Sequence[ChunkRun]) -> AsyncGenerator[bytes, None]:
        """Yield whole chunks in the order asked as ReadChunksResponses.

        A chunk above a message's size goes on over several. Raises as Downloads.run_slices.
        """
        async for messages in self._ahead(self._chunk_runs(opened, runs), self._messages):
            for message in messages:
                yield message

    # --- what to read -----------------------------------------------------------------------------------

    async def _range_runs(
        self, opened: OpenedTree, path: str, segments: Sequence[tuple[int, int, int]]
    ) -> AsyncIterator[Slices]:
        for segment, start, length in segments:
            slices = await self._hops.read(self._downloads.range_slices, opened, path, segment, start, length)
            for run in grouped(slices, _RUN_BYTES):
                yield run

    async def _chunk_runs(self, opened: OpenedTree, runs: Sequence[ChunkRun]) -> AsyncIterator[Slices]:
        waiting: list[Slice] = []  # small files share messages
        for group in downloads.cut_runs(runs):
            waiting += await self._hops.read(self._downloads.run_slices, opened, group)
            *full, waiting = grouped(waiting, _RUN_BYTES) or [[]]
            for run in full:
                yield run
        if waiting:
            yield waiting

    # --- reading ----------------------------------------------------------------------------------------

    async def _ahead(self, runs: AsyncIterator[Slices], build: Callable[[Slices], M]) -> AsyncIterator[M]:
        """Build what is sent of each run, in order, one run ahead."""
        running: deque[asyncio.Task[M]] = deque()
        try:
            async for run in runs:
                running.append(asyncio.create_task(self._hops.io(build, run)))
                if len(running) > _AHEAD:
                    yield await self._result(running.popleft())
            while running:
                yield await self._result(running.popleft())
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _result(self, task: "asyncio.Task[M]") -> M:
        try:
            return await task
        except _ChunkLostError as lost:
            await self._hops.write(self._downloads.lost, lost.place)
            raise lost.error from None

    def _read(self, each: Slice) -> memoryview:
        try:
            data = self._packs.read(each.place)
        except DataLoss as error:
            raise _ChunkLostError(each.place, error) from error
        return memoryview(data)[each.start : each.start + each.length]

    def _parts(self, run: Slices) -> list[list[memoryview]]:
        """Return the data of each message of a range."""
        messages: list[list[memoryview]] = [[]]
        room = MESSAGE_BYTES
        for each in run:
            data = self._read(each)
            while data:
                if not room:
                    messages.append([])
                    room = MESSAGE_BYTES
                messages[-1].append(data[:room])
                room -= len(messages[-1][-1])
                data = data[len(messages[-1][-1]) :]
        return messages

    def _messages(self, run: Slices) -> list[bytes]:
        """Return the messages with the chunks of a run."""
        messages: list[bytes] = []
        for group in grouped(run, MESSAGE_BYTES):
            data = [self._read(each) for each in group]
            messages += chunk_messages([each.place for each in group], data)
        return messages


class _ChunkLostError(Exception):
    """Carries a damaged chunk from the thread that met it to the stream that reports it."""

    def __init__(self, place: ChunkPlace, error: DataLoss) -> None:
        super().__init__(str(error))
        self.place = place
        self.error = error


def grouped(slices: Slices, size: int) -> list[list[Slice]]:
    """Cut slices into groups of at most `size` bytes, or of one slice that is larger."""
    groups: list[list[Slice]] = []
    room = 0
    for each in slices:
        if not groups or each.length > room:
            groups.append([])
            room = size
        groups[-1].append(each)
        room -= each.length
    return groups


def chunk_messages(places: Sequence[ChunkPlace], data: Sequence[memoryview]) -> Iterator[bytes]:
    """Yield one message for a group of chunks, or several for one chunk above a message's size."""
    packed = b"".join(place.digest for place in places)
    lengths = [place.length for place in places]
    if sum(lengths) <= MESSAGE_BYTES:
        yield bulk_messages.read_chunks_response(packed, lengths, data, more=False)
        return
    (whole,) = data
    for start in range(0, len(whole), MESSAGE_BYTES):
        part, more = whole[start : start + MESSAGE_BYTES], start + MESSAGE_BYTES < len(whole)
        if start:
            packed, lengths = b"", []
        yield bulk_messages.read_chunks_response(packed, lengths, [part], more=more)
