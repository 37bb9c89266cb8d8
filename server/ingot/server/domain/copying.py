"""Copy stored chunks into new packs: how what is needed leaves a pack that is mostly unneeded, or damaged."""

from collections.abc import Sequence
from dataclasses import dataclass

from ingot.server.core.errors import DataLoss, Exhausted
from ingot.server.core.packs import ChunkPlace, SealedPack
from ingot.server.core.stores import PackStore


@dataclass(frozen=True, slots=True)
class Copied:
    """What copying brought: the new packs, or why there are none."""

    packs: tuple[SealedPack, ...] = ()
    damaged: ChunkPlace | None = None
    disk_full: bool = False


def copy(packs: PackStore, places: Sequence[ChunkPlace]) -> Copied:
    """Copy chunks into new packs, durably. No unit of work."""
    place: ChunkPlace | None = None
    try:
        ingest = packs.open_ingest(sum(each.length for each in places), len(places))
    except Exhausted:
        return Copied(disk_full=True)
    try:
        for place in places:
            ingest.append(place.digest, [packs.read(place)])
        place = None
        return Copied(tuple(ingest.seal()))
    except DataLoss:
        return Copied(damaged=place)
    except Exhausted:
        return Copied(disk_full=True)
    finally:
        ingest.abort()
