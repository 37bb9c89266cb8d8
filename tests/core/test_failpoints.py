"""Fail points do nothing unless armed, and then exactly what was asked, once."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ingot.server.core import failpoints

SERVER = Path(__file__).parents[2] / "server"


def test_unarmed_points_do_nothing() -> None:
    failpoints.hit("pack.synced")
    with failpoints.armed("pack.synced=EIO"):
        failpoints.hit("pack.renamed")


def test_an_error_is_raised_once_at_the_asked_pass() -> None:
    with failpoints.armed("pack.synced:2=ENOSPC"):
        failpoints.hit("pack.synced")
        with pytest.raises(OSError, match=r"pack\.synced") as caught:
            failpoints.hit("pack.synced")
        failpoints.hit("pack.synced")
    assert caught.value.errno == errno.ENOSPC
    failpoints.hit("pack.synced")


def test_an_unknown_error_is_refused() -> None:
    with pytest.raises(ValueError, match="expected an errno name"), failpoints.armed("x=EFOO"):
        pass


@pytest.mark.slow
def test_the_environment_arms_a_kill() -> None:
    program = f"""
import sys
sys.path.insert(0, {str(SERVER)!r})
from ingot.server.core import failpoints
failpoints.hit("a"); failpoints.hit("b"); print("once", flush=True)
failpoints.hit("b"); print("never", flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, failpoints.VARIABLE: "b:2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == "once\n"
