"""Promises about files, pages and scripts: samples, documents, targets and extras that the contract names."""

import json
import pathlib
import re
import sqlite3
import tomllib
from collections.abc import Iterator

import pytest

from helpers.servers import Server, running_server
from ingot.client import Client

ROOT = pathlib.Path(__file__).parents[1]
SAMPLES = ROOT / "docs" / "samples"


@pytest.fixture(scope="module")
def project() -> dict[str, object]:
    """Return the project table of pyproject.toml."""
    found: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[Server]:
    """Serve for the length of a test."""
    with running_server(tmp_path) as running:
        yield running


@pytest.mark.contract("S0-5")
def test_samples_are_what_they_are_called(server: Server) -> None:
    chats = [json.loads(line) for line in (SAMPLES / "sample_persian_chat.jsonl").read_text().splitlines()]
    pairs = [json.loads(line) for line in (SAMPLES / "persian_qa.jsonl").read_text().splitlines()]
    assert all(chat["messages"][-1]["role"] == "assistant" for chat in chats)
    assert all(pair["question"] and pair["answer"] for pair in pairs)
    assert any("\u200c" in turn["content"] for chat in chats for turn in chat["messages"])  # half-spaces
    body = json.loads((SAMPLES / "sample_model_config.json").read_text())
    with Client(server.address, server.token("sara")) as client:
        client.push(body["datasetId"], SAMPLES / "sample_persian_chat.jsonl")
        job = client.training.create(body["datasetId"], config=body["config"], validate_only=True)
    assert job.config.hidden_size == body["config"]["hiddenSize"]
    assert job.plan.parameters > 0


@pytest.mark.contract("S0-6")
def test_one_server_holds_datasets_models_and_training(server: Server) -> None:
    with Client(server.address, server.token("sara")) as client:
        assert {"catalog", "transfer", "training"} <= set(client.system.info().features)


@pytest.mark.contract("S2-12", "S0-106")
def test_everything_is_in_one_folder_with_an_embedded_database(server: Server) -> None:
    with Client(server.address, server.token("sara")) as client:
        client.push("datasets/chat", SAMPLES / "persian_qa.jsonl")
    assert (server.folder / "ingot.db").read_bytes().startswith(b"SQLite format 3")
    assert list(server.folder.glob("packs/*/*.pack"))


@pytest.mark.contract("S1-1")
def test_files_and_rows_are_where_the_configuration_of_each_environment_says(tmp_path: pathlib.Path) -> None:
    rows = {name: tmp_path / "rows" / f"{name}.db" for name in ("dev", "prod")}
    (tmp_path / "rows").mkdir()
    for name, path in rows.items():
        with (
            running_server(tmp_path / name, database_url=f"sqlite:///{path}") as server,
            Client(server.address, server.token("sara")) as client,
        ):
            pushed = client.push(f"datasets/{name}", SAMPLES / "persian_qa.jsonl")
            assert [each.name for each in client.catalog.list("datasets")] == [
                f"namespaces/sara/datasets/{name}"
            ]
        assert list((tmp_path / name / "data").glob("packs/*/*.pack"))
        assert not list((tmp_path / name / "data").glob("*.db"))
        with sqlite3.connect(path) as database:
            (found,) = database.execute("SELECT size_bytes FROM version").fetchall()
        assert found == (pushed.size_bytes,)


@pytest.mark.contract("S1-70", "S1-72")
def test_model_creation_and_download(server: Server, tmp_path: pathlib.Path) -> None:
    source = tmp_path / "forest.joblib"
    source.write_bytes(bytes(range(256)) * 3072)  # 768 KiB, shown as 0.75 MB by the system before
    with Client(server.address, server.token("sara")) as client:
        pushed = client.push("models/forest@v1.0.0", source, metrics={"accuracy": 97.5}, changelog="first")
        version = client.catalog.version("models/forest")
        assert version.name == pushed.name
        assert version.name.endswith("/versions/1.0.0")
        assert version.size_bytes == 768 * 1024
        assert dict(version.performance_metrics) == {"accuracy": 97.5}
        assert re.fullmatch(r"blake3:[0-9a-f]{64}", version.digest)
        client.pull("models/forest", tmp_path / "out")
        artifact = client.catalog.get("models/forest")
    assert (tmp_path / "out" / "forest.joblib").read_bytes() == source.read_bytes()
    assert artifact.name == "namespaces/sara/models/forest"
    assert artifact.current_version == version.name


@pytest.mark.contract("S2-13")
def test_python_is_new_enough_and_no_account_is_needed(project: dict[str, object]) -> None:
    assert project["requires-python"] == ">=3.11"
    base = " ".join(map(str, project["dependencies"]))  # type: ignore[call-overload]  # a list in TOML
    assert "huggingface" not in base


@pytest.mark.contract("S3-63", "S2-18")
def test_bare_install_is_sdk_and_command_alone(project: dict[str, object]) -> None:
    base = " ".join(map(str, project["dependencies"]))  # type: ignore[call-overload]
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict)
    for heavy in ("torch", "deepspeed", "peewee", "boto", "minio", "s3fs", "obstore"):
        assert heavy not in base
    assert "torch" in " ".join(extras["worker"])
    scripts = project["scripts"]
    assert isinstance(scripts, dict)
    assert {"ingot", "ingot-server", "ingot-worker"} == set(scripts)


@pytest.mark.contract("S2-51", "S0-112")
@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("README.md", ["make demo", "ingot push", "ingot train", "ingot-worker"]),
        ("CHANGELOG.md", ["Unreleased"]),
        ("clients/python/README.md", ["pip install", "ingot login", "Client"]),
        ("server/README.md", ["Where do I put"]),
    ],
)
def test_pages_say_how_to_begin(page: str, words: list[str]) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [word for word in words if word not in text] == []


@pytest.mark.contract("S2-52", "S0-113")
def test_one_command_starts_and_one_builds() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^run: .*\n\t.*ingot-server serve", makefile, re.MULTILINE)
    assert re.search(r"^setup: ", makefile, re.MULTILINE)


@pytest.mark.contract("S2-53")
@pytest.mark.parametrize("page", ["add-an-rpc.md", "add-a-store.md", "add-a-command.md"])
def test_recipes_name_files_that_exist(page: str) -> None:
    text = (ROOT / "docs" / "recipes" / page).read_text(encoding="utf-8")
    server, client = ROOT / "server/ingot/server", ROOT / "clients/python/ingot/client"
    roots = [ROOT, server, client, ROOT / "clients/worker/ingot/worker", ROOT / "docs"]
    paths = [path for path in re.findall(r"`([\w./-]+\.(?:py|proto|md))`", text) if "s3" not in path]
    assert paths
    assert [path for path in paths if not any((root / path).exists() for root in roots)] == []
