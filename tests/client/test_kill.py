"""A killed client costs only what was on its way: real processes, kill -9, figures from the server."""

import functools
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.processes import server_process
from helpers.sdk import tree_of
from ingot.client import Client
from ingot.v1 import transfer_pb2

MIB = 1024 * 1024
LARGEST_STREAM = 64 * MIB
CODE = """
import sys
from ingot.client import Client
from ingot.content import malloc
malloc.raise_thresholds()
verb, rate, place = sys.argv[1:]
with Client() as client:
    if verb == "push":
        client.push("datasets/big", place, streams=2, limit_rate=float(rate))
    else:
        client.pull("datasets/big", place, limit_rate=float(rate))
"""


def start(verb: str, place: pathlib.Path, client: Client, rate: int) -> "subprocess.Popen[bytes]":
    environment = {
        **os.environ,
        "INGOT_SERVER": client.endpoint.target,
        "INGOT_TOKEN": client.endpoint.token,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    return subprocess.Popen([sys.executable, "-c", CODE, verb, str(rate), str(place)], env=environment)


def large_file(folder: pathlib.Path, size: int, seed: int) -> pathlib.Path:
    folder.mkdir()
    with (folder / "big.bin").open("wb") as file:
        for index in range(0, size, 64 * MIB):
            file.write(pattern(f"kill {seed} {index}", min(64 * MIB, size - index)))
    return folder


def the_upload(client: Client) -> transfer_pb2.Upload:
    return next(client.uploads.list(limit=1), transfer_pb2.Upload())


def rates(size: int) -> list[int]:
    """Return how fast to go: half of it in about a second, or slower where that was over before the kill."""
    return [size // 2, size // 8, size // 32]


def kill_when(process: "subprocess.Popen[bytes]", reached: Callable[[], bool]) -> None:
    eventually(lambda: process.poll() is not None or reached(), timeout=400, what="the moment of the kill")
    process.kill()
    process.wait()


def push_killed_at_half(
    folder: pathlib.Path, client: Client, size: int
) -> tuple[pathlib.Path, transfer_pb2.Upload]:
    """Kill a push when half of it is stored; return what was pushed, and its upload."""

    def is_open(upload: transfer_pb2.Upload) -> bool:
        return upload.state == transfer_pb2.UPLOAD_STATE_OPEN

    def half() -> bool:
        return is_open(found := the_upload(client)) and found.stored_bytes >= size // 2

    for rate in rates(size):
        source = large_file(folder / f"in {rate}", size, rate)
        kill_when(start("push", source, client, rate), half)
        if is_open(left := the_upload(client)):
            return source, left
    raise AssertionError("each push was over before it was killed")


def pull_killed_at_most(folder: pathlib.Path, client: Client, size: int) -> pathlib.Path:
    """Kill a pull when most of it is there; return its folder."""

    def most(out: pathlib.Path) -> bool:
        blocks = sum(each.stat().st_blocks for each in (out / ".ingot-pull").glob("*"))
        return blocks * 512 >= size * 3 // 4

    for rate in rates(size):
        out = folder / f"out {rate}"
        kill_when(start("pull", out, client, rate), functools.partial(most, out))
        if not (out / "big.bin").exists():
            return out
    raise AssertionError("each pull was over before it was killed")


@pytest.mark.contract("S3-4", "S3-53")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "size",
    [pytest.param(160 * MIB, marks=pytest.mark.slow), pytest.param(1024 * MIB, marks=pytest.mark.long)],
)
def test_a_push_and_a_pull_killed_at_half_go_on_from_there(tmp_path: pathlib.Path, size: int) -> None:
    with server_process(tmp_path / "data") as server, Client(server.address, server.admin_token) as client:
        source, before = push_killed_at_half(tmp_path, client, size)
        done = client.push("datasets/big", source)
        after = client.uploads.get(done.upload)
        assert done.upload == before.name
        assert done.sent_bytes <= size - before.stored_bytes <= size // 2
        # At the server: what was missing, and one stream for each of the two lanes that were killed.
        assert after.received_bytes - before.received_bytes <= size - before.stored_bytes + 2 * LARGEST_STREAM

        out = pull_killed_at_most(tmp_path, client, size)
        pulled = client.pull("datasets/big", out)
        assert pulled.received_bytes < size
        assert pulled.received_bytes + pulled.reused_bytes == size
        assert tree_of(out) == tree_of(source)
