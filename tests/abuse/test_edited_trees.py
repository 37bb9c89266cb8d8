"""Property: whatever edits come between pushes, each version pulled is the tree that was pushed."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.patterns import pattern
from helpers.sdk import tree_of, write_tree
from helpers.servers import running_server
from ingot.client import Client
from ingot.server import cli

PATHS = st.sampled_from(["a.bin", "b.bin", "folder/c.bin", "folder/سلام.txt"])
PLACES = st.integers(0, 400_000)
BYTES = st.builds(pattern, st.sampled_from(["x", "y", "z"]), st.integers(0, 200_000))
EDITS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), PATHS, PLACES, BYTES),
        st.tuples(st.just("insert"), PATHS, PLACES, BYTES),
        st.tuples(st.just("cut"), PATHS, PLACES, BYTES),
        st.tuples(st.just("zeros"), PATHS, PLACES, BYTES),
        st.tuples(st.just("remove"), PATHS, PLACES, BYTES),
    ),
    min_size=1,
    max_size=4,
)

Edit = tuple[str, str, int, bytes]


def edited(tree: Mapping[str, bytes], edits: list[Edit]) -> dict[str, bytes]:
    """Return what a tree is after some edits."""
    result = dict(tree)
    for what, path, place, data in edits:
        old = result.get(path, b"")
        match what:
            case "write":
                result[path] = old[:place] + data + old[place + len(data) :]
            case "insert":
                result[path] = old[:place] + data + old[place:]
            case "cut":
                result[path] = old[:place] + old[place + len(data) :]
            case "zeros":
                result[path] = old[:place] + bytes(len(data)) + old[place:]
            case _:
                result.pop(path, None)
    return result


def check(first: bytes, rounds: list[list[Edit]]) -> None:
    trees = [{"a.bin": first, "kept.txt": b"kept"}]
    for edits in rounds:
        trees.append(edited(trees[-1], edits))
    with tempfile.TemporaryDirectory(prefix="ingot-test-") as temporary:
        home = Path(temporary)
        with (
            running_server(home) as server,
            Client(server.address, server.token("sara"), user="ada") as client,
        ):
            for number, tree in enumerate(trees, start=1):
                client.push("datasets/edited", write_tree(home / f"in-{number}", tree))
            for number, tree in enumerate(trees, start=1):  # each anew, and over the one before
                client.pull(f"datasets/edited@{number}", home / f"out-{number}")
                assert tree_of(home / f"out-{number}") == tree
                client.pull(f"datasets/edited@{number}", home / "over")
                assert tree_of(home / "over").items() >= tree.items()
        assert cli.main(["doctor", "--deep", "--data", str(home / "data")]) == 0


CASES = given(first=BYTES, rounds=st.lists(EDITS, min_size=1, max_size=3))


@pytest.mark.contract("S3-60", "S0-11")
@CASES
@settings(max_examples=3, suppress_health_check=[HealthCheck.too_slow])
def test_every_version_is_what_was_pushed(first: bytes, rounds: list[list[Edit]]) -> None:
    check(first, rounds)


@pytest.mark.long
@pytest.mark.timeout(1800)
@CASES
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_every_version_is_what_was_pushed_in_many_trials(first: bytes, rounds: list[list[Edit]]) -> None:
    check(first, rounds)
