"""Imports of files at URLs, whole: the SDK starts them, the server's runner spawns their bodies."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from helpers.patterns import pattern
from helpers.sdk import tree_of
from helpers.servers import Server, running_server
from helpers.url_server import Cut, File, Paused, Status, UrlServer, in_turn, url_server
from ingot.client import Client, Denied, NotFound
from ingot.v1 import common_pb2
from ingot.v1 import operations_pb2 as pb

pytestmark = pytest.mark.slow

MIB = 1024 * 1024
DATA = pattern("tasks", 5 * MIB)
CHECKSUM = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


@pytest.fixture
def web() -> Iterator[UrlServer]:
    with url_server() as running:
        yield running


def _client(server: Server) -> Client:
    return Client(server.address, server.token("sara"), user="sara")


def _settings(**told: Any) -> dict[str, Any]:
    return {"operation_retry_seconds": 0.1, "import_stall_seconds": 100.0, **told}


@pytest.mark.contract("S0-110", "S4-2", "S4-15", "S4-23", "S4-26", "S4-28")
def test_a_url_becomes_a_version_although_its_server_was_down_at_first(
    web: UrlServer, tmp_path: Path
) -> None:
    paused = Paused(DATA, '"1"', after=3 * MIB)
    url = web.serve("/humaneval.bin", in_turn(Status(503), Cut(DATA, '"1"', after=MIB), paused))
    seen: list[common_pb2.Progress] = []

    def on_progress(progress: common_pb2.Progress) -> None:
        seen.append(progress)
        if progress.done >= 3 * MIB:
            paused.go_on.set()

    allowed = _settings(import_private_networks=("127.0.0.0/8",))
    with running_server(tmp_path, **allowed) as server, _client(server) as client:
        started = client.operations.start_import(url, "datasets/humaneval", checksums=[CHECKSUM])
        done = client.operations.wait(started.name, on_progress=on_progress)
        halfway = next(each for each in seen if each.done == 3 * MIB)
        assert (halfway.phase, halfway.unit) == ("fetching", "bytes")
        assert [(each.path, each.done) for each in halfway.files] == [("humaneval.bin", 3 * MIB)]
        assert [each.start for each in web.asked] == [0, None, MIB]
        assert (done.progress.done, done.progress.total, done.progress.unit) == (
            len(DATA),
            len(DATA),
            "bytes",
        )
        version = str(done.result["version"])
        client.pull(version, tmp_path / "pulled")
        assert tree_of(tmp_path / "pulled") == {"humaneval.bin": DATA}
        web.serve("/humaneval.bin", Status(500))  # nobody asks
        again = client.operations.start_import(url, "datasets/humaneval", checksums=[CHECKSUM])
        assert client.operations.wait(again.name).result["existed"] is True


@pytest.mark.contract("S0-110", "S2-49")
def test_private_addresses_are_refused_unless_the_settings_allow_them(web: UrlServer, tmp_path: Path) -> None:
    web.serve("/file.bin", File(DATA))
    with running_server(tmp_path, **_settings()) as server, _client(server) as client:
        with pytest.raises(Denied) as refused:
            client.operations.start_import(web.url("/file.bin"), "datasets/inside")
        assert refused.value.reason == "SOURCE_ADDRESS_REFUSED"
        started = client.operations.start_import(web.url("/file.bin", "localhost"), "datasets/inside")
        with pytest.raises(Denied) as failed:
            client.operations.wait(started.name)
        assert (failed.value.reason, failed.value.facts["host"]) == ("SOURCE_ADDRESS_REFUSED", "localhost")
        assert "import_private_networks" in failed.value.next_step
        found = client.operations.get(started.name)
        assert (found.state, found.attempt) == (pb.OPERATION_STATE_FAILED, 1)
    assert web.asked == []


def test_what_follows_the_path_of_a_url_is_used_but_neither_shown_nor_left_behind(
    web: UrlServer, tmp_path: Path
) -> None:
    url = web.serve("/signed.bin", Status(404)) + "?X-Amz-Signature=s3cretsignature&part=1"
    allowed = _settings(import_private_networks=("127.0.0.0/8",))
    with running_server(tmp_path, **allowed) as server:
        token = server.token("sara")
        with Client(server.address, token, user="sara") as client:
            started = client.operations.start_import(url, "datasets/signed", checksums=[CHECKSUM])
            with pytest.raises(NotFound):
                client.operations.wait(started.name)
        assert b"s3cretsignature" not in _everything(tmp_path)
    with (
        running_server(tmp_path, **allowed) as server,
        Client(server.address, token, user="sara") as client,
    ):
        web.serve("/signed.bin", File(DATA))
        client.operations.retry(started.name)
        done = client.operations.wait(started.name)
        answers = [
            str(client.operations.get(started.name)),
            *map(str, client.operations.list()),
            *map(str, client.catalog.versions("datasets/signed")),
        ]
    assert {each.target for each in web.asked} == {"/signed.bin?X-Amz-Signature=s3cretsignature&part=1"}
    assert done.result["source"] == web.url("/signed.bin")
    assert json_format.MessageToDict(done.params)["source"]["files"][0]["urls"] == [web.url("/signed.bin")]
    assert all(web.url("/signed.bin") in each for each in answers)
    assert not any("s3cretsignature" in each for each in answers)
    assert b"s3cretsignature" not in _everything(tmp_path)


def _everything(folder: Path) -> bytes:
    """Return what the server wrote: rows, logs, files on their way."""
    found = bytearray()
    for each in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # the server goes on, and removes what it needs no more
            found += each.read_bytes() if each.is_file() else b""
    return bytes(found)
