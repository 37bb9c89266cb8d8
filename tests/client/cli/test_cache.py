"""cache ls, rm, prune and verify, after pulls that kept their files."""

import json
import pathlib
import re

import pytest

from helpers.command_lines import CommandLine
from helpers.servers import running_server


@pytest.fixture
def filled(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Return the folder of a cache with two files, which no server is needed for."""
    monkeypatch.setenv("INGOT_FILE_CACHE", str(tmp_path / "kept"))
    monkeypatch.setenv("INGOT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.txt").write_text("the first\n")
    (source / "b.txt").write_text("the second, longer\n")
    with running_server(tmp_path) as server:
        monkeypatch.setenv("INGOT_TOKEN", server.token("sara"))
        cli = CommandLine(server.address)
        assert cli.run("push", "datasets/two", str(source)).code == 0
        assert cli.run("pull", "datasets/two", "one").code == 0
        assert "Fetched 0 B of 29 B in 2 files" in cli.run("pull", "datasets/two", "two", "--cache").err
    return tmp_path / "kept"


def test_files_are_listed_checked_and_removed_without_a_server(filled: pathlib.Path) -> None:
    cli = CommandLine()
    listed = cli.run("cache", "ls")
    assert re.search(r"[0-9a-f]{12} +19 B .*namespaces/sara/datasets/two/versions/1:b\.txt\n", listed.out)
    assert f"2 files, 29 B of 100.00 GB, in {filled}" in listed.err
    told = json.loads(cli.run("cache", "ls", "--json").out)
    assert sorted(each["size_bytes"] for each in told) == [10, 19]
    assert cli.run("cache", "verify").out == "2 files: all good\n"

    (first,) = (each["root"] for each in told if each["size_bytes"] == 10)
    (filled / "files" / first[:2] / first).chmod(0o644)
    (filled / "files" / first[:2] / first).write_bytes(b"the wrong\n")
    assert cli.run("cache", "verify").out == "1 file: 1 damaged file removed\n"

    (second,) = cli.run("cache", "ls", "-q").out.split()
    assert cli.run("cache", "rm", "ffffffff" if second[0] != "f" else "00000000").code == 3
    assert cli.run("cache", "rm").code == 2
    assert cli.run("cache", "rm", second[:10]).out == "Removed 1 file, 19 B.\n"
    assert cli.run("cache", "ls", "-q").out == ""
    assert cli.run("cache", "rm", "--all").out == "Removed 0 files, 0 B.\n"


def test_a_cache_is_pruned_to_a_size(filled: pathlib.Path) -> None:
    cli = CommandLine()
    assert cli.run("cache", "prune").out == "Removed 0 files, 0 B.\n"
    assert cli.run("cache", "prune", "--to", "lots").code == 2
    assert json.loads(cli.run("cache", "prune", "--to", "0.01K", "--json").out)["removed_files"] in (1, 2)
    assert cli.run("cache", "prune", "--to", "0").code == 0
    assert cli.run("cache", "ls", "-q").out == ""
