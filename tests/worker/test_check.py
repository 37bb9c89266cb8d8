"""What a machine lacks is said by name, with what to do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import workers
from ingot.worker import check
from ingot.worker.check import Device, Finding
from ingot.worker.progress import Outcome


@pytest.mark.contract("S0-105")
def test_this_machine_has_what_it_takes(tmp_path: Path) -> None:
    findings = check.software(tmp_path / "not" / "yet")
    assert [finding.name for finding in findings] == ["python", *check.PACKAGES, "disk"]
    assert check.missing([finding for finding in findings if finding.name != "disk"]) is None


@pytest.mark.contract("S0-105")
def test_what_is_missing_is_named_with_what_to_do(tmp_path: Path) -> None:
    """In an interpreter without site packages nothing is installed but Python itself."""
    code = (
        "import sys\n"
        "from importlib import metadata\n"
        "from pathlib import Path\n"
        "from ingot.worker import check\n"
        "sys.path[:] = [path for path in sys.path if 'site-packages' not in path]\n"
        "print(check.missing(check.software(Path(sys.argv[1]))))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=100)
    assert "This machine cannot train: torch, deepspeed, transformers" in done.stdout
    assert "not installed" in done.stdout
    assert check.INSTALL in done.stdout


def test_findings_become_one_problem() -> None:
    found = check.missing([Finding("python", "3.11", True), Finding("torch", "absent", False, "Install it.")])
    assert found is not None
    assert (found.reason, found.facts, found.next_step) == (
        "ENVIRONMENT_MISSING",
        {"torch": "absent"},
        "Install it.",
    )


def test_looking_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from ingot.worker import check, config, data, folders, generation, launch, progress\n"
        "check.software(Path('.'))\n"
        "heavy = {'torch', 'deepspeed', 'transformers', 'tokenizers', 'numpy', 'grpc'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=100)


@pytest.mark.slow
@pytest.mark.contract("S0-105")
def test_the_rehearsal_trains_without_a_compiler_and_compiles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("PATH", "HOME", "TORCH_EXTENSIONS_DIR"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / variable))
    assert check.rehearse(tmp_path / "rehearsal") == Outcome("succeeded", 2)
    assert list((tmp_path / "rehearsal/work/export").glob("step-*/model.safetensors"))
    assert list((tmp_path / "TORCH_EXTENSIONS_DIR").iterdir()) == []


@pytest.mark.slow
def test_devices_are_asked_in_a_child() -> None:
    found = check.devices()
    assert isinstance(found[0], Device)
    assert found[0].kind == "cpu"
    assert found[0].memory_bytes > 1 << 28


@pytest.mark.parametrize("found", ["nothing", "a folder", "no text"])
def test_a_token_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, found: str) -> None:
    file = tmp_path / "worker.token"
    if found == "a folder":
        file.mkdir()
    elif found == "no text":
        file.write_bytes(b"\xff\xfe\x00")
    command = [str(workers.WORKER), "run", "--token-file", str(file), "--dir", str(tmp_path / "work")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the token file cannot be read: ")
    assert done.stderr.count("\n") == 1
