"""Transfers of one client side by side: to stop one leaves the others alone."""

import itertools
import pathlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.sdk import member_client, tree_of, write_tree
from ingot.client import Client, Invalid, Precondition, TransferProgress
from ingot.v1 import transfer_pb2 as pb

FILES = {"a.bin": pattern("a", 9 * 1024 * 1024), "b.txt": b"small"}


class Stopped(Exception):
    """What a program raises to stop its transfer."""


class Held:
    """A callback that holds its transfer in a stage until it is let go."""

    def __init__(self, stage: str) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        self._stage = stage

    def __call__(self, progress: TransferProgress) -> None:
        if progress.stage.name == self._stage:
            self.reached.set()
            assert self.go.wait(100)


def stop(progress: TransferProgress) -> None:
    if progress.stage.name in ("RECEIVING", "SENDING"):
        raise Stopped


def test_stopping_one_transfer_leaves_the_others_alone(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", FILES)
    pulling, pushing = Held("RECEIVING"), Held("SENDING")
    with member_client() as (client, _), ThreadPoolExecutor(2) as threads:
        client.push("models/tiny", source)
        pulled = threads.submit(client.pull, "models/tiny", tmp_path / "out", on_progress=pulling)
        write_tree(tmp_path / "other", {"c.bin": pattern("c", 1_000_000)})
        pushed = threads.submit(client.push, "models/other", tmp_path / "other", on_progress=pushing)
        assert pulling.reached.wait(100)
        assert pushing.reached.wait(100)
        with pytest.raises(Stopped):
            client.pull("models/tiny", tmp_path / "stopped", on_progress=stop)
        write_tree(tmp_path / "third", {"d.bin": pattern("d", 1_000_000)})
        with pytest.raises(Stopped):
            client.push("models/third", tmp_path / "third", on_progress=stop)
        pulling.go.set()
        pushing.go.set()
        assert pulled.result(100).size_bytes == sum(map(len, FILES.values()))
        assert pushed.result(100).size_bytes == 1_000_000
        assert tree_of(tmp_path / "out") == FILES
        client.pull("models/tiny", tmp_path / "stopped")  # goes on
        assert tree_of(tmp_path / "stopped") == FILES


def test_giving_up_one_upload_leaves_the_others_alone(tmp_path: pathlib.Path) -> None:
    held = {name: Held("SENDING") for name in ("one", "two")}
    with member_client() as (client, _), ThreadPoolExecutor(2) as threads:
        pushes = {}
        for name, holding in held.items():
            folder = write_tree(tmp_path / name, {"x.bin": pattern(name, 1_000_000)})
            pushes[name] = threads.submit(client.push, f"models/{name}", folder, on_progress=holding)
            assert holding.reached.wait(100)
        (one,) = (
            each
            for each in client.uploads.list(stage=pb.UPLOAD_STAGE_UPLOADING, limit=10)
            if each.target.version.artifact.endswith("/one")
        )
        client.uploads.abort(one.name)
        for holding in held.values():
            holding.go.set()
        with pytest.raises(Precondition):
            pushes["one"].result(100)
        assert pushes["two"].result(100).size_bytes == 1_000_000
        assert eventually(lambda: client.verify("models/two").ok)


def test_different_pushes_of_equal_looks_do_not_share_an_upload(tmp_path: pathlib.Path) -> None:
    """Two files of one name and size, pushed at once as versions of one model, both become versions."""
    held = Held("SENDING")
    for name in ("one", "two"):
        write_tree(tmp_path / name, {"m.bin": pattern(name, 3_000_000)})
    with member_client() as (client, _), ThreadPoolExecutor(2) as threads:
        first = threads.submit(client.push, "models/sweep", tmp_path / "one" / "m.bin", on_progress=held)
        assert held.reached.wait(100)
        second = client.push("models/sweep", tmp_path / "two" / "m.bin")
        held.go.set()
        names = {first.result(100).name, second.name}
        assert len(names) == 2
        for folder, made in (("one", first.result()), ("two", second)):
            client.pull(made.name, tmp_path / "out" / folder)
            assert tree_of(tmp_path / "out" / folder) == tree_of(tmp_path / folder)


def test_the_same_push_twice_at_once_ends_well_twice(tmp_path: pathlib.Path) -> None:
    held = Held("SENDING")
    source = write_tree(tmp_path / "in", FILES)
    with member_client() as (client, _), ThreadPoolExecutor(2) as threads:
        first = threads.submit(client.push, "models/tiny", source, on_progress=held)
        assert held.reached.wait(100)
        second = client.push("models/tiny", source)
        held.go.set()
        assert first.result(100).digest == second.digest


def test_threads_may_do_the_same_for_the_first_time_at_once(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_tree(tmp_path / "in", {"a": b"a"})
    with member_client() as (client, _), ThreadPoolExecutor(8) as threads:
        client.push("models/tiny", source)
        for number in range(8):
            monkeypatch.setenv("INGOT_CACHE_DIR", str(tmp_path / f"cache {number}"))
            pushes = [threads.submit(client.push, "models/tiny", source) for _ in range(4)]
            out = tmp_path / f"out {number}"
            pulls = [threads.submit(client.pull, "models/tiny@1", out) for _ in range(4)]
            pushed = {each.result(100).digest for each in pushes}
            assert pushed == {each.result(100).digest for each in pulls}


def test_a_dry_run_leaves_a_push_of_the_same_alone(tmp_path: pathlib.Path) -> None:
    held = Held("SENDING")
    source = write_tree(tmp_path / "in", FILES)
    with member_client() as (client, _), ThreadPoolExecutor(2) as threads:
        pushed = threads.submit(client.push, "models/tiny", source, on_progress=held)
        assert held.reached.wait(100)
        planned = client.push("models/tiny", source, dry_run=True)
        held.go.set()
        assert planned.digest == pushed.result(100).digest


def test_a_rate_below_what_the_server_takes_is_refused_at_once(tmp_path: pathlib.Path) -> None:
    source = write_tree(tmp_path / "in", FILES)
    with member_client() as (client, _):
        with pytest.raises(Invalid, match="limit_rate: expected at least 81920 bytes a second"):
            client.push("models/tiny", source, limit_rate=50_000)
        assert not list(client.uploads.list())


def test_a_slow_rate_sends_small_messages_without_silence(tmp_path: pathlib.Path) -> None:
    """One message of the usual size would take four seconds, with three streams twelve."""

    def largest(client: Client, turn: int) -> int:
        """Return the most bytes that were sent between two reports, which may tell of several messages."""
        moved: list[int] = []
        source = write_tree(tmp_path / f"in {turn}", {"a.bin": pattern(f"slow {turn}", 300_000)})
        done = client.push(
            "models/slow",
            source,
            limit_rate=256 * 1024,
            on_progress=lambda progress: moved.append(progress.bytes_moved),
        )
        assert done.sent_bytes == 300_000
        return max(after - before for before, after in itertools.pairwise(moved))

    with member_client() as (client, _):  # after a pause of the machine one report tells of what it held up
        assert any(largest(client, turn) <= 256 * 1024 for turn in range(5))
