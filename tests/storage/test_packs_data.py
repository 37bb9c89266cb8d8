"""The shelf as data processes see it: they finish packs for the main process, and see what it does."""

from pathlib import Path

import pytest

from contracts.pack_store_contract import places
from helpers.eventually import eventually
from helpers.packs import put, until_changes_show
from ingot.content.digests import chunk_digest
from ingot.server.core.errors import DataLoss, Exhausted, Unavailable
from ingot.server.core.packs import SealedPack
from ingot.server.storage.packs_data import DataPacks
from ingot.server.storage.packs_disk import DiskPacks

ONE, TWO = b"one" * 5000, b"two" * 5000


def _finished(data: DataPacks, *chunks: bytes) -> SealedPack:
    ingest = data.open_ingest(sum(map(len, chunks)), len(chunks))
    for chunk in chunks:
        ingest.append(chunk_digest(chunk), [chunk])
    (sealed,) = ingest.seal()
    return sealed


def test_a_finished_pack_is_on_the_shelf_once_the_main_process_takes_it(tmp_path: Path) -> None:
    main, data = DiskPacks(tmp_path), DataPacks(tmp_path)
    sealed = _finished(data, ONE, TWO)
    assert list(main.packs()) == []
    main.take_in(data.ingest, {data.file_of(sealed): sealed.id})
    assert [pack.id for pack in main.packs()] == [sealed.id]
    assert main.entries(sealed.id) == sealed.entries
    assert [shelf.read(places([sealed])[1]) for shelf in (main, data)] == [TWO, TWO]
    data.delete(sealed.id)  # it is not its any more
    assert [pack.id for pack in main.packs()] == [sealed.id]
    data.close()
    assert not (tmp_path / "ingest" / data.ingest).exists()


def test_packs_are_taken_all_or_none(tmp_path: Path) -> None:
    main, data = DiskPacks(tmp_path), DataPacks(tmp_path)
    first, second = _finished(data, ONE), _finished(data, TWO)
    data.delete(second.id)
    with pytest.raises(Unavailable):
        main.take_in(data.ingest, {data.file_of(each): each.id for each in (first, second)})
    assert list(main.packs()) == []


def test_what_a_data_process_leaves_is_dropped_and_nothing_else(tmp_path: Path) -> None:
    main, data, other = DiskPacks(tmp_path), DataPacks(tmp_path), DataPacks(tmp_path)
    open_stream = data.open_ingest(100, 1)
    open_stream.append(chunk_digest(ONE), [ONE])
    kept = _finished(other, TWO)
    main.ingests.keep(other.ingest)
    main.ingests.drop(data.ingest)
    assert not (tmp_path / "ingest" / data.ingest).exists()
    assert (main.leftovers(), main.recover()) == (0, 0)  # that one works in its folder still
    main.take_in(other.ingest, {other.file_of(kept): kept.id})
    main.ingests.drop(data.ingest)
    assert [pack.id for pack in main.packs()] == [kept.id]


def test_space_is_set_apart_by_the_main_process_alone(tmp_path: Path) -> None:
    main, data = DiskPacks(tmp_path), DataPacks(tmp_path)

    def is_kept() -> bool:
        size = main.usage().free * 6 // 10  # two of these cannot both fit
        need = main.promise(size, 4)
        data.open_ingest(size, 4).abort()
        try:
            main.unreserve(main.promise(size, 4))
        except Exhausted:
            main.unreserve(need)
            main.unreserve(main.promise(size, 4))
            return True
        main.unreserve(need)
        return False

    eventually(is_kept, what="space kept, with nobody else who frees a fifth of the disk meanwhile")
    assert data.promise(1 << 60, 1) > 1 << 60  # what is too much, the main process has refused


def test_a_pack_that_was_read_is_let_go_once_it_is_deleted(tmp_path: Path) -> None:
    main, data = DiskPacks(tmp_path), DataPacks(tmp_path)
    (sealed,) = put(main, [ONE])
    place = places([sealed])[0]
    assert data.read(place) == ONE
    main.delete(sealed.id)
    assert data.read(place) == ONE  # whoever reads it keeps it
    data.let_go()
    with pytest.raises(DataLoss):
        data.read(place)


def test_what_was_checked_before_is_not_believed_of_a_pack_that_changed(tmp_path: Path) -> None:
    main, data = DiskPacks(tmp_path), DataPacks(tmp_path)
    (sealed,) = put(main, [ONE, TWO])
    first, second = places([sealed])
    buffer = memoryview(bytearray(len(ONE) + len(TWO)))
    assert data.read_into([first, second], buffer) == 2
    until_changes_show(next(tmp_path.glob("packs/*/*.pack")))
    if main.punch(sealed.id, sealed.entries[:1]) is None:
        pytest.skip("this file system makes no holes")
    with pytest.raises(DataLoss):
        data.read(first)
    assert data.read_into([first, second], buffer) == 0
    assert data.read(second) == TWO
