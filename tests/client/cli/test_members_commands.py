"""members, access and namespaces: what they send and what they say beside the data."""

import pytest

from helpers import canned_answers
from helpers.canned_server import CannedServer
from helpers.command_lines import CommandLine
from ingot.v1 import auth_pb2, catalog_pb2


@pytest.fixture(autouse=True)
def _answers(canned: CannedServer) -> None:
    canned_answers.install(canned)


def test_members_are_named_by_namespace_and_user(canned: CannedServer, cli: CommandLine) -> None:
    run = cli.run("members", "set", "ada", "sara", "reader")
    assert (run.code, run.out) == (0, "sara is reader of ada\n")
    sent = canned.requests("AuthService/SetMember")[-1]
    assert sent == auth_pb2.SetMemberRequest(
        name="namespaces/ada/members/sara", role=auth_pb2.MEMBER_ROLE_READER
    )
    assert cli.run("members", "add", "namespaces/ada", "users/sara", "reader").code == 0
    assert canned.requests("AuthService/SetMember")[-1] == sent
    run = cli.run("members", "rm", "ada", "sara")
    assert (run.code, run.out, run.err) == (0, "", "sara does not belong to ada any more.\n")


def test_a_wrong_role_or_visibility_names_the_right_ones(cli: CommandLine) -> None:
    run = cli.run("members", "set", "ada", "sara", "admin")
    assert (run.code, "expected one of owner, writer, reader" in run.err) == (2, True)
    run = cli.run("access", "set", "datasets/chat", "--visibility", "secret")
    assert (run.code, "expected one of private, internal, public" in run.err) == (2, True)
    run = cli.run("access", "set", "datasets/chat")
    assert (run.code, "--visibility internal" in run.err) == (2, True)


def test_access_sends_only_what_is_to_change(canned: CannedServer, cli: CommandLine) -> None:
    name = "namespaces/ada/datasets/chat"
    for words, wanted in (
        (
            ["access", "grant", "datasets/ada/chat", "sara", "users/omid"],
            {"add_readers": ["users/sara", "users/omid"]},
        ),
        (["access", "revoke", "datasets/ada/chat", "sara"], {"remove_readers": ["users/sara"]}),
        (["access", "set", "datasets/ada/chat", "--owner", "sara"], {"owner": "users/sara"}),
    ):
        assert cli.run(*words).code == 0
        sent = canned.requests("CatalogService/SetAccess")[-1]
        assert isinstance(sent, catalog_pb2.SetAccessRequest)
        assert sent == catalog_pb2.SetAccessRequest(name=name, request_id=sent.request_id or "none", **wanted)


def test_a_namespace_is_removed_after_a_yes_only(canned: CannedServer, cli: CommandLine) -> None:
    run = cli.run("namespaces", "rm", "team-nlp")
    assert (run.code, "Say --yes" in run.err) == (2, True)
    look = auth_pb2.DeleteNamespaceRequest(name="namespaces/team-nlp", validate_only=True)
    assert canned.requests("AuthService/DeleteNamespace") == [look]
    run = cli.run("namespaces", "rm", "team-nlp", "--yes")
    assert (run.code, run.err) == (0, "team-nlp is no more.\n")
    done = auth_pb2.DeleteNamespaceRequest(name="namespaces/team-nlp")
    assert canned.requests("AuthService/DeleteNamespace") == [look, look, done]
