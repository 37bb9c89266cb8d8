"""The cache of files: what is there need not travel, what is wrong is never served, what is read stays."""

import multiprocessing
import os
import pathlib
import stat
import time

import pytest

from helpers.cache_crowd import file_of, put_and_prune
from helpers.patterns import pattern
from helpers.sdk import member_client, tree_of, write_tree
from ingot.client import Client, Invalid, _file_cache
from ingot.client._file_cache import FileCache
from ingot.client._manifest import TreeFile

MIB = 1024 * 1024
FILES = {"big.bin": pattern("big", 12 * MIB), "sub/b.bin": pattern("b", MIB), "c.txt": b"small", "empty": b""}
SIZE = sum(map(len, FILES.values()))


@pytest.fixture
def shared(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    folder = tmp_path / "shared"
    monkeypatch.setenv("INGOT_FILE_CACHE", str(folder))
    return folder


def pushed(client: Client, folder: pathlib.Path) -> None:
    client.push("models/tiny", write_tree(folder / "in", FILES))


def kept(cache: FileCache, folder: pathlib.Path, *contents: bytes) -> list[TreeFile]:
    """Put contents in, the first of them used longest ago."""
    files = [file_of(each) for each in contents]
    for age, (file, content) in enumerate(zip(reversed(files), reversed(contents), strict=True)):
        assert cache.keep("t", [file], write_tree(folder, {"f": content})) == 1
        used = time.time() - 1000 * (age + 1)
        os.utime(place_of(cache, file), (used, used))
    return files


def place_of(cache: FileCache, file: TreeFile) -> pathlib.Path:
    root = file.root.hex()
    return cache.folder / "files" / root[:2] / root


def test_what_one_pull_kept_the_next_need_not_fetch(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    with member_client() as (client, _):
        pushed(client, tmp_path)
        assert client.pull("models/tiny", tmp_path / "one").received_bytes == SIZE
        assert client.pull("models/tiny", tmp_path / "plan", dry_run=True).received_bytes == 0
        two = client.pull("models/tiny", tmp_path / "two")
        assert (two.received_bytes, two.reused_bytes, tree_of(tmp_path / "two")) == (0, SIZE, FILES)
        without = client.pull("models/tiny", tmp_path / "three", cache=False)
        assert without.received_bytes == SIZE
    cache = FileCache(shared)
    assert sorted(each.about.rpartition(":")[2] for each in cache.files()) == sorted(FILES)
    assert cache.damaged() == []
    for path in FILES:  # nobody who writes to what was pulled writes to the cache
        assert (tmp_path / "two" / path).stat().st_nlink == 1


@pytest.mark.parametrize(
    "head", [b'{"size": Infinity, "profile": "cdc", "about": ""}', b"[" * 100_000, b'{"size": "\xff"}', b""]
)
def test_what_somebody_says_of_a_file_is_not_believed(tmp_path: pathlib.Path, head: bytes) -> None:
    cache = FileCache(tmp_path / "kept")
    (file,) = kept(cache, tmp_path, b"bytes of it")
    place = pathlib.Path(f"{place_of(cache, file)}.cut")
    place.unlink()
    place.write_bytes(b"ingot cut 1\n" + head + b"\n" + file.cut.entries)
    assert [each.about for each in cache.files()] == [""]
    assert [each.root for each in cache.damaged()] == [file.root.hex()]


def test_without_being_asked_for_there_is_no_cache(tmp_path: pathlib.Path) -> None:
    with member_client() as (client, _):
        pushed(client, tmp_path)
        client.pull("models/tiny", tmp_path / "one")
        assert _file_cache.configured().files() == []
        client.pull("models/tiny", tmp_path / "two", cache=True)
        assert len(_file_cache.configured().files()) == len(FILES)
        folder = _file_cache.configured().folder
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for each in _file_cache.configured().files():
            assert stat.S_IMODE((folder / "files" / each.root[:2] / each.root).stat().st_mode) == 0o400


@pytest.mark.parametrize("how", ["flipped", "short", "long", "emptied", "link", "pipe"])
def test_a_poisoned_file_is_never_served(tmp_path: pathlib.Path, shared: pathlib.Path, how: str) -> None:
    with member_client() as (client, _):
        pushed(client, tmp_path)
        client.pull("models/tiny", tmp_path / "one")
        cache = FileCache(shared)
        (big,) = (each for each in cache.files() if each.about.endswith("big.bin"))
        place = shared / "files" / big.root[:2] / big.root
        content = bytearray(FILES["big.bin"])
        content[6 * MIB] ^= 1
        wrong = {"flipped": bytes(content), "short": bytes(content[: 5 * MIB]), "emptied": b""}
        place.unlink()
        if how == "link":
            place.symlink_to(write_tree(tmp_path, {"elsewhere": bytes(content)}) / "elsewhere")
        elif how == "pipe":
            os.mkfifo(place)
        else:
            place.write_bytes(wrong.get(how, FILES["big.bin"] + b"more"))
        if how not in ("link", "pipe"):
            assert [each.root for each in cache.damaged()] == [big.root]
        done = client.pull("models/tiny", tmp_path / "two")
        assert tree_of(tmp_path / "two") == FILES
        if how == "flipped":
            assert 0 < done.received_bytes < MIB
        assert client.pull("models/tiny", tmp_path / "three").received_bytes == 0  # a good one is there now
        assert tree_of(tmp_path / "three") == FILES
        assert cache.damaged() == []


def test_a_group_shares_it_and_readers_need_not_write(tmp_path: pathlib.Path, shared: pathlib.Path) -> None:
    shared.mkdir()
    shared.chmod(0o2775)
    (file,) = kept(FileCache(shared), tmp_path, b"for all of us")
    place = place_of(FileCache(shared), file)
    for folder in (place.parent, place.parent.parent, shared / "new"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o2775
    assert stat.S_IMODE(place.stat().st_mode) == 0o444
    assert stat.S_IMODE(pathlib.Path(f"{place}.cut").stat().st_mode) == 0o444


def test_a_cache_that_cannot_be_written_to_is_no_hindrance(
    tmp_path: pathlib.Path, shared: pathlib.Path
) -> None:
    shared.write_bytes(b"a file, no folder")
    with member_client() as (client, _):
        pushed(client, tmp_path)
        assert client.pull("models/tiny", tmp_path / "one").received_bytes == SIZE
    assert FileCache(shared).files() == []
    assert shared.read_bytes() == b"a file, no folder"


def test_what_was_used_least_lately_goes_first_and_what_is_read_stays(tmp_path: pathlib.Path) -> None:
    cache = FileCache(tmp_path / "cache")
    first, second, third = kept(cache, tmp_path, b"a" * 100, b"b" * 100, b"c" * 100)
    with cache.reading(first) as descriptor:
        assert descriptor is not None
        os.utime(place_of(cache, first), (1, 1))
        done = cache.prune(150)
        assert (done.files, done.size_bytes, done.in_use) == (2, 200, 1)
        assert not cache.remove(first.root.hex())
        assert os.pread(descriptor, 100, 0) == b"a" * 100
    assert (cache.has(first), cache.has(second), cache.has(third)) == (True, False, False)
    assert cache.remove(first.root.hex())
    assert [each for each in (tmp_path / "cache").rglob("*") if each.is_file()] == []


def test_to_use_a_file_keeps_it(tmp_path: pathlib.Path) -> None:
    cache = FileCache(tmp_path / "cache")
    first, second = kept(cache, tmp_path, b"a" * 100, b"b" * 100)
    cache.damaged()  # to look is not to use
    assert [each.root for each in cache.files()] == [second.root.hex(), first.root.hex()]
    with cache.reading(first):
        pass
    cache.prune(100)
    assert (cache.has(first), cache.has(second)) == (True, False)


def test_a_pull_sees_to_the_limit(
    tmp_path: pathlib.Path, shared: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INGOT_FILE_CACHE_BYTES", str(2 * MIB))
    with member_client() as (client, _):
        pushed(client, tmp_path)
        client.pull("models/tiny", tmp_path / "one")
        paths = {each.about.rpartition(":")[2] for each in FileCache(shared).files()}
        assert paths == {"sub/b.bin", "c.txt", "empty"}
        monkeypatch.setenv("INGOT_FILE_CACHE_BYTES", "much")
        with pytest.raises(Invalid, match="INGOT_FILE_CACHE_BYTES: expected a number"):
            client.pull("models/tiny", tmp_path / "two")


def test_a_file_that_changed_since_its_pull_is_not_kept(tmp_path: pathlib.Path) -> None:
    cache = FileCache(tmp_path / "cache")
    for content in (b"edited", b"right and more", b"righ"):
        assert cache.keep("t", [file_of(b"right")], write_tree(tmp_path, {"f": content})) == 0
    assert cache.files() == []
    assert list((tmp_path / "cache" / "new").iterdir()) == []


def test_what_kills_left_is_removed_after_a_day(tmp_path: pathlib.Path) -> None:
    cache = FileCache(tmp_path / "cache")
    kept(cache, tmp_path, b"one")
    fresh, old = (tmp_path / "cache" / "new" / name for name in ("fresh", "old"))
    fresh.write_bytes(b"")
    old.write_bytes(b"")
    os.utime(old, (1, 1))
    cache.prune(1000)
    assert (fresh.exists(), old.exists(), len(cache.files())) == (True, False, 1)


@pytest.mark.slow
def test_processes_put_in_read_and_remove_side_by_side(tmp_path: pathlib.Path) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = [(str(tmp_path / "cache"), str(tmp_path), number) for number in range(4)]
    with context.Pool(4) as pool:
        pool.starmap(put_and_prune, arguments)
    cache = FileCache(tmp_path / "cache")
    assert cache.damaged() == []
    cache.prune(100_000)
    assert sum(each.size for each in cache.files()) <= 100_000
