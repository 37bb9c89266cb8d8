"""A server that is 100 ms away: the number of files does not decide how often a command waits for answers."""

import pathlib
import time

from helpers.patterns import pattern
from helpers.sdk import tree_of, write_tree
from helpers.servers import running_server
from helpers.slow_path import slow_path
from ingot.client import Client

ROUND_TRIP = 0.1
FILES = {f"{number}.bin": pattern(f"far {number}", 3000) for number in range(300)}
MOST = 100  # round trips, for machines that are slow themselves; it takes about 15


def test_many_files_travel_in_few_round_trips(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "source", FILES)
    with (
        running_server(tmp_path, listen=("127.0.0.1:0",)) as server,
        slow_path(server.app.addresses[0], ROUND_TRIP) as address,
        Client(address, server.admin_token, user="ada") as client,
    ):
        begun = time.monotonic()
        client.push("datasets/far", source)
        pushed = time.monotonic()
        client.pull("datasets/far", tmp_path / "here")
        pulled = time.monotonic()
    assert tree_of(tmp_path / "here") == FILES
    for seconds in (pushed - begun, pulled - pushed):
        assert 3 * ROUND_TRIP < seconds < MOST * ROUND_TRIP
