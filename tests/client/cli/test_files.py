"""push, pull, ls, cat and verify against a whole server."""

import json
import pathlib
import re
from collections.abc import Iterator

import pytest

from helpers.command_lines import CommandLine
from helpers.patterns import pattern
from helpers.servers import Server, running_server
from ingot.client import _journal


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture
def cli(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> CommandLine:
    monkeypatch.setenv("INGOT_TOKEN", server.token("sara"))
    monkeypatch.setenv("INGOT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return CommandLine(server.address)


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """Make a folder of two files, one of them with a Persian name."""
    made = tmp_path / "source"
    (made / "more").mkdir(parents=True)
    (made / "more" / "bytes.bin").write_bytes(pattern("bytes", 300_000))
    (made / "گفتگو.txt").write_text("سلام\n", encoding="utf-8")
    return made


def test_push_ends_with_reference_and_digest_and_pull_with_the_path(
    cli: CommandLine, folder: pathlib.Path
) -> None:
    pushed = cli.run(
        "push", "datasets/first", str(folder), "-m", "two files", "--alias", "prod", "--tag", "chat"
    )
    assert pushed.code == 0, pushed.err
    assert re.fullmatch(r"datasets/sara/first@1  blake3:[0-9a-f]{64}\n", pushed.out)
    assert "in 2 files" in pushed.err
    pulled = cli.run("pull", "datasets/first@prod", "copy")
    assert (pulled.code, pulled.out) == (0, "copy\n"), pulled.err
    copy = folder.parent / "copy"
    assert (copy / "more" / "bytes.bin").read_bytes() == (folder / "more" / "bytes.bin").read_bytes()
    assert (copy / "گفتگو.txt").read_text(encoding="utf-8") == "سلام\n"
    shown = cli.run("show", "datasets/first").out
    assert re.search(r"^tags: +chat$", shown, re.MULTILINE)
    assert "two files" in shown


def test_pushing_again_sends_nothing_and_describes_what_is_there(
    cli: CommandLine, folder: pathlib.Path
) -> None:
    cli.run("push", "datasets/again", str(folder), "--tag", "one")
    again = cli.run("push", "datasets/again", str(folder), "--tag", "two", "--license", "MIT", "--json")
    told = json.loads(again.out)
    assert (told["name"], told["sent_bytes"], told["file_count"]) == (
        "namespaces/sara/datasets/again/versions/2",
        0,
        2,
    )
    assert told["reused_bytes"] == told["size_bytes"]
    (found,) = json.loads(cli.run("ls", "datasets", "--filter", "again", "--json").out)
    assert (found["tags"], found["license"]) == (["one", "two"], "MIT")


def test_a_dry_run_tells_and_changes_nothing(cli: CommandLine, folder: pathlib.Path) -> None:
    run = cli.run("push", "datasets/dry", str(folder), "--dry-run")
    assert run.code == 0
    assert run.err.startswith("Would send ")
    assert cli.run("show", "datasets/dry").code == 3


def test_ls_and_cat_and_a_range(cli: CommandLine, folder: pathlib.Path) -> None:
    cli.run("push", "datasets/reading", str(folder))
    assert cli.run("ls", "datasets/reading", "-q").out == "more/bytes.bin\nگفتگو.txt\n"
    assert cli.run("cat", "datasets/reading:گفتگو.txt").out == "سلام\n"
    assert cli.run("cat", "datasets/reading:گفتگو.txt", "--range", "0-1").out == "س"
    assert cli.run("cat", "datasets/reading:absent.txt").code == 3


@pytest.mark.contract("S2-26")
@pytest.mark.parametrize("flag", ["-name", "-n"])
def test_download_with_a_name(cli: CommandLine, folder: pathlib.Path, flag: str) -> None:
    cli.run("push", "models/google_flan-t5-small", str(folder))
    run = cli.run("download", flag, "google/flan-t5-small")
    assert (run.code, run.out) == (0, "google_flan-t5-small\n"), run.err
    assert (folder.parent / "google_flan-t5-small" / "more" / "bytes.bin").is_file()


def test_pull_of_one_file_and_by_patterns(cli: CommandLine, folder: pathlib.Path) -> None:
    cli.run("push", "datasets/parts", str(folder))
    assert cli.run("pull", "datasets/parts:more/bytes.bin").out == "more/bytes.bin\n"
    assert (folder.parent / "more" / "bytes.bin").is_file()
    cli.run("pull", "datasets/parts", "texts", "--include", "*.txt")
    assert [path.name for path in (folder.parent / "texts").iterdir()] == ["گفتگو.txt"]


def test_a_folder_with_an_empty_name_is_refused(cli: CommandLine, folder: pathlib.Path) -> None:
    assert cli.run("push", "datasets/nowhere", str(folder)).code == 0
    before = sorted(pathlib.Path().rglob("*"))
    run = cli.run("pull", "datasets/nowhere", "")
    assert (run.code, run.out) == (2, "")
    assert "named by an empty text" in run.err
    assert sorted(pathlib.Path().rglob("*")) == before


def test_what_the_system_refuses_has_a_next_step(cli: CommandLine, folder: pathlib.Path) -> None:
    cli.run("push", "datasets/noted", str(folder))
    assert cli.run("pull", "datasets/noted", "noted").code == 0
    (record,) = (_journal.cache_folder() / "pulled").iterdir()
    record.unlink()
    record.mkdir()
    (folder.parent / "noted" / "گفتگو.txt").unlink()
    run = cli.run("pull", "datasets/noted", "noted")
    assert run.code == 1
    assert run.err.startswith(f"error: Is a directory: {record}.\n  next: Check the disk")


def test_verify_finds_what_was_damaged(cli: CommandLine, folder: pathlib.Path) -> None:
    cli.run("push", "datasets/checked", str(folder))
    good = cli.run("verify", "datasets/checked")
    assert (good.code, "2 files" in good.out, "all good" in good.out) == (0, True, True)
    cli.run("pull", "datasets/checked", "checked")
    assert cli.run("verify", "./checked").code == 0
    (folder.parent / "checked" / "گفتگو.txt").write_text("بدرود\n", encoding="utf-8")
    bad = cli.run("verify", "./checked")
    assert bad.code == 6
    assert "1 file of ./checked differs" in bad.err
    assert "ingot verify ./checked datasets/sara/checked@1 --repair; add --force where" in bad.err
    assert "گفتگو.txt" in bad.err


def test_verify_repairs_a_folder_with_what_it_lacks(cli: CommandLine, folder: pathlib.Path) -> None:
    cli.run("push", "datasets/healed", str(folder))
    cli.run("pull", "datasets/healed", "healed")
    file = folder.parent / "healed" / "گفتگو.txt"
    file.write_text("بدرود\n", encoding="utf-8")
    (folder.parent / "healed" / "more" / "bytes.bin").unlink()
    part = cli.run("verify", "./healed", "--repair")
    assert part.code == 6
    assert "Repaired 1 file" in part.err
    assert "1 file of ./healed differs from datasets/sara/healed@1: گفتگو.txt." in part.err
    assert "To lose that: ingot verify ./healed datasets/sara/healed@1 --repair --force" in part.err
    healed = cli.run("verify", "./healed", "--repair", "--force")
    assert (healed.code, "all good" in healed.out) == (0, True), healed.err
    assert "Repaired 1 file; fetched 9 B" in healed.err
    assert file.read_text(encoding="utf-8") == "سلام\n"
    file.unlink()
    told = json.loads(cli.run("verify", "./healed", "datasets/healed@1", "--repair", "--json").out)
    assert (told["ok"], told["repaired"], told["received_bytes"]) == (True, ["گفتگو.txt"], 9)
    assert cli.run("verify", "datasets/healed", "--repair").code == 0
    assert cli.run("verify", "./healed", "--force").code == 2


def test_uploads_tell_what_became_of_a_push(cli: CommandLine, folder: pathlib.Path) -> None:
    upload = json.loads(cli.run("push", "datasets/told", str(folder), "--json").out)["upload"]
    assert upload in cli.run("uploads", "ls", "-q").out.splitlines()
    shown = cli.run("uploads", "show", upload).out
    assert re.search(r"^state: +committed$", shown, re.MULTILINE)
    assert re.search(r"^became: +datasets/sara/told@1  blake3:", shown, re.MULTILINE)


@pytest.mark.contract("S2-42", "S2-43")
def test_activity_names_who_did_what_from_where(
    cli: CommandLine, server: Server, folder: pathlib.Path
) -> None:
    from helpers.eventually import eventually

    cli.run("push", "models/watched", str(folder))
    cli.run("ls", "models")
    cli.run("show", "models/watched")
    cli.run("pull", "models/watched", "watched")
    cli.run("rm", "models/watched", "--yes")

    def actions() -> dict[str, dict[str, object]]:
        found = json.loads(cli.run("activity", "--json", "--limit", "0").out)
        return {each["action"]: each for each in found}

    seen = eventually(
        lambda: actions() if {"list", "get", "download", "delete"} <= actions().keys() else None
    )
    assert seen
    for action in ("list", "get", "download", "delete"):
        assert seen[action]["principal"] == "users/sara"
        assert seen[action]["declared_user"] == "ada"
        assert seen[action]["time"]


def test_json_of_a_push_and_a_pull_tells_how_far_they_are(cli: CommandLine, folder: pathlib.Path) -> None:
    for words, moving in (
        (("push", "datasets/followed", str(folder)), "SENDING"),
        (("pull", "datasets/followed", "followed"), "RECEIVING"),
    ):
        run = cli.run(*words, "--json")
        told = [json.loads(line) for line in run.err.splitlines()]
        assert moving in [each["stage"] for each in told]
        assert (told[-1]["stage"], told[-1]["bytes_done"], told[-1]["files_done"]) == ("DONE", 300_009, 2)
        assert json.loads(run.out)["size_bytes"] == 300_009
        assert cli.run(*words, "--json", "--quiet").err == ""


def test_json_of_pull(cli: CommandLine, folder: pathlib.Path) -> None:
    cli.run("push", "datasets/counted", str(folder))
    first = json.loads(cli.run("pull", "datasets/counted", "counted", "--json").out)
    again = json.loads(cli.run("pull", "datasets/counted", "counted", "--json").out)
    assert (first["received_bytes"], first["unchanged_files"]) == (first["size_bytes"], 0)
    assert (again["received_bytes"], again["unchanged_files"]) == (0, 2)
    assert again["path"] == "counted"
