"""Transfers of one client side by side: to stop one leaves the others alone."""

import pathlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from helpers.eventually import eventually
from helpers.patterns import pattern
from helpers.sdk import member_client, tree_of, write_tree
from ingot.client import Precondition, TransferProgress
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
            assert self.go.wait(30)


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
        assert pulling.reached.wait(30)
        assert pushing.reached.wait(30)
        with pytest.raises(Stopped):
            client.pull("models/tiny", tmp_path / "stopped", on_progress=stop)
        write_tree(tmp_path / "third", {"d.bin": pattern("d", 1_000_000)})
        with pytest.raises(Stopped):
            client.push("models/third", tmp_path / "third", on_progress=stop)
        pulling.go.set()
        pushing.go.set()
        assert pulled.result(30).size_bytes == sum(map(len, FILES.values()))
        assert pushed.result(30).size_bytes == 1_000_000
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
            assert holding.reached.wait(30)
        (one,) = (
            each
            for each in client.uploads.list(stage=pb.UPLOAD_STAGE_UPLOADING, limit=10)
            if each.target.version.artifact.endswith("/one")
        )
        client.uploads.abort(one.name)
        for holding in held.values():
            holding.go.set()
        with pytest.raises(Precondition):
            pushes["one"].result(30)
        assert pushes["two"].result(30).size_bytes == 1_000_000
        assert eventually(lambda: client.verify("models/two").ok)
