"""diff, preview, summaries, edits of versions and the history of aliases, against a whole server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.command_lines import CommandLine
from helpers.model_files import safetensors
from helpers.servers import running_server


@pytest.fixture(name="cli")
def _cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    with running_server(tmp_path) as server:
        monkeypatch.setenv("INGOT_TOKEN", server.admin_token)
        cli = CommandLine(server.address)
        data = tmp_path / "chat.jsonl"
        for number, flags in ((2, ["--meta", 'split={"train": 800}']), (3, ["--metric", "agreement=0.9"])):
            data.write_text(
                "".join(f'{{"id": {row}, "text": "سلام {row}"}}\n' for row in range(number)), encoding="utf-8"
            )
            assert cli.run("push", "datasets/chat", str(data), *flags).code == 0
        yield cli


def test_diff_shows_metadata_metrics_and_files(cli: CommandLine) -> None:
    run = cli.run("diff", "datasets/chat@1", "datasets/chat")
    assert run.code == 0
    assert run.out.splitlines() == [
        "datasets/admin/chat@1 -> datasets/admin/chat@2",
        "",
        "METRICS    BEFORE  AFTER  BY",
        "agreement  -         0.9  -",
        "",
        "METADATA  BEFORE          AFTER  BY",
        'split     {"train": 800}  -      -',
        "",
        "   FILE        BEFORE  AFTER",
        "~  chat.jsonl    64 B   96 B",
        "",
        "0 files added (0 B), 0 removed (0 B), 1 changed (+32 B), 0 the same (0 B)",
    ]
    found = json.loads(cli.run("diff", "datasets/chat@1", "datasets/chat@2", "--json").out)
    assert found["totals"]["changed"] == 1
    assert found["files"][0]["change"] == "CHANGE_KIND_CHANGED"
    same = cli.run("diff", "datasets/chat@1", "datasets/chat@1", "--all")
    assert "=  chat.jsonl" in same.out
    assert cli.run("diff", "datasets/chat@1", "datasets/chat@9").code == 3


@pytest.mark.contract("S0-8")
def test_preview_prints_rows_that_programs_can_read(cli: CommandLine) -> None:
    run = cli.run("preview", "datasets/chat", "-n", "2")
    assert [json.loads(line) for line in run.out.splitlines()] == [
        {"id": 0, "text": "سلام 0"},
        {"id": 1, "text": "سلام 1"},
    ]
    assert run.err == "2 rows of datasets/admin/chat@2:chat.jsonl (jsonl).\n"
    last = cli.run("preview", "datasets/chat@1:chat.jsonl", "--last", "-n", "1")
    assert json.loads(last.out)["id"] == 1
    drawn = [cli.run("preview", "datasets/chat", "--random", "-n", "1", "--seed", "5").out for _ in range(2)]
    assert drawn[0] == drawn[1]
    whole = json.loads(cli.run("preview", "datasets/chat", "--json").out)
    assert whole["columns"] == ["id", "text"]
    assert cli.run("preview", "datasets/chat", "--random", "--last").code == 2
    assert cli.run("preview", "datasets/chat:none.csv").code == 3


def test_show_tells_what_the_files_say(cli: CommandLine, tmp_path: Path) -> None:
    header = {"w": {"dtype": "F16", "shape": [2, 3], "data_offsets": [0, 12]}}
    (tmp_path / "model.safetensors").write_bytes(safetensors(header, bytes(12)))
    (tmp_path / "config.json").write_text('{"architectures": ["TinyForCausalLM"]}')
    files = [str(tmp_path / name) for name in ("model.safetensors", "config.json")]
    assert cli.run("push", "models/tiny", *files).code == 0
    run = cli.run("show", "models/tiny@1", "--summary")
    for line in (
        "architecture:  TinyForCausalLM",
        "parameters:    6 in 1 tensor",
        "types:         F16",
        "read:          headers and beginnings",
        "w       F16   2x3    model.safetensors",
    ):
        assert line in run.out
    assert json.loads(cli.run("show", "models/tiny", "--summary", "--json").out)["complete"] is True
    shown = cli.run("show", "datasets/chat", "--summary").out
    assert "records:  3\n" in shown
    assert "columns:  id, text\n" in shown


def test_edit_changes_what_is_said_about_a_version(cli: CommandLine) -> None:
    run = cli.run(
        "edit", "datasets/chat@2", "-m", "More", "--metric", "loss=0.2", "--metric", "agreement=null"
    )
    assert (run.code, run.out) == (0, "datasets/admin/chat@2\n")
    found = json.loads(cli.run("show", "datasets/chat@2", "--json").out)
    assert (found["changelog"], found["performance_metrics"]) == ("More", {"loss": 0.2})
    assert cli.run("edit", "datasets/chat@1", "--meta", "split=null").code == 0
    assert not json.loads(cli.run("show", "datasets/chat@1", "--json").out).get("metadata")
    for wrong in (["datasets/chat", "-m", "x"], ["datasets/chat@1", "-m", "x", "--license", "MIT"]):
        assert cli.run("edit", *wrong).code == 2
    assert cli.run("edit", "datasets/chat@1", "-m", "x", "--etag", "old").code == 5


def test_alias_history_shows_where_it_pointed(cli: CommandLine) -> None:
    for version in ("1", "2"):
        assert cli.run("alias", "set", f"datasets/chat@{version}", "prod").code == 0
    assert cli.run("alias", "rm", "datasets/chat", "prod").code == 0
    run = cli.run("alias", "history", "datasets/chat", "prod")
    assert [line.split()[2:] for line in run.out.splitlines()[1:]] == [
        ["-", "datasets/admin/chat@2", "admin"],
        ["datasets/admin/chat@2", "datasets/admin/chat@1", "admin"],
        ["datasets/admin/chat@1", "-", "admin"],
    ]
    assert cli.run("alias", "history", "datasets/chat", "latest", "-q").out.splitlines() == [
        "datasets/admin/chat@2",
        "datasets/admin/chat@1",
    ]
    assert cli.run("alias", "history", "datasets/chat", "never").code == 3
