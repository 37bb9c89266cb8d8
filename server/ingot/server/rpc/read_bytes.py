"""Sends stored bytes: messages are read, checked and built on threads while the ones before travel.

At most three messages are ready or under way, so a slow reader costs a few megabytes, whatever it reads. A
chunk that turns out damaged ends the stream with DATA_LOSS before any of its bytes went out, and is noted.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TypeVar

from ingot.server.core.errors import DataLoss
from ingot.server.core.stores import PackStore
from ingot.server.domain.downloads import ChunkRun, Downloads, OpenedTree, Slice
from ingot.server.rpc.hops import Hops
from ingot.v1 import transfer_pb2

MESSAGE_BYTES = 1024 * 1024
_AHEAD = 2

M = TypeVar("M")
Group = Sequence[Slice]


class ByteSender:
    """Turns ranges and runs of chunks into messages; one object serves all streams."""

    def __init__(self, hops: Hops, downloads: Downloads, packs: PackStore) -> None:
        self._hops = hops
        self._downloads = downloads
        self._packs = packs

    async def file_range(
        self, opened: OpenedTree, path: str, offset: int, length: int
    ) -> AsyncIterator[transfer_pb2.ReadFileResponse]:
        """Yield a range of one file; the first message carries the size, also of an empty range.

        Raises as Downloads.range_segments, and DataLoss.
        """
        file, segments = await self._hops.read(self._downloads.range_segments, opened, path, offset, length)
        if not segments:
            yield transfer_pb2.ReadFileResponse(offset=offset, total_size_bytes=file.size_bytes)
            return
        position, total = offset, file.size_bytes
        groups = self._range_groups(opened, path, segments)
        async for data in self._ahead(groups, self._joined):
            yield transfer_pb2.ReadFileResponse(offset=position, data=data, total_size_bytes=total)
            position, total = position + len(data), 0

    async def chunks(
        self, opened: OpenedTree, runs: Sequence[ChunkRun]
    ) -> AsyncIterator[transfer_pb2.ReadChunksResponse]:
        """Yield whole chunks in the order asked; a chunk above a message's size goes on over several.

        Raises as Downloads.run_segments, and DataLoss.
        """
        async for messages in self._ahead(self._run_groups(opened, runs), self._pieces):
            for message in messages:
                yield message

    # --- what to read -----------------------------------------------------------------------------------

    async def _range_groups(
        self, opened: OpenedTree, path: str, segments: Sequence[tuple[int, int, int]]
    ) -> AsyncIterator[Group]:
        for segment, start, length in segments:
            slices = await self._hops.read(self._downloads.range_slices, opened, path, segment, start, length)
            for group in grouped(list(_split(slices))):
                yield group

    async def _run_groups(self, opened: OpenedTree, runs: Sequence[ChunkRun]) -> AsyncIterator[Group]:
        waiting: list[Slice] = []  # small runs share messages
        for run in runs:
            for segment, first, count in await self._hops.read(self._downloads.run_segments, opened, run):
                waiting += await self._hops.read(
                    self._downloads.run_slices, opened, run.path, segment, first, count
                )
                *full, rest = grouped(waiting)
                for group in full:
                    yield group
                waiting = list(rest)
        if waiting:
            yield waiting

    # --- reading ----------------------------------------------------------------------------------------

    async def _ahead(self, groups: AsyncIterator[Group], build: Callable[[Group], M]) -> AsyncIterator[M]:
        """Build the messages of the groups in order, some of them ahead."""
        running: deque[asyncio.Task[M]] = deque()
        try:
            async for group in groups:
                running.append(asyncio.create_task(self._hops.io(build, group)))
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
            await self._hops.write(self._downloads.lost, lost.slice.place)
            raise lost.error from None

    def _read(self, each: Slice) -> memoryview:
        try:
            data = self._packs.read(each.place)
        except DataLoss as error:
            raise _ChunkLostError(each, error) from error
        return memoryview(data)[each.start : each.start + each.length]

    def _joined(self, group: Group) -> bytes:
        return b"".join([self._read(each) for each in group])

    def _pieces(self, group: Group) -> list[transfer_pb2.ReadChunksResponse]:
        return list(pieces_of(group, [self._read(each) for each in group]))


class _ChunkLostError(Exception):
    """Carries a damaged chunk from the thread that met it to the stream that reports it."""

    def __init__(self, lost: Slice, error: DataLoss) -> None:
        super().__init__(str(error))
        self.slice = lost
        self.error = error


def grouped(slices: Sequence[Slice]) -> list[Group]:
    """Cut slices into runs of about a message's size; at least one run, of which the last may be small."""
    groups: list[list[Slice]] = [[]]
    size = 0
    for each in slices:
        if size and size + each.length > MESSAGE_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(each)
        size += each.length
    return [group for group in groups if group] or [[]]


def pieces_of(group: Group, data: Sequence[memoryview]) -> Iterator[transfer_pb2.ReadChunksResponse]:
    """Yield one message for a group of chunks, or several for a single chunk above a message's size."""
    if not group:
        return
    body = b"".join(data)
    pieces = transfer_pb2.Pieces(
        digests=b"".join(each.place.digest for each in group),
        lengths=[each.length for each in group],
        data=body[:MESSAGE_BYTES] if len(group) == 1 else body,
        more=len(group) == 1 and len(body) > MESSAGE_BYTES,
    )
    yield transfer_pb2.ReadChunksResponse(pieces=pieces)
    if len(group) == 1:
        for start in range(MESSAGE_BYTES, len(body), MESSAGE_BYTES):
            more = start + MESSAGE_BYTES < len(body)
            rest = transfer_pb2.Pieces(data=body[start : start + MESSAGE_BYTES], more=more)
            yield transfer_pb2.ReadChunksResponse(pieces=rest)


def _split(slices: Sequence[Slice]) -> Iterator[Slice]:
    """Cut slices longer than a message into parts that fit."""
    for each in slices:
        for start in range(0, each.length, MESSAGE_BYTES):
            length = min(MESSAGE_BYTES, each.length - start)
            yield Slice(each.place, each.start + start, length)
