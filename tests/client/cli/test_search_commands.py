"""Searching, counting and watching models and datasets from the command line, against a whole server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.canned_server import CannedServer
from helpers.command_lines import CommandLine
from helpers.servers import Server, running_server
from ingot.client import Client
from ingot.v1 import catalog_pb2 as pb
from ingot.v1 import common_pb2


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch, running_server(tmp_path_factory.mktemp("s")) as server:
        patch.setenv("INGOT_TOKEN", server.admin_token)
        cli = CommandLine(server.address)
        folder = tmp_path_factory.mktemp("files")
        for name, size, *flags in (
            ("datasets/poems", 2000, "--language", "fa", "--tag", "chat"),
            ("datasets/letters", 30, "--language", "en", "--tag", "chat"),
            ("models/tiny", 500, "--tag", "small"),
        ):
            file = folder / f"{size}.txt"
            file.write_text("line\n" * (size // 5))
            assert cli.run("push", name, str(file), *flags).code == 0
        assert cli.run("edit", "datasets/poems", "--description", "شعرهاي كهن").code == 0
        yield server


@pytest.fixture(name="cli")
def _cli(filled: Server, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("INGOT_TOKEN", filled.admin_token)
    return CommandLine(filled.address)


def names(cli: CommandLine, *words: str) -> list[str]:
    run = cli.run(*words, "-q")
    assert run.code == 0, run.err
    return [line.rpartition("/")[2] for line in run.out.splitlines()]


@pytest.mark.contract("S0-10")
def test_words_and_filters_find(cli: CommandLine) -> None:
    assert names(cli, "search", "شعرهای") == ["poems"]
    assert names(cli, "search", "poem*", "--kind", "models") == []
    assert names(cli, "search", "tag:chat", "size_bytes > 1kB") == ["poems"]
    assert names(cli, "search", "NOT", "tag:chat") == ["tiny"]
    assert names(cli, "ls", "--filter", "tag:chat OR tiny", "--sort", "size_bytes") == [
        "letters",
        "tiny",
        "poems",
    ]
    refused = cli.run("search", "tag:chat", "OR", "tag:small", "tiny")
    assert refused.code == 2
    assert "AND and OR stand in one row" in refused.err


def test_what_is_found_is_counted(cli: CommandLine) -> None:
    shown = cli.run("search", "tag:chat", "--facets").out
    assert "datasets/admin/poems" in shown
    assert "en 1, fa 1" in shown
    both = json.loads(cli.run("search", "tag:chat", "--facets", "--json").out)
    assert (len(both["artifacts"]), both["facets"]["total_count"]) == (2, 2)
    counted = json.loads(cli.run("facets", "--field", "tag", "--values", "1", "--json").out)
    assert counted["total_count"] == 3
    assert counted["facets"] == [{"field": "tag", "values": [{"value": "chat", "count": 2}], "more": True}]
    assert cli.run("facets", "datasets", "-q").out == "2\n"
    assert "chat 2, …" in cli.run("facets", "--values", "1", "--field", "tag").out
    assert cli.run("facets", "--field", "colour").code == 2


def test_a_watch_prints_what_changes(canned: CannedServer) -> None:
    made = pb.Artifact(name="namespaces/ada/models/tiny", uid="u1", size_bytes=2000)
    made.current_version = f"{made.name}/versions/3"
    told = [
        pb.WatchArtifactsResponse(synced=common_pb2.Synced(), resume_token="t1"),
        pb.WatchArtifactsResponse(artifact=made, resume_token="t2"),
        pb.WatchArtifactsResponse(gone="u0", resume_token="t3"),
        pb.WatchArtifactsResponse(gone="u1", resume_token="t4"),
    ]
    canned.answer("CatalogService/WatchArtifacts", told)
    cli = CommandLine(canned.address)
    run = cli.run("watch", "models", "--filter", "tag:chat")
    lines = run.out.splitlines()
    assert lines[0].startswith("models/ada/tiny@3  2.0 KB")
    assert lines[1:] == ["models/ada/tiny  gone"]
    asked = canned.requests("CatalogService/WatchArtifacts")[-1]
    assert asked == pb.WatchArtifactsRequest(
        parent="namespaces/-", kind=pb.ARTIFACT_KIND_MODEL, filter="tag:chat", changes_only=True
    )
    tokens = [json.loads(line)["resume_token"] for line in cli.run("watch", "--json").out.splitlines()]
    assert tokens == ["t1", "t2", "t3", "t4"]


def test_the_sdk_watches_a_real_server(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, Client(server.address, token=server.admin_token) as client:
        client.catalog.create("models/tiny")
        watch = client.catalog.watch("models")
        assert next(watch).artifact.name.endswith("/tiny")
        assert next(watch).HasField("synced")
        client.catalog.delete("models/tiny")
        assert next(watch).gone
        watch.close()  # type: ignore[attr-defined]  # a generator
