"""Connections that say nothing, too little or nonsense: they cost a place in a table, and nobody a call."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.patterns import pattern
from helpers.servers import Server, running_server
from helpers.transfers import Pusher
from ingot.server import cli

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
OPENINGS = {
    "nothing": b"",
    "half a preface": PREFACE[:7],
    "another protocol": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a greeting": PREFACE + SETTINGS,
    "headers without end": PREFACE + SETTINGS + b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x40",
    "a frame that claims 16 MB": PREFACE + SETTINGS + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    "pings without end": PREFACE + SETTINGS + b"\x00\x00\x08\x06\x00\x00\x00\x00\x00abcdefgh" * 1000,
    "resets of streams that are none": PREFACE
    + SETTINGS
    + b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08" * 1000,
}
EACH = 40


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("idle")
    with running_server(folder, listen=("127.0.0.1:0",)) as server:
        yield server
    assert cli.main(["doctor", "--deep", "--data", str(folder / "data")]) == 0


@pytest.mark.parametrize("opening", OPENINGS)
def test_connections_that_make_no_call_hold_up_nobody(server: Server, opening: str, tmp_path: Path) -> None:
    host, _, port = server.app.addresses[0].rpartition(":")
    with contextlib.ExitStack() as stack:
        for _ in range(EACH):
            connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=100))
            with contextlib.suppress(ConnectionError):  # the server may hang up in the middle
                connection.sendall(OPENINGS[opening])
        pusher = Pusher(server.member("sara").transfer, ())
        files = {"a.bin": pattern(opening, 100_000)}
        version = pusher.push(files, "namespaces/sara/datasets/beside")
        assert pusher.read(version, "a.bin") == files["a.bin"]
