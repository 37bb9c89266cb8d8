"""Imports where the server requires a validation: whoever waits for one is told if its content passed."""

import hashlib
import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.command_lines import CommandLine
from helpers.hub_server import Hub, hub_server
from helpers.sdk import tree_of
from helpers.servers import Server, running_server
from helpers.url_server import File, UrlServer, url_server
from ingot.client import Client, Integrity, Precondition
from ingot.v1 import catalog_pb2

pytestmark = pytest.mark.slow

GOOD = b"".join(b'{"text": "sentence number %d"}\n' % number for number in range(50))
BAD = GOOD + b'{"text": nul}\n'
NAME = "namespaces/library/datasets/{}"


@pytest.fixture(scope="module")
def web() -> Iterator[UrlServer]:
    with url_server() as web:
        yield web


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with hub_server() as hub:
        yield hub


@pytest.fixture(scope="module")
def server(web: UrlServer, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    good, bad = web.serve("/good.jsonl", File(GOOD)), web.serve("/bad.jsonl", File(BAD))
    listed = folder / "sources.toml"
    listed.write_text(
        f'[[datasets]]\nname = "good"\nurl = "{good}"\n[[datasets]]\nname = "bad"\nurl = "{bad}"\n'
    )
    networks = ("127.0.0.0/8",)
    with running_server(
        folder,
        validation="required",
        import_private_networks=networks,
        sources=(str(listed),),
        hub_endpoint=hub.url,
    ) as server:
        yield server


@pytest.fixture
def sara(server: Server) -> Iterator[Client]:
    with Client(server.address, server.token("sara"), user="sara") as client:
        yield client


@pytest.fixture
def cli(server: Server, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("INGOT_TOKEN", server.token("sara"))
    monkeypatch.setenv("INGOT_USER", "sara")
    return CommandLine(server.address)


@pytest.mark.contract("S4-20", "S4-45", "S1-63")
def test_a_first_reader_waits_for_the_import_and_for_its_validation(sara: Client, tmp_path: Path) -> None:
    sara.pull(NAME.format("good"), tmp_path / "out")
    assert tree_of(tmp_path / "out") == {"good.jsonl": GOOD}
    assert sara.catalog.get(NAME.format("good")).fetch.state == catalog_pb2.FETCH_STATE_FETCHED


@pytest.mark.contract("S4-14", "S4-26")
def test_a_registered_source_whose_content_is_rejected_says_so_until_it_is_corrected(
    web: UrlServer, server: Server, sara: Client, cli: CommandLine, tmp_path: Path
) -> None:
    name = NAME.format("bad")
    first = cli.run("pull", name, str(tmp_path / "out"))
    assert first.code == 6
    assert "did not pass its validation" in first.err
    assert "bad.jsonl, row 51, " in first.err
    fetch = sara.catalog.get(name).fetch
    assert (fetch.state, fetch.downloaded) == (catalog_pb2.FETCH_STATE_FAILED, False)
    assert "bad.jsonl, row 51, " in fetch.problem.message
    assert "did not pass its validation" in cli.run("show", name).out
    with pytest.raises(Precondition, match="did not pass its validation") as refused:
        b"".join(sara.read(f"{name}:bad.jsonl"))
    assert refused.value.reason == "NOT_FETCHED"
    assert "ingot import" in refused.value.next_step
    web.serve("/bad.jsonl", File(GOOD))
    again = cli.run("import", name)
    assert again.code == 0, again.err
    sara.pull(name, tmp_path / "out")
    assert tree_of(tmp_path / "out") == {"bad.jsonl": GOOD}
    assert not sara.catalog.get(name).fetch.HasField("problem")


@pytest.mark.contract("S4-26")
def test_rejected_content_that_passes_other_rules_is_here(web: UrlServer, server: Server) -> None:
    name = "namespaces/library/datasets/lenient"
    fetch = catalog_pb2.Fetch(original_url=web.serve("/lenient.jsonl", File(BAD)))
    with Client(server.address, server.admin_token, namespace="library", user="admin") as admin:
        admin.catalog.create("datasets/lenient", catalog_pb2.Artifact(fetch=fetch))
        with pytest.raises(Integrity) as rejected:
            admin.operations.wait(admin.operations.start_import(name).name)
        version = rejected.value.facts["version"]
        started = admin.operations.start_validation(version, {"max_bad_ratio": 0.5})
        admin.operations.wait(started.name)
        told = admin.catalog.get(name)
    assert told.current_version == version
    assert (told.fetch.state, told.fetch.downloaded) == (catalog_pb2.FETCH_STATE_FETCHED, True)
    assert told.fetch.size_bytes == len(BAD)


@pytest.mark.contract("S3-6", "S0-19")
def test_an_import_tells_the_verdict_and_makes_no_second_rejected_version(
    web: UrlServer, sara: Client, cli: CommandLine
) -> None:
    url = web.serve("/rows.jsonl", File(BAD))
    words = ("import", url, "datasets/rows", "--checksum", f"sha256:{hashlib.sha256(BAD).hexdigest()}")
    run = cli.run(*words)
    assert run.code == 6
    assert "datasets/rows/versions/1 did not pass its validation" in run.err
    assert "rows.jsonl:51" in run.err or "row 51" in run.err
    assert "operations retry" not in run.err
    with_json = cli.run(*words, "--json")
    assert with_json.code == 6
    last = json.loads(with_json.out.splitlines()[-1])["snapshot"]
    assert last["state"] == "OPERATION_STATE_FAILED"
    assert last["problem"]["reason"] == "ERROR_REASON_VALIDATION_FAILED"
    assert last["problem"]["facts"]["version"].endswith("/rows/versions/1")
    assert "nothing was fetched" in last["problem"]["next_step"]
    with pytest.raises(Integrity):
        sara.operations.wait(sara.operations.start_import(url, "datasets/rows", checksums=[words[-1]]).name)
    assert len(list(sara.catalog.versions("datasets/rows"))) == 1
    assert cli.run(*words, "--force").code == 6
    assert len(list(sara.catalog.versions("datasets/rows"))) == 2


class Opens:
    """Runs a program when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)


@pytest.mark.contract("S0-28", "S3-44")
def test_a_commit_of_the_hub_that_was_rejected_is_not_fetched_again(hub: Hub, cli: CommandLine) -> None:
    hub.add("google/odd", {"weights.pkl": pickle.dumps({"weights": Opens()}), "config.json": b"{}"})
    first = cli.run("import", "hf://google/odd")
    assert first.code == 6
    assert "weights.pkl" in first.err
    asked = len(hub.asked("GET /google/odd/resolve"))
    again = cli.run("import", "hf://google/odd")
    assert (again.code, "nothing was fetched" in again.err) == (6, True)
    assert len(hub.asked("GET /google/odd/resolve")) == asked
