"""Collection and scrubbing: what nobody needs goes, what somebody needs stays, and damage is found."""

import dataclasses
from collections.abc import Iterator, Sequence

import pytest

from helpers.clocks import ShiftedClock
from helpers.packs import flip, put
from helpers.schema import migrated
from ingot.content import digests
from ingot.server.core.packs import SealedPack
from ingot.server.core.upkeep_stores import ShelfPack
from ingot.server.domain.collection import Collection
from ingot.server.domain.scrubbing import Scrubbing
from ingot.server.storage.chunks_sql import ChunksSql
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.packs_memory import MemoryPacks
from ingot.server.storage.shelf_sql import ShelfSql
from ingot.server.storage.trees_sql import TreesSql

KIB = 1024
SPARE = 3600.0  # how long packs that were found stay


@dataclasses.dataclass(slots=True)
class Rig:
    """Rows and packs in memory with the steps of upkeep."""

    database: Database
    packs: MemoryPacks
    clock: ShiftedClock
    collection: Collection
    scrubbing: Scrubbing
    chunks: ChunksSql = dataclasses.field(default_factory=ChunksSql)
    trees: TreesSql = dataclasses.field(default_factory=TreesSql)

    def store(self, *contents: bytes) -> SealedPack:
        """Put chunks into one pack of shelf and index; nobody holds them yet."""
        (sealed,) = put(self.packs, contents)
        self.database.write(self.chunks.add_pack, sealed, self.clock.now()).result()
        return sealed

    def tree(self, name: str, *contents: bytes) -> int:
        """Make a tree that holds these chunks."""

        def make() -> int:
            tree = self.trees.add(name, "alice", self.clock.now(), self.clock.now() + 100)
            packed = b"".join(digests.chunk_digest(each) for each in contents)
            known = self.chunks.known(packed, "alice", self.clock.now())
            self.chunks.hold(tree, [each.id for each in known])
            self.trees.adopt(tree, name, "namespaces/alice/datasets/chat", bytes(32), ())
            return tree

        return self.database.write(make).result()

    def drop(self, tree: int) -> None:
        """Drop a tree."""
        self.database.write(self.trees.drop, tree).result()

    def collect(self) -> int:
        """Judge all packs once and do what is to be done; return the bytes freed from earlier runs."""
        freed = 0
        for pack in self.database.read(self.collection.due, 60.0):
            self.database.write(self.collection.forget, pack).result()
            freed += self.collection.delete(pack)
        for pack in self.database.read(self.collection.trimmed, 60.0):
            done = self.collection.punch(pack, self.database.read(self.collection.known, pack))
            self.database.write(self.collection.punched, pack, done).result()
            freed += done.freed_bytes
        after = 0
        while page := self.database.read(self.collection.page, after):
            for judgement in page:
                after = judgement.pack.key
                if judgement.condemn:
                    self.database.write(self.collection.condemn, judgement.pack).result()
                elif judgement.rewrite:
                    copied = self.collection.copy(self.database.read(self.collection.needed, judgement.pack))
                    if copied.disk_full:
                        self.database.write(self.collection.trim, judgement.pack).result()
                    else:
                        self.database.write(self.collection.moved, judgement.pack, copied.packs).result()
                elif judgement.trim and self.collection.can_trim(judgement.pack):
                    self.database.write(self.collection.trim, judgement.pack).result()
        return freed

    def readable(self, content: bytes) -> bool:
        """Tell whether a chunk is in the index and its bytes are what they should be."""
        digest = digests.chunk_digest(content)
        stored = self.database.read(self.chunks.stored, digest)
        places = [
            place
            for pack in self.database.read(self.scrubbing.page, 0)
            for place in self.database.read(self.scrubbing.places, pack)
            if place.digest == digest
        ]
        return bool(stored) and [self.packs.read(place) for place in places] == [content]


@pytest.fixture(name="rig")
def _rig() -> Iterator[Rig]:
    database = open_database("sqlite:///:memory:")
    migrated(database)
    packs, clock, index, chunks = MemoryPacks(), ShiftedClock(), ShelfSql(), ChunksSql()
    yield Rig(
        database,
        packs,
        clock,
        Collection(index, packs, chunks, clock, SPARE),
        Scrubbing(index, packs, chunks, TreesSql(), clock),
    )
    database.close()


def big(number: int) -> bytes:
    return bytes([number]) * (64 * KIB)


def test_a_pack_goes_when_nobody_needs_it_and_its_grace_is_over(rig: Rig) -> None:
    sealed = rig.store(big(1), big(2))
    tree = rig.tree("version-1", big(1), big(2))
    assert rig.collect() == 0
    rig.drop(tree)
    assert rig.collect() == 0
    assert [pack.id for pack in rig.packs.packs()] == [sealed.id]  # a read that runs may still need it
    rig.clock.ahead += 61
    assert rig.collect() == sealed.size
    assert list(rig.packs.packs()) == []


def test_one_needed_chunk_keeps_a_pack_that_is_mostly_needed(rig: Rig) -> None:
    rig.store(big(1), big(2), b"small")
    rig.tree("version-1", big(1), big(2))
    rig.collect()
    rig.clock.ahead += 61
    assert rig.collect() == 0
    assert rig.readable(big(1))
    assert rig.readable(b"small")


def test_the_rest_of_a_pack_that_is_mostly_unneeded_moves(rig: Rig) -> None:
    old = rig.store(*map(big, range(8)))
    rig.tree("version-1", big(3))
    rig.collect()
    rig.clock.ahead += 61
    assert rig.collect() == old.size
    assert rig.readable(big(3))
    assert not rig.readable(big(4))
    (left,) = rig.packs.packs()
    assert left.size < 2 * 64 * KIB


def test_a_condemned_chunk_that_comes_again_is_stored_anew(rig: Rig) -> None:
    rig.store(big(1))
    rig.collect()
    assert rig.database.read(rig.chunks.stored, digests.chunk_digest(big(1))) == frozenset()
    rig.store(big(1))
    rig.tree("version-1", big(1))
    rig.clock.ahead += 61
    rig.collect()
    assert rig.readable(big(1))


def test_a_chunk_leased_after_the_judgement_stays(rig: Rig) -> None:
    rig.store(big(1))
    (judgement,) = rig.database.read(rig.collection.page, 0)
    assert judgement.condemn
    rig.tree("upload-1", big(1))
    assert not rig.database.write(rig.collection.condemn, judgement.pack).result()
    assert rig.readable(big(1))


def test_a_chunk_leased_while_the_rest_was_copied_keeps_the_old_pack(rig: Rig) -> None:
    rig.store(*map(big, range(8)))
    rig.tree("version-1", big(3))
    (judgement,) = rig.database.read(rig.collection.page, 0)
    copied = rig.collection.copy(rig.database.read(rig.collection.needed, judgement.pack))
    rig.tree("upload-1", big(5))
    assert not rig.database.write(rig.collection.moved, judgement.pack, copied.packs).result()
    assert rig.readable(big(3))
    assert rig.readable(big(5))


def test_the_space_of_a_few_unneeded_chunks_is_given_back_where_they_lie(rig: Rig) -> None:
    sealed = rig.store(*map(big, range(8)))
    rig.tree("version-1", *map(big, range(6)))
    assert rig.collect() == 0  # reads that run may still need them
    assert not rig.readable(big(6))  # but nobody is told any more that they are here
    assert rig.collect() == 0
    rig.clock.ahead += 61
    assert 2 * 64 * KIB <= rig.collect() < 2 * 64 * KIB + 200
    assert all(rig.readable(big(number)) for number in range(6))
    assert [each.digest for each in rig.packs.entries(sealed.id)] == [
        digests.chunk_digest(big(number)) for number in range(6)
    ]
    assert rig.collect() == 0  # once
    rig.store(big(6))
    rig.tree("version-2", big(6))
    assert rig.readable(big(6))  # what comes again is stored anew


def test_a_chunk_leased_before_it_is_trimmed_stays(rig: Rig) -> None:
    rig.store(*map(big, range(8)))
    rig.tree("version-1", *map(big, range(6)))
    (judgement,) = rig.database.read(rig.collection.page, 0)
    assert judgement.trim
    rig.tree("upload-1", big(6))
    assert rig.database.write(rig.collection.trim, judgement.pack).result() == 1
    rig.clock.ahead += 61
    rig.collect()
    assert rig.readable(big(6))


def test_a_pack_that_was_found_is_spared_for_a_while(rig: Rig) -> None:
    """A database that was restored may be older than the packs, and a newer one may replace it."""
    (sealed,) = put(rig.packs, [big(1)])
    rig.database.write(rig.chunks.add_pack, sealed, rig.clock.now(), found=True).result()
    rig.collect()
    rig.clock.ahead += SPARE - 10
    assert rig.collect() == 0
    rig.clock.ahead += 20
    rig.collect()
    rig.clock.ahead += 61
    assert rig.collect() == sealed.size


def test_a_full_disk_still_frees_whole_packs_and_only_puts_off_rewriting(rig: Rig) -> None:
    small = MemoryPacks(capacity=8 * 64 * KIB + 16 * KIB)
    rig.packs = small
    rig.collection = Collection(ShelfSql(), small, rig.chunks, rig.clock, SPARE)
    rig.store(*map(big, range(8)))
    rig.tree("version-1", big(3))
    (judgement,) = rig.database.read(rig.collection.page, 0)
    assert rig.collection.copy(rig.database.read(rig.collection.needed, judgement.pack)).disk_full
    rig.collect()
    rig.clock.ahead += 61
    assert rig.collect() >= 7 * 64 * KIB  # instead, holes: they need no space
    assert rig.readable(big(3))


def test_damage_met_while_copying_is_told_and_nothing_moves(rig: Rig) -> None:
    sealed = rig.store(*map(big, range(8)))
    rig.tree("version-1", big(3))
    places = rig.database.read(rig.collection.needed, _only_pack(rig))
    flip(rig.packs, sealed.id, places[0].offset)
    copied = rig.collection.copy(places)
    assert copied.damaged == places[0]
    assert copied.packs == ()


def test_scrub_finds_a_flipped_bit_and_says_who_needs_it(rig: Rig) -> None:
    sealed = rig.store(big(1), big(2))
    rig.tree("version-1", big(1), big(2))
    pack = _only_pack(rig)
    places = rig.database.read(rig.scrubbing.places, pack)
    assert rig.scrubbing.damaged(places) == []
    flip(rig.packs, sealed.id, places[1].offset)
    damaged = rig.scrubbing.damaged(places)
    assert damaged == [places[1]]
    needed_by = rig.database.write(rig.scrubbing.conclude, pack, damaged).result()
    assert needed_by == ["version-1"]
    assert rig.database.read(rig.chunks.lost) == 1


def test_scrub_takes_the_packs_that_were_not_checked_for_longest(rig: Rig) -> None:
    first, second = rig.store(big(1)), rig.store(big(2))

    def due() -> Sequence[ShelfPack]:
        return rig.database.read(rig.scrubbing.due, rig.clock.now() - 3600)

    one, other = due()
    assert {one.id, other.id} == {first.id, second.id}
    rig.database.write(rig.scrubbing.conclude, one, ()).result()
    assert [pack.id for pack in due()] == [other.id]
    rig.clock.ahead += 3601
    assert [pack.id for pack in due()] == [other.id, one.id]


def _only_pack(rig: Rig) -> ShelfPack:
    (pack,) = rig.database.read(rig.scrubbing.page, 0)
    return pack
