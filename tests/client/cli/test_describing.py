"""What is said about models and datasets: at a push, without versions, later, and by several at once."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import canned_answers
from helpers.canned_server import CannedServer, failure
from helpers.command_lines import CommandLine
from helpers.servers import running_server
from ingot.client import Client
from ingot.client._catalog import artifact_fields
from ingot.v1 import catalog_pb2

GET, UPDATE = "CatalogService/GetArtifact", "CatalogService/UpdateArtifact"


@pytest.fixture(name="live")
def _live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    with running_server(tmp_path) as server:
        monkeypatch.setenv("INGOT_TOKEN", server.admin_token)
        yield CommandLine(server.address)


def _shown(cli: CommandLine, ref: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(cli.run("show", ref, "--json").out)
    return found


def _push(cli: CommandLine, tmp_path: Path, ref: str, *flags: str) -> None:
    data = tmp_path / "a.txt"
    data.write_text(f"{ref} {flags}", encoding="utf-8")
    run = cli.run("push", ref, str(data), *flags)
    assert run.code == 0, run.err


def test_a_readme_that_is_too_long_to_show_is_cut_in_words(live: CommandLine, tmp_path: Path) -> None:
    text = "a" + "آ" * 100_000
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    assert live.run("push", "models/tiny", str(tmp_path / "README.md")).code == 0
    shown = live.run("show", "models/tiny", "--card")
    assert shown.out == text[:-1]
    assert "It goes on after 200,000 bytes: ingot cat models/admin/tiny:README.md" in shown.err


@pytest.mark.contract("S0-26")
def test_a_push_says_it_all_of_what_is_new_and_adds_to_what_is_there(
    live: CommandLine, tmp_path: Path
) -> None:
    card = tmp_path / "card.md"
    card.write_text("# کوچک\n\nTiny.\n", encoding="utf-8")
    flags = ["--card", str(card), "--requirement", "memory=2GB", "--artifact-meta", 'team={"of": "nlp"}']
    (tmp_path / "README.md").write_text("# خوانده\n", encoding="utf-8")
    assert live.run("push", "models/tiny", str(tmp_path / "README.md"), "--version", "0.1").code == 0
    assert live.run("show", "models/tiny", "--card").out == "# خوانده\n"
    _push(live, tmp_path, "models/tiny", *flags, "--meta", "split=800")
    first = _shown(live, "models/tiny")
    assert first["card"] == "# کوچک\n\nTiny."
    assert (first["requirements"], first["metadata"]) == ({"memory": "2GB"}, {"team": {"of": "nlp"}})
    assert _shown(live, "models/tiny@1")["metadata"] == {"split": 800}

    card.write_text("# Tiny\n", encoding="utf-8")
    _push(
        live,
        tmp_path,
        "models/tiny",
        "--card",
        str(card),
        "--requirement",
        "python=3.11",
        "--requirement",
        "torch=2.10",
    )
    second = _shown(live, "models/tiny")
    assert second["card"] == "# Tiny"
    assert live.run("show", "models/tiny", "--card").out == "# Tiny\n"
    # How wide the names are depends on what is known by now, such as who uses it.
    shown = live.run("show", "models/tiny").out
    assert re.search(r"^card: +ingot show models/tiny --card$", shown, re.MULTILINE)
    assert second["requirements"] == {"memory": "2GB", "python": 3.11, "torch": "2.10"}
    assert second["metadata"] == first["metadata"]

    _push(live, tmp_path, "models/tiny", "--card", str(card), "--license", "")
    assert live.run("push", "models/tiny", str(card), "--card", str(tmp_path / "none.md")).code == 1


WARNING = "warning: models/admin/tiny was there already and stays as it is: "


def test_who_sees_what_was_there_already_is_not_changed_in_silence(live: CommandLine, tmp_path: Path) -> None:
    _push(live, tmp_path, "models/tiny", "--visibility", "internal", "--tag", "draft")
    told = (
        f"{WARNING}--visibility is for a new one. "
        "To change it: ingot edit models/admin/tiny --visibility private\n"
    )
    data = tmp_path / "a.txt"
    for flags in ((), ("--json",), ("-q",), ("--dry-run",)):
        run = live.run("push", "models/tiny@prod", str(data), "--visibility", "private", *flags)
        assert (run.code, run.err.startswith(told)) == (0, True), run.err
        assert "warning" not in run.out
    assert _shown(live, "models/tiny")["visibility"] == "VISIBILITY_INTERNAL"
    assert "warning" not in live.run("push", "models/tiny", str(data), "--visibility", "internal").err
    assert live.run(*told.rpartition(": ingot ")[2].split()).code == 0
    assert "warning" not in live.run("push", "models/tiny", str(data), "--visibility", "private").err
    assert live.run("push", "models/tiny", str(data), "--visibility", "nobody").code == 2


def test_what_an_import_says_of_what_was_there_already_is_not_lost_in_silence(
    canned: CannedServer, cli: CommandLine
) -> None:
    canned_answers.install(canned)
    words = ["--license", "MIT", "--title", "A chat", "--tag", "chat", "--tag", "new one", "--no-wait"]
    run = cli.run("import", "https://a.example/x", "datasets/ada/chat", *words)
    assert run.err.startswith(
        "warning: datasets/ada/chat was there already and stays as it is: --title, --license, --tag "
        "are for a new one. To change it: ingot edit datasets/ada/chat --title 'A chat' --license MIT and "
        "ingot tag datasets/ada/chat '+new one'\n"
    ), run.err
    canned.answer(GET, failure("NOT_FOUND", "There is none.", "ARTIFACT_NOT_FOUND"))
    assert "warning" not in cli.run("import", "https://a.example/x", "datasets/ada/chat", *words).err


def test_an_edit_adds_and_takes_away(live: CommandLine, tmp_path: Path) -> None:
    _push(live, tmp_path, "models/tiny", "--requirement", "memory=2GB")
    assert live.run("edit", "models/tiny", "--requirement", "gpus=0", "--meta", "team=nlp").code == 0
    found = _shown(live, "models/tiny")
    assert (found["requirements"], found["metadata"]) == ({"memory": "2GB", "gpus": 0}, {"team": "nlp"})
    words = ["--requirement", "memory=null", "--requirement", "gpus=null", "--meta", "team=null"]
    assert live.run("edit", "models/tiny", *words, "--title", "کوچک").code == 0
    found = _shown(live, "models/tiny")
    assert not found.get("requirements")
    assert not found.get("metadata")
    assert found["display_name"] == "کوچک"
    assert live.run("edit", "models/tiny@1", "--license", "MIT").code == 2
    assert live.run("edit", "models/tiny", "--metric", "loss=1").code == 2
    assert live.run("edit", "models/tiny").code == 2


@pytest.mark.contract("S2-5")
def test_an_edit_leaves_keys_without_a_value_alone(live: CommandLine) -> None:
    with Client(live.server, os.environ["INGOT_TOKEN"]) as client:
        client.catalog.create("models/tiny", artifact_fields(metadata={"checked": None, "team": "nlp"}))
    assert live.run("edit", "models/tiny", "--meta", "by=ada", "--meta", "team=null").code == 0
    assert _shown(live, "models/tiny")["metadata"] == {"by": "ada", "checked": None}


def test_one_without_versions_is_created(live: CommandLine) -> None:
    words = ["create", "models/planned", "--title", "برنامه", "--tag", "draft", "--meta", "team=nlp"]
    tried = live.run(*words, "--dry-run")
    assert (tried.code, tried.out, tried.err) == (0, "models/admin/planned\n", "It could be created.\n")
    assert live.run("show", "models/planned").code == 3
    made = live.run(*words)
    assert made.out == "models/admin/planned\n"
    assert made.err == "No version yet: ingot push models/admin/planned PATH\n"
    found = _shown(live, "models/planned")
    assert (found["display_name"], found["tags"], found["version_count"]) == ("برنامه", ["draft"], 0)
    assert found["metadata"] == {"team": "nlp"}
    assert live.run("show", "models/planned", "--card").err == (
        "It has no card of its own: ingot edit models/admin/planned --card FILE\n"
    )
    assert live.run(*words).code == 5
    assert live.run("create", "models/planned@2").code == 2


@pytest.mark.contract("S1-17")
def test_models_are_listed_with_their_versions(live: CommandLine, tmp_path: Path) -> None:
    for text in ("first", "second"):
        _push(live, tmp_path, "models/tiny", "-m", text)
    live.run("create", "models/planned")
    run = live.run("ls", "models", "--versions", "--sort", "name")
    heading, *rows = [line.split() for line in run.out.splitlines()]
    assert heading[:4] == ["NAME", "VERSION", "ALIASES", "SIZE"]
    assert [(row[0], row[1], row[2], row[-1]) for row in rows] == [
        ("models/admin/planned", "-", "-", "-"),
        ("models/admin/tiny", "2", "latest", "second"),
        ("models/admin/tiny", "1", "-", "first"),
    ]
    planned, tiny = json.loads(live.run("ls", "models", "--versions", "--sort", "name", "--json").out)
    assert [each["changelog"] for each in tiny["versions"]] == ["second", "first"]
    assert not planned.get("versions")
    names = ["models/admin/tiny@2", "models/admin/tiny@1"]
    assert live.run("ls", "models", "--versions", "-q").out.split() == names
    assert live.run("ls", "models/tiny", "--versions", "-q").out.split() == names
    assert "second" in live.run("ls", "models/tiny", "--versions").out
    assert live.run("rm", "models/tiny@1", "--yes").code == 0
    assert live.run("ls", "models/tiny", "--deleted", "-q").out == "models/admin/tiny@1\n"
    assert live.run("ls", "models", "--deleted", "-q").out == "models/admin/tiny@1\n"


def test_more_versions_than_are_listed_are_told_of(canned: CannedServer, cli: CommandLine) -> None:
    found = canned_answers.artifact(versions=True)
    found.version_count = 35
    canned.answer("CatalogService/ListArtifacts", catalog_pb2.ListArtifactsResponse(artifacts=[found]))
    run = cli.run("ls", "datasets", "--versions")
    assert run.err == "datasets/ada/chat has more versions: ingot ls datasets/ada/chat --versions\n"


@pytest.mark.contract("S2-34", "S2-37")
def test_the_status_ready_is_understood(canned: CannedServer, cli: CommandLine) -> None:
    canned_answers.install(canned)
    assert cli.run("update", "-i", "gpt2", "-status", "ready").code == 0
    (request,) = canned.requests(UPDATE)
    assert isinstance(request, catalog_pb2.UpdateArtifactRequest)
    assert request.artifact.lifecycle == catalog_pb2.ARTIFACT_LIFECYCLE_ACTIVE
    wrong = cli.run("edit", "models/gpt2", "--status", "done")
    assert (wrong.code, "active, deprecated, archived" in wrong.err) == (2, True)


CHANGES = (
    ["tag", "datasets/ada/chat", "+reviewed"],
    ["edit", "datasets/ada/chat", "--meta", "team=nlp"],
    ["edit", "datasets/ada/chat", "--validation", "none"],
)


def _racing(canned: CannedServer, lost: int, reason: str = "ETAG_MISMATCH") -> None:
    """Let others be faster than the first `lost` writes."""

    def read(_: object) -> catalog_pb2.GetArtifactResponse:
        found = canned_answers.artifact()
        found.etag = f'"{len(canned.requests(GET))}"'
        found.tags.append(f"tag-{len(canned.requests(GET))}")
        return catalog_pb2.GetArtifactResponse(artifact=found)

    def write(_: object) -> "catalog_pb2.UpdateArtifactResponse | Exception":
        if len(canned.requests(UPDATE)) <= lost:
            return failure("ABORTED", "It changed.", reason)
        return catalog_pb2.UpdateArtifactResponse(artifact=canned_answers.artifact())

    canned.answer(GET, read)
    canned.answer(UPDATE, write)


@pytest.mark.parametrize("words", CHANGES, ids=" ".join)
def test_a_lost_race_is_run_again(canned: CannedServer, cli: CommandLine, words: list[str]) -> None:
    _racing(canned, 2)
    run = cli.run(*words)
    assert (run.code, run.err) == (0, "")
    sent = [each.artifact for each in canned.requests(UPDATE) if hasattr(each, "artifact")]
    assert [each.etag for each in sent] == ['"1"', '"2"', '"3"']
    if words[0] == "tag":
        assert [list(each.tags) for each in sent][-1] == ["chat", "persian", "tag-3", "reviewed"]


def test_what_is_no_race_and_what_one_guards_oneself_is_told_at_once(
    canned: CannedServer, cli: CommandLine
) -> None:
    _racing(canned, 1)
    assert cli.run("edit", "datasets/ada/chat", "--meta", "team=nlp", "--etag", '"0"').code == 5
    assert len(canned.requests(UPDATE)) == 1
    _racing(canned, 9, "VERSION_CONFLICT")
    assert cli.run("tag", "datasets/ada/chat", "+reviewed").code == 5
    assert len(canned.requests(UPDATE)) == 2
