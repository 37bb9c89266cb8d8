"""Checkpoints on disk: whole or absent, verified, and kept by rule."""

import errno
from pathlib import Path

import pytest

from ingot.worker import folders
from ingot.worker.problem import TrainingError


def make(root: Path, step: int, text: str = "weights") -> Path:
    folder = folders.part(root, step)
    (folder / "ds").mkdir()
    (folder / "ds" / "model.pt").write_text(text)
    return folders.commit(folder)


def names(root: Path) -> list[str]:
    return [folder.name for folder in folders.checkpoints(root)]


@pytest.mark.contract("S0-52")
def test_a_commit_makes_it_the_latest(tmp_path: Path) -> None:
    assert folders.latest(tmp_path) is None
    assert folders.checkpoints(tmp_path / "absent") == []
    for step in (5, 10):
        folder = make(tmp_path, step)
        assert folders.latest(tmp_path) == folder
        assert folders.step_of(folder) == step
        folders.verify(folder)
    assert names(tmp_path) == ["step-00000005", "step-00000010"]


def test_a_save_that_was_cut_is_no_checkpoint(tmp_path: Path) -> None:
    old = make(tmp_path, 5)
    cut = folders.part(tmp_path, 10)
    (cut / "half").write_text("x")
    assert folders.latest(tmp_path) == old
    assert names(tmp_path) == [old.name]
    make(tmp_path, 15)
    assert not cut.exists()


def test_the_same_step_saved_again_replaces_it(tmp_path: Path) -> None:
    make(tmp_path, 5, "old")
    folder = make(tmp_path, 5, "new")
    assert (folder / "ds" / "model.pt").read_text() == "new"
    folders.verify(folder)


@pytest.mark.parametrize("harm", ["changed", "removed", "added", "no manifest"])
def test_verify_names_what_differs(tmp_path: Path, harm: str) -> None:
    folder = make(tmp_path, 5)
    file = folder / "ds" / "model.pt"
    if harm == "changed":
        file.write_text("Weights")
    elif harm == "removed":
        file.unlink()
    elif harm == "added":
        (folder / "extra.pt").write_text("x")
    else:
        (folder / folders.MANIFEST).write_text("{")
    with pytest.raises(TrainingError) as caught:
        folders.verify(folder)
    assert caught.value.problem.reason == "DATA_LOSS"
    assert {"changed": "model.pt", "removed": "model.pt", "added": "extra.pt", "no manifest": "manifest"}[
        harm
    ] in str(caught.value)


@pytest.mark.contract("S0-94")
def test_retention_keeps_the_newest_the_named_and_the_held(tmp_path: Path) -> None:
    for step in range(1, 7):
        make(tmp_path, step)
    with folders.hold(tmp_path / folders.step_name(2)):
        folders.retain(tmp_path, 2, {folders.step_name(1)})
        assert names(tmp_path) == [folders.step_name(step) for step in (1, 2, 5, 6)]
    assert folders.retain(tmp_path, 2, set()) == [folders.step_name(1), folders.step_name(2)]
    assert names(tmp_path) == [folders.step_name(step) for step in (5, 6)]
    assert not list(tmp_path.glob("*.hold"))


def test_too_little_space_is_said_with_figures(tmp_path: Path) -> None:
    folders.require_space(tmp_path, 1)
    with pytest.raises(TrainingError) as caught:
        folders.require_space(tmp_path, 1 << 60)
    assert caught.value.problem.reason == "DISK_LOW"
    assert caught.value.problem.facts["needed"] == str(1 << 60)
    assert folders.is_disk_full(OSError(errno.ENOSPC, "full"))
    assert not folders.is_disk_full(OSError(errno.EIO, "broken"))
