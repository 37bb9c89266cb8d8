"""A pull that ends well left what the tree says, however the pulls before it into that folder ended."""

import itertools
import os
import pathlib
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.killed_writes import Killed, killed_at
from helpers.patterns import pattern
from helpers.sdk import member_client, tree_of, write_tree
from ingot.client import Client

MIB = 1024 * 1024
HALF = pattern("half", 5 * MIB)
VERSIONS = {
    1: {"f": HALF + pattern("one", 5 * MIB), "sub/s": b"one", "same": b"same"},
    2: {"f": HALF + pattern("two", 5 * MIB), "sub/s": b"two", "same": b"same", "more": b"2"},
    3: {"f": pattern("three", 9 * MIB), "sub/s": pattern("small", MIB), "same": b"same"},
}
HOW = ("flip", "zero", "cut", "grow", "link", "remove", "another")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("pushed")
    with member_client() as (client, _):
        for version, files in VERSIONS.items():
            client.push("models/m", write_tree(folder / str(version), files))
        yield client


def pull(client: Client, version: int, out: pathlib.Path) -> None:
    """Pull a version; that says nothing wrong about what is there then."""
    # What pulls recorded of this folder may be lost, too: then they ask before they replace anything.
    client.pull(f"models/m@{version}", out, streams=1, force=True)
    found = {path: content for path, content in tree_of(out).items() if path in VERSIONS[version]}
    assert found == VERSIONS[version], f"version {version} is not what is in the folder"
    assert not (out / ".ingot-pull").exists()


def killed_pull(client: Client, version: int, out: pathlib.Path, step: int) -> bool:
    """Pull until a step of writing; return whether it came to that."""
    with killed_at(out, step):
        try:
            client.pull(f"models/m@{version}", out, streams=1, force=True)
        except Killed:
            pass
        else:
            return False
    # Nobody ever sees half a file under its real name.
    for path, content in tree_of(out).items():
        if not path.startswith(".ingot-pull/"):
            assert content in [files.get(path) for files in VERSIONS.values()], path
    return True


def tamper(out: pathlib.Path, how: str, seed: int) -> None:
    """Change what a killed pull left as a crash, a disk or a person may."""
    chosen = random.Random(seed)
    left = [each for each in sorted((out / ".ingot-pull").glob("*")) if each.name != "lock"]
    if not left:
        return
    place = chosen.choice(left)
    size = place.stat().st_size
    at = chosen.randrange(max(1, size))
    if how == "remove":
        place.unlink()
    elif how == "link":
        place.rename(out / "elsewhere")
        os.link(out / "elsewhere", place)
    elif how == "another":
        place.write_bytes(VERSIONS[chosen.choice([1, 2, 3])]["f"])
    elif how in ("cut", "grow"):
        os.truncate(place, at if how == "cut" else size + at)
    else:
        with place.open("r+b") as file:
            file.seek(at)
            file.write(bytes(4096) if how == "zero" else b"WRONG")


@pytest.mark.contract("S3-53")
def test_killed_at_any_step_the_next_pulls_bring_what_they_say(
    client: Client, tmp_path: pathlib.Path
) -> None:
    for step in itertools.count(1):
        out = tmp_path / str(step)
        killed = killed_pull(client, 1, out, step)
        killed_pull(client, 2, out, step)
        if step % 2:
            killed_pull(client, 2, out, 1 + step // 2)
        pull(client, 1, out)
        if not killed:
            break
    assert step > 15  # it really was cut short at many


STEPS = st.one_of(
    st.tuples(st.just("kill"), st.sampled_from([1, 2, 3]), st.integers(1, 30)),
    st.tuples(st.just("pull"), st.sampled_from([1, 2, 3]), st.just(0)),
    *(st.tuples(st.just(how), st.just(0), st.integers(0, 1000)) for how in HOW),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, min_size=2, max_size=6), st.sampled_from([1, 2, 3]))
def test_any_history_ends_in_the_version_that_was_pulled_last(
    client: Client,
    tmp_path_factory: pytest.TempPathFactory,
    history: list[tuple[str, int, int]],
    last: int,
) -> None:
    out = tmp_path_factory.mktemp("out")
    for what, version, number in history:
        if what == "kill":
            killed_pull(client, version, out, number)
        elif what == "pull":
            pull(client, version, out)
        else:
            tamper(out, what, number)
    pull(client, last, out)


@pytest.mark.parametrize("how", HOW)
def test_what_was_left_is_read_and_only_what_is_right_of_it_is_kept(
    client: Client, tmp_path: pathlib.Path, how: str
) -> None:
    out = tmp_path / "out"
    assert killed_pull(client, 3, out, 12)
    (part,) = (each for each in (out / ".ingot-pull").iterdir() if each.name != "lock")
    tamper(out, how, 1)
    others = {path: found for path, found in tree_of(out).items() if path == "elsewhere"}
    done = client.pull("models/m@3", out, streams=1)
    assert tree_of(out) == {**VERSIONS[3], **others}  # nothing was written through the link
    assert done.received_bytes + done.reused_bytes == done.size_bytes
    if how in ("flip", "zero", "grow"):
        assert done.reused_bytes > 0
    assert not part.exists()
