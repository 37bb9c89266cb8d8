"""A killed client costs only what was on its way: real processes, kill -9, figures from the server."""

import os
import pathlib
import subprocess
import sys

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


def large_file(folder: pathlib.Path, size: int) -> pathlib.Path:
    folder.mkdir()
    with (folder / "big.bin").open("wb") as file:
        for index in range(0, size, 64 * MIB):
            file.write(pattern(f"kill {index}", min(64 * MIB, size - index)))
    return folder


def the_upload(client: Client) -> transfer_pb2.Upload:
    return next(client.uploads.list(limit=1), transfer_pb2.Upload())


@pytest.mark.contract("S3-4", "S3-53")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "size",
    [pytest.param(160 * MIB, marks=pytest.mark.slow), pytest.param(1024 * MIB, marks=pytest.mark.long)],
)
def test_a_push_and_a_pull_killed_at_half_go_on_from_there(tmp_path: pathlib.Path, size: int) -> None:
    source = large_file(tmp_path / "in", size)
    rate = size // 2  # so that half of it takes about a second
    with server_process(tmp_path / "data") as server, Client(server.address, server.admin_token) as client:
        pushing = start("push", source, client, rate)
        eventually(lambda: the_upload(client).stored_bytes >= size // 2, timeout=120, what="half of it")
        pushing.kill()
        pushing.wait()
        before = the_upload(client)
        done = client.push("datasets/big", source)
        after = client.uploads.get(done.upload)
        assert done.upload == before.name
        assert done.sent_bytes <= size - before.stored_bytes <= size // 2
        # At the server: what was missing, and one stream for each of the two lanes that were killed.
        assert after.received_bytes - before.received_bytes <= size - before.stored_bytes + 2 * LARGEST_STREAM

        pulling = start("pull", tmp_path / "out", client, rate)
        parts = tmp_path / "out" / ".ingot-pull"
        eventually(
            lambda: sum(each.stat().st_blocks for each in parts.glob("*")) * 512 >= size * 3 // 4,
            timeout=120,
            what="most of it",
        )
        pulling.kill()
        pulling.wait()
        pulled = client.pull("datasets/big", tmp_path / "out")
        assert pulled.received_bytes < size
        assert pulled.received_bytes + pulled.reused_bytes == size
        assert tree_of(tmp_path / "out") == tree_of(source)
