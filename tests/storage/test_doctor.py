"""`ingot-server doctor`: what it finds in a data folder, what it repairs, and its exit statuses."""

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.pack_store_contract import flip, put
from helpers.packs import keyring_of, write_keys
from helpers.patterns import pattern
from helpers.sdk import write_tree
from helpers.servers import running_server
from ingot.client import Client
from ingot.content.digests import chunk_digest
from ingot.server import cli
from ingot.server.core import failpoints
from ingot.server.storage.database import only_server
from ingot.server.storage.packs_disk import DiskPacks

CLEAN, FOUND, CANNOT = 0, 1, 2
KIB = 1024
Run = dict[str, object]


@pytest.fixture(name="source", scope="module")
def _source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what is pushed: big enough for several chunks."""
    folder = tmp_path_factory.mktemp("source")
    return write_tree(folder, {"a.bin": pattern("a", 900 * KIB), "b.bin": pattern("b", 300 * KIB)})


@pytest.fixture(name="stored", scope="module")
def _stored(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """Return the data folder of a server that stored a version and stopped."""
    folder = tmp_path_factory.mktemp("stored")
    with serving(folder) as client:
        client.push("datasets/chat", source)
    return folder / "data"


@pytest.fixture(name="home")
def _home(tmp_path: Path, stored: Path) -> Path:
    """Return a copy of it."""
    return Path(shutil.copytree(stored, tmp_path / "data"))


@contextlib.contextmanager
def serving(folder: Path, **settings: Any) -> Iterator[Client]:
    with running_server(folder, **settings) as server, Client(server.address, server.admin_token) as client:
        yield client


class Doctor:
    """Runs the command on a folder and keeps what it said."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys
        self.said: Run = {}
        self.error = ""

    def __call__(self, *flags: str) -> int:
        status = cli.main(["doctor", "--data", str(self.home), "--json", *flags])
        captured = self._capsys.readouterr()
        self.error = captured.err
        self.said = json.loads(captured.out) if captured.out else {}
        return status

    @property
    def counts(self) -> dict[str, int]:
        found = self.said["counts"]
        assert isinstance(found, dict)
        return found

    def finding(self, fault: str) -> dict[str, object]:
        """Return the first finding of a kind."""
        findings = self.said["findings"]
        assert isinstance(findings, list)
        found: dict[str, object] = next(each for each in findings if each["fault"] == fault)
        return found


@pytest.fixture(name="doctor")
def _doctor(home: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(home, capsys)


def the_pack(home: Path) -> Path:
    (pack,) = home.glob("packs/*/*.pack")
    return pack


def change(pack: Path, contents: bytes) -> None:
    pack.unlink()
    pack.write_bytes(contents)


def sql(home: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(home / "ingot.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def pulled(folder: Path, source: Path, tmp_path: Path, **settings: Any) -> bool:
    """Serve the folder, pull the version and compare."""
    target = tmp_path / f"pulled-{os.urandom(4).hex()}"
    with serving(folder, **settings) as client:
        client.pull("datasets/chat", target)
    return all((target / file.name).read_bytes() == file.read_bytes() for file in source.iterdir())


@pytest.mark.contract("S3-59")
def test_a_sound_folder_is_clean(doctor: Doctor) -> None:
    for flags in ((), ("--deep",), ("--repair",), ("--repair", "--deep")):
        assert doctor(*flags) == CLEAN, doctor.said
        assert doctor.said["clean"] is True
        assert (doctor.said["packs"], doctor.counts) == (1, {})
    assert doctor("--deep") == CLEAN
    assert doctor.said["bytes_read"] == 1200 * KIB


def test_it_tells_people_too(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--data", str(home)]) == CLEAN
    assert "Nothing is wrong." in capsys.readouterr().out
    the_pack(home).unlink()
    assert cli.main(["doctor", "--data", str(home)]) == FOUND
    out = capsys.readouterr().out
    assert "1 × missing pack" in out
    assert "needed by namespaces/admin/datasets/chat/versions/1" in out
    assert "next: push the files of these versions again" in out


def test_without_repair_nothing_is_changed(home: Path, doctor: Doctor) -> None:
    pack = the_pack(home)
    change(pack, flip(pack.read_bytes(), 5000))
    cut_off = DiskPacks(home).open_ingest(1000, 1)
    cut_off.append(chunk_digest(b"x"), [b"x"])
    before = {
        path: path.read_bytes() for path in home.rglob("*") if path.is_file() and "logs" not in path.parts
    }
    assert doctor("--deep") == FOUND
    assert doctor.counts["damaged chunk"] == 1
    after = {
        path: path.read_bytes() for path in home.rglob("*") if path.is_file() and "logs" not in path.parts
    }
    for path in (*before, *after):
        if not path.name.startswith("ingot.db"):
            assert after[path] == before[path]
    assert doctor("--deep") == FOUND
    assert doctor.counts["damaged chunk"] == 1


@pytest.mark.contract("S3-60")
def test_a_missing_pack_is_told_and_a_push_heals_all_versions(
    home: Path, doctor: Doctor, source: Path, tmp_path: Path
) -> None:
    the_pack(home).unlink()
    assert doctor() == FOUND
    found = doctor.finding("missing pack")
    assert found["needed_by"] == ["namespaces/admin/datasets/chat/versions/1"]
    assert doctor("--repair") == FOUND
    assert doctor.finding("incomplete tree")["subject"] == "namespaces/admin/datasets/chat/versions/1"
    assert "ingot push namespaces/admin/datasets/chat" in str(doctor.finding("incomplete tree")["next_step"])
    with serving(home.parent) as client:
        client.push("datasets/chat", source)
    assert doctor("--deep") == CLEAN, doctor.said
    assert pulled(home.parent, source, tmp_path)


@pytest.mark.contract("S3-60")
def test_a_flipped_bit_costs_one_chunk_and_the_pack_goes_to_quarantine(
    home: Path, doctor: Doctor, source: Path, tmp_path: Path
) -> None:
    pack = the_pack(home)
    change(pack, flip(pack.read_bytes(), 5000))
    assert doctor() == CLEAN  # only --deep reads the bytes
    assert doctor("--deep", "--repair") == FOUND
    assert doctor.counts == {"damaged chunk": 1, "incomplete tree": 1}
    assert (home / "quarantine" / pack.name).exists()
    assert the_pack(home) != pack  # the intact chunks moved
    assert doctor() == FOUND  # the version still lacks one
    assert doctor.counts == {"incomplete tree": 1}
    with serving(home.parent) as client:
        client.push("datasets/chat", source)
    assert doctor("--deep") == CLEAN, doctor.said
    assert pulled(home.parent, source, tmp_path)


def test_a_pack_without_its_footer_loses_nothing(
    home: Path, doctor: Doctor, source: Path, tmp_path: Path
) -> None:
    pack = the_pack(home)
    change(pack, pack.read_bytes()[:-10])
    assert doctor() == FOUND
    assert doctor.finding("broken pack")["subject"] == pack.stem
    assert doctor("--repair") == FOUND
    assert doctor("--deep") == CLEAN, doctor.said
    assert pulled(home.parent, source, tmp_path)


def test_rows_that_point_elsewhere_find_their_chunks_again(
    home: Path, doctor: Doctor, source: Path, tmp_path: Path
) -> None:
    sql(home, "UPDATE chunk SET position = position + 1 WHERE id = 1")
    assert doctor() == FOUND
    assert doctor.counts["misplaced chunk"] == 1
    assert doctor("--repair") == FOUND
    assert doctor.said["healed_chunks"] == 1
    assert doctor("--deep") == CLEAN, doctor.said
    assert pulled(home.parent, source, tmp_path)


def test_a_pack_that_came_back_is_used_again(
    home: Path, doctor: Doctor, source: Path, tmp_path: Path
) -> None:
    pack = the_pack(home)
    away = pack.rename(tmp_path / pack.name)
    assert doctor("--repair") == FOUND
    away.rename(pack)
    assert doctor("--repair") == CLEAN, doctor.said
    assert doctor.said["healed_chunks"]
    assert doctor("--deep") == CLEAN
    assert pulled(home.parent, source, tmp_path)


def test_what_a_crash_leaves_is_no_fault(home: Path, doctor: Doctor) -> None:
    store = DiskPacks(home)
    put(store, [b"sealed and never indexed"])
    cut_off = store.open_ingest(1000, 1)
    cut_off.append(chunk_digest(b"cut off"), [b"cut off"])
    for flags in ((), ("--repair",)):
        assert doctor(*flags) == CLEAN
        assert doctor.counts == {"leftover stream": 1, "unknown pack": 1}
    assert doctor() == CLEAN
    assert doctor.counts == {}


def test_a_broken_pack_in_no_row_gives_its_intact_chunks(home: Path, doctor: Doctor) -> None:
    (sealed,) = put(DiskPacks(home), [b"first", b"second", b"third"])
    path = next(home.glob(f"packs/*/{sealed.id}.pack"))
    change(path, flip(path.read_bytes(), sealed.entries[1].offset)[:-3])
    assert doctor() == FOUND
    assert doctor("--repair") == FOUND
    assert doctor.counts == {"broken pack": 1}
    assert doctor("--deep") == CLEAN, doctor.said
    assert len(list(home.glob("packs/*/*.pack"))) == 2
    with contextlib.closing(sqlite3.connect(home / "ingot.db")) as connection:
        digests = {row[0] for row in connection.execute("SELECT digest FROM chunk")}
    assert {chunk_digest(b"first"), chunk_digest(b"third")} <= digests
    assert chunk_digest(b"second") not in digests


def test_rows_that_belong_to_nothing_are_forgotten(home: Path, doctor: Doctor) -> None:
    sql(
        home,
        "INSERT INTO hold(chunk, tree) VALUES (1, 999), (998, 1)",
        "INSERT INTO tree(name, namespace, artifact, digest, created, expires) "
        "VALUES ('x', 'a', '', x'', 0, 1)",
        "INSERT INTO chunk(digest, pack, position, length, lost) VALUES (x'00', 997, 0, 1, 0)",
    )
    assert doctor() == FOUND
    assert doctor.counts == {
        "lease without upload": 1,
        "hold without tree": 1,
        "hold without chunk": 1,
        "chunk without pack": 1,
    }
    assert doctor("--repair") == FOUND
    assert doctor() == CLEAN, doctor.said


@pytest.mark.contract("S3-60")
def test_the_index_is_rebuilt_from_packs_alone_and_pushes_find_the_chunks(
    home: Path, doctor: Doctor, source: Path, tmp_path: Path
) -> None:
    for file in home.glob("ingot.db*"):
        file.unlink()
    (sealed,) = put(DiskPacks(home), [b"one more"])
    broken = next(home.glob(f"packs/*/{sealed.id}.pack"))
    change(broken, broken.read_bytes()[:-1])
    assert doctor() == CANNOT
    assert "--rebuild-index" in doctor.error
    assert doctor("--rebuild-index") == FOUND
    assert doctor.counts == {"unknown pack": 1, "broken pack": 1}
    assert doctor("--deep") == CLEAN, doctor.said
    assert doctor("--rebuild-index") == CANNOT
    assert "is there" in doctor.error
    size = sum(pack.stat().st_size for pack in home.glob("packs/*/*.pack"))
    with serving(home.parent, collect_grace_seconds=0.0) as client:
        client.operations.wait(client.operations.start_upkeep("collect").name)  # spares what was found
        client.push("datasets/chat", source)
    assert sum(pack.stat().st_size for pack in home.glob("packs/*/*.pack")) == size  # nothing stored twice
    assert pulled(home.parent, source, tmp_path)
    assert doctor("--deep") == CLEAN


@pytest.mark.parametrize("command", [["serve", "--listen", "127.0.0.1:0"], ["backup"], ["users", "ls"]])
def test_a_new_database_is_not_made_where_packs_have_lost_theirs(
    home: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Else all packs would be nobody's, and be deleted in some days."""
    for file in home.glob("ingot.db*"):
        file.unlink()
    assert cli.main([*command, "--data", str(home)]) == 1
    assert f"but packs are in {home}" in capsys.readouterr().err
    assert not (home / "ingot.db").exists()


def _broken_page(home: Path) -> None:
    with contextlib.closing(sqlite3.connect(home / "ingot.db")) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'event'").fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    with (home / "ingot.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(100))


def _unreadable_text(home: Path) -> None:
    with contextlib.closing(sqlite3.connect(home / "ingot.db")) as database, database:
        database.execute("UPDATE audit_entry SET action = CAST(x'ff' AS TEXT)")


@pytest.mark.parametrize(("damage", "status"), [(_broken_page, FOUND), (_unreadable_text, CANNOT)])
def test_a_damaged_database_is_told_and_left_alone(
    home: Path, doctor: Doctor, damage: Callable[[Path], None], status: int
) -> None:
    damage(home)
    assert doctor("--repair") == status
    told = doctor.error or str(doctor.finding("damaged database"))
    assert "is damaged" in told or "repaired': False" in told
    assert "ingot-server restore" in told


def test_an_older_database_over_newer_packs_ends_clean(
    home: Path, doctor: Doctor, source: Path, tmp_path: Path
) -> None:
    older = (home / "ingot.db").read_bytes()
    newer = write_tree(tmp_path / "newer", {"c.bin": pattern("c", 500 * KIB)})
    with serving(home.parent) as client:
        client.push("datasets/chat", newer)
    for file in home.glob("ingot.db*"):
        file.unlink()
    (home / "ingot.db").write_bytes(older)
    assert doctor("--deep") == FOUND  # put back by hand, which `restore` would tell the audit log of
    assert doctor.counts == {"unknown pack": 1, "broken audit log": 1}
    size = sum(pack.stat().st_size for pack in home.glob("packs/*/*.pack"))
    assert pulled(home.parent, source, tmp_path)
    with serving(home.parent) as client:
        client.push("datasets/chat", newer)
    assert sum(pack.stat().st_size for pack in home.glob("packs/*/*.pack")) == size
    assert doctor("--deep") == CLEAN
    assert doctor.counts == {}


def test_it_says_why_it_cannot_check(
    tmp_path: Path, home: Path, doctor: Doctor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", "--data", str(tmp_path / "nothing")]) == CANNOT
    assert "is no data folder" in capsys.readouterr().err
    assert not (tmp_path / "nothing").exists()
    with running_server(home.parent):
        assert doctor() == CANNOT
        assert "in use" in doctor.error
    (home / "ingot.db").write_bytes(b"no database" * 1000)
    assert doctor() == CANNOT
    assert "ingot.db" in doctor.error


@pytest.mark.parametrize(
    "words", [("doctor", "--repair"), ("compact",), ("backup",), ("migrate",), ("users", "ls")]
)
def test_nothing_is_done_to_the_database_of_a_server_that_runs(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """To whoever comes with another data folder all of its packs are missing."""
    database = f"sqlite:///{home}/ingot.db"
    (other := tmp_path / "other" / "packs").mkdir(parents=True)
    with only_server(database):
        assert cli.main([*words, "--data", str(other.parent), "--database-url", database]) > 0
    assert "another server uses it" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ingest", "quarantine", "ingot.db.server"])
def test_a_folder_with_something_else_in_it_is_told_in_a_sentence(
    home: Path, doctor: Doctor, name: str
) -> None:
    if (home / name).is_dir():
        shutil.rmtree(home / name)
        (home / name).touch()
    else:
        (home / name).unlink(missing_ok=True)
        (home / name).mkdir()
    assert doctor() == CANNOT
    assert str(home / name) in doctor.error


def test_a_rebuild_that_was_cut_short_is_finished_by_a_repair(home: Path, doctor: Doctor) -> None:
    for file in home.glob("ingot.db*"):
        file.unlink()
    with failpoints.armed("database.committing=ENOSPC"):
        assert doctor("--rebuild-index") == CANNOT
    assert doctor("--repair") == CLEAN, (
        doctor.said
    )  # the head of the former audit log is nothing to wonder at


def test_without_their_key_nothing_is_made_of_packs(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path, encryption_key_file=write_keys(tmp_path / "keys", 1)) as client:
        client.push("datasets/chat", source)
    home = tmp_path / "data"
    for file in home.glob("ingot.db*"):
        file.unlink()
    assert Doctor(home, capsys)("--rebuild-index") == CANNOT
    assert not (home / "ingot.db").exists()


def test_encrypted_packs_are_checked_repaired_and_rebuilt(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = write_keys(tmp_path / "keys", 1)
    with serving(tmp_path, encryption_key_file=keys) as client:
        client.push("datasets/chat", source)
    doctor, home = Doctor(tmp_path / "data", capsys), tmp_path / "data"
    flag = ("--encryption-key-file", str(keys))
    assert doctor("--deep", *flag) == CLEAN, doctor.said
    assert doctor() == CANNOT
    assert "encryption_key_file" in doctor.error
    pack = the_pack(home)
    change(pack, pack.read_bytes()[:-1])
    assert doctor("--repair", *flag) == FOUND
    for file in home.glob("ingot.db*"):
        file.unlink()
    assert doctor("--rebuild-index", *flag) == CLEAN, doctor.said
    assert doctor("--deep", *flag) == CLEAN
    with serving(tmp_path, encryption_key_file=keys) as client:
        client.push("datasets/chat", source)
    assert pulled(tmp_path, source, tmp_path, encryption_key_file=keys)


def test_a_pack_without_its_key_is_told_and_left_alone(home: Path, doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (sealed,) = put(DiskPacks(tmp_path / "other", keyring_of(5)), [b"sealed elsewhere"])
    source = next((tmp_path / "other").glob(f"packs/*/{sealed.id}.pack"))
    target = home / "packs" / sealed.id[:2] / source.name
    source.rename(target)
    assert doctor("--repair", "--deep") == FOUND
    assert doctor.counts == {"unreadable pack": 1}
    assert target.exists()


def test_a_full_disk_keeps_what_cannot_be_copied(home: Path, doctor: Doctor) -> None:
    pack = the_pack(home)
    change(pack, flip(pack.read_bytes(), 5000))
    with failpoints.armed("pack.appended=ENOSPC"):
        assert doctor("--deep", "--repair") == FOUND
    assert pack.exists()
    assert doctor("--deep", "--repair") == FOUND  # with room again
    assert doctor.counts == {"incomplete tree": 1}


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM audit_entry WHERE number > 1", "UPDATE audit_entry SET user = 'omid' WHERE number = 2"],
)
def test_an_audit_log_that_was_changed_is_told(home: Path, doctor: Doctor, statement: str) -> None:
    assert doctor() == CLEAN
    with contextlib.closing(sqlite3.connect(home / "ingot.db")) as rows:
        rows.execute(statement)
        rows.commit()
    assert doctor("--repair") == FOUND
    assert doctor.counts == {"broken audit log": 1}
    assert doctor() == FOUND  # nothing repairs it
    with serving(home.parent) as client:  # the server enters what it finds, for ever
        assert client.audit.verify().findings


def test_an_audit_log_that_is_gone_with_its_head_is_told(home: Path, doctor: Doctor) -> None:
    with contextlib.closing(sqlite3.connect(home / "ingot.db")) as rows:
        rows.execute("DELETE FROM audit_entry")
        rows.commit()
    (home / "audit.head").unlink()
    assert doctor() == FOUND
    assert doctor.counts == {"broken audit log": 1}
    with serving(home.parent) as client:
        parts = {part.name: part.message for part in client.system.health().parts}
        assert "the file of its head is gone" in parts["audit"]
