"""The trash and quotas from the command line, against a whole server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.command_lines import CommandLine
from helpers.servers import running_server


@pytest.fixture(name="cli")
def _cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    with running_server(tmp_path, namespace_quota_bytes=5000) as server:
        server.token("sara")
        monkeypatch.setenv("INGOT_TOKEN", server.admin_token)
        cli = CommandLine(server.address)
        for number in (1, 2):
            (tmp_path / "notes.txt").write_text(f"{number}\n" * 500)
            assert cli.run("push", "datasets/notes", str(tmp_path / "notes.txt")).code == 0
        yield cli


def test_a_version_goes_comes_back_and_goes_for_good(cli: CommandLine) -> None:
    gone = cli.run("rm", "datasets/notes@2", "--yes")
    assert (gone.code, gone.out) == (0, "datasets/admin/notes@2 went to the trash (1.0 KB).\n")
    assert cli.run("show", "datasets/notes@2").code == 3
    assert cli.run("ls", "datasets/notes", "--deleted", "-q").out == "datasets/admin/notes@2\n"
    assert cli.run("restore", "datasets/notes@2").out == "datasets/admin/notes@2 is back.\n"
    assert cli.run("show", "datasets/notes@2").code == 0
    cli.run("rm", "datasets/notes@1", "--yes")
    purged = cli.run("purge", "datasets/notes", "--versions", "--yes")
    assert purged.code == 0
    assert purged.out.startswith("Removed 1 version of datasets/notes: 1.0 KB that nothing else")
    assert cli.run("ls", "datasets/notes", "--deleted", "-q").out == ""


def test_one_version_is_purged_and_the_others_stay_in_the_trash(cli: CommandLine) -> None:
    assert cli.run("purge", "datasets/notes@1", "--yes").code == 3, "it is not in the trash"
    for version in ("1", "2"):
        assert cli.run("rm", f"datasets/notes@{version}", "--yes").code == 0
    asked = cli.run("purge", "datasets/notes@1")
    assert asked.code == 2
    assert "datasets/notes@1 (1.0 KB) cannot be taken back after this." in asked.err
    purged = cli.run("purge", "datasets/notes@1", "--yes")
    assert (purged.code, purged.out.partition(":")[0]) == (0, "Removed datasets/notes@1")
    assert cli.run("ls", "datasets/notes", "--deleted", "-q").out == "datasets/admin/notes@2\n"


def test_the_trash_is_listed_with_all_that_is_in_it(cli: CommandLine, tmp_path: Path) -> None:
    for ref in ("models/tiny", "models/whole", "datasets/notes"):
        assert cli.run("push", ref, str(tmp_path / "notes.txt"), "--changelog", "same").code == 0
    assert cli.run("rm", "datasets/notes@2", "--yes").code == 0
    assert cli.run("rm", "models/tiny@1", "--yes").code == 0
    assert cli.run("rm", "datasets/notes@1", "--yes").code == 0
    assert cli.run("rm", "models/whole", "--yes").code == 0
    single = ["models/admin/whole", "datasets/admin/notes@1", "models/admin/tiny@1", "datasets/admin/notes@2"]
    assert cli.run("ls", "--deleted", "-q").out.split() == single
    heading, *rows = [line.split() for line in cli.run("ls", "--deleted").out.splitlines()]
    assert heading == ["NAME", "VERSIONS", "DELETED", "UID"]
    assert [(row[0], row[1], row[-1] == "-") for row in rows] == [
        (name, "-" if "@" in name else "1", "@" in name) for name in single
    ]
    assert cli.run("ls", "models", "--deleted", "-q").out.split() == single[::2]
    told = json.loads(cli.run("ls", "--deleted", "--limit", "2", "--page", "2", "--json").out)
    assert [each["name"].rpartition("/datasets/")[2] for each in told][-1] == "notes/versions/2"
    assert cli.run("restore", "datasets/notes@1").code == 0
    assert cli.run("ls", "datasets", "--deleted", "-q").out.split() == single[3:]


def test_who_names_a_dataset_is_told_before_it_goes(cli: CommandLine) -> None:
    assert cli.run("alias", "set", "datasets/notes@1", "prod").code == 0
    asked = cli.run("rm", "datasets/notes")
    assert asked.code == 2
    assert "goes to the trash with 2 versions" in asked.err
    assert "These name it: datasets/admin/notes@prod." in asked.err
    assert cli.run("rm", "datasets/notes", "--yes").code == 5
    assert cli.run("rm", "datasets/notes", "--yes", "--force").code == 0


def test_a_dataset_goes_comes_back_and_goes_for_good(cli: CommandLine) -> None:
    assert cli.run("rm", "datasets/notes", "--yes").code == 0
    listed = cli.run("ls", "--deleted", "--json")
    (found,) = json.loads(listed.out)
    assert found["version_count"] == 2
    assert found["uid"] in cli.run("ls", "datasets", "--deleted").out
    assert cli.run("restore", "datasets/notes", "--uid", found["uid"]).out == (
        "datasets/admin/notes is back with 2 versions.\n"
    )
    cli.run("rm", "datasets/notes", "--yes")
    asked = cli.run("purge", "datasets/notes")
    assert asked.code == 2
    assert "2 versions of datasets/notes (2.0 KB) cannot be taken back" in asked.err
    assert cli.run("purge", "datasets/notes", "--yes").code == 0
    assert cli.run("restore", "datasets/notes").code == 3


@pytest.mark.parametrize(
    "words", [["restore", "uploads/file_1"], ["purge", "datasets/notes@1", "--versions"]]
)
def test_what_cannot_be_meant_is_refused(cli: CommandLine, words: list[str]) -> None:
    assert cli.run(*words).code == 2


def test_quotas_are_set_and_shown(cli: CommandLine) -> None:
    shown = cli.run("namespaces", "quota", "sara", "--size", "2K", "--physical", "0", "--json")
    assert json.loads(shown.out)["effective_quota_bytes"] == 2048
    assert "4.9 KB (default)" in cli.run("namespaces", "quota", "sara", "--size", "default").out
    assert "sara" in cli.run("namespaces", "ls", "--quiet").out.split()
    assert "2.0 KB of versions and checkpoints" in cli.run("namespaces", "show").out
    assert cli.run("namespaces", "quota", "sara", "--size", "much").code == 2
    assert cli.run("namespaces", "quota", "sara").code == 2
