"""A small store on disk in which upkeep has everything to do, for tests that kill it in the middle.

`run(folder)` makes it, damages a chunk and runs collection and scrubbing; `readable(folder)` says which of
the chunks can be read afterwards.
"""

from collections.abc import Iterable
from pathlib import Path

from helpers.packs import put
from helpers.patterns import pattern
from helpers.schema import migrated
from ingot.content import digests
from ingot.server.core.clock import SystemClock
from ingot.server.core.errors import DataLoss
from ingot.server.core.packs import ChunkPlace
from ingot.server.domain.collection import Collection
from ingot.server.domain.scrubbing import Scrubbing
from ingot.server.storage.chunks_sql import ChunksSql
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.packs_disk import DiskPacks
from ingot.server.storage.shelf_sql import ShelfSql
from ingot.server.storage.trees_sql import TreesSql

NEEDED = {0, 1, *range(8, 18)}
DAMAGED = 8


def content(number: int) -> bytes:
    return pattern(f"upkept {number}", 64 * 1024)


class UpkeptStore:
    """Rows and packs below a folder, with the steps of upkeep."""

    def __init__(self, folder: Path) -> None:
        self.database: Database = open_database(f"sqlite:///{folder}/ingot.db")
        migrated(self.database)
        self.packs, self.clock = DiskPacks(folder), SystemClock()
        self.chunks, self.trees = ChunksSql(), TreesSql()
        self.collection = Collection(ShelfSql(), self.packs, self.chunks, self.clock, 3600.0)
        self.scrubbing = Scrubbing(ShelfSql(), self.packs, self.chunks, self.trees, self.clock)

    def store(self, numbers: Iterable[int]) -> None:
        """Put chunks into one pack."""
        (sealed,) = put(self.packs, [content(number) for number in numbers])
        self.database.write(self.chunks.add_pack, sealed, self.clock.now()).result()

    def tree(self, name: str, numbers: Iterable[int]) -> int:
        """Make a tree that holds chunks."""
        packed = b"".join(digests.chunk_digest(content(number)) for number in numbers)

        def make() -> int:
            tree = self.trees.add(name, "alice", self.clock.now(), self.clock.now() + 10**6)
            known = self.chunks.known(packed, "alice", self.clock.now())
            self.chunks.hold(tree, [each.id for each in known])
            self.trees.adopt(tree, name, "namespaces/alice/datasets/chat", bytes(32), ())
            return tree

        return self.database.write(make).result()

    def drop(self, tree: int) -> None:
        self.database.write(self.trees.drop, tree).result()

    def collect(self) -> None:
        """Do what the operation does, without grace."""
        for pack in self.database.read(self.collection.due, -1.0):
            self.database.write(self.collection.forget, pack).result()
            self.collection.delete(pack)
        for pack in self.database.read(self.collection.trimmed, -1.0):
            done = self.collection.punch(pack, self.database.read(self.collection.known, pack))
            self.database.write(self.collection.punched, pack, done).result()
        for judged in self.database.read(self.collection.page, 0):
            if judged.condemn:
                self.database.write(self.collection.condemn, judged.pack).result()
            elif judged.rewrite:
                copied = self.collection.copy(self.database.read(self.collection.needed, judged.pack))
                self.database.write(self.collection.moved, judged.pack, copied.packs).result()
            elif judged.trim:
                self.database.write(self.collection.trim, judged.pack).result()

    def scrub(self) -> None:
        """Do what the operation does, with all packs."""
        for pack in self.database.read(self.scrubbing.due, self.clock.now() + 10.0):
            places = self.database.read(self.scrubbing.places, pack)
            damaged = self.scrubbing.damaged(places)
            self.database.write(self.scrubbing.conclude, pack, damaged).result()
            if damaged:
                copied = self.scrubbing.salvage([place for place in places if place not in set(damaged)])
                self.database.write(self.scrubbing.salvaged, pack, copied.packs).result()
                self.scrubbing.set_aside(pack)
                self.database.write(self.scrubbing.note_set_aside, pack).result()

    def places(self) -> dict[bytes, ChunkPlace]:
        """Return where each chunk lies, by its digest."""
        return {
            place.digest: place
            for pack in self.database.read(self.scrubbing.page, 0)
            for place in self.database.read(self.scrubbing.places, pack)
        }


def run(folder: str) -> None:
    """Make the store, damage it, and run all of upkeep."""
    store = UpkeptStore(Path(folder))
    for first, count in ((0, 8), (8, 4), (12, 8), (20, 4)):
        store.store(range(first, first + count))
    gone = [store.tree("all", range(24))]
    store.tree("one", {0, 1, *range(8, 12)})
    store.tree("two", range(12, 18))
    for tree in gone:
        store.drop(tree)
    place = store.places()[digests.chunk_digest(content(DAMAGED))]
    (path,) = Path(folder).glob(f"packs/*/{place.pack}.pack")
    damaged = bytearray(path.read_bytes())
    damaged[place.offset + 7] ^= 1
    path.unlink()
    path.write_bytes(damaged)
    for _ in range(2):
        store.collect()
        store.scrub()


def readable(folder: Path) -> set[int]:
    """Return the numbers of the needed chunks that can be read."""
    store = UpkeptStore(folder)
    places = store.places()
    found = {number for number in NEEDED if _reads(store, places.get(digests.chunk_digest(content(number))))}
    store.database.close()
    return found


def _reads(store: UpkeptStore, place: ChunkPlace | None) -> bool:
    try:
        return place is not None and bool(store.packs.read(place))
    except DataLoss:
        return False
