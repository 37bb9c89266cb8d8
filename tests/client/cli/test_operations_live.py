"""Background work from the command line against a whole server and a Hub on loopback."""

import hashlib
import json
import pathlib
from collections.abc import Iterator

import pytest

from helpers.command_lines import CommandLine
from helpers.eventually import eventually
from helpers.hub_faults import Fault
from helpers.hub_server import Hub, hub_server
from helpers.patterns import pattern
from helpers.sdk import tree_of
from helpers.servers import Server, running_server
from helpers.url_server import File, url_server

WEIGHTS = pattern("weights", 6 << 20)
FILES = {"config.json": b'{"a": 1}', "model.safetensors": WEIGHTS, "tokenizer.json": b"{}"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server() as hub:
        hub.add("google/tiny", FILES)
        yield hub


@pytest.fixture
def server(hub: Hub, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("INGOT_CACHE_DIR", str(tmp_path / "cache"))
    with running_server(tmp_path, hub_endpoint=hub.url) as server:
        monkeypatch.setenv("INGOT_TOKEN", server.token("sara"))
        yield server


@pytest.fixture
def cli(server: Server) -> CommandLine:
    return CommandLine(server.address)


@pytest.mark.slow
@pytest.mark.contract("S0-27", "S0-36", "S2-3", "S2-4")
def test_an_import_tells_its_progress_and_again_fetches_nothing(hub: Hub, cli: CommandLine) -> None:
    hub.faults.add("GET /lfs/|GET .*model.safetensors", Fault(pause=0.03), times=100)
    run = cli.run("import", "hf://google/tiny", "--json")
    assert run.code == 0, run.err
    hub.faults.clear()
    lines = [json.loads(line) for line in run.out.splitlines()]
    told = [line["event"]["progress"] for line in lines if "progress" in line.get("event", {})]
    size = sum(map(len, FILES.values()))
    fetching = [each for each in told if each["phase"] == "fetching"]
    assert fetching[-1]["total"] == size
    assert all(0 <= each["done"] <= size for each in fetching)
    assert any(0 < each["done"] < size for each in fetching)
    in_flight = [file for each in fetching for file in each["files"]]
    assert ("model.safetensors", len(WEIGHTS)) in {(each["path"], each["total"]) for each in in_flight}
    result = lines[-1]["snapshot"]["result"]
    assert result["version"] == "namespaces/sara/models/google_tiny/versions/1"
    assert (result["size_bytes"], result["file_count"]) == (size, 3)
    before = len(hub.asked("GET /google/tiny/resolve"))
    again = cli.run("import", "hf://google/tiny")
    assert (again.code, again.out) == (0, f"models/sara/google_tiny@1  {result['digest']}\n")
    assert "It was here already" in again.err
    assert len(hub.asked("GET /google/tiny/resolve")) == before


@pytest.mark.slow
@pytest.mark.contract("S2-26")
def test_download_brings_a_hub_model_here_and_into_a_folder(cli: CommandLine, tmp_path: pathlib.Path) -> None:
    run = cli.run("download", "-n", "google/tiny", str(tmp_path / "out"))
    assert run.code == 0, run.err
    assert run.err.startswith("models/google_tiny is not here yet: the server fetches hf://google/tiny.\n")
    assert run.out == f"{tmp_path / 'out'}\n"
    assert {path: content for path, content in tree_of(tmp_path / "out").items() if path in FILES} == FILES
    again = cli.run("download", "-n", "google/tiny", str(tmp_path / "again"))
    assert (again.code, "is not here yet" in again.err) == (0, False)
    assert cli.run("operations", "ls", "--kind", "import", "-q").out.count("operations/") == 1


@pytest.mark.slow
@pytest.mark.contract("S0-38", "S0-39", "S2-22")
def test_a_running_import_is_seen_joined_and_cancelled(hub: Hub, cli: CommandLine) -> None:
    hub.faults.add("GET /lfs/|GET .*model.safetensors", Fault(pause=2.0), times=100)
    begun = cli.run("import", "hf://google/tiny", "--no-wait", "-q")
    name = begun.out.strip()
    assert begun.code == 0, begun.err

    def shown() -> str:
        return cli.run("operations", "show", name).out

    eventually(lambda: "fetching" in shown() and "state:      running" in shown(), timeout=100)
    assert cli.run("import", "hf://google/tiny", "--no-wait", "-q").out.strip() == name
    assert cli.run("operations", "ls", "--state", "running", "-q").out.strip() == name
    assert cli.run("operations", "cancel", name).code == 0
    watched = cli.run("operations", "watch", name)
    assert (watched.code, watched.out.splitlines()[-1].split()[1]) == (8, "cancelled"), watched.err
    everything = cli.run("operations", "watch", "--kind", "import")
    assert (everything.code, everything.err) == (0, "Nothing runs.\n")
    hub.faults.clear()
    assert cli.run("operations", "retry", name).code == 0
    assert cli.run("operations", "watch", name, "-q").code == 0


@pytest.mark.slow
def test_what_went_wrong_at_the_source_is_told_apart(hub: Hub, cli: CommandLine, server: Server) -> None:
    hub.add("google/private", FILES, private=True, readers={"hf_good"})
    for name in ("absent", "private"):  # the Hub itself does not tell these apart to strangers
        stranger = cli.run("import", f"hf://google/{name}")
        assert (stranger.code, "no such name, or private" in stranger.err) == (4, True), stranger.err
        assert "ingot credentials set" in stranger.err
    host = hub.url.removeprefix("http://")
    kept = CommandLine(server.address, typed="hf_good\n").run("credentials", "set", host)
    assert kept.code == 0, kept.err
    assert cli.run("credentials", "ls", "-q").out == f"{host}\n"
    unknown = cli.run("import", "hf://google/absent")
    assert unknown.code == 3, unknown.err
    good = cli.run("import", "hf://google/private")
    assert good.code == 0, good.err


@pytest.mark.slow
@pytest.mark.contract("S0-12")
def test_export_and_upkeep_end_with_what_they_did(
    cli: CommandLine, server: Server, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chat.jsonl").write_bytes(b'{"question": "a", "answer": "b"}\n' * 3)
    assert cli.run("push", "datasets/chat", str(tmp_path / "chat.jsonl")).code == 0
    done = cli.run("export", "datasets/chat", str(server.folder / "exports" / "out"))
    assert done.code == 0, done.err
    folder = pathlib.Path(done.out.strip())
    assert folder.is_relative_to(server.folder / "exports" / "out")
    assert (folder / "chat.jsonl").read_bytes() == (tmp_path / "chat.jsonl").read_bytes()
    refused = cli.run("export", "datasets/chat", "/etc")
    assert refused.code == 2, refused.err
    monkeypatch.setenv("INGOT_TOKEN", server.admin_token)
    assert cli.run("upkeep", "clean").code == 0


@pytest.mark.slow
@pytest.mark.contract("S0-9", "S0-19")
def test_validation_points_to_the_very_place(cli: CommandLine, tmp_path: pathlib.Path) -> None:
    rows = [b'{"question": "a", "answer": "b"}', b'{"question": "c", "answer": }', b'{"question": "e"}']
    (tmp_path / "chat.jsonl").write_bytes(b"\n".join(rows) + b"\n")
    assert cli.run("push", "datasets/chat", str(tmp_path / "chat.jsonl")).code == 0
    run = cli.run("validate", "datasets/chat", "--rule", "required_columns=question,answer")
    assert run.code == 6, run.err
    *findings, summary = run.out.splitlines()
    assert findings[0].startswith("chat.jsonl:2:29: error: ")
    assert f"byte {len(rows[0]) + 1 + 28})" in findings[0]
    assert findings[1].startswith("chat.jsonl:3:")
    assert "answer" in findings[1]
    assert summary
    (tmp_path / "chat.jsonl").write_bytes(rows[0] + b"\n")
    assert cli.run("push", "datasets/chat", str(tmp_path / "chat.jsonl")).code == 0
    good = cli.run("validate", "datasets/chat", "--rule", "min_records=1")
    assert good.code == 0, good.err


@pytest.mark.slow
def test_a_bundle_goes_out_and_comes_in_again(cli: CommandLine, tmp_path: pathlib.Path) -> None:
    (tmp_path / "chat.txt").write_bytes(b"hello")
    pushed = cli.run("push", "datasets/chat", str(tmp_path / "chat.txt"))
    assert pushed.code == 0, pushed.err
    out = cli.run("export", "datasets/chat", "chat.ingot")
    assert out.code == 0, out.err
    path, digest = out.out.split()
    assert (path.endswith("/chat.ingot"), digest.startswith("blake3:")) == (True, True)
    assert "Signed by ed25519:" in out.err
    again = cli.run("import", path)
    assert again.code == 0, again.err
    assert again.out.startswith("datasets/sara/chat@1")


@pytest.mark.slow
def test_files_at_urls_become_a_version_and_lies_are_told(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b'{"question": "a"}\n' * 100
    networks = ("127.0.0.0/8",)
    with url_server() as web, running_server(tmp_path, import_private_networks=networks) as server:
        monkeypatch.setenv("INGOT_TOKEN", server.token("sara"))
        monkeypatch.setenv("INGOT_CACHE_DIR", str(tmp_path / "cache"))
        cli = CommandLine(server.address)
        url = web.serve("/chat.jsonl", File(content))
        checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
        good = cli.run("import", url, "datasets/chat", "--checksum", checksum, "--path", "data/chat.jsonl")
        assert good.code == 0, good.err
        assert cli.run("cat", "datasets/chat:data/chat.jsonl").out == content.decode()
        lie = cli.run("import", url, "datasets/other", "--checksum", f"sha256:{'0' * 64}")
        assert lie.code == 6, lie.err
        refused = cli.run("import", "http://10.0.0.1/x", "datasets/other")
        assert refused.code == 4, refused.err
