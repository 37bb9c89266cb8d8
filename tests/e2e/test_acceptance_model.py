"""The acceptance fixture: a real random forest is stored, listed as 0.75 MB, fetched, verified and scanned.

docs/samples/make_random_forest.py made it and wrote down its figures.
"""

import hashlib
import json
import pathlib
from collections.abc import Iterator

import pytest

from helpers.command_lines import CommandLine
from helpers.servers import running_server

pytestmark = pytest.mark.slow

SAMPLES = pathlib.Path(__file__).parents[2] / "docs" / "samples"
MODEL = SAMPLES / "random_forest.joblib"
FIGURES = json.loads((SAMPLES / "random_forest.json").read_text(encoding="utf-8"))


@pytest.fixture(name="cli")
def _cli(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    """Give the command line of user 7, who owns the fixture."""
    with running_server(tmp_path) as server:
        monkeypatch.setenv("INGOT_TOKEN", server.token("7"))
        monkeypatch.setenv("INGOT_CACHE", str(tmp_path / "cache"))
        yield CommandLine(server.address)


def _push(cli: CommandLine) -> None:
    described = {
        "framework": "scikit-learn",
        "task": "classification",
        "type": "classifier",
        "license": "apache-2.0",
        "description": "Binary classification with a random forest",
        "version": "v1.0.0",
    }
    flags = [word for name, value in described.items() for word in (f"--{name}", value)]
    for name in ("features", "train_samples", "test_samples", "trees"):
        flags += ["--meta", f"{name}={FIGURES[name]}"]
    flags += ["--metric", f"accuracy={FIGURES['accuracy']}", "-m", "First model", "--tag", "forest"]
    pushed = cli.run("push", "models/random-forest", str(MODEL), *flags)
    assert pushed.code == 0, pushed.err
    assert pushed.out.startswith("models/7/random-forest@1.0.0")


@pytest.mark.contract("S1-69")
def test_the_random_forest_is_stored_listed_fetched_verified_and_scanned(
    cli: CommandLine, tmp_path: pathlib.Path
) -> None:
    assert (FIGURES["accuracy"], FIGURES["features"]) == (97.5, 10)
    assert (FIGURES["train_samples"], FIGURES["test_samples"]) == (800, 200)
    assert round(MODEL.stat().st_size / 1024) == 768
    _push(cli)

    heading, row = cli.run("ls", "models").out.splitlines()
    assert heading.split()[:4] == ["NAME", "VERSION", "SIZE", "FORMAT"]
    assert row.split()[:5] == ["models/7/random-forest", "1.0.0", "0.75", "MB", "joblib"]

    artifact = json.loads(cli.run("show", "models/random-forest", "--json").out)
    assert artifact["owner"] == "users/7"
    assert (artifact["framework"], artifact["task_type"]) == ("scikit-learn", "classification")
    version = json.loads(cli.run("show", "models/random-forest@v1.0.0", "--json").out)
    assert version["performance_metrics"] == {"accuracy": 97.5}
    assert version["metadata"] == {"features": 10, "train_samples": 800, "test_samples": 200, "trees": 100}
    assert (version["size_bytes"], version["changelog"]) == (MODEL.stat().st_size, "First model")

    folder = tmp_path / "pulled"
    assert cli.run("pull", "models/random-forest@1.0.0", str(folder)).code == 0
    pulled = (folder / MODEL.name).read_bytes()
    assert hashlib.sha256(pulled).digest() == hashlib.sha256(MODEL.read_bytes()).digest()
    verified = cli.run("verify", str(folder))
    assert verified.code == 0, verified.err

    scanned = cli.run("validate", "models/random-forest@1.0.0", "--json")
    assert scanned.code == 0, scanned.err
    report = json.loads(scanned.out.splitlines()[-1])["snapshot"]["result"]
    assert report["passed"] is True
    assert report["files"][0]["format"] == "joblib"
    assert report["files"][0]["statistics"]["pickles"] == 1
    assert not report.get("finding_count")

    summary = json.loads(cli.run("show", "models/random-forest", "--summary", "--json").out)
    assert summary["formats"] == [{"format": "joblib", "file_count": 1, "size_bytes": MODEL.stat().st_size}]


def test_a_forest_with_code_in_it_is_told(cli: CommandLine, tmp_path: pathlib.Path) -> None:
    evil = tmp_path / "forest.joblib"
    evil.write_bytes(b"cposix\nsystem\n(S'true'\ntR." + MODEL.read_bytes())
    assert cli.run("push", "models/evil", str(evil)).code == 0
    scanned = cli.run("validate", "models/evil")
    assert scanned.code == 6
    assert "system" in scanned.out + scanned.err
