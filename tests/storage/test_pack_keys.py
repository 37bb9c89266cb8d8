"""Packs encrypted at rest: what is on the disk, which keys open it, and what happens without them."""

import os
import shutil
from pathlib import Path

import pytest

from contracts.pack_store_contract import flip, places, put
from helpers.packs import keyring_of, write_keys
from helpers.patterns import pattern
from helpers.servers import running_server
from helpers.transfers import cut
from ingot.client import Client
from ingot.content.digests import chunk_digest
from ingot.server import cli
from ingot.server.core.errors import DataLoss, Unavailable
from ingot.server.core.packs import ChunkPlace
from ingot.server.storage import pack_format, pack_keys
from ingot.server.storage.pack_keys import KeyFileError
from ingot.server.storage.packs_disk import DiskPacks

SECRET = b"the plain text of a very private model " * 50


def bytes_below(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


@pytest.mark.contract("S3-49")
def test_the_bytes_on_disk_do_not_hold_the_plain_text(tmp_path: Path) -> None:
    store = DiskPacks(tmp_path, keyring_of(1))
    ingest = store.open_ingest(len(SECRET), 1)
    ingest.append(chunk_digest(SECRET), [SECRET])
    assert b"private model" not in bytes_below(tmp_path)  # neither while it is written
    (sealed,) = ingest.seal()
    assert b"private model" not in bytes_below(tmp_path)
    assert store.read(places([sealed])[0]) == SECRET


def test_the_same_chunk_is_never_the_same_bytes_twice(tmp_path: Path) -> None:
    """Each pack has a key of its own, each place in it a nonce of its own: nothing repeats."""
    store = DiskPacks(tmp_path, keyring_of(1))
    stored = set()
    for _ in range(3):
        (sealed,) = put(store, [b"x" * 100, b"y" * 100])
        contents = next(tmp_path.glob(f"packs/*/{sealed.id}.pack")).read_bytes()
        stored |= {contents[entry.offset : entry.offset + entry.length] for entry in sealed.entries}
        assert contents[: pack_format.PROLOGUE_SIZE] != bytes(pack_format.PROLOGUE_SIZE)
    assert len(stored) == 6


def test_a_stream_that_a_crash_interrupts_takes_its_salt_with_it(tmp_path: Path) -> None:
    """The next run writes the same chunk at the same place: under another key."""
    cut_off = DiskPacks(tmp_path, keyring_of(1)).open_ingest(100, 1)
    cut_off.append(chunk_digest(b"one"), [b"one"])
    (open_file,) = tmp_path.rglob("*.open")
    first = open_file.read_bytes()[: pack_format.PROLOGUE_SIZE + pack_format.RECORD_SIZE + 3]
    store = DiskPacks(tmp_path, keyring_of(1))
    store.recover()
    (sealed,) = put(store, [b"one"])
    second = next(tmp_path.glob(f"packs/*/{sealed.id}.pack")).read_bytes()
    assert pack_format.unpack_prologue(first[: pack_format.PROLOGUE_SIZE]) != pack_format.unpack_prologue(
        second[: pack_format.PROLOGUE_SIZE]
    )
    assert first[-3:] != second[len(first) - 3 : len(first)]


def test_plain_and_encrypted_packs_of_several_keys_lie_side_by_side(tmp_path: Path) -> None:
    """Encryption is switched on, then the key is rotated: everything stays readable."""
    packs = [*put(DiskPacks(tmp_path), [b"plain"])]
    packs += put(DiskPacks(tmp_path, keyring_of(1)), [b"under the first key"])
    packs += put(DiskPacks(tmp_path, keyring_of(2, 1)), [b"under the second key"])
    store = DiskPacks(tmp_path, keyring_of(2, 1))
    expected = [b"plain", b"under the first key", b"under the second key"]
    assert [store.read(place) for place in places(packs)] == expected
    assert not any(store.damaged(place.pack, [place]) for place in places(packs))
    for pack in packs:
        assert store.entries(pack.id) == pack.entries
        assert [found.intact for found in store.scan(pack.id)] == [True]
    key_ids = {pack_format.unpack_prologue(_head(tmp_path, pack.id)) for pack in packs}
    assert len(key_ids) == 3  # None, and two that differ


def _head(root: Path, pack: str) -> bytes:
    return next(root.glob(f"packs/*/{pack}.pack")).read_bytes()[: pack_format.PROLOGUE_SIZE]


def test_a_shelf_does_not_open_without_the_keys_that_it_needs(tmp_path: Path) -> None:
    put(DiskPacks(tmp_path, keyring_of(1)), [b"one"])
    with pytest.raises(KeyFileError, match="no encryption_key_file is set"):
        DiskPacks(tmp_path)
    with pytest.raises(KeyFileError, match="does not have it"):
        DiskPacks(tmp_path, keyring_of(2))
    assert list(DiskPacks(tmp_path, keyring_of(2, 1)).packs())


def test_a_pack_whose_key_is_not_there_is_no_damage(tmp_path: Path) -> None:
    """A pack that came from elsewhere, without its key: scrubbing must not take it for broken."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (sealed,) = put(DiskPacks(elsewhere, keyring_of(9)), [b"one"])
    store = DiskPacks(tmp_path, keyring_of(1))
    source = next(elsewhere.glob(f"packs/*/{sealed.id}.pack"))
    shutil.copy(source, tmp_path / "packs" / sealed.id[:2] / source.name)
    for ask in (store.read, lambda place: store.damaged(place.pack, [place])):
        with pytest.raises(Unavailable, match="does not have") as caught:
            ask(places([sealed])[0])
        assert "encryption_key_file" in caught.value.next_step


def test_records_that_were_moved_do_not_open(tmp_path: Path) -> None:
    """The place is bound in: a record copied over another of the same length is not taken for it."""
    store = DiskPacks(tmp_path, keyring_of(1))
    (sealed,) = put(store, [b"a" * 50, b"b" * 50])
    path = next(tmp_path.glob(f"packs/*/{sealed.id}.pack"))
    first, second = sealed.entries
    contents = bytearray(path.read_bytes())
    contents[second.offset - 42 : second.offset + 66] = contents[first.offset - 42 : first.offset + 66]
    path.unlink()
    path.write_bytes(contents)
    again = DiskPacks(tmp_path, keyring_of(1))
    with pytest.raises(DataLoss):
        again.read(ChunkPlace(sealed.id, second.offset, 50, first.digest))
    assert again.read(places([sealed])[0]) == b"a" * 50


def test_a_damaged_prologue_is_damage_and_not_another_key(tmp_path: Path) -> None:
    (sealed,) = put(DiskPacks(tmp_path, keyring_of(1)), [b"one"])
    path = next(tmp_path.glob(f"packs/*/{sealed.id}.pack"))
    contents = flip(path.read_bytes(), 10)
    path.unlink()
    path.write_bytes(contents)
    with pytest.raises(DataLoss, match="names its key is damaged"):
        DiskPacks(tmp_path, keyring_of(1)).read(places([sealed])[0])


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("", 0o600, "has no key"),
        ("# only a comment\n", 0o600, "has no key"),
        ("abcd\n", 0o600, "line 1 .* is no key"),
        ("0" * 64 + "\nxyz\n", 0o600, "line 2 .* is no key"),
        ("é", 0o600, "not plain text"),
        ("0" * 64, 0o644, "chmod 600"),
    ],
)
def test_a_keyring_that_cannot_be_used_says_why(tmp_path: Path, text: str, mode: int, said: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=said):
        pack_keys.load(path)


def test_a_keyring_that_is_not_there_or_lies_beside_the_packs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        pack_keys.load(tmp_path / "keys")
    with pytest.raises(KeyFileError, match="lies in the data folder"):
        pack_keys.keyring(tmp_path / "keys", tmp_path)
    assert pack_keys.keyring(Path(), tmp_path) is None


@pytest.mark.contract("S3-49")
def test_a_server_with_a_key_keeps_nothing_of_a_file_in_the_clear(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = write_keys(tmp_path / "keys", 1)
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.txt").write_bytes(SECRET)
    with running_server(tmp_path / "home", encryption_key_file=keys) as server:
        with Client(server.address, server.admin_token, user="root") as client:
            client.push("datasets/private", data)
            assert b"".join(client.read("datasets/private:a.txt")) == SECRET
        home = server.folder
        assert b"private model" not in bytes_below(home)
    assert cli.main(["serve", "--data", str(home), "--listen", "127.0.0.1:0"]) == cli.FAILURE
    assert "no encryption_key_file is set" in capsys.readouterr().err
    write_keys(keys, 2, 1)  # rotated
    other = os.urandom(5000)
    (data / "a.txt").write_bytes(other)
    with (
        running_server(tmp_path / "home", encryption_key_file=keys) as server,
        Client(server.address, server.admin_token, user="root") as client,
    ):
        client.push("datasets/private", data)
        assert b"".join(client.read("datasets/private@1:a.txt")) == SECRET
        assert b"".join(client.read("datasets/private@2:a.txt")) == other


def test_backups_of_encrypted_packs_stay_encrypted_and_want_their_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys, home, folder = write_keys(tmp_path / "keys", 1), tmp_path / "data", tmp_path / "backups"
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.txt").write_bytes(SECRET)
    with (
        running_server(tmp_path, encryption_key_file=keys) as server,
        Client(server.address, server.admin_token, user="root") as client,
    ):
        client.push("datasets/private", tmp_path / "source")
    assert cli.main(["backup", "--data", str(home), "--backup-dir", str(folder)]) == 0
    assert b"private model" not in bytes_below(folder)
    new = tmp_path / "new" / "data"
    assert cli.main(["restore", str(folder), "--data", str(new)]) == 0
    assert cli.main(["serve", "--data", str(new), "--listen", "127.0.0.1:0"]) == cli.FAILURE
    assert "no encryption_key_file is set" in capsys.readouterr().err
    with (
        running_server(tmp_path / "new", encryption_key_file=keys) as server,
        Client(server.address, server.admin_token, user="root") as client,
    ):
        assert b"".join(client.read("datasets/private:a.txt")) == SECRET


def test_streams_of_many_chunks_are_encrypted_one_by_one(tmp_path: Path) -> None:
    chunks = cut(pattern("many", 3_000_000)).chunks
    store = DiskPacks(tmp_path, keyring_of(1))
    ingest = store.open_ingest(3_000_000, len(chunks))
    ingest.append_all((digest, [memoryview(data)[:100], memoryview(data)[100:]]) for digest, data in chunks)
    found = [store.read(place) for place in places(ingest.seal())]
    assert found == [data for _, data in chunks]
