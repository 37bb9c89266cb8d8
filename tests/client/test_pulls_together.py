"""Pulls into one folder at the same time: one after the other, so that each that succeeds is right."""

import functools
import multiprocessing
import os
import pathlib
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.sdk import member_client, tree_of, write_tree
from ingot.client import Client, Conflict, LimitReached, SourceChanged, TransferProgress
from ingot.client._journal import Cut, FileState
from ingot.client._manifest import TreeFile
from ingot.client._part_folder import PartFolder
from ingot.client._parts import Part
from ingot.content import chunking, digests

MIB = 1024 * 1024
VERSIONS = {
    version: {"large": pattern(f"{version}", 12 * MIB), "sub/small": b"%d" % version, "same": b"same"}
    for version in (1, 2)
}
VERSIONS[2]["more"] = b"more"


class Stopped(Exception):
    """What a program raises to stop its transfer."""


class Watched:
    """A callback that notes the stages of a pull and may hold it in one until it is let go."""

    def __init__(self, hold_in: str = "") -> None:
        self.stages: list[str] = []
        self.held, self.go = threading.Event(), threading.Event()
        self._hold_in = hold_in

    def __call__(self, progress: TransferProgress) -> None:
        if progress.stage.name not in self.stages[-1:]:
            self.stages.append(progress.stage.name)
        if progress.stage.name == self._hold_in:
            self.held.set()
            assert self.go.wait(100)

    def waits(self) -> bool:
        return "WAITING" in self.stages


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("pushed")
    with member_client() as (client, _):
        for version, files in VERSIONS.items():
            client.push("models/m", write_tree(folder / str(version), files))
        yield client


@pytest.mark.parametrize("second", [1, 2])
def test_the_second_waits_for_the_first_and_then_looks_again(
    client: Client, tmp_path: pathlib.Path, second: int
) -> None:
    out = tmp_path / "out"
    one, two = Watched("RECEIVING"), Watched()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(client.pull, "models/m@1", out, on_progress=one)
        assert one.held.wait(100)
        other = threads.submit(client.pull, f"models/m@{second}", out, on_progress=two)
        assert eventually(two.waits)
        assert not other.done()
        one.go.set()
        assert first.result(100).received_bytes > 12 * MIB
        done = other.result(100)
    assert two.stages[:2] == ["WAITING", "HASHING"]
    assert tree_of(out) == VERSIONS[second]
    # The same version is there by then; of another one nothing is mixed in.
    assert (done.received_bytes, done.unchanged_files) == ((0, 3) if second == 1 else (12 * MIB + 5, 1))


def test_who_waits_may_give_up(client: Client, tmp_path: pathlib.Path) -> None:
    def give_up(progress: TransferProgress) -> None:
        if progress.stage.name == "WAITING":
            raise Stopped

    with PartFolder(tmp_path / "out").held(lambda: None), pytest.raises(Stopped):
        client.pull("models/m@1", tmp_path / "out", on_progress=give_up)
    client.pull("models/m@1", tmp_path / "out", on_progress=give_up)
    assert tree_of(tmp_path / "out") == VERSIONS[1]


def _hold(folder: str, held: "multiprocessing.synchronize.Event") -> None:
    with PartFolder(pathlib.Path(folder)).held(lambda: None):
        held.set()
        threading.Event().wait(100)


@pytest.mark.slow
def test_a_killed_process_lets_go(client: Client, tmp_path: pathlib.Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path / "out"), held))
    process.start()
    assert held.wait(100)
    watched = Watched()
    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(client.pull, "models/m@1", tmp_path / "out", on_progress=watched)
        assert eventually(watched.waits)
        process.kill()
        process.join()
        done.result(100)
    assert tree_of(tmp_path / "out") == VERSIONS[1]


def test_a_group_shares_a_folder(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o2775)
    with PartFolder(out).held(lambda: None):
        assert stat.S_IMODE((out / ".ingot-pull").stat().st_mode) == 0o2775
        assert stat.S_IMODE((out / ".ingot-pull/lock").stat().st_mode) == 0o664
    assert list(out.iterdir()) == []


# --- what somebody else does to the folder meanwhile ----------------------------------------------------


def pulled_while(
    client: Client, out: pathlib.Path, stage: str, meddle: Callable[[], object], *, force: bool = False
) -> None:
    """Pull version 1, then version 2, at a stage of which somebody meddles."""
    client.pull("models/m@1", out)

    def at_stage(progress: TransferProgress) -> None:
        if progress.stage.name == stage and not done:
            done.append(meddle())

    done: list[object] = []
    client.pull("models/m@2", out, force=force, on_progress=at_stage)
    assert done


@pytest.mark.parametrize("path", ["same", "large", "sub/small"])
@pytest.mark.parametrize("how", ["edited", "removed", "replaced"])
def test_a_file_that_somebody_changes_meanwhile_is_told(
    client: Client, tmp_path: pathlib.Path, path: str, how: str
) -> None:
    place = tmp_path / "out" / path

    def meddle() -> None:
        if how == "edited":
            with place.open("r+b") as file:
                file.write(b"X")
        else:
            place.unlink()
            if how == "replaced":
                place.write_bytes(VERSIONS[2][path][::-1] + b"X")

    with pytest.raises(SourceChanged, match=f"1 file .* changed while it was pulled into: {path}") as caught:
        pulled_while(client, tmp_path / "out", "VERIFYING", meddle)
    assert caught.value.next_step
    client.pull("models/m@2", tmp_path / "out", force=True)
    assert tree_of(tmp_path / "out") == VERSIONS[2]


@pytest.mark.parametrize("path", ["large", "sub/small", "more"])
@pytest.mark.parametrize("force", [False, True])
def test_what_somebody_writes_where_a_file_is_about_to_be_put_is_not_lost(
    client: Client, tmp_path: pathlib.Path, path: str, force: bool
) -> None:
    out = tmp_path / "out"
    edit = functools.partial((out / path).write_bytes, b"my own words")
    if force:
        pulled_while(client, out, "RECEIVING", edit, force=True)
        assert tree_of(out) == VERSIONS[2]
        return
    with pytest.raises(Conflict, match=f"1 file .* would be overwritten .*: {path}") as caught:
        pulled_while(client, out, "RECEIVING", edit)
    assert caught.value.reason == "LOCAL_CHANGES"
    assert (out / path).read_bytes() == b"my own words"
    client.pull("models/m@2", out, force=True)
    assert tree_of(out) == VERSIONS[2]


def test_other_permissions_are_no_other_content(client: Client, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    pulled_while(client, out, "RECEIVING", lambda: (out / "same").chmod(0o600))
    assert tree_of(out) == VERSIONS[2]


# --- places ---------------------------------------------------------------------------------------------


def part_of(content: bytes, target: pathlib.Path, place: pathlib.Path, aside: ThreadPoolExecutor) -> Part:
    chunks = [(each.digest, each.length) for each in chunking.cut_bytes(content)]
    cut = Cut(len(content), digests.segment_bytes(chunks), "cdc")
    part = Part(TreeFile("f", cut, cut.root()), str(target), str(place), aside)
    for index, (offset, length, _) in enumerate(part.chunks):
        part.write(index, 1, [content[offset : offset + length]])
    part.sync()
    return part


def put(part: Part) -> FileState:
    """Put a part in its place, in the folder that its path leads to."""
    folder = os.open(os.path.dirname(part.target), os.O_RDONLY)
    try:
        return part.put(folder)
    finally:
        os.close(folder)


@pytest.mark.parametrize("size", [100, 9 * MIB])
def test_a_part_crosses_over_to_another_file_system(tmp_path: pathlib.Path, size: int) -> None:
    other = pathlib.Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system here")
    content = pattern("carried", size)
    target = tmp_path / "target"
    place = other / f"ingot-test-{os.getpid()}-{size}"
    with ThreadPoolExecutor(1) as aside:
        part = part_of(content, target, place, aside)
        state = put(part)
        part.close()
    assert (target.read_bytes(), state.size, place.exists()) == (content, size, False)
    assert [each.name for each in tmp_path.iterdir() if each.name != "xdg"] == ["target"]


@pytest.mark.parametrize("size", [100, 9 * MIB])
@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_part_that_is_taken_away_is_told(tmp_path: pathlib.Path, size: int, how: str) -> None:
    with ThreadPoolExecutor(1) as aside:
        part = part_of(pattern("mine", size), tmp_path / "target", tmp_path / "part", aside)
        (tmp_path / "part").unlink()
        if how == "replaced":
            (tmp_path / "part").write_bytes(pattern("theirs", size))
            os.utime(tmp_path / "part", (1, 1))
        for _ in range(2):
            with pytest.raises(Conflict, match=r"took .* away or replaced it") as caught:
                put(part)
        part.close()
    assert "pull again" in caught.value.next_step
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("right", [True, False])
def test_a_part_that_somebody_touched_is_read_before_it_counts(tmp_path: pathlib.Path, right: bool) -> None:
    content = pattern("touched", 700_000)
    with ThreadPoolExecutor(1) as aside:
        part = part_of(content, tmp_path / "target", tmp_path / "part", aside)
        with (tmp_path / "part").open("r+b") as file:
            file.write(content[:1] if right else b"X")
        os.utime(tmp_path / "part", (1, 1))
        at, length, _ = part.chunks[-1]
        part.write(len(part.chunks) - 1, 1, [content[at : at + length]])
        if right:
            put(part)
            assert (tmp_path / "target").read_bytes() == content
        else:
            with pytest.raises(Conflict):
                put(part)
            assert not (tmp_path / "target").exists()
        part.close()


def test_a_pull_that_was_given_up_writes_nothing_any_more(tmp_path: pathlib.Path) -> None:
    content = pattern("late", 9 * MIB)
    with ThreadPoolExecutor(1) as aside:
        part = part_of(content, tmp_path / "target", tmp_path / "part", aside)
        part.close()  # while a lane still has it
        with pytest.raises(Conflict):
            part.write(0, 1, [content[: part.chunks[0][1]]])
        with pytest.raises(Conflict):
            put(part)
    assert not (tmp_path / "target").exists()
    assert (tmp_path / "part").read_bytes() == content


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_only_be_read_is_good_when_all_is_there(
    client: Client, tmp_path: pathlib.Path
) -> None:
    out = tmp_path / "out"
    client.pull("models/m@1", out)
    out.chmod(0o555)
    try:
        assert client.pull("models/m@1", out).unchanged_files == 3
        with pytest.raises(LimitReached, match="may only be read"):
            client.pull("models/m@2", out)
    finally:
        out.chmod(0o755)
