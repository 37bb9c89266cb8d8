"""What every PackStore must do. A new shelf proves itself with a subclass that brings the `shelf` fixture."""

import random
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.eventually import eventually
from helpers.patterns import pattern
from ingot.content.digests import Data, chunk_digest
from ingot.server.core.errors import DataLoss, Exhausted, Invalid, Reason
from ingot.server.core.packs import MAX_CHUNK_SIZE, PACK_TARGET, ChunkPlace, SealedPack
from ingot.server.core.stores import Ingest, PackStore

MIB = 1024 * 1024


class DamagedShelf(Protocol):
    """A store and a way to damage it, as a failing disk would."""

    @property
    def store(self) -> PackStore:
        """The store under test."""
        ...

    def reopen(self) -> PackStore:
        """Return a store over the same packs, as after a restart of the server."""
        ...

    def contents(self, pack: str) -> bytes:
        """Return the bytes of a pack."""
        ...

    def overwrite(self, pack: str, contents: bytes) -> None:
        """Replace the bytes of a pack."""
        ...

    @property
    def too_much(self) -> int:
        """More bytes than fit."""
        ...


def put(store: PackStore, chunks: Sequence[bytes]) -> list[SealedPack]:
    """Store chunks through one stream."""
    ingest = store.open_ingest(sum(map(len, chunks)), len(chunks))
    for chunk in chunks:
        ingest.append(chunk_digest(chunk), [chunk])
    return ingest.seal()


def places(packs: Sequence[SealedPack]) -> list[ChunkPlace]:
    """Return where the chunks of packs lie, as an index would keep it."""
    return [ChunkPlace(p.id, e.offset, e.length, e.digest) for p in packs for e in p.entries]


def flip(contents: bytes, position: int) -> bytes:
    """Return the bytes with one bit changed."""
    return contents[:position] + bytes([contents[position] ^ 1]) + contents[position + 1 :]


class PackStoreContract:
    """Tests of a PackStore; pytest runs them through subclasses."""

    @pytest.fixture
    @abstractmethod
    def shelf(self) -> DamagedShelf:
        """Return an empty shelf."""
        ...

    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.binary(min_size=1, max_size=300), max_size=12))
    def test_what_is_sealed_is_read(self, shelf: DamagedShelf, chunks: list[bytes]) -> None:
        sealed = put(shelf.store, chunks)
        assert [shelf.store.read(place) for place in places(sealed)] == list(dict.fromkeys(chunks))
        for pack in sealed:
            assert shelf.store.entries(pack.id) == pack.entries
            assert [found.entry for found in shelf.store.scan(pack.id)] == list(pack.entries)
            assert all(found.intact for found in shelf.store.scan(pack.id))
        listed = {pack.id: pack.size for pack in shelf.store.packs()}
        assert {pack.id: pack.size for pack in sealed}.items() <= listed.items()

    def test_an_empty_stream_makes_no_pack(self, shelf: DamagedShelf) -> None:
        assert put(shelf.store, []) == []
        assert list(shelf.store.packs()) == []

    def test_pieces_are_joined(self, shelf: DamagedShelf) -> None:
        chunk = pattern("pieces", 3 * MIB)
        ingest = shelf.store.open_ingest(len(chunk), 1)
        pieces: list[Data] = [chunk[:5], memoryview(chunk)[5:MIB], b"", bytearray(chunk[MIB:])]
        assert ingest.append(chunk_digest(chunk), pieces)
        assert shelf.store.read(places(ingest.seal())[0]) == chunk

    def test_very_many_pieces_are_joined(self, shelf: DamagedShelf) -> None:
        chunk = pattern("pieces", 5000)
        ingest = shelf.store.open_ingest(len(chunk), 1)
        assert ingest.append(chunk_digest(chunk), [chunk[i : i + 1] for i in range(len(chunk))])
        assert shelf.store.read(places(ingest.seal())[0]) == chunk

    def test_a_chunk_sent_twice_is_stored_once(self, shelf: DamagedShelf) -> None:
        ingest = shelf.store.open_ingest(20, 2)
        digest = chunk_digest(b"twice")
        assert ingest.append(digest, [b"twice"])
        assert not ingest.append(digest, [b"twice"])
        (sealed,) = ingest.seal()
        assert len(sealed.entries) == 1

    def test_the_same_chunks_sealed_twice_are_two_packs(self, shelf: DamagedShelf) -> None:
        first, second = put(shelf.store, [b"same"])[0], put(shelf.store, [b"same"])[0]
        assert first.id != second.id
        assert shelf.store.delete(first.id)
        assert shelf.store.read(places([second])[0]) == b"same"

    def test_wrong_bytes_are_refused_and_the_stream_goes_on(self, shelf: DamagedShelf) -> None:
        ingest = shelf.store.open_ingest(100, 3)
        assert ingest.append(chunk_digest(b"first"), [b"first"])
        with pytest.raises(Invalid) as caught:
            ingest.append(chunk_digest(b"second"), [b"sec0nd"])
        assert caught.value.reason is Reason.CHUNK_HASH_MISMATCH
        with pytest.raises(Invalid):  # also for a digest that the stream has already
            ingest.append(chunk_digest(b"first"), [b"other"])
        assert ingest.append(chunk_digest(b"third"), [b"third"])
        sealed = ingest.seal()
        assert [shelf.store.read(place) for place in places(sealed)] == [b"first", b"third"]

    def test_many_chunks_are_added_at_once(self, shelf: DamagedShelf) -> None:
        chunks = [pattern(f"many {index}", 3 * MIB + index) for index in range(30)]  # over one pack
        ingest = shelf.store.open_ingest(sum(map(len, chunks)), len(chunks))
        named: list[tuple[bytes, list[Data]]] = [(chunk_digest(chunk), [chunk]) for chunk in chunks]
        assert ingest.append_all([*named[:20], named[0]]) == 20
        assert ingest.append_all(named) == 10
        sealed = ingest.seal()
        assert len(sealed) == 2
        assert all(pack.size <= PACK_TARGET for pack in sealed)
        assert [shelf.store.read(place) for place in places(sealed)] == chunks
        for pack in sealed:
            assert shelf.store.entries(pack.id) == pack.entries
            assert all(found.intact for found in shelf.store.scan(pack.id))

    def test_of_many_chunks_with_a_wrong_one_none_is_added(self, shelf: DamagedShelf) -> None:
        ingest = shelf.store.open_ingest(100, 3)
        with pytest.raises(Invalid):
            ingest.append_all([(chunk_digest(b"first"), [b"first"]), (chunk_digest(b"second"), [b"sec0nd"])])
        assert ingest.append(chunk_digest(b"first"), [b"first"])
        (sealed,) = ingest.seal()
        assert len(sealed.entries) == 1

    @pytest.mark.parametrize("pieces", [[], [b""], [bytes(MAX_CHUNK_SIZE), b"x"]])
    def test_lengths_out_of_bounds_are_refused(self, shelf: DamagedShelf, pieces: list[bytes]) -> None:
        ingest = shelf.store.open_ingest(100, 1)
        with pytest.raises(Invalid) as caught:
            ingest.append(chunk_digest(b"".join(pieces)), pieces)
        assert caught.value.reason is Reason.BAD_LENGTH
        ingest.abort()

    def test_the_largest_chunk_is_stored(self, shelf: DamagedShelf) -> None:
        chunk = pattern("largest", MAX_CHUNK_SIZE)
        assert shelf.store.read(places(put(shelf.store, [chunk]))[0]) == chunk

    def test_a_long_stream_rolls_over(self, shelf: DamagedShelf) -> None:
        base = pattern("long", 4 * MIB)
        chunks = [bytes([i]) + base[1:] for i in range(PACK_TARGET // len(base) + 2)]
        sealed = put(shelf.store, chunks)
        assert len(sealed) == 2
        assert all(pack.size <= PACK_TARGET for pack in sealed)
        assert [shelf.store.read(place) for place in places(sealed)] == chunks

    def test_an_aborted_stream_leaves_nothing(self, shelf: DamagedShelf) -> None:
        before = shelf.store.usage()
        ingest = shelf.store.open_ingest(MIB, 10)
        ingest.append(chunk_digest(b"chunk"), [b"chunk"])
        ingest.abort()
        ingest.abort()
        assert list(shelf.store.packs()) == []
        assert shelf.store.usage().ingest == before.ingest

    @pytest.mark.parametrize("end", [lambda i: i.seal(), lambda i: i.abort()], ids=["seal", "abort"])
    def test_a_closed_stream_takes_nothing_more(
        self, shelf: DamagedShelf, end: Callable[[Ingest], object]
    ) -> None:
        ingest = shelf.store.open_ingest(100, 2)
        end(ingest)
        with pytest.raises(RuntimeError, match="closed"):
            ingest.append(chunk_digest(b"late"), [b"late"])
        with pytest.raises(RuntimeError, match="closed"):
            ingest.seal()
        ingest.abort()

    def test_a_stream_that_cannot_fit_is_refused_before_it_begins(self, shelf: DamagedShelf) -> None:
        with pytest.raises(Exhausted) as caught:
            shelf.store.open_ingest(shelf.too_much, 1)
        assert caught.value.reason is Reason.DISK_LOW
        assert caught.value.next_step
        assert put(shelf.store, [b"small"])

    def test_reservations_count_until_they_are_settled(self, shelf: DamagedShelf) -> None:
        def is_kept() -> bool:
            size = shelf.store.usage().free * 6 // 10  # two of these cannot both fit
            first = shelf.store.open_ingest(size, 1)
            try:
                shelf.store.open_ingest(size, 1).abort()
            except Exhausted:
                first.abort()
                shelf.store.open_ingest(size, 1).abort()
                return True
            first.abort()
            return False

        eventually(is_kept, what="space kept, with nobody else who frees a fifth of the disk meanwhile")

    def test_a_flipped_bit_is_never_read(self, shelf: DamagedShelf) -> None:
        (sealed,) = put(shelf.store, [b"first chunk", b"second chunk"])
        first, second = places([sealed])
        good = shelf.contents(sealed.id)
        shelf.overwrite(sealed.id, flip(good, first.offset + 3))
        store = shelf.reopen()
        with pytest.raises(DataLoss) as caught:
            store.read(first)
        assert caught.value.facts["pack"] == sealed.id
        assert store.read(second) == b"second chunk"
        assert [found.intact for found in store.scan(sealed.id)] == [False, True]

    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=12, unique=True), st.randoms())
    def test_many_chunks_are_read_at_once(
        self, shelf: DamagedShelf, chunks: list[bytes], order: random.Random
    ) -> None:
        sealed = [*put(shelf.store, chunks), *put(shelf.store, chunks[::-1])]
        wanted = list(zip(places(sealed), [*chunks, *chunks[::-1]], strict=True))
        for _ in range(2):  # side by side first, then in any order
            buffer = bytearray(2 * sum(map(len, chunks)))
            assert shelf.store.read_into([place for place, _ in wanted], memoryview(buffer)) == len(wanted)
            assert buffer == b"".join(chunk for _, chunk in wanted)
            order.shuffle(wanted)

    def test_of_many_chunks_those_before_a_lost_one_are_read(self, shelf: DamagedShelf) -> None:
        chunks = [b"first", b"second", b"third", b"fourth"]
        (sealed,) = put(shelf.store, chunks)
        found = places([sealed])
        shelf.overwrite(sealed.id, flip(shelf.contents(sealed.id), found[2].offset))
        store, buffer = shelf.reopen(), memoryview(bytearray(22))
        assert store.read_into(found, buffer) == 2
        assert bytes(buffer[:11]) == b"firstsecond"
        assert store.read_into(found[3:], buffer[16:]) == 1
        assert bytes(buffer[16:]) == b"fourth"
        shelf.overwrite(sealed.id, shelf.contents(sealed.id)[: found[1].offset + 1])
        store = shelf.reopen()
        assert store.read_into(found[:1], buffer[:5]) == 1
        assert store.read_into(found[1:2], buffer[:6]) == 0
        assert store.delete(sealed.id)
        assert store.read_into(found, buffer) == 0

    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def test_damage_anywhere_is_noticed(self, shelf: DamagedShelf, data: st.DataObject) -> None:
        """Whatever byte changes, or however much is cut off: wrong bytes are never returned as good."""
        chunks = [b"first chunk", b"second chunk", b"third"]
        (sealed,) = put(shelf.store, chunks)
        good = shelf.contents(sealed.id)
        position = data.draw(st.integers(0, len(good) - 1))
        shelf.overwrite(sealed.id, flip(good, position) if data.draw(st.booleans()) else good[:position])
        store = shelf.reopen()
        noticed = 0
        for place, chunk in zip(places([sealed]), chunks, strict=True):
            buffer = bytearray(len(chunk))
            assert store.read_into([place], memoryview(buffer)) == 0 or buffer == chunk
            try:
                assert store.read(place) == chunk
            except DataLoss:
                noticed += 1
        try:
            assert store.entries(sealed.id) == sealed.entries
        except DataLoss:
            noticed += 1
        try:
            noticed += sum(not found.intact for found in store.scan(sealed.id))
        except DataLoss:
            noticed += 1
        assert noticed

    def test_bytes_behind_the_end_are_noticed(self, shelf: DamagedShelf) -> None:
        (sealed,) = put(shelf.store, [b"chunk"])
        shelf.overwrite(sealed.id, shelf.contents(sealed.id) + b"more")
        with pytest.raises(DataLoss, match="tail"):
            shelf.reopen().entries(sealed.id)

    def test_swapped_packs_are_noticed(self, shelf: DamagedShelf) -> None:
        one, two = put(shelf.store, [b"one"])[0], put(shelf.store, [b"two"])[0]
        first, second = shelf.contents(one.id), shelf.contents(two.id)
        shelf.overwrite(one.id, second)
        shelf.overwrite(two.id, first)
        store = shelf.reopen()
        for pack in (one, two):
            with pytest.raises(DataLoss):
                store.read(places([pack])[0])
            with pytest.raises(DataLoss, match="id of another pack"):
                store.entries(pack.id)

    def test_a_place_beyond_the_end_is_data_loss(self, shelf: DamagedShelf) -> None:
        (sealed,) = put(shelf.store, [b"chunk"])
        with pytest.raises(DataLoss, match="only 0 of 5 bytes"):
            shelf.store.read(ChunkPlace(sealed.id, 10**6, 5, chunk_digest(b"chunk")))

    def test_punched_chunks_are_absent_and_the_others_untouched(self, shelf: DamagedShelf) -> None:
        chunks = [pattern(f"punched {index}", 64 * 1024) for index in range(8)]
        (sealed,) = put(shelf.store, chunks)
        where = places([sealed])
        for place in where:
            shelf.store.read(place)  # what is verified by now must not be trusted afterwards
        before = shelf.store.allocated(sealed.id)
        gone = [sealed.entries[index] for index in (0, 2, 3, 7)]
        freed = shelf.store.punch(sealed.id, gone)
        if freed is None:  # this file system cannot
            assert [shelf.store.read(place) for place in where] == chunks
            return
        assert freed == before - shelf.store.allocated(sealed.id)
        assert freed > 3 * 64 * 1024 - 4 * 8192  # whole blocks only
        kept = [index for index in range(8) if sealed.entries[index] not in gone]
        for store in (shelf.store, shelf.reopen()):
            assert [entry.digest for entry in store.entries(sealed.id)] == [where[i].digest for i in kept]
            assert [found.entry.digest for found in store.scan(sealed.id)] == [where[i].digest for i in kept]
            assert all(found.intact for found in store.scan(sealed.id))
            for index, place in enumerate(where):
                if index in kept:
                    assert store.read(place) == chunks[index]
                else:
                    assert store.damaged(place.pack, [place]) == [place]
                    with pytest.raises(DataLoss):
                        store.read(place)
        assert shelf.store.punch(sealed.id, gone) == 0

    def test_space_that_a_pack_takes(self, shelf: DamagedShelf) -> None:
        (sealed,) = put(shelf.store, [pattern("space", MIB)])
        assert shelf.store.allocated(sealed.id) >= MIB
        with pytest.raises(DataLoss, match="not on the shelf"):
            shelf.store.punch("ab" * 32, [])
        shelf.store.delete(sealed.id)
        assert shelf.store.allocated(sealed.id) == 0

    def test_a_chunk_that_was_read_before_is_still_checked(self, shelf: DamagedShelf) -> None:
        first, second = places(put(shelf.store, [b"first", b"second"]))
        assert shelf.store.read(first) == b"first"
        assert shelf.store.damaged(first.pack, [second, first]) == []
        shelf.overwrite(first.pack, flip(shelf.contents(first.pack), first.offset))
        assert shelf.store.damaged(first.pack, [second, first]) == [first]
        shelf.store.delete(first.pack)
        assert shelf.store.damaged(first.pack, [second, first]) == [second, first]
        assert shelf.store.damaged(first.pack, []) == []

    def test_absent_packs(self, shelf: DamagedShelf) -> None:
        absent = "ab" * 32
        with pytest.raises(DataLoss, match="not on the shelf"):
            shelf.store.read(ChunkPlace(absent, 0, 5, bytes(32)))
        with pytest.raises(DataLoss, match="not on the shelf"):
            shelf.store.entries(absent)
        with pytest.raises(DataLoss, match="not on the shelf"):
            list(shelf.store.scan(absent))
        assert not shelf.store.delete(absent)
        assert not shelf.store.quarantine(absent)

    @pytest.mark.parametrize("method", ["delete", "quarantine"])
    def test_removed_packs_cannot_be_read(self, shelf: DamagedShelf, method: str) -> None:
        (sealed,) = put(shelf.store, [b"chunk"])
        shelf.store.read(places([sealed])[0])
        assert getattr(shelf.store, method)(sealed.id)
        with pytest.raises(DataLoss):
            shelf.store.read(places([sealed])[0])
        assert list(shelf.store.packs()) == []
        assert (shelf.store.usage().quarantine > 0) == (method == "quarantine")
        assert not getattr(shelf.store, method)(sealed.id)

    def test_usage_counts_what_is_there(self, shelf: DamagedShelf) -> None:
        empty = shelf.store.usage()
        (sealed,) = put(shelf.store, [pattern("usage", MIB)])
        assert shelf.store.usage().packs - empty.packs == sealed.size
        assert 0 <= shelf.store.usage().free <= shelf.store.usage().total

    def test_streams_of_many_threads_do_not_mix(self, shelf: DamagedShelf) -> None:
        def stream(number: int) -> None:
            chunks = [pattern(f"{number}-{index}", 5000 + index) for index in range(20)]
            sealed = put(shelf.store, chunks)
            assert [shelf.store.read(place) for place in places(sealed)] == chunks

        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(stream, number) for number in range(24)]:
                done.result(60)
        assert len(list(shelf.store.packs())) == 24
