"""Repair of a folder: only what is damaged or missing travels, and what somebody edited is not lost."""

import os
import pathlib

from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.sdk import member_client, tree_of, write_tree
from ingot.client import Client
from ingot.client._journal import Cut, FileState, Journal
from ingot.content import chunking, digests

MIB = 1024 * 1024
FILES = {"a.bin": pattern("a", 12 * MIB), "sub/b.bin": pattern("b", MIB), "c.txt": b"small", "empty": b""}


def pulled(client: Client, folder: pathlib.Path) -> pathlib.Path:
    client.push("models/tiny", write_tree(folder / "in", FILES))
    client.pull("models/tiny", folder / "out")
    return folder / "out"


def flip(path: pathlib.Path, *places: int) -> None:
    with path.open("r+b") as file:
        for place in places:
            file.seek(place)
            (byte,) = file.read(1)
            file.seek(place)
            file.write(bytes([byte ^ 1]))


def chunk_bytes(content: bytes, *places: int) -> int:
    """Return the bytes of the chunks that hold these places, each once."""
    chunks = chunking.cut_bytes(content)
    return sum(
        each.length for each in chunks if any(each.offset <= at < each.offset + each.length for at in places)
    )


def test_flipped_bytes_cost_their_chunks_and_nothing_more(tmp_path: pathlib.Path) -> None:
    with member_client() as (client, _):
        out = pulled(client, tmp_path)
        places = (0, 5 * MIB, 5 * MIB + 1, 12 * MIB - 1)
        flip(out / "a.bin", *places)
        done = client.repair_folder(out, force=True)
        assert (done.ok, done.repaired, done.damaged, done.missing) == (True, ("a.bin",), (), ())
        assert done.received_bytes == chunk_bytes(FILES["a.bin"], *places) < 12 * MIB
        assert tree_of(out) == FILES
        again = client.repair_folder(out)
        assert (again.repaired, again.received_bytes, again.digest) == ((), 0, done.digest)
        assert client.verify_folder(out).ok


def test_truncated_and_missing_files_come_back_and_others_stay(tmp_path: pathlib.Path) -> None:
    with member_client() as (client, _):
        out = pulled(client, tmp_path)
        os.truncate(out / "a.bin", 4 * MIB)
        (out / "sub/b.bin").unlink()
        (out / "sub").rmdir()
        (out / "empty").unlink()
        (out / "mine.txt").write_bytes(b"mine")
        done = client.repair_folder(out, "models/tiny@1", force=True)
        assert sorted(done.repaired) == ["a.bin", "empty", "sub/b.bin"]
        gone = chunk_bytes(FILES["a.bin"], *range(4 * MIB, 12 * MIB, 4096)) + MIB
        assert done.received_bytes == gone
        assert tree_of(out) == {**FILES, "mine.txt": b"mine"}


def test_what_somebody_edited_is_only_replaced_when_forced(tmp_path: pathlib.Path) -> None:
    with member_client() as (client, _):
        out = pulled(client, tmp_path)
        (out / "c.txt").write_bytes(b"my own words")
        (out / "empty").unlink()
        flip(out / "sub/b.bin", 5)
        os.utime(out / "a.bin")  # which is no edit
        for repaired in (("empty",), ()):
            done = client.repair_folder(out)
            assert (done.ok, done.edited, done.damaged) == (False, ("c.txt", "sub/b.bin"), ())
            assert done.repaired == repaired
        assert (out / "c.txt").read_bytes() == b"my own words"
        (out / "c.txt").unlink()
        done = client.repair_folder(out, force=True)
        assert (done.ok, sorted(done.repaired), done.edited) == (True, ["c.txt", "sub/b.bin"], ())
        assert tree_of(out) == FILES


def test_bytes_that_changed_without_a_write_are_repaired_unasked(tmp_path: pathlib.Path) -> None:
    with member_client() as (client, _):
        out = pulled(client, tmp_path)
        flip(out / "a.bin", 7 * MIB)
        # What the journal holds of a file that rotted: its state now, its chunks as they were.
        state = FileState.of((out / "a.bin").stat())
        assert eventually(lambda: state.is_settled)
        chunks = [(each.digest, each.length) for each in chunking.cut_bytes(FILES["a.bin"])]
        journal = Journal(out)
        journal.put(str(out / "a.bin"), state, Cut(12 * MIB, digests.segment_bytes(chunks), "cdc"))
        journal.close()
        assert client.pull("models/tiny", out).unchanged_files == len(FILES)  # it believes the journal
        done = client.repair_folder(out)
        assert done.repaired == ("a.bin",)
        assert done.received_bytes == chunk_bytes(FILES["a.bin"], 7 * MIB)
        assert tree_of(out) == FILES
