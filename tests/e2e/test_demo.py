"""`make demo` keeps its promises, and leaves nothing behind."""

import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile

import psutil
import pytest

from helpers.eventually import eventually

DEMO = pathlib.Path(__file__).parents[2] / "docs" / "demo" / "demo.py"


def _start(*options: str, folder: pathlib.Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(DEMO), *options],
        env={**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", "INGOT_DISK_PLENTY_BYTES": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _left(folder: pathlib.Path) -> list[str]:
    """Return the processes that work in a folder."""
    lines = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
    return [line for line in lines if f"{folder}/ingot-demo" in line]


@pytest.fixture
def folder() -> pathlib.Path:
    return pathlib.Path(tempfile.mkdtemp(prefix="d-"))  # short: a unix socket's path has a limit


def test_a_command_that_takes_too_long_is_told_apart_from_one_that_fails() -> None:
    demo = runpy.run_path(str(DEMO))
    for command, seconds, told in (("sleep 60", 0.1, "took longer than 0.1 s"), ("exit 3", 60, "with 3")):
        with pytest.raises(demo["ClaimError"], match=f"`ingot jobs watch` .*{told}"):
            demo["Demo"].finish(None, subprocess.Popen(["sh", "-c", command]), ["jobs", "watch"], seconds)


@pytest.mark.long
@pytest.mark.timeout(2400)
@pytest.mark.contract("S0-50", "S0-112")
def test_the_demo_keeps_its_promises_and_leaves_nothing(folder: pathlib.Path) -> None:
    demo = _start(folder=folder)
    printed, _ = demo.communicate(timeout=2300)
    assert demo.returncode == 0, printed[-4000:]
    for promise in (
        "the server is ready at",
        "a worker is there",
        "the trainer's process is gone",
        "job_1 succeeded",
        "is well below",
        "two questions get two different answers",
        "bytes reached the server: 0.",
    ):
        assert f"✓ {promise}" in printed or promise in printed, printed[-4000:]
    assert printed.count("\n✓ ") >= 13
    assert _left(folder) == []
    assert list(folder.iterdir()) == []


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_ends_its_processes_when_it_is_stopped(folder: pathlib.Path, number: signal.Signals) -> None:
    demo = _start("--mib", "1", folder=folder)
    assert demo.stdout is not None
    try:
        for line in demo.stdout:
            if "a worker is there" in line:
                break
        assert eventually(lambda: len(_left(folder)) >= 2)
        demo.send_signal(number)
        demo.communicate(timeout=100)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == 130
    assert _left(folder) == []
    assert list(folder.iterdir()) == []
