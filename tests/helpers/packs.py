"""Packs for tests: chunks put through a stream, and bits that flip."""

from collections.abc import Sequence

from ingot.content.digests import chunk_digest
from ingot.server.core.packs import SealedPack
from ingot.server.core.stores import PackStore
from ingot.server.storage.packs_memory import MemoryPacks


def put(store: PackStore, contents: Sequence[bytes]) -> list[SealedPack]:
    """Store chunks through one stream."""
    ingest = store.open_ingest(sum(map(len, contents)), len(contents))
    for content in contents:
        ingest.append(chunk_digest(content), [content])
    return ingest.seal()


def flip(store: MemoryPacks, pack: str, position: int) -> None:
    """Flip a bit of a stored pack, as a failing disk would."""
    store._packs[pack][position] ^= 1
