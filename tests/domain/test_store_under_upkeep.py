"""Whatever happens to the store in whatever order: what somebody needs and is not damaged can be read.

A state machine pushes, drops, collects, scrubs, damages, repairs and restarts, on packs in memory with the
real rules and rows. After every step each chunk that a tree holds is readable, unless it was damaged and
not pushed again; and a checkup finds only what was damaged.
"""

import dataclasses

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from helpers.clocks import ShiftedClock
from helpers.packs import flip, put
from helpers.schema import migrated
from ingot.content import digests
from ingot.server.core.checkup import Fault
from ingot.server.domain import recovery
from ingot.server.domain.checkup import Checkup
from ingot.server.domain.collection import Collection
from ingot.server.domain.scrubbing import Scrubbing
from ingot.server.storage.accounts_sql import AccountsSql
from ingot.server.storage.chunks_sql import ChunksSql
from ingot.server.storage.database import open_database
from ingot.server.storage.packs_memory import MemoryPacks
from ingot.server.storage.shelf_sql import ShelfSql
from ingot.server.storage.trees_sql import TreesSql

GRACE, SPARE = 60.0, 3600.0
NUMBERS = st.integers(0, 11)


def content(number: int) -> bytes:
    return bytes([number]) * (40_000 + number * 3000)


def digest(number: int) -> bytes:
    return digests.chunk_digest(content(number))


class Store(RuleBasedStateMachine):
    trees = Bundle("trees")

    def __init__(self) -> None:
        super().__init__()
        self.database = open_database("sqlite:///:memory:")
        migrated(self.database)
        self.packs, self.clock = MemoryPacks(), ShiftedClock()
        self.index, self.chunks, self.rows = ShelfSql(), ChunksSql(), TreesSql()
        self.collection = Collection(self.index, self.packs, self.chunks, self.clock, SPARE)
        self.scrubbing = Scrubbing(self.index, self.packs, self.chunks, self.rows, self.clock)
        self.held: dict[int, set[int]] = {}  # what each tree needs
        self.damaged: set[int] = set()  # flipped and not pushed again
        self.made = 0

    def teardown(self) -> None:
        self.database.close()

    # --- what people do ---------------------------------------------------------------------------------

    @rule(target=trees, numbers=st.sets(NUMBERS, min_size=1, max_size=8))
    def push(self, numbers: set[int]) -> int:
        """Store what is missing in one pack, and hold all of it, as an upload and its commit do."""
        packed = b"".join(map(digest, sorted(numbers)))
        stored = self.database.read(self.chunks.stored, packed)
        missing = [number for number in sorted(numbers) if digest(number) not in stored]
        for sealed in put(self.packs, list(map(content, missing))):
            self.database.write(self.chunks.add_pack, sealed, self.clock.now()).result()
        self.damaged -= set(missing)

        def hold() -> int:
            self.made += 1
            now = self.clock.now()
            tree = self.rows.add(f"tree-{self.made}", "alice", now, now + 10**9)
            known = self.chunks.known(packed, "alice", now)
            assert len(known) == len(numbers)
            self.chunks.hold(tree, [each.id for each in known])
            self.rows.adopt(tree, f"version-{self.made}", "namespaces/a/datasets/b", bytes(32), ())
            return tree

        tree = self.database.write(hold).result()
        self.held[tree] = numbers
        return tree

    @rule(tree=consumes(trees))
    def drop(self, tree: int) -> None:
        self.database.write(self.rows.drop, tree).result()
        del self.held[tree]

    @rule(number=NUMBERS)
    def orphan(self, number: int) -> None:
        """Seal a pack that is never indexed, as a crash leaves it; the next start enters it."""
        put(self.packs, [content(number)])

    @rule(number=NUMBERS)
    def damage(self, number: int) -> None:
        """Flip a bit of the chunk where the index has it."""
        for pack in self.database.read(self.scrubbing.page, 0):
            for place in self.database.read(self.scrubbing.places, pack):
                if place.digest == digest(number):
                    flip(self.packs, place.pack, place.offset + 7)
                    self.packs._verified.forget(place.pack)  # memory flips too, so it is read again
                    self.damaged.add(number)

    # --- what upkeep does -------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, GRACE + 1, SPARE + 1]))
    def wait(self, seconds: float) -> None:
        self.clock.ahead += seconds

    @rule()
    def collect(self) -> None:
        for pack in self.database.read(self.collection.due, GRACE):
            self.database.write(self.collection.forget, pack).result()
            self.collection.delete(pack)
        for pack in self.database.read(self.collection.trimmed, GRACE):
            done = self.collection.punch(pack, self.database.read(self.collection.known, pack))
            self.database.write(self.collection.punched, pack, done).result()
        after = 0
        while page := self.database.read(self.collection.page, after):
            for judged in page:
                after = judged.pack.key
                if judged.condemn:
                    self.database.write(self.collection.condemn, judged.pack).result()
                elif judged.rewrite:
                    copied = self.collection.copy(self.database.read(self.collection.needed, judged.pack))
                    if copied.damaged:
                        self.database.write(self.collection.lost, copied.damaged).result()
                    else:
                        self.database.write(self.collection.moved, judged.pack, copied.packs).result()
                elif judged.trim:
                    self.database.write(self.collection.trim, judged.pack).result()

    @rule()
    def scrub(self) -> None:
        for pack in self.database.read(self.scrubbing.due, self.clock.now() + 10.0):
            places = self.database.read(self.scrubbing.places, pack)
            damaged = self.scrubbing.damaged(places)
            self.database.write(self.scrubbing.conclude, pack, damaged).result()
            if damaged:
                copied = self.scrubbing.salvage([place for place in places if place not in set(damaged)])
                assert self.database.write(self.scrubbing.salvaged, pack, copied.packs).result()
                self.scrubbing.set_aside(pack)
                self.database.write(self.scrubbing.note_set_aside, pack).result()

    @rule(repair=st.booleans(), alone=st.booleans())
    def checkup(self, repair: bool, alone: bool) -> None:
        report = Checkup(
            self.database,
            self.index,
            self.packs,
            self.chunks,
            self.rows,
            AccountsSql(),
            self.clock,
            deep=True,
            repair=repair,
            alone=alone,
        ).run()
        if repair:
            self.heal()
        harmless = {Fault.UNKNOWN_PACK, Fault.LEFTOVER_STREAM}
        assert not set(report.counts) - harmless or self.damaged or report.healed_chunks

    @rule()
    def restart(self) -> None:
        uploads = _NoUploads()
        recovery.Recovery(self.database, self.packs, self.chunks, uploads, self.clock).run()  # type: ignore[arg-type]
        self.heal()

    def heal(self) -> None:
        """Take note of damaged chunks that another copy was found of."""
        self.damaged = {number for number in self.damaged if not self.readable(number)}

    # --- what always holds ------------------------------------------------------------------------------

    @invariant()
    def what_is_needed_can_be_read(self) -> None:
        for number in set().union(*self.held.values()) - self.damaged:
            assert self.readable(number), f"{number} is lost"

    def readable(self, number: int) -> bool:
        packed = digest(number)
        if not self.database.read(self.chunks.stored, packed):
            return False
        places = [
            place
            for pack in self.database.read(lambda: [*self.index.packs(0, 10_000)])
            for place in self.database.read(self.scrubbing.places, pack)
            if place.digest == packed
        ]
        return len(places) == 1 and not self.packs.damaged(places[0].pack, places)


@dataclasses.dataclass(slots=True)
class _NoUploads:
    def reopen_interrupted(self) -> int:
        return 0


@pytest.mark.parametrize("alone", [False, True], ids=["beside a server", "alone"])
def test_a_damaged_chunk_with_a_copy_in_a_pack_of_no_row(alone: bool) -> None:
    """Beside a server the copy waits for the next start; alone it heals the chunk at once."""
    store = Store()
    store.push({0})
    store.damage(0)
    store.orphan(0)
    store.checkup(repair=True, alone=alone)
    assert store.readable(0) is alone
    store.restart()
    assert store.readable(0)
    store.teardown()


TestStore = pytest.mark.contract("S3-59", "S3-60")(Store.TestCase)
TestStore.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
