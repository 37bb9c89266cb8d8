"""The user's name: from the environment, the operating system, whoami, in this order."""

import os
import pathlib
import pwd
import subprocess
import sys

import pytest

from ingot.client import declared_user


@pytest.mark.contract("S2-44")
def test_order_of_detection() -> None:
    try:
        system = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        pytest.skip("this user has no name here")
    assert declared_user({"USER": "ada", "USERNAME": "bob"}) == "ada"
    assert declared_user({"USER": " ", "USERNAME": "bob"}) == "bob"
    assert declared_user({}) == system


@pytest.mark.contract("S2-44")
def test_whoami_is_asked_last(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "whoami"
    program.write_text("#!/bin/sh\necho from-whoami\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def unknown(_: int) -> pwd.struct_passwd:
        raise KeyError("no such number")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert declared_user({}) == "from-whoami"


@pytest.mark.contract("S2-54")
def test_a_name_is_optional(tmp_path: pathlib.Path) -> None:
    forget = "import pwd; pwd.getpwuid = {}.__getitem__\n"
    code = forget + "from ingot.client import declared_user; print([declared_user({})])"
    roots = os.pathsep.join(path for path in sys.path if path)
    environment = {"PATH": str(tmp_path), "PYTHONPATH": roots}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['']"
