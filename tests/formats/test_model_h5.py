"""HDF5 files are walked without trust: links outside, code of Keras, and content that breaks the library."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from helpers.checks import checked, errors
from ingot.server.core.params import Rules


def made(*steps: Callable[[h5py.File], object]) -> bytes:
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.create_group("layer")["kernel"] = [1.0, 2.0, 3.0]
        for step in steps:
            step(file)
    return memory.getvalue()


def config(value: object) -> Callable[[h5py.File], object]:
    return lambda file: file.attrs.__setitem__("model_config", json.dumps(value))


def link(file: h5py.File) -> None:
    file["out"] = h5py.ExternalLink("/etc/passwd", "/a")


def storage(file: h5py.File) -> None:
    file.create_dataset("out", (10,), dtype="f4", external=[("/etc/passwd", 0, 40)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3,), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "a", (3,))
    file.create_virtual_dataset("out", layout)


LAMBDA = {"config": {"layers": [{"class_name": "Dense"}, {"class_name": "Lambda"}]}}
GOOD = made(config({"config": {"layers": [{"class_name": "Dense"}]}}))


@pytest.mark.parametrize("content", [made(link), made(storage), made(virtual), made(config(LAMBDA))])
def test_what_reaches_outside_or_runs_is_unsafe(tmp_path: Path, content: bytes) -> None:
    outcome = checked("m.h5", content, tmp_path)
    assert [each.reason for each in errors(outcome)] == ["unsafe_content"]
    allowed = checked("m.h5", content, tmp_path, Rules(allow_unsafe=True))
    assert allowed.report.passed
    assert [each.reason for each in allowed.findings.kept] == ["unsafe_content"]


def test_a_right_file_passes_and_is_counted(tmp_path: Path) -> None:
    outcome = checked("m.h5", GOOD, tmp_path)
    assert outcome.findings.kept == []
    assert outcome.report.statistics == {
        "groups": 2,
        "datasets": 1,
        "parameters": 3,
        "types": {"float64": 1},
        "keras": True,
    }


def test_a_file_that_is_cut(tmp_path: Path) -> None:
    outcome = checked("m.h5", GOOD[:-10], tmp_path)
    assert [(each.reason, each.byte_offset) for each in errors(outcome)] == [("truncated", len(GOOD) - 10)]


@pytest.mark.parametrize(
    "content", [b"x" * 5000, GOOD[:8] + b"\xff" * 5000, GOOD[:96] + bytes(len(GOOD) - 96)]
)
def test_content_that_is_none(tmp_path: Path, content: bytes) -> None:
    outcome = checked("m.h5", content, tmp_path)
    assert not outcome.report.passed
    assert [each.reason for each in errors(outcome)] == ["damaged"]
