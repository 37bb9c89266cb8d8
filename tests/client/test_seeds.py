"""What is here already: files that cannot be read are none that a pull may rely on."""

import os
import pathlib

import pytest

from helpers.patterns import pattern
from helpers.sdk import member_client, tree_of, write_tree
from ingot.client import Conflict
from ingot.client._journal import Cut, Journal
from ingot.client._manifest import TreeFile
from ingot.client._seeds import state_of_content


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "nothing"])
def test_what_is_no_file_any_more_is_not_the_one_it_should_be(tmp_path: pathlib.Path, kind: str) -> None:
    place = tmp_path / "empty"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "link":
        place.symlink_to(write_tree(tmp_path / "other", {"empty": b""}) / "empty")
    elif kind == "folder":
        place.mkdir()
    cut = Cut(0, b"", "cdc")
    journal = Journal(tmp_path)
    try:
        assert state_of_content(place, TreeFile("empty", cut, cut.root()), journal) is None
    finally:
        journal.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read_is_replaced_only_when_forced(tmp_path: pathlib.Path) -> None:
    files = {"a.bin": pattern("a", 100_000), "b.txt": b"b"}
    with member_client() as (client, _):
        client.push("models/tiny", write_tree(tmp_path / "in", files))
        client.pull("models/tiny", tmp_path / "out")
        (tmp_path / "out" / "a.bin").chmod(0)
        with pytest.raises(Conflict, match=r"a\.bin"):
            client.pull("models/tiny", tmp_path / "out")
        client.pull("models/tiny", tmp_path / "out", force=True)
    assert tree_of(tmp_path / "out") == files
