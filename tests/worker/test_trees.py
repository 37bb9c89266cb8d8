"""Trees come once, stay while they are used, and go when they are old."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ingot.worker.trees import Trees


class Puller:
    """Writes one file per tree and remembers what it pulled."""

    def __init__(self) -> None:
        self.pulled: list[str] = []
        self.broken = False

    def __call__(self, tree: str, folder: Path, progress: Callable[[int, int], None]) -> None:
        self.pulled.append(tree)
        folder.mkdir(parents=True, exist_ok=True)
        if self.broken:
            raise OSError("the line broke")
        (folder / "data.txt").write_text(tree)
        progress(1, 1)


def ignore(_done: int, _total: int) -> None:
    """Hear progress and say nothing."""


def test_a_tree_is_pulled_once_by_digest(tmp_path: Path) -> None:
    puller = Puller()
    trees = Trees(tmp_path, puller)
    for name in ("versions/1", "versions/one-too"):
        with trees.use(name, "blake3:aa", ignore) as folder:
            assert (folder / "data.txt").read_text() == "versions/1"
    assert puller.pulled == ["versions/1"]


def test_a_broken_pull_leaves_nothing_that_looks_whole_and_goes_on_later(tmp_path: Path) -> None:
    puller = Puller()
    trees = Trees(tmp_path, puller)
    puller.broken = True
    with pytest.raises(OSError, match="the line broke"), trees.use("versions/1", "blake3:aa", ignore):
        raise AssertionError("the tree was given out")
    assert not (tmp_path / "aa").exists()
    puller.broken = False
    with trees.use("versions/1", "blake3:aa", ignore) as folder:
        assert folder.name == "aa"


def test_two_users_at_once_pull_once(tmp_path: Path) -> None:
    puller = Puller()
    trees = Trees(tmp_path, puller)
    barrier = threading.Barrier(4)
    seen: list[Path] = []

    def use() -> None:
        barrier.wait()
        with trees.use("versions/1", "blake3:aa", ignore) as folder:
            seen.append(folder)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert puller.pulled == ["versions/1"]
    assert seen == [tmp_path / "aa"] * 4


def test_prune_keeps_the_last_used_and_those_in_use(tmp_path: Path) -> None:
    trees = Trees(tmp_path, Puller())
    for age, name in enumerate(["aa", "bb", "cc"]):
        with trees.use(name, f"blake3:{name}", ignore) as folder:
            pass
        os.utime(folder, (1000 + age, 1000 + age))
    with trees.use("aa", "blake3:aa", ignore) as folder:
        os.utime(folder, (1, 1))
        assert trees.prune(kept=1) == ["bb"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aa", "cc"]
