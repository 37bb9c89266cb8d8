"""The verbs and flags of the systems before Ingot, which their users' fingers know."""

import pytest

from helpers import canned_answers
from helpers.canned_server import CannedServer
from helpers.command_lines import CommandLine
from ingot.v1 import auth_pb2, catalog_pb2

UPDATE = "CatalogService/UpdateArtifact"


@pytest.fixture(autouse=True)
def _answers(canned: CannedServer) -> None:
    canned_answers.install(canned)


@pytest.mark.contract("S2-24")
def test_list(cli: CommandLine) -> None:
    assert cli.run("list").out == cli.run("ls").out
    assert "datasets/ada/chat" in cli.run("list").out


@pytest.mark.contract("S2-25", "S2-46")
@pytest.mark.parametrize("flag", ["-id", "-i", "--id"])
def test_get_with_an_id(canned: CannedServer, cli: CommandLine, flag: str) -> None:
    run = cli.run("get", flag, "google/flan-t5-small")
    assert run.code == 0
    (request,) = canned.requests("CatalogService/GetArtifact")
    assert isinstance(request, catalog_pb2.GetArtifactRequest)
    assert request.name == "namespaces/ada/models/google_flan-t5-small"


@pytest.mark.contract("S2-27")
def test_update_with_a_status(canned: CannedServer, cli: CommandLine) -> None:
    assert cli.run("update", "-i", "gpt2", "-status", "deprecated").code == 0
    (request,) = canned.requests(UPDATE)
    assert isinstance(request, catalog_pb2.UpdateArtifactRequest)
    assert request.artifact.name == "namespaces/ada/models/gpt2"
    assert request.artifact.lifecycle == catalog_pb2.ARTIFACT_LIFECYCLE_DEPRECATED
    assert list(request.update_mask.paths) == ["lifecycle"]


@pytest.mark.contract("S2-28")
@pytest.mark.parametrize("flag", ["-id", "-i"])
def test_delete_with_an_id(canned: CannedServer, cli: CommandLine, flag: str) -> None:
    run = cli.run("delete", flag, "gpt2", "--yes")
    assert run.code == 0
    assert "went to the trash with 2 versions (1.50 MB)" in run.out
    asked, done = canned.requests("CatalogService/DeleteArtifact")
    assert isinstance(asked, catalog_pb2.DeleteArtifactRequest)
    assert isinstance(done, catalog_pb2.DeleteArtifactRequest)
    assert (asked.validate_only, done.validate_only) == (True, False)
    assert done.name == "namespaces/ada/models/gpt2"
    assert done.etag == '"5"'


@pytest.mark.contract("S2-7")
def test_the_commands_of_the_source_system_are_all_there(cli: CommandLine) -> None:
    calls = [
        "list",
        "get -i gpt2",
        "update -i gpt2 -status active",
        "delete -i gpt2 --yes",
        "stats",
        "health",
    ]
    assert [cli.run(*call.split()).code for call in calls] == [0] * len(calls)
    assert cli.run("download", "--help").out.startswith("usage: ingot download [-n ID]")


@pytest.mark.contract("S2-29")
def test_stats(cli: CommandLine) -> None:
    assert "datasets" in cli.run("stats").out


@pytest.mark.contract("S2-30")
def test_health(cli: CommandLine) -> None:
    assert cli.run("health").out.startswith("status:       healthy\n")


@pytest.mark.contract("S2-31")
@pytest.mark.parametrize("flag", ["-server", "-s", "--server"])
@pytest.mark.parametrize("before", [True, False])
def test_the_server_may_be_named_before_or_after_the_verb(
    canned: CannedServer, flag: str, before: bool
) -> None:
    named = [flag, canned.address]
    words = [*named, "health", "-q"] if before else ["health", "-q", *named]
    assert CommandLine().run(*words).out == "healthy\n"


def test_edit_changes_only_what_is_named(canned: CannedServer, cli: CommandLine) -> None:
    assert cli.run("edit", "datasets/ada/chat", "--description", "", "--language", "fa").code == 0
    (request,) = canned.requests(UPDATE)
    assert isinstance(request, catalog_pb2.UpdateArtifactRequest)
    assert list(request.update_mask.paths) == ["description", "language"]
    assert (request.artifact.description, request.artifact.language) == ("", "fa")


def test_edit_knows_the_flags_of_push(canned: CannedServer, cli: CommandLine) -> None:
    words = ("--title", "Tiny", "--task", "text-generation", "--type", "llm")
    assert cli.run("edit", "models/ada/tiny", *words).code == 0
    (request,) = canned.requests(UPDATE)
    assert isinstance(request, catalog_pb2.UpdateArtifactRequest)
    assert sorted(request.update_mask.paths) == ["display_name", "model_type", "task_type"]


def test_tag_adds_and_removes_guarded_by_the_etag(canned: CannedServer, cli: CommandLine) -> None:
    assert cli.run("tag", "datasets/ada/chat", "-chat", "+reviewed", "+persian", "-q").code == 0
    (request,) = canned.requests(UPDATE)
    assert isinstance(request, catalog_pb2.UpdateArtifactRequest)
    assert list(request.artifact.tags) == ["persian", "reviewed"]
    assert request.artifact.etag == '"5"'


def test_aliases_are_set_and_removed(canned: CannedServer, cli: CommandLine) -> None:
    run = cli.run("alias", "set", "datasets/ada/chat@2", "prod")
    assert run.out == "datasets/ada/chat@prod is datasets/ada/chat@2\n"
    assert cli.run("alias", "rm", "datasets/ada/chat@prod").code == 0
    assert cli.run("alias", "rm", "datasets/ada/chat", "prod").code == 0
    names = {each.name for each in canned.requests("CatalogService/DeleteAlias") if hasattr(each, "name")}
    assert names == {"namespaces/ada/datasets/chat/aliases/prod"}
    assert cli.run("alias", "rm", "datasets/ada/chat").code == 2


def test_uploads_are_given_up_after_a_yes(canned: CannedServer, cli: CommandLine) -> None:
    assert cli.run("uploads", "abort", "3").code == 2
    assert canned.requests("TransferService/AbortUpload") == []
    assert cli.run("uploads", "abort", "3", "--yes").out == "uploads/file_3 is given up.\n"


def test_users_and_tokens_are_made_and_revoked(canned: CannedServer, cli: CommandLine) -> None:
    assert cli.run("users", "create", "sara", "--title", "سارا").out == "sara\n"
    made = cli.run("tokens", "create", "--user", "sara", "--ttl", "30d")
    assert (made.out, "not shown again" in made.err) == ("ingot_shown_once\n", True)
    for name in ("users/sara/tokens/tok_2", "sara/tokens/tok_2"):
        assert cli.run("tokens", "revoke", name).out == "users/sara/tokens/tok_2 is revoked.\n"
    cli.run("tokens", "revoke", "tok_2")
    sent = canned.requests("AuthService/RevokeToken")
    assert sent == [
        auth_pb2.RevokeTokenRequest(name=f"users/{who}/tokens/tok_2") for who in ("sara", "sara", "ada")
    ]
