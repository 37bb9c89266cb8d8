"""approvals: what the commands send, and what they say beside the data."""

from typing import TypeVar

import pytest
from google.protobuf.message import Message

from helpers import canned_answers
from helpers.canned_server import CannedServer
from helpers.command_lines import CommandLine
from ingot.v1 import auth_pb2
from ingot.v1 import catalog_pb2 as pb

M = TypeVar("M", bound=Message)


@pytest.fixture(autouse=True)
def _answers(canned: CannedServer) -> None:
    canned_answers.install(canned)


def _sent(canned: CannedServer, method: str, kind: type[M]) -> M:
    """Return what a method of the catalog was asked last."""
    found = canned.requests(f"CatalogService/{method}")[-1]
    assert isinstance(found, kind)
    return found


def test_asking_tells_what_is_missing(canned: CannedServer, cli: CommandLine) -> None:
    run = cli.run("approvals", "request", "datasets/ada/chat@2", "-m", "cleaned by hand")
    assert run.code == 0
    assert "before this is there: metric:agreement" in run.err
    sent = _sent(canned, "RequestApproval", pb.RequestApprovalRequest)
    assert (sent.version, sent.comment) == ("namespaces/ada/datasets/chat/versions/2", "cleaned by hand")
    assert sent.request_id


def test_a_decision_needs_a_reason(canned: CannedServer, cli: CommandLine) -> None:
    assert cli.run("approvals", "approve", "1").code == 2
    for words, decision in (
        (("approvals", "approve"), pb.APPROVAL_DECISION_APPROVE),
        (("approvals", "decline"), pb.APPROVAL_DECISION_DECLINE),
    ):
        assert cli.run(*words, "1", "-m", "figures checked").code == 0
        sent = _sent(canned, "DecideApproval", pb.DecideApprovalRequest)
        assert (sent.name, sent.decision, sent.comment) == (
            "approvals/approval_1",
            decision,
            "figures checked",
        )


def test_approvals_are_named_by_number_or_name(canned: CannedServer, cli: CommandLine) -> None:
    for name in ("1", "approval_1", "approvals/approval_1"):
        assert cli.run("approvals", "withdraw", name).code == 0
        assert _sent(canned, "WithdrawApproval", pb.WithdrawApprovalRequest).name == "approvals/approval_1"


def test_lists_are_narrowed(canned: CannedServer, cli: CommandLine) -> None:
    assert cli.run("approvals", "ls", "datasets/ada/chat", "--state", "approved", "--inbox").code == 0
    sent = _sent(canned, "ListApprovals", pb.ListApprovalsRequest)
    assert (sent.parent, sent.state, sent.inbox) == (
        "namespaces/ada/datasets/chat",
        pb.APPROVAL_STATE_APPROVED,
        True,
    )
    run = cli.run("approvals", "ls", "--state", "good")
    assert (run.code, "expected one of pending, approved" in run.err) == (2, True)


def test_a_namespace_has_a_policy_too(canned: CannedServer, cli: CommandLine) -> None:
    answer = auth_pb2.UpdateNamespaceResponse(namespace=auth_pb2.Namespace(name="namespaces/ada"))
    canned.answer("AuthService/UpdateNamespace", answer)
    assert cli.run("approvals", "policy", "namespaces/ada", "--require", "scan").code == 0
    sent = canned.requests("AuthService/UpdateNamespace")[-1]
    assert isinstance(sent, auth_pb2.UpdateNamespaceRequest)
    assert list(sent.update_mask.paths) == ["approval"]
    assert sent.namespace.name == "namespaces/ada"
    assert sent.namespace.approval == pb.ApprovalPolicy(required_evidence=["scan"])
    assert cli.run("approvals", "policy", "namespaces/ada").code == 0


def test_a_policy_replaces_the_one_before(canned: CannedServer, cli: CommandLine) -> None:
    run = cli.run(
        *("approvals", "policy", "datasets/ada/chat", "--require", "license", "--protect", "prod"),
        *("--metric", "agreement=0.9:", "--metric", "loss=:2"),
    )
    assert run.code == 0
    sent = _sent(canned, "UpdateArtifact", pb.UpdateArtifactRequest)
    assert list(sent.update_mask.paths) == ["approval"]
    assert sent.artifact.approval == pb.ApprovalPolicy(
        required_evidence=["license"],
        thresholds=[
            pb.MetricThreshold(metric="agreement", minimum=0.9),
            pb.MetricThreshold(metric="loss", maximum=2.0),
        ],
        protected_aliases=["prod"],
    )
    assert cli.run("approvals", "policy", "datasets/ada/chat", "--none").code == 0
    assert _sent(canned, "UpdateArtifact", pb.UpdateArtifactRequest).artifact.approval == pb.ApprovalPolicy()
    for wrong in ("agreement", "agreement=", "agreement=:", "=1:", "a=x:y"):
        run = cli.run("approvals", "policy", "datasets/ada/chat", "--metric", wrong)
        assert (run.code, "expected NAME=LOW:HIGH" in run.err) == (2, True), wrong
    assert cli.run("approvals", "policy", "datasets/ada/chat", "--none", "--protect", "prod").code == 2
