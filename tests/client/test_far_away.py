"""A server that is far away: the number of files does not decide how often a command waits for answers."""

import pathlib
import time

import pytest

from helpers.patterns import pattern
from helpers.sdk import tree_of, write_tree
from helpers.servers import running_server
from helpers.slow_path import slow_path
from ingot.client import Client

ROUND_TRIPS = (0.1, 0.5, 2.5)  # the next where the machine itself is too slow to tell
FILES = {f"{number}.bin": pattern(f"far {number}", 3000) for number in range(300)}
MOST = 100  # round trips, of which the machine's own work may look like many; it takes about 15


@pytest.mark.timeout(900)
def test_many_files_travel_in_few_round_trips(tmp_path: pathlib.Path) -> None:
    for round_trip in ROUND_TRIPS:
        both = transfers(tmp_path / f"{round_trip}", round_trip)
        assert min(both) > 1  # the path is slow indeed
        if max(both) < MOST:
            return
    raise AssertionError(f"a push and a pull of {len(FILES)} files took {both} round trips")


def transfers(folder: pathlib.Path, round_trip: float) -> tuple[float, float]:
    """Push and pull files; return how many round trips each of it took."""
    source = write_tree(folder / "source", FILES)
    with (
        running_server(folder, listen=("127.0.0.1:0",)) as server,
        slow_path(server.app.addresses[0], round_trip) as address,
        Client(address, server.admin_token, user="ada") as client,
    ):
        begun = time.monotonic()
        client.push("datasets/far", source)
        pushed = time.monotonic()
        client.pull("datasets/far", folder / "here")
        pulled = time.monotonic()
    assert tree_of(folder / "here") == FILES
    return (pushed - begun) / round_trip, (pulled - pushed) / round_trip


@pytest.mark.timeout(900)
def test_a_connection_may_take_longer_than_a_second(tmp_path: pathlib.Path) -> None:
    """Two round trips pass until the server speaks; on a busy machine they take their time nearby as well."""
    with (
        running_server(tmp_path, listen=("127.0.0.1:0",)) as server,
        slow_path(server.app.addresses[0], round_trip=0.75) as address,
        Client(address, server.admin_token, user="ada") as client,
    ):
        assert client.auth.me().user.name == "users/admin"
