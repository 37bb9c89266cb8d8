"""The wheel adds one name to site-packages, holds all code roots and nothing else; pins hold no address."""

import importlib.metadata
import pathlib
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement

from ingot.client import _version

ROOT = pathlib.Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """Build the wheel with the installed hatchling: no isolation, no network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as opened:
        yield opened


@pytest.mark.slow
def test_wheel_adds_only_ingot(wheel: zipfile.ZipFile) -> None:
    version = _version.VERSION
    assert {name.split("/")[0] for name in wheel.namelist()} == {"ingot", f"ingot-{version}.dist-info"}
    assert "ingot/__init__.py" not in wheel.namelist()


@pytest.mark.slow
def test_wheel_holds_every_root_and_its_types(wheel: zipfile.ZipFile) -> None:
    packages = {name.split("/")[1] for name in wheel.namelist() if name.startswith("ingot/")}
    assert packages == {"server", "client", "content", "worker", "v1"}
    assert {f"ingot/{package}/py.typed" for package in packages} <= set(wheel.namelist())
    assert not [name for name in wheel.namelist() if "test" in name.split("/")[-1] or name.endswith(".pyc")]


@pytest.mark.slow
def test_wheel_is_the_working_tree(wheel: zipfile.ZipFile) -> None:
    expected = {
        file.relative_to(ROOT / root).as_posix()
        for root in ("server", "clients/python", "clients/worker", "generated/python")
        for file in (ROOT / root / "ingot").rglob("*")
        if file.suffix in {".py", ".pyi"}
    }
    assert {name for name in wheel.namelist() if name.endswith((".py", ".pyi"))} == expected


@pytest.mark.slow
def test_wheel_holds_the_catalog_of_benchmarks(wheel: zipfile.ZipFile) -> None:
    assert "ingot/server/catalogs/benchmarks.toml" in wheel.namelist()


def test_pins_are_exact_and_hold_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+]+", pin)] == []


def test_every_dependency_is_pinned() -> None:
    project = SETTINGS["project"]
    wanted = [
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    ]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {_key(line) for line in lines if "==" in line}
    assert {_key(item) for item in wanted} - pinned == set()


def _key(requirement: str) -> str:
    """Return the normalised distribution name of a requirement or a pin."""
    name = re.split(r"[^A-Za-z0-9._-]", requirement)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_bare_install_stays_small() -> None:
    names = {_key(item) for item in SETTINGS["project"]["dependencies"]}
    assert names <= {"grpcio", "protobuf", "googleapis-common-protos", "blake3", "pyfastcdc"}


def _closure(requirements: list[str]) -> set[str]:
    """Return the distributions that these requirements bring, as they are installed here."""
    found: set[str] = set()
    waiting = [_key(item) for item in requirements]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            needs = importlib.metadata.requires(name) or []
            waiting += [_key(need) for need in needs if _counts_here(need)]
    return found


def _counts_here(requirement: str) -> bool:
    """Return whether a requirement is for this Python and system, and for no extra."""
    marker = Requirement(requirement).marker
    return marker is None or marker.evaluate({"extra": ""})


@pytest.mark.parametrize(
    ("modules", "extra"),
    [("ingot.client, ingot.client.cli.main", None), ("ingot.server.cli, ingot.server.app", "server")],
)
def test_what_a_program_imports_comes_with_its_extra(modules: str, extra: str | None) -> None:
    project = SETTINGS["project"]
    wanted = project["dependencies"] + (project["optional-dependencies"][extra] if extra else [])
    allowed = _closure([item for item in wanted if "sys_platform" not in item or sys.platform == "linux"])
    code = f"import sys, {modules}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    owners = importlib.metadata.packages_distributions()
    loaded = {_key(owner) for name in done.stdout.split() for owner in owners.get(name, ())[:1]}
    assert loaded - allowed <= {"ingot", "setuptools", "editables"}
