"""Packs for tests: chunks put through a stream, and bits that flip."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from helpers.eventually import eventually
from ingot.content.digests import chunk_digest
from ingot.server.core.packs import SealedPack
from ingot.server.core.stores import PackStore
from ingot.server.storage import pack_keys
from ingot.server.storage.packs_memory import MemoryPacks


def put(store: PackStore, contents: Sequence[bytes]) -> list[SealedPack]:
    """Store chunks through one stream."""
    ingest = store.open_ingest(sum(map(len, contents)), len(contents))
    for content in contents:
        ingest.append(chunk_digest(content), [content])
    return ingest.seal()


def write_keys(path: Path, *numbers: int) -> Path:
    """Write a keyring file with the keys of these numbers, the first for new packs."""
    path.write_text("".join(f"{number:064x}\n" for number in numbers))
    path.chmod(0o600)
    return path


def keyring_of(*numbers: int) -> pack_keys.Keyring:
    """Return a keyring with the keys of these numbers."""
    with tempfile.TemporaryDirectory() as folder:
        return pack_keys.load(write_keys(Path(folder) / "keys", *numbers))


def until_changes_show(file: Path) -> None:
    """Wait until another change of a file has another time: kernels tell it in ticks of up to 10 ms."""
    probe = file.with_name("probe")

    def is_later() -> bool:
        probe.write_bytes(b"")
        return probe.stat().st_ctime_ns > file.stat().st_ctime_ns

    eventually(is_later, what="the next tick of the file system's clock")
    probe.unlink()


def flip(store: MemoryPacks, pack: str, position: int) -> None:
    """Flip a bit of a stored pack, as a failing disk would."""
    store._packs[pack][position] ^= 1
