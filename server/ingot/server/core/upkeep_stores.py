"""The interfaces of upkeep: what of the shelf is used, what may go, what was checked, and copies of it all.

`ShelfIndex` is called inside a unit of work.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from ingot.server.core.packs import ChunkPlace, PackEntry, PackId, SealedPack


@dataclass(frozen=True, slots=True)
class ShelfPack:
    """A pack of the index; `key` orders the packs, `size` is in bytes, times are epoch seconds."""

    key: int
    id: PackId
    size: int
    created: float
    checked: float  # when all of its chunks were last found intact; 0 is never
    missing: bool
    punched: int = 0  # bytes of chunks whose space was given back
    adopted: float | None = None  # when it was found on the shelf without having been entered


@dataclass(frozen=True, slots=True)
class PackUse:
    """How much of a pack is needed: the chunks that some tree holds, and how many there are besides."""

    live_chunks: int
    live_bytes: int
    dead_chunks: int


@dataclass(frozen=True, slots=True)
class IndexFaults:
    """What does not fit in the index, as numbers of rows; all 0 when it is sound."""

    leases_without_upload: int
    holds_without_chunk: int
    holds_without_tree: int
    chunks_without_pack: int


class ShelfIndex(Protocol):
    """The rows about packs, as upkeep sees them."""

    def packs(self, after: int, size: int) -> Sequence[ShelfPack]:
        """Return up to `size` packs whose keys come after one, in order, without those that are condemned."""
        ...

    def find(self, pack: PackId) -> ShelfPack | None:
        """Return a pack by its id, condemned or not."""
        ...

    def use(self, pack: int) -> PackUse:
        """Return how much of a pack (by key) is needed."""
        ...

    def live_places(self, pack: int) -> Sequence[ChunkPlace]:
        """Return where the needed chunks of a pack lie, in the order of their bytes, without lost ones."""
        ...

    def places(self, pack: int) -> Sequence[ChunkPlace]:
        """Return where all chunks of a pack lie, in the order of their bytes, without lost ones."""
        ...

    def condemn(self, pack: int, now: float) -> bool:
        """Forget the chunks of a pack that nobody needs, and the pack may go; False when one is needed."""
        ...

    def trim(self, pack: int, now: float) -> int:
        """Forget the chunks of a pack that nobody needs, so that their space may go; return how many."""
        ...

    def trimmed(self, before: float, size: int) -> Sequence[ShelfPack]:
        """Return up to `size` packs that were trimmed before a time and still have that space."""
        ...

    def offsets(self, pack: int) -> Collection[int]:
        """Return where the chunks of a pack lie that are still known, lost ones too."""
        ...

    def punched(self, pack: int, size: int) -> None:
        """Note that the space of `size` bytes of a trimmed pack was given back."""
        ...

    def move(self, pack: int, copies: Sequence[SealedPack], now: float) -> int:
        """Let the chunks of a pack that were copied lie in their new packs; return how many moved."""
        ...

    def condemned(self, before: float, size: int) -> Sequence[ShelfPack]:
        """Return up to `size` packs that were condemned before a time."""
        ...

    def forget(self, pack: int) -> None:
        """Forget a condemned pack (by key)."""
        ...

    def unchecked(self, before: float, size: int) -> Sequence[ShelfPack]:
        """Return up to `size` packs that were last checked before a time, those longest ago first."""
        ...

    def mark_checked(self, pack: int, now: float) -> None:
        """Note that all chunks of a pack were found intact."""
        ...

    def forget_lost(self, pack: int) -> None:
        """Forget the lost chunks of a pack that nobody needs."""
        ...

    def suspect(self, pack: PackId) -> None:
        """Let a pack be the next one that is checked."""
        ...

    def holders(self, digests: Sequence[bytes]) -> Sequence[str]:
        """Return the names of the versions, checkpoints and uploads that hold one of these chunks."""
        ...

    def faults(self) -> IndexFaults:
        """Count rows that point to nothing. Walks all holds."""
        ...

    def stale_leases(self, size: int) -> Sequence[int]:
        """Return up to `size` trees of uploads that are no more (by key)."""
        ...

    def mend(self) -> None:
        """Forget holds of nothing and chunks of no pack; those of them that somebody needs are lost."""
        ...

    def lost_digests(self, size: int) -> Collection[bytes]:
        """Return up to `size` digests of chunks that are lost."""
        ...

    def found(self, entry: PackEntry, pack: PackId) -> bool:
        """Note that a lost chunk is intact in this place; False when it is not lost or the pack unknown."""
        ...

    def trees(self, after: int, size: int) -> Sequence[tuple[int, str]]:
        """Return up to `size` trees of versions and checkpoints after a key, as (key, what it is of)."""
        ...


@dataclass(frozen=True, slots=True)
class Backup:
    """One copy: `name` is its time, sizes in bytes."""

    name: str
    create_time: float  # epoch seconds
    packs: int
    pack_bytes: int
    copied_packs: int  # in this turn; others were in the backup folder already
    copied_bytes: int
    database_bytes: int
    lost_chunks: int = 0  # that versions need and the store does not have
