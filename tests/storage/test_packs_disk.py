"""DiskPacks keeps the contract of a PackStore, survives failing system calls, and cleans up after a crash."""

import dataclasses
import os
import stat
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blake3 import blake3

from contracts.pack_store_contract import PackStoreContract, places, put
from helpers.packs import keyring_of, until_changes_show
from helpers.patterns import pattern
from ingot.content.digests import chunk_digest
from ingot.server.core import disk_room, failpoints
from ingot.server.core.errors import DataLoss, Exhausted, IngotError, Unavailable
from ingot.server.storage.pack_keys import Keyring
from ingot.server.storage.packs_disk import DiskPacks

FAILING = [
    "pack.reserved",
    "pack.appended",
    "pack.footer",
    "pack.synced",
    "pack.renamed",
    "pack.folder_synced",
]


class DiskShelf:
    """Access to the files behind a DiskPacks."""

    too_much = 1 << 60

    def __init__(self, root: Path, keyring: Keyring | None = None) -> None:
        self.root = root
        self.keyring = keyring
        self.store = DiskPacks(root, keyring)

    def reopen(self) -> DiskPacks:
        return DiskPacks(self.root, self.keyring)

    def path(self, pack: str) -> Path:
        return self.root / "packs" / pack[:2] / f"{pack}.pack"

    def contents(self, pack: str) -> bytes:
        return self.path(pack).read_bytes()

    def overwrite(self, pack: str, contents: bytes) -> None:
        path = self.path(pack)
        path.unlink()
        path.write_bytes(contents)


class TestDiskPacks(PackStoreContract):
    @pytest.fixture
    def shelf(self, tmp_path: Path) -> DiskShelf:
        return DiskShelf(tmp_path)


class TestEncryptedDiskPacks(PackStoreContract):
    @pytest.fixture
    def shelf(self, tmp_path: Path) -> DiskShelf:
        return DiskShelf(tmp_path, keyring_of(1))


def files_of(root: Path) -> list[str]:
    return sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())


def test_the_bytes_on_disk(tmp_path: Path) -> None:
    """Write a whole pack by hand, from docs/storage-format.md alone."""
    (sealed,) = put(DiskPacks(tmp_path), [b"one", b"three"])
    path = tmp_path / "packs" / sealed.id[:2] / f"{sealed.id}.pack"
    contents = path.read_bytes()
    one, three = blake3(b"one").digest(), blake3(b"three").digest()
    records = (
        b"INGC\x01\x00" + one + struct.pack("<I", 3) + b"one"
        b"INGC\x01\x00" + three + struct.pack("<I", 5) + b"three"
    )  # fmt: skip
    nonce = contents[len(records) + 5 : len(records) + 21]
    footer = (
        b"INGF\x01" + nonce + struct.pack("<I", 2)
        + one + struct.pack("<QIB", 42, 3, 0) + three + struct.pack("<QIB", 42 + 3 + 42, 5, 0)
    )  # fmt: skip
    assert contents == records + footer + blake3(footer).digest() + struct.pack("<I", len(footer)) + b"INGE"
    assert sealed.id == blake3(footer).hexdigest()
    assert sealed.size == len(contents)
    assert stat.S_IMODE(path.stat().st_mode) & 0o222 == 0


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("place", FAILING)
def test_a_failing_disk_leaves_nothing_behind(tmp_path: Path, place: str, error: str) -> None:
    store = DiskPacks(tmp_path)
    free = store._reserved
    with failpoints.armed(f"{place}={error}"), pytest.raises(IngotError) as caught:
        put(store, [b"one", b"two"])
    assert type(caught.value) is (Unavailable if error == "EIO" else Exhausted)
    assert files_of(tmp_path) == []
    assert store._reserved == free
    assert [store.read(found) for found in places(put(store, [b"one"]))] == [b"one"]


def test_a_failure_at_the_second_pack_takes_the_first_with_it(tmp_path: Path) -> None:
    store = DiskPacks(tmp_path)
    base = pattern("second", 4 << 20)
    with failpoints.armed("pack.synced:2=EIO"), pytest.raises(Unavailable):
        put(store, [bytes([i]) + base[1:] for i in range(17)])
    assert files_of(tmp_path) == []


def test_a_failed_stream_is_closed(tmp_path: Path) -> None:
    ingest = DiskPacks(tmp_path).open_ingest(10, 1)
    with failpoints.armed("pack.appended=EIO"), pytest.raises(Unavailable, match="Input/output error"):
        ingest.append(chunk_digest(b"x"), [b"x"])
    with pytest.raises(RuntimeError, match="closed"):
        ingest.seal()


def test_space_is_allocated_before_bytes_flow_and_given_back(tmp_path: Path) -> None:
    store = DiskPacks(tmp_path)
    ingest = store.open_ingest(8 << 20, 10)
    (file,) = (tmp_path / "ingest").rglob("*.open")
    assert file.stat().st_blocks * 512 >= 8 << 20
    ingest.append(chunk_digest(b"x"), [b"x"])
    (sealed,) = ingest.seal()
    assert sealed.size < 1000
    assert store.usage().packs == sealed.size
    assert store.usage().ingest == 0


def test_punching_that_is_cut_off_lists_nothing_that_is_half_gone(tmp_path: Path) -> None:
    store = DiskPacks(tmp_path)
    (sealed,) = put(store, [pattern(f"half {index}", 64 * 1024) for index in range(4)])
    if store.punch(sealed.id, ()) is None:
        return  # this file system has no holes
    with failpoints.armed("pack.punching=EIO"), pytest.raises(Unavailable, match="Input/output error"):
        store.punch(sealed.id, sealed.entries[:2])
    again = DiskPacks(tmp_path)
    assert again.entries(sealed.id) == sealed.entries[2:]
    assert again.punch(sealed.id, sealed.entries[:2])
    assert again.entries(sealed.id) == sealed.entries[2:]
    assert [again.read(place) for place in places([sealed])[2:]] == [
        pattern(f"half {index}", 64 * 1024) for index in (2, 3)
    ]
    (path,) = tmp_path.glob("packs/*/*.pack")
    assert stat.S_IMODE(path.stat().st_mode) & 0o222 == 0


@pytest.mark.contract("S3-11", "S3-60")
def test_leftovers_of_earlier_runs_are_deleted(tmp_path: Path) -> None:
    earlier = DiskPacks(tmp_path)
    (sealed,) = put(earlier, [b"sealed"])
    unfinished = earlier.open_ingest(100, 1)
    unfinished.append(chunk_digest(b"lost"), [b"lost"])
    store = DiskPacks(tmp_path)
    mine = store.open_ingest(100, 1)
    assert store.recover() == 1
    assert store.recover() == 0
    mine.append(chunk_digest(b"mine"), [b"mine"])
    assert store.read(places(mine.seal())[0]) == b"mine"
    assert store.read(places([sealed])[0]) == b"sealed"


def test_usage_can_be_asked_while_streams_come_and_go(tmp_path: Path) -> None:
    store = DiskPacks(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        streams = [pool.submit(put, store, [b"%d" % number]) for number in range(200)]
        while not all(stream.done() for stream in streams):
            store.usage()
            for pack in list(store.packs())[:5]:
                store.delete(pack.id)
        for stream in streams:
            assert stream.result()


def test_a_pack_deleted_while_it_is_read_stays_readable_for_that_reader(tmp_path: Path) -> None:
    store = DiskPacks(tmp_path)
    (sealed,) = put(store, [b"one", b"two"])
    scanning = store.scan(sealed.id)
    assert next(scanning).intact
    assert store.delete(sealed.id)
    assert next(scanning).intact
    assert next(scanning, None) is None


def test_a_disk_that_cannot_read_is_data_loss(tmp_path: Path) -> None:
    store = DiskPacks(tmp_path)
    (sealed,) = put(store, [b"chunk"])
    for read in (
        lambda: store.read(places([sealed])[0]),
        lambda: store.entries(sealed.id),
        lambda: list(store.scan(sealed.id)),
    ):
        with failpoints.armed("pack.reading=EIO"), pytest.raises(DataLoss, match="cannot read") as caught:
            read()
        assert caught.value.facts["pack"] == sealed.id
    with failpoints.armed("pack.reading=EIO"):
        assert store.read_into(places([sealed]), memoryview(bytearray(5))) == 0
    assert store.read(places([sealed])[0]) == b"chunk"


@pytest.mark.parametrize("keyring", [None, keyring_of(1)])
def test_a_shelf_that_is_not_mounted_is_no_data_loss(tmp_path: Path, keyring: Keyring | None) -> None:
    (sealed,) = put(DiskPacks(tmp_path, keyring), [b"chunk"])
    place = places([sealed])[0]
    store = DiskPacks(tmp_path, keyring)
    (tmp_path / "packs").rename(tmp_path / "elsewhere")
    (tmp_path / "packs").mkdir()  # as a folder that is mounted on is without its disk
    with pytest.raises(Unavailable, match="is not there"):
        store.read(place)
    with pytest.raises(Unavailable, match="is not there"):
        store.damaged(sealed.id, [place])
    (tmp_path / "packs").rmdir()
    with pytest.raises(Unavailable, match="how full the disk"):
        store.open_ingest(5, 1)
    (tmp_path / "elsewhere").rename(tmp_path / "packs")
    assert store.damaged(sealed.id, [place]) == []
    assert store.read(place) == b"chunk"


def test_a_named_pipe_in_the_place_of_a_pack_holds_up_nobody(tmp_path: Path) -> None:
    (sealed,) = put(DiskPacks(tmp_path), [b"chunk"])
    shelf = DiskShelf(tmp_path)
    shelf.path(sealed.id).unlink()
    os.mkfifo(shelf.path(sealed.id))
    with pytest.raises(DataLoss, match="Illegal seek"):
        shelf.store.entries(sealed.id)
    with pytest.raises(DataLoss):
        shelf.store.read(places([sealed])[0])


def test_a_pack_that_cannot_be_opened_just_now_is_no_data_loss(tmp_path: Path) -> None:
    (sealed,) = put(DiskPacks(tmp_path), [b"chunk"])
    place = places([sealed])[0]
    shelf = DiskShelf(tmp_path)
    file = shelf.path(sealed.id)
    aside = file.with_suffix(".aside")
    file.rename(aside)
    file.symlink_to(file)  # any error of opening but "there is none": as too many open files would be
    with pytest.raises(Unavailable, match="cannot open the pack"):
        shelf.store.read(place)
    with pytest.raises(Unavailable, match="cannot open the pack"):
        shelf.store.damaged(sealed.id, [place])
    aside.rename(file)
    assert shelf.store.read(place) == b"chunk"


def test_more_neighbours_than_one_call_takes_are_read(tmp_path: Path) -> None:
    store = DiskPacks(tmp_path)
    chunks = [b"%05d" % number for number in range(1203)]
    buffer = bytearray(5 * 1203)
    assert store.read_into(places(put(store, chunks)), memoryview(buffer)) == 1203
    assert buffer == b"".join(chunks)


def test_many_packs_do_not_use_up_file_descriptors(tmp_path: Path) -> None:
    def open_files() -> int:
        links = (os.path.realpath(file.path) for file in os.scandir("/proc/self/fd"))
        return sum(link.startswith(str(tmp_path)) for link in links)

    store = DiskPacks(tmp_path)
    for number in range(300):
        store.read(places(put(store, [b"%d" % number]))[0])
    assert open_files() == 256
    for pack in list(store.packs()):
        store.delete(pack.id)
    assert open_files() == 0


@pytest.mark.parametrize(
    ("disk", "free"),
    [(64 << 20, 8 << 20), (512 << 20, 64 << 20), (1536 << 20, 192 << 20), (1 << 40, 192 << 20)],
)
def test_what_is_kept_free_leaves_a_small_disk_usable(disk: int, free: int) -> None:
    assert disk_room.headroom(disk) == free


def test_an_intact_chunk_is_hashed_once_and_truncation_still_noticed(tmp_path: Path) -> None:
    """After the first read the bytes are trusted until the next start; a missing end never is."""
    store = DiskPacks(tmp_path)
    (sealed,) = put(store, [b"0123456789"])
    place = places([sealed])[0]
    assert store.read(place) == b"0123456789"
    path = tmp_path / "packs" / sealed.id[:2] / f"{sealed.id}.pack"
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(place.offset)
        file.write(b"X")
        file.flush()
        assert store.read(place) == b"X123456789"
        file.truncate(place.offset + 5)
    with pytest.raises(DataLoss, match="only 5 of 10 bytes"):
        store.read(place)


def _is_cached(path: Path) -> bool:
    """Return whether the kernel has the beginning of a file in memory."""
    with path.open("rb") as file:
        try:
            return os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT) == 1
        except OSError:
            return False


def test_what_came_in_this_run_is_hashed_again_when_it_comes_from_the_disk(tmp_path: Path) -> None:
    """Until then it is what was hashed on its way in: a place with another digest shows whether it is."""
    store = DiskPacks(tmp_path)
    (sealed,) = put(store, [pattern(f"written {number}", 64 * 1024) for number in range(100)])
    path = tmp_path / "packs" / sealed.id[:2] / f"{sealed.id}.pack"
    if not _is_cached(path):
        pytest.skip("this file system cannot read only what is in memory")
    right = places([sealed])
    wrong = [dataclasses.replace(place, digest=chunk_digest(b"another")) for place in right]
    buffer = memoryview(bytearray(64 * 1024))
    assert store.read_into(wrong[:1], buffer) == 1
    assert buffer == pattern("written 0", 64 * 1024)
    assert DiskPacks(tmp_path).read_into(wrong[:1], buffer) == 0  # another run has not hashed it
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    # Whoever looks what is in memory makes the kernel read it, and what lies behind it.
    believed = [store.read_into([place], buffer) for place in wrong]
    if all(believed):
        pytest.skip("this system let nothing go")
    assert sum(believed[believed.index(0) :]) == 0
    assert [store.read_into([place], buffer) for place in right] == [1] * len(right)


def test_a_pack_that_somebody_touched_is_hashed_again(tmp_path: Path) -> None:
    store = DiskPacks(tmp_path)
    (sealed,) = put(store, [b"0123456789"])
    (place,) = places([sealed])
    path = tmp_path / "packs" / sealed.id[:2] / f"{sealed.id}.pack"
    until_changes_show(path)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(place.offset)
        file.write(b"X")
    assert store.read_into([place], memoryview(bytearray(10))) == 0


def test_files_that_others_leave_between_ours_are_left_alone(tmp_path: Path) -> None:
    (sealed,) = put(DiskPacks(tmp_path), [b"x" * 1000])
    strays = [tmp_path / "packs" / ".DS_Store", tmp_path / "ingest" / ".nfs0001"]
    for stray in strays:
        stray.write_bytes(b"?")
    packs = DiskPacks(tmp_path)
    packs.recover()
    assert [pack.id for pack in packs.packs()] == [sealed.id]
    assert packs.leftovers() == 0
    assert all(stray.exists() for stray in strays)
