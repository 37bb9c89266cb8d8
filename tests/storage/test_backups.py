"""Backups: consistent while others write, packs copied once, old copies dropped, and restored whole."""

import dataclasses
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import pytest

from helpers.packs import put
from helpers.schema import migrated
from ingot.content import digests
from ingot.server.core.errors import DataLoss, Precondition, Unavailable
from ingot.server.core.packs import SealedPack
from ingot.server.core.upkeep_stores import Backup
from ingot.server.storage import backup_folder, backups
from ingot.server.storage.backups import BackupError, FolderBackups
from ingot.server.storage.chunks_sql import ChunksSql
from ingot.server.storage.database import Database, open_database
from ingot.server.storage.packs_disk import DiskPacks
from ingot.server.storage.shelf_sql import ShelfSql
from ingot.server.storage.trees_sql import TreesSql


@dataclasses.dataclass(slots=True)
class Home:
    """A data folder with rows, packs and a secret, and its backup folder."""

    path: Path
    folder: Path
    database: Database
    packs: DiskPacks
    time: float = 1_790_000_000.0

    def store(self, content: bytes) -> SealedPack:
        (sealed,) = put(self.packs, [content])
        self.database.write(ChunksSql().add_pack, sealed, self.time).result()
        return sealed

    def back_up(self, keep: int = 7) -> Backup:
        self.time += 60
        store = FolderBackups(self.path, self.database.path, self.folder)
        for pack in store.begin(self.time):
            store.copy(pack)
        made = store.finish()
        store.prune(keep)
        return made


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> Iterator[Home]:
    path = tmp_path / "home"
    path.mkdir()
    database = open_database(f"sqlite:///{path}/ingot.db")
    migrated(database)
    (path / "secret").write_bytes(b"s" * 32)
    (path / "lock").touch()
    yield Home(path, tmp_path / "backup", database, DiskPacks(path))
    database.close()


def _stored(home: Path, content: bytes) -> bool:
    """Tell whether a restored folder has a chunk, in its rows and intact on its shelf."""
    database = open_database(f"sqlite:///{home}/ingot.db")
    try:
        known = database.read(ChunksSql().stored, digests.chunk_digest(content))
    finally:
        database.close()
    packs = DiskPacks(home)
    return bool(known) and any(
        each.entry.digest == digests.chunk_digest(content) and each.intact
        for pack in packs.packs()
        for each in packs.scan(pack.id)
    )


def _packs_in(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "packs").glob("*/*")}


@pytest.mark.contract("S0-107")
def test_a_backup_restored_into_an_empty_folder_has_everything(home: Home, tmp_path: Path) -> None:
    home.store(b"one")
    made = home.back_up()
    home.store(b"two")  # after the backup
    told: list[tuple[int, int]] = []
    restored = backups.restore(
        home.folder, tmp_path / "new", told=lambda done, all_: told.append((done, all_))
    )
    assert restored == made
    assert _stored(tmp_path / "new", b"one")
    assert not _stored(tmp_path / "new", b"two")
    assert (tmp_path / "new" / "secret").read_bytes() == b"s" * 32
    assert (tmp_path / "new" / "secret").stat().st_mode & 0o077 == 0
    assert not (tmp_path / "new" / "lock").exists()
    assert told == [(1, 1)]


def test_the_next_backup_copies_only_new_packs(home: Home) -> None:
    first = home.store(b"one")
    assert home.back_up().copied_packs == 1
    second = home.store(b"two")
    made = home.back_up()
    assert (made.packs, made.copied_packs, made.copied_bytes) == (2, 1, second.size)
    assert _packs_in(home.folder) == {first.id, second.id}


def test_old_backups_go_with_the_packs_that_only_they_need(home: Home, tmp_path: Path) -> None:
    gone, kept = home.store(b"gone"), home.store(b"kept")
    home.back_up()
    home.database.write(lambda: _condemn(gone.id)).result()
    home.packs.delete(gone.id)
    for _ in range(2):
        home.back_up(keep=2)
    assert [each.packs for each in backup_folder.found(home.folder)] == [1, 1]
    assert _packs_in(home.folder) == {kept.id}
    backups.restore(home.folder, tmp_path / "new")
    assert _stored(tmp_path / "new", b"kept")


def test_backups_of_one_second_stand_side_by_side(home: Home, tmp_path: Path) -> None:
    made = []
    for number in range(12):
        pack = home.store(b"%d" % number)
        home.time -= 60 - number / 100  # as much as `back_up` lets pass, and a little
        made.append(home.back_up(keep=11).name)
    assert len(set(made)) == 12
    assert [each.name for each in backup_folder.found(home.folder)] == made[1:]
    assert backups.restore(home.folder, tmp_path / "new").name == made[-1]
    assert pack.id in _packs_in(tmp_path / "new")


def test_a_backup_that_was_cut_short_does_not_count_and_the_next_one_goes_on(
    home: Home, tmp_path: Path
) -> None:
    home.store(b"one")
    home.store(b"two")
    store = FolderBackups(home.path, home.database.path, home.folder)
    first, _ = store.begin(home.time)
    store.copy(first)
    shutil.copytree(home.folder, tmp_path / "killed")
    store.abandon()
    shutil.rmtree(home.folder)
    shutil.move(tmp_path / "killed", home.folder)  # as if neither finish nor abandon had been
    assert backup_folder.found(home.folder) == []
    made = home.back_up()
    assert (made.packs, made.copied_packs) == (2, 1)
    assert [path.name for path in home.folder.iterdir() if path.name.endswith(".partial")] == []


def test_a_pack_that_is_gone_fails_the_backup(home: Home) -> None:
    sealed = home.store(b"one")
    home.packs.delete(sealed.id)
    store = FolderBackups(home.path, home.database.path, home.folder)
    (needed,) = store.begin(home.time)
    with pytest.raises(DataLoss, match=sealed.id):
        store.copy(needed)
    with pytest.raises(DataLoss, match=sealed.id):
        store.finish()
    store.abandon()
    assert backup_folder.found(home.folder) == []


def test_restoring_never_overwrites_data(home: Home) -> None:
    home.store(b"one")
    home.back_up()
    with pytest.raises(BackupError, match="has data already"):
        backups.restore(home.folder, home.path)


def test_restoring_says_which_backups_there_are(home: Home, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="no backup in"):
        backups.restore(tmp_path / "nothing", tmp_path / "new")
    home.store(b"one")
    made = home.back_up()
    with pytest.raises(BackupError, match=f"there are {made.name}"):
        backups.restore(home.folder, tmp_path / "new", "yesterday")


def test_a_restore_that_failed_can_be_run_again(home: Home, tmp_path: Path) -> None:
    sealed = home.store(b"one")
    home.back_up()
    copy = home.folder / "packs" / sealed.id[:2] / f"{sealed.id}.pack"
    shutil.move(copy, tmp_path / "aside")
    with pytest.raises(BackupError, match="Put them back"):
        backups.restore(home.folder, tmp_path / "new")
    assert not (tmp_path / "new" / "ingot.db").exists()
    shutil.move(tmp_path / "aside", copy)
    backups.restore(home.folder, tmp_path / "new")
    assert _stored(tmp_path / "new", b"one")


def test_a_restore_replaces_packs_that_are_there_and_damaged(home: Home, tmp_path: Path) -> None:
    sealed, other = home.store(b"x" * 5000), home.store(b"other")
    home.back_up()
    new = tmp_path / "new"
    for pack in (sealed, other):  # as in a folder whose rows were moved away
        target = new / "packs" / pack.id[:2] / f"{pack.id}.pack"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(home.path / "packs" / pack.id[:2] / target.name, target)
    damaged = new / "packs" / sealed.id[:2] / f"{sealed.id}.pack"
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes().replace(b"xxxx", b"yyyy", 1))
    backups.restore(home.folder, new)
    assert _stored(new, b"x" * 5000)
    assert _stored(new, b"other")


def test_a_backup_whose_name_a_crash_kept_back_does_not_count(home: Home, tmp_path: Path) -> None:
    home.store(b"one")
    first, second = home.back_up(), home.back_up()
    (home.folder / second.name).rename(home.folder / f"{second.name}.partial")
    assert backup_folder.found(home.folder) == [first]
    assert backups.restore(home.folder, tmp_path / "new") == first
    home.back_up()
    assert not list(home.folder.glob("*.partial"))


def _condemn(pack: str) -> None:
    found = ShelfSql().find(pack)
    assert found is not None
    assert ShelfSql().condemn(found.key, 1.0)


def test_a_pack_that_was_cut_off_in_the_backup_is_copied_again(home: Home) -> None:
    pack = home.store(b"x" * 5000)
    home.back_up()
    (copy,) = home.folder.glob(f"packs/*/{pack.id}.pack")
    copy.chmod(0o600)
    os.truncate(copy, 100)
    assert home.back_up().copied_packs == 1
    assert copy.stat().st_size == pack.size


def test_a_backup_with_a_broken_pack_is_not_restored(home: Home, tmp_path: Path) -> None:
    pack = home.store(b"x" * 5000)
    home.back_up()
    (copy,) = home.folder.glob(f"packs/*/{pack.id}.pack")
    copy.chmod(0o600)
    os.truncate(copy, 100)
    with pytest.raises(BackupError, match=r"1 of its 1 packs are missing or cut off"):
        backups.restore(home.folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_one_backup_is_restored_by_its_own_path(home: Home, tmp_path: Path) -> None:
    home.store(b"older")
    older = home.back_up()
    home.store(b"newer")
    home.back_up()
    assert backups.restore(home.folder / older.name, tmp_path / "new").name == older.name
    assert not _stored(tmp_path / "new", b"newer")


def test_what_is_being_written_is_not_copied(home: Home) -> None:
    """Such a file may be gone in the next moment."""
    for name in ("audit.head.new", ".secret.k3x", ".signing.key.00ff"):
        (home.path / name).write_text("half")
    copied = (home.folder / home.back_up().name).iterdir()
    assert {path.name for path in copied} == {"ingot.db", "secret", "backup.json"}


def test_what_is_lost_is_told(home: Home) -> None:
    pack = home.store(b"x" * 5000)

    def lose() -> None:
        chunks, trees = ChunksSql(), TreesSql()
        (known,) = chunks.known(digests.chunk_digest(b"x" * 5000), "sara", home.time)
        chunks.hold(trees.add("tree", "sara", home.time, home.time + 60), [known.id])
        chunks.lose(digests.chunk_digest(b"x" * 5000), pack.id)

    home.database.write(lose).result()
    assert home.back_up().lost_chunks == 1


def _other_server(home: Home, path: Path) -> Home:
    """Return another data folder, of a server of its own, with the same backup folder."""
    path.mkdir()
    (path / "server_id").write_text("another")
    database = open_database(f"sqlite:///{path}/ingot.db")
    migrated(database)
    return Home(path, home.folder, database, DiskPacks(path), home.time + 7)


def test_servers_that_share_a_folder_drop_only_their_own_backups(home: Home, tmp_path: Path) -> None:
    (home.path / "server_id").write_text("one")
    home.store(b"mine")
    mine = home.back_up(keep=1)
    other = _other_server(home, tmp_path / "other")
    other.store(b"theirs")
    for _ in range(3):
        theirs = other.back_up(keep=1)
    other.database.close()
    assert [each.name for each in backup_folder.found(home.folder)] == [mine.name, theirs.name]
    with pytest.raises(
        BackupError, match=f"choose with --name.*{mine.name} .of one.*{theirs.name} .of anoth"
    ):
        backups.restore(home.folder, tmp_path / "new")
    backups.restore(home.folder, tmp_path / "new", mine.name)
    assert _stored(tmp_path / "new", b"mine")


def test_one_backup_at_a_time_is_written_to_a_folder(home: Home, tmp_path: Path) -> None:
    home.store(b"one")
    home.back_up()
    first, second = (FolderBackups(home.path, home.database.path, home.folder) for _ in range(2))
    first.begin(home.time)
    with pytest.raises(Unavailable, match="Another backup is being written"):
        second.begin(home.time)
    assert second.prune(1) == 0
    second.abandon()
    first.finish()
    second.begin(home.time)
    second.abandon()
    assert len(backup_folder.found(home.folder)) == 2


class Beginning(FolderBackups):
    """Is met in the middle of its beginning."""

    def __init__(self, home: Home) -> None:
        super().__init__(home.path, home.database.path, home.folder)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def _name(self, now: float) -> str:
        self.begun.set()
        self.go_on.wait(100)
        return super()._name(now)


def test_a_backup_that_is_given_up_while_it_begins_leaves_nothing(home: Home) -> None:
    """As when a server ends: the thread goes on, and nobody waits for it any more."""
    store = Beginning(home)
    with futures.ThreadPoolExecutor(2) as threads:
        beginning = threads.submit(store.begin, home.time)
        assert store.begun.wait(100)
        ending = threads.submit(store.abandon)
        futures.wait({ending}, timeout=0.2)  # it would be over by now, and nothing would come after it
        store.go_on.set()
        beginning.result(100)
        ending.result(100)
    assert not list(home.folder.glob("*.partial"))
    backup_folder.locked(home.folder).close()


@pytest.mark.parametrize("place", ["home", "home/packs", "home/ingest/backups", "other"])
def test_backups_are_not_written_among_the_files_of_a_server(home: Home, tmp_path: Path, place: str) -> None:
    other = tmp_path / "other"
    DiskPacks(other)
    (other / "lock").touch()
    before = sorted(tmp_path.rglob("*"))
    store = FolderBackups(home.path, home.database.path, tmp_path / place)
    with pytest.raises(Precondition, match="keeps its own files there"):
        store.begin(home.time)
    assert sorted(tmp_path.rglob("*")) == before


def test_restoring_changes_nothing_in_the_backup(home: Home, tmp_path: Path) -> None:
    """So it can be on a medium that may only be read."""
    home.store(b"one")
    home.back_up()
    before = {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()}
    for path in (home.folder, *home.folder.iterdir()):
        path.chmod(0o500)
    backups.restore(home.folder, tmp_path / "new")
    assert {path: path.read_bytes() for path in home.folder.rglob("*") if path.is_file()} == before
    for path in (home.folder, *home.folder.iterdir()):
        path.chmod(0o700)


def test_what_is_left_of_another_database_is_not_taken_for_rows_of_the_backup(
    home: Home, tmp_path: Path
) -> None:
    home.store(b"one")
    home.back_up()
    home.store(b"two")
    new = tmp_path / "new"
    new.mkdir()
    shutil.copy(home.path / "ingot.db-wal", new)  # as when ingot.db alone was moved away
    with pytest.raises(BackupError, match=r"ingot\.db-wal is left of a database that is not there"):
        backups.restore(home.folder, new)
    (new / "ingot.db-wal").unlink()
    backups.restore(home.folder, new)
    assert _stored(new, b"one")


@pytest.mark.parametrize("file", ["backup.json", "ingot.db"])
def test_a_damaged_backup_is_told_and_keeps_no_other_from_its_work(
    home: Home, tmp_path: Path, file: str
) -> None:
    home.store(b"one")
    damaged, sound = home.back_up(), home.back_up()
    (home.folder / damaged.name / file).write_bytes(b"{")
    with pytest.raises(BackupError, match=f"no backup '{damaged.name}'|its rows cannot be read"):
        backups.restore(home.folder, tmp_path / "new", damaged.name)
    assert not (tmp_path / "new").exists()
    pack = home.store(b"two")
    home.back_up(keep=3)
    assert backups.restore(home.folder, tmp_path / "new", sound.name) == sound
    assert pack.id in _packs_in(home.folder)
    assert (home.folder / damaged.name).exists()
