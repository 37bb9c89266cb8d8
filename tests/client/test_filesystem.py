"""`ingot://` for fsspec: what there is, whole files and ranges, one version for all files that are read."""

import datetime
import importlib.metadata
import json
import multiprocessing
import pathlib
import pickle
from collections.abc import Iterator

import fsspec
import pyarrow
import pytest
from pyarrow import dataset, parquet

from helpers.patterns import pattern
from helpers.sdk import member_client, write_tree
from helpers.servers import Server
from ingot.client import Client, Invalid
from ingot.client._filesystem import IngotFileSystem, folders_of, split
from ingot.v1 import transfer_pb2

BIG = pattern("big", 9_000_000)
ROWS = b"".join(json.dumps({"number": number}).encode() + b"\n" for number in range(1000))
FILES = {"train.jsonl": ROWS, "a/b/deep.txt": b"deep", "a/odd @ name.txt": b"odd", "big.bin": BIG}


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Server]]:
    with member_client() as (client, server):
        client.push("datasets/chat", write_tree(tmp_path_factory.mktemp("in"), FILES))
        yield client, server


@pytest.fixture(name="files")
def _files(server: tuple[Client, Server]) -> IngotFileSystem:
    found = fsspec.filesystem(
        "ingot", server=server[1].address, token=server[1].token("member"), skip_instance_cache=True
    )
    assert isinstance(found, IngotFileSystem)
    return found


@pytest.mark.parametrize(
    ("path", "reference", "inside"),
    [
        ("models/tiny", "models/tiny", ""),
        ("models/tiny/config.json", "models/tiny", "config.json"),
        ("models/tiny@3/a/b.txt", "models/tiny@3", "a/b.txt"),
        ("models/tiny@v3/a", "models/tiny@3", "a"),
        ("models/team/tiny@prod/a@b.txt", "models/team/tiny@prod", "a@b.txt"),
        ("models/tiny@latest/a@b.txt", "models/tiny@latest", "a@b.txt"),
    ],
)
def test_a_path_is_a_reference_and_what_is_behind_it(path: str, reference: str, inside: str) -> None:
    assert split(path) == (reference, inside)


@pytest.mark.parametrize("path", ["other/tiny/a", "models", "models/..", "models/tiny@@1/a", "models//a"])
def test_what_names_nothing_is_not_found(path: str) -> None:
    with pytest.raises(FileNotFoundError, match="expected ingot://models/NAME"):
        split(path)


def test_it_is_registered_for_its_protocol() -> None:
    (entry,) = (
        each for each in importlib.metadata.entry_points(group="fsspec.specs") if each.name == "ingot"
    )
    assert entry.load() is IngotFileSystem
    assert fsspec.get_filesystem_class("ingot") is IngotFileSystem


def test_everything_is_listed(files: IngotFileSystem) -> None:
    assert files.ls("", detail=False) == ["models", "datasets"]
    assert files.ls("ingot://datasets", detail=False) == ["datasets/chat"]
    assert sorted(files.find("datasets/chat@1")) == sorted(f"datasets/chat@1/{name}" for name in FILES)
    assert sorted(files.ls("datasets/chat/a", detail=False)) == [
        "datasets/chat/a/b",
        "datasets/chat/a/odd @ name.txt",
    ]
    assert files.glob("ingot://datasets/chat/*.jsonl") == ["datasets/chat/train.jsonl"]
    assert files.info("datasets/chat/a")["type"] == "directory"
    assert (files.size("datasets/chat/big.bin"), files.isdir("datasets/chat")) == (len(BIG), True)
    assert not files.exists("datasets/chat/nothing")
    assert not files.exists("datasets/nothing/train.jsonl")


def test_files_and_ranges_of_them_are_read(files: IngotFileSystem) -> None:
    path = "datasets/chat/big.bin"
    assert files.cat_file(path) == BIG
    assert files.cat_file(path, 1_000_000, 1_000_010) == BIG[1_000_000:1_000_010]
    assert files.cat_file(path, -10) == BIG[-10:]
    assert files.cat_file(path, 5, 5) == b""
    assert files.cat("datasets/chat/a/odd @ name.txt") == b"odd"
    with files.open(path) as opened:
        opened.seek(8_999_990)
        assert opened.read() == BIG[-10:]
        opened.seek(3)
        assert opened.read(4) == BIG[3:7]
    with fsspec.open("ingot://datasets/chat/train.jsonl", "rt", **files.storage_options) as lines:
        assert sum(json.loads(line)["number"] for line in lines) == sum(range(1000))


def test_an_open_file_is_one_download(
    server: tuple[Client, Server], files: IngotFileSystem, tmp_path: pathlib.Path
) -> None:
    client, _ = server
    client.push("datasets/blocks", write_tree(tmp_path / "in", {"a.bin": BIG}))
    with files.open("datasets/blocks/a.bin", block_size=500_000) as opened:
        assert b"".join(iter(lambda: opened.read(700_000), b"")) == BIG
    assert client.catalog.usage("datasets/blocks").usage.download_count == 1


def test_what_is_no_file_is_not_opened(files: IngotFileSystem) -> None:
    with pytest.raises(FileNotFoundError, match="has no file 'nothing'"):
        files.open("datasets/chat/nothing")
    with pytest.raises(FileNotFoundError, match="There is no dataset"):
        files.cat_file("datasets/nothing/a")
    with pytest.raises(IsADirectoryError):
        files.open("datasets/chat/a")
    with pytest.raises(IsADirectoryError):
        files.cat_file("datasets/chat/a")


def test_nothing_is_written(files: IngotFileSystem) -> None:
    path = "datasets/chat/new"
    for write in (
        lambda: files.open(path, "wb"),
        lambda: files.pipe_file(path, b"x"),
        lambda: files.rm("datasets/chat/train.jsonl"),
        lambda: files.mkdir(path),
        lambda: files.makedirs(path),
        lambda: files.rmdir("datasets/chat/a"),
        lambda: files.cp_file("datasets/chat/train.jsonl", path),
    ):
        with pytest.raises(OSError, match="versions never change"):
            write()


def test_all_files_come_from_one_version(
    server: tuple[Client, Server], files: IngotFileSystem, tmp_path: pathlib.Path
) -> None:
    client, _ = server
    client.push("datasets/moving", write_tree(tmp_path / "one", {"a": b"1", "b": b"1"}))
    assert files.cat("datasets/moving/a") == b"1"
    first = files.ukey("datasets/moving/b")
    client.push("datasets/moving", write_tree(tmp_path / "two", {"a": b"2", "b": b"2"}))
    assert files.cat("datasets/moving/b") == b"1"
    files.invalidate_cache()
    assert files.cat("datasets/moving/b") == b"2"
    assert files.ukey("datasets/moving/b") != first
    assert files.version_of("datasets/moving/b").endswith("/versions/2")
    assert files.modified("datasets/moving/b") == files.created("datasets/moving/b")
    assert files.created("datasets/moving/b").utcoffset() == datetime.timedelta()


@pytest.mark.parametrize("path", ["../out", "a/../../out", "/etc/out", "a\\b", ""])
def test_a_server_that_names_files_elsewhere_is_not_believed(path: str) -> None:
    with pytest.raises(Invalid, match="cannot be written safely"):
        folders_of([transfer_pb2.FileEntry(path="fine"), transfer_pb2.FileEntry(path=path)])


def test_it_goes_to_other_processes(files: IngotFileSystem) -> None:
    copy = pickle.loads(pickle.dumps(files))
    assert copy.cat("datasets/chat/a/b/deep.txt") == b"deep"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(files.cat_file, ("datasets/chat/a/b/deep.txt",)) == b"deep"


def test_other_processes_read_the_same_version(
    server: tuple[Client, Server], files: IngotFileSystem, tmp_path: pathlib.Path
) -> None:
    client, _ = server
    client.push("datasets/sent", write_tree(tmp_path / "one", {"a": b"one"}))
    with files.open("datasets/sent/a") as opened:
        assert opened.read(1) == b"o"
        client.push("datasets/sent", write_tree(tmp_path / "two", {"a": b"two"}))
        with pickle.loads(pickle.dumps(opened)) as copy:
            assert copy.read() == b"ne"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(files.cat_file, ("datasets/sent/a",)) == b"one"
        files.invalidate_cache()
        assert files.cat_file("datasets/sent/a") == b"two"
        assert pool.apply(files.cat_file, ("datasets/sent/a",)) == b"two"


def test_pandas_and_pyarrow_read_directly(
    server: tuple[Client, Server], files: IngotFileSystem, tmp_path: pathlib.Path
) -> None:
    import pandas  # half a second, in each process that only collects

    client, running = server
    table = pyarrow.table({"number": range(50_000), "text": [f"row {number}" for number in range(50_000)]})
    source = write_tree(tmp_path / "in", {"few.csv": b"a,b\n1,2\n3,4\n", "rows.jsonl": ROWS})
    parquet.write_table(table, source / "table.parquet", row_group_size=5_000)
    client.push("datasets/tables", source)
    options = {"server": running.address, "token": running.token("member")}
    few = pandas.read_csv("ingot://datasets/tables@1/few.csv", storage_options=options)
    assert few.to_dict("list") == {"a": [1, 3], "b": [2, 4]}
    rows = pandas.read_json("ingot://datasets/tables/rows.jsonl", lines=True, storage_options=options)
    assert rows["number"].sum() == sum(range(1000))
    read = dataset.dataset("datasets/tables/table.parquet", filesystem=files)
    assert read.to_table(filter=dataset.field("number") >= 49_990)["text"].to_pylist() == [
        f"row {number}" for number in range(49_990, 50_000)
    ]
