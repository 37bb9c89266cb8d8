"""MemoryPacks keeps the contract of a PackStore."""

import pytest

from contracts.pack_store_contract import PackStoreContract, put
from ingot.content.digests import chunk_digest
from ingot.server.core.errors import Exhausted
from ingot.server.storage.packs_memory import MemoryPacks


class MemoryShelf:
    """Access to the bytes behind a MemoryPacks."""

    too_much = 1 << 40

    def __init__(self) -> None:
        self.store = MemoryPacks()

    def reopen(self) -> MemoryPacks:
        again = MemoryPacks()
        again._packs = self.store._packs
        return again

    def contents(self, pack: str) -> bytes:
        return bytes(self.store._packs[pack])

    def overwrite(self, pack: str, contents: bytes) -> None:
        self.store._packs[pack] = bytearray(contents)


class TestMemoryPacks(PackStoreContract):
    @pytest.fixture
    def shelf(self) -> MemoryShelf:
        return MemoryShelf()


def test_a_stream_that_brings_more_than_it_said_meets_the_full_disk() -> None:
    store = MemoryPacks(capacity=1000)
    with pytest.raises(Exhausted):
        put_undeclared(store, [b"x" * 600, b"y" * 600])
    assert store.usage().ingest == 0
    assert put(store, [b"z" * 600])


def put_undeclared(store: MemoryPacks, chunks: list[bytes]) -> None:
    ingest = store.open_ingest(1, 1)
    for chunk in chunks:
        ingest.append(chunk_digest(chunk), [chunk])
