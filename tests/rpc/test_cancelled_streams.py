"""A stream that is cancelled while its packs become durable, also twice: it counts in full or not at all."""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from helpers.patterns import pattern
from helpers.transfers import finish, header, pieces
from ingot.content import digests
from ingot.server.core.packs import SealedPack
from ingot.server.core.uploads import TransferLimits
from ingot.server.rpc.bulk_messages import PutChunksMessage
from ingot.server.rpc.put_chunks import ChunkReceiver
from ingot.server.rpc.uninterrupted import uninterrupted
from ingot.server.storage.pack_ingest import PackSink
from ingot.server.storage.packs_disk import DiskPacks
from ingot.v1 import transfer_pb2

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Two threads for work on files."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2)

    async def io(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        work = functools.partial(fn, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


class SlowShelf(DiskPacks):
    """A shelf that waits, once packs are in their places, before it says that they are durable."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.in_place, self.durable = threading.Event(), threading.Event()

    def publish(self, finished: Sequence[tuple[PackSink, SealedPack]]) -> None:
        super().publish(finished)
        self.in_place.set()
        assert self.durable.wait(100)


class Rows:
    """Rows that take every stream."""

    def __init__(self) -> None:
        self.indexed: set[str] = set()
        self.dropped_bytes = 0

    async def stored(self, packed: bytes, received: int) -> Collection[bytes]:
        return ()

    async def index(self, packs: Sequence[SealedPack], packed: bytes, received: int) -> str:
        self.indexed |= {pack.id for pack in packs}
        return "receipt"

    async def dropped(self, received: int) -> None:
        self.dropped_bytes += received

    def close(self) -> None:
        pass


async def _turns() -> None:
    """Let everything that is ready have its turn, and what follows from that."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_stream_that_is_cancelled_twice_at_its_end_loses_no_pack_that_counts(tmp_path: Path) -> None:
    data = pattern("twice", 1000)

    async def messages() -> AsyncIterator[PutChunksMessage]:
        yield header("uploads/file_1", 1, len(data))
        yield pieces((digests.chunk_digest(data), data))
        yield finish(1, len(data))

    async def admit(told: transfer_pb2.PutChunksHeader) -> Rows:
        return rows

    async def cancelled_twice() -> None:
        files = Threads()
        receiver = ChunkReceiver(files, shelf, TransferLimits())
        receiving = asyncio.create_task(receiver.receive(admit, messages()))
        assert await asyncio.to_thread(shelf.in_place.wait, 100)
        for _ in range(2):  # its client goes, and the server stops
            receiving.cancel()
            await _turns()
        await files.io(lambda: None)  # whatever the second one began has ended
        shelf.durable.set()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        assert receiving.cancelled()

    rows, shelf = Rows(), SlowShelf(tmp_path)
    asyncio.run(cancelled_twice())
    assert len(rows.indexed) == 1
    assert rows.indexed == {pack.id for pack in shelf.packs()}
    assert rows.dropped_bytes == 0


def test_what_is_not_interrupted_tells_its_result_or_its_error() -> None:
    async def five() -> int:
        await asyncio.sleep(0)
        return 5

    async def fails() -> int:
        raise KeyError("five")

    assert asyncio.run(uninterrupted(five())) == 5
    with pytest.raises(KeyError, match="five"):
        asyncio.run(uninterrupted(fails()))
