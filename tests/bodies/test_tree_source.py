"""Files of a tree as sources: any way of reading gives the bytes that were pushed."""

import io
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.patterns import pattern
from helpers.sdk import write_tree
from helpers.servers import running_server
from ingot.client import Client
from ingot.server.bodies import tree_source
from ingot.server.bodies.failures import BodyFailure
from ingot.server.bodies.tree_source import TreeSource

CONTENT = pattern("source", 9_000_000)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with running_server(tmp_path) as server, Client(server.address, server.token("sara")) as client:
        yield client


@pytest.fixture
def version(client: Client, tmp_path: Path) -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("large.bin", CONTENT)
        archive.writestr("small.txt", "hello")
    files = {"a.bin": CONTENT, "b.zip": packed.getvalue(), "empty": b""}
    return client.push("datasets/x", write_tree(tmp_path / "in", files)).name


def test_reading_on_gives_everything(client: Client, version: str) -> None:
    with TreeSource(client, version, "a.bin", len(CONTENT)) as source:
        assert source.read(10) == CONTENT[:10]
        assert source.tell() == 10
        assert source.read() == CONTENT[10:]
        assert source.read(5) == b""


def test_jumps_land_where_they_should(client: Client, version: str) -> None:
    draw = random.Random(5)
    plain = io.BytesIO(CONTENT)
    with TreeSource(client, version, "a.bin", len(CONTENT)) as source:
        for _ in range(60):
            offset, length = draw.randrange(len(CONTENT)), draw.choice([1, 100, 70_000, 800_000])
            assert source.seek(offset) == plain.seek(offset)
            assert source.read(length) == plain.read(length)
        assert source.seek(-7, io.SEEK_END) == len(CONTENT) - 7
        assert source.seek(2, io.SEEK_CUR) == len(CONTENT) - 5
        assert source.read(100) == CONTENT[-5:]


def test_a_zip_is_read_by_its_index(client: Client, version: str) -> None:
    size = client.uploads.file(f"{version}:b.zip").size_bytes
    with TreeSource(client, version, "b.zip", size) as source, zipfile.ZipFile(source) as archive:
        assert archive.read("small.txt") == b"hello"


def test_an_empty_file_has_nothing(client: Client, version: str) -> None:
    with TreeSource(client, version, "empty", 0) as source:
        assert (source.read(), source.read(10)) == (b"", b"")


def test_a_file_that_ends_too_early_is_no_finding_but_a_failure(client: Client, version: str) -> None:
    with (
        TreeSource(client, version, "a.bin", len(CONTENT) + 1) as source,
        pytest.raises(BodyFailure) as caught,
    ):
        source.read()
    assert caught.value.reason == "DATA_LOSS"


def test_a_reader_that_leaves_lets_its_thread_end(client: Client, version: str) -> None:
    def stream() -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            ended.append(True)

    ended: list[bool] = []
    ahead = tree_source._Ahead(stream())
    pieces = iter(ahead)
    assert [next(pieces) for _ in range(3)] == [b"x"] * 3
    ahead.stop()
    ahead._thread.join(60)
    assert ended == [True]
