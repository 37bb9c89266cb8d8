"""Approvals: another person decides, with a reason, on evidence; strangers see what was approved."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from helpers.servers import Server, Stubs, running_server
from ingot.client import Client, Denied, approval_policy
from ingot.v1 import auth_pb2
from ingot.v1 import catalog_pb2 as pb

NAME = "namespaces/team/models/tiny"
PENDING, APPROVED = pb.APPROVAL_STATE_PENDING, pb.APPROVAL_STATE_APPROVED
APPROVE, DECLINE = pb.APPROVAL_DECISION_APPROVE, pb.APPROVAL_DECISION_DECLINE


class Rig:
    """A team of sara (owner), omid (writer) and vera (reader), and mina, who is a stranger."""

    def __init__(self, server: Server, folder: pathlib.Path) -> None:
        self.server, self.folder = server, folder
        self.sara, self.omid = server.member("sara"), server.member("omid")
        self.vera, self.mina = server.member("vera"), server.member("mina")
        self.sara.auth.CreateNamespace(auth_pb2.CreateNamespaceRequest(namespace_id="team"))
        for user, role in (
            ("omid", auth_pb2.MEMBER_ROLE_WRITER),
            ("vera", auth_pb2.MEMBER_ROLE_READER),
        ):
            self.sara.auth.SetMember(
                auth_pb2.SetMemberRequest(name=f"namespaces/team/members/{user}", role=role)
            )
        fields = pb.Artifact(license="MIT", visibility=pb.VISIBILITY_PUBLIC)
        self.sara.catalog.CreateArtifact(
            pb.CreateArtifactRequest(
                parent="namespaces/team", kind=pb.ARTIFACT_KIND_MODEL, artifact_id="tiny", artifact=fields
            )
        )

    def client(self, user: str) -> Client:
        return Client(self.server.address, self.server.token(user))

    def push(self, text: str, user: str = "omid", **more: object) -> str:
        """Push a version as a writer of the team; return its name."""
        path = self.folder / "weights.txt"
        path.write_text(text, encoding="utf-8")
        with self.client(user) as client:
            pushed = client.push("models/team/tiny", path, **more)  # type: ignore[arg-type]
            assert pushed.version is not None
            return pushed.version.name

    def ask(self, version: str = NAME, comment: str = "", who: Stubs | None = None) -> pb.Approval:
        request = pb.RequestApprovalRequest(version=version, comment=comment)
        return (who or self.omid).catalog.RequestApproval(request).approval

    def decide(
        self, name: str, who: Stubs | None = None, decision: "pb.ApprovalDecision.ValueType" = APPROVE
    ) -> pb.Approval:
        request = pb.DecideApprovalRequest(name=name, decision=decision, comment="looked at it")
        return (who or self.sara).catalog.DecideApproval(request).approval

    def update(self, fields: pb.Artifact, *paths: str, who: Stubs | None = None) -> pb.Artifact:
        fields.name = NAME
        request = pb.UpdateArtifactRequest(artifact=fields)
        request.update_mask.paths.extend(paths)
        return (who or self.sara).catalog.UpdateArtifact(request).artifact


@pytest.fixture(name="rig")
def _rig(tmp_path: pathlib.Path) -> Iterator[Rig]:
    with running_server(tmp_path, approval_evidence=("license",)) as server:
        yield Rig(server, tmp_path)


def _refused(call: Callable[..., object], *arguments: object) -> tuple[grpc.StatusCode, str]:
    """Return status and reason of a call that is refused."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments)
    trailing = {each.key: each.value for each in caught.value.trailing_metadata() or ()}
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return caught.value.code(), info.reason


def _pages(call: Callable[..., Any], request: Any) -> list[str]:
    """Return the last parts of the names in a list that is read one by one; no page of it is empty."""
    found: list[str] = []
    while True:
        request.page_size = 1
        reply = call(request)
        several = isinstance(reply, pb.ListAliasesResponse)
        shown = [each.name for each in reply.aliases] if several else [each.version for each in reply.moves]
        assert len(shown) == 1
        found.append(shown[0].rpartition("/")[2])
        if not reply.next_page_token:
            return found
        request.page_token = reply.next_page_token


def _versions(who: Stubs) -> list[str]:
    listed = who.catalog.ListVersions(pb.ListVersionsRequest(parent=NAME)).versions
    return [each.name.rpartition("/")[2] for each in listed]


@pytest.mark.contract("S1-15", "S1-53")
def test_a_version_becomes_public_by_another_persons_decision(rig: Rig) -> None:
    first, second = rig.push("one"), rig.push("two")
    assert _versions(rig.mina) == []
    assert _refused(rig.mina.catalog.GetVersion, pb.GetVersionRequest(name=first)) == (
        grpc.StatusCode.NOT_FOUND,
        "VERSION_NOT_FOUND",
    )
    shown = rig.mina.catalog.GetArtifact(pb.GetArtifactRequest(name=NAME)).artifact
    assert (shown.current_version, shown.version_count, shown.size_bytes) == ("", 0, 0)
    assert _versions(rig.vera) == ["2", "1"]  # no stranger

    asked = rig.ask(first, "good on short texts")
    assert (asked.state, asked.requester, asked.creator) == (PENDING, "users/omid", "users/omid")
    inbox = rig.sara.catalog.ListApprovals(pb.ListApprovalsRequest(inbox=True)).approvals
    assert [each.name for each in inbox] == [asked.name]
    before = rig.sara.catalog.GetVersion(pb.GetVersionRequest(name=first)).version
    decided = rig.decide(asked.name)
    after = rig.sara.catalog.GetVersion(pb.GetVersionRequest(name=first)).version
    assert (before.approval, after.approval) == (PENDING, APPROVED)
    assert before.etag != after.etag
    seen = rig.mina.catalog.GetArtifact(pb.GetArtifactRequest(name=NAME)).artifact
    assert seen.etag != shown.etag
    assert (decided.state, decided.decider, decided.decision_comment) == (
        APPROVED,
        "users/sara",
        "looked at it",
    )
    assert not rig.sara.catalog.ListApprovals(pb.ListApprovalsRequest(inbox=True)).approvals

    assert _versions(rig.mina) == ["1"]
    latest = rig.mina.catalog.GetVersion(pb.GetVersionRequest(name=NAME)).version
    assert (latest.name, latest.approval) == (first, APPROVED)  # the bare name: the newest approved one
    with rig.client("mina") as stranger:
        assert stranger.pull("models/team/tiny", rig.folder / "pulled").name == first
    newest = rig.vera.catalog.GetVersion(pb.GetVersionRequest(name=NAME)).version
    assert (newest.name, newest.approval) == (second, pb.APPROVAL_STATE_UNSPECIFIED)
    listed = rig.mina.catalog.ListArtifacts(
        pb.ListArtifactsRequest(parent="namespaces/-", view=pb.ARTIFACT_VIEW_WITH_VERSIONS)
    ).artifacts
    assert [(each.current_version, each.version_count, len(each.versions)) for each in listed] == [
        (first, 1, 1)
    ]


def test_who_may_decide(rig: Rig) -> None:
    version = rig.push("one")
    asked = rig.ask(version)
    denied = (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING")
    assert _refused(rig.decide, asked.name, rig.omid) == denied  # asked for it
    assert _refused(rig.decide, asked.name, rig.vera) == denied  # reads only
    assert _refused(rig.decide, asked.name, rig.mina) == (
        grpc.StatusCode.NOT_FOUND,
        "APPROVAL_NOT_FOUND",
    )
    assert rig.decide(asked.name, rig.server.admin).decider == "users/admin"
    own = rig.push("two", user="sara")
    asked = rig.ask(own)
    assert _refused(rig.decide, asked.name, rig.sara) == denied  # an owner, but she made it
    assert not rig.sara.catalog.ListApprovals(pb.ListApprovalsRequest(inbox=True)).approvals
    waiting = rig.server.admin.catalog.ListApprovals(pb.ListApprovalsRequest(inbox=True)).approvals
    assert [each.name for each in waiting] == [asked.name]
    assert _refused(rig.ask, own, "", rig.mina)[0] is grpc.StatusCode.NOT_FOUND
    assert _refused(rig.ask, own, "", rig.vera) == denied


def test_a_decision_needs_a_reason_and_what_waits(rig: Rig) -> None:
    asked = rig.ask(rig.push("one"))
    bare = pb.DecideApprovalRequest(name=asked.name, decision=APPROVE)
    assert _refused(rig.sara.catalog.DecideApproval, bare)[1] == "FIELD_INVALID"
    undecided = pb.DecideApprovalRequest(name=asked.name, comment="hm")
    assert _refused(rig.sara.catalog.DecideApproval, undecided)[1] == "FIELD_INVALID"
    old = pb.DecideApprovalRequest(name=asked.name, decision=APPROVE, comment="hm", etag="old")
    assert _refused(rig.sara.catalog.DecideApproval, old)[1] == "ETAG_MISMATCH"
    assert rig.decide(asked.name, decision=DECLINE).state == pb.APPROVAL_STATE_DECLINED
    assert _refused(rig.decide, asked.name)[1] == "STATE_INVALID"
    again = rig.ask(asked.version)
    assert again.name != asked.name
    assert rig.ask(asked.version).name == again.name  # waits already
    rig.decide(again.name)
    assert _refused(rig.ask, asked.version)[1] == "STATE_INVALID"  # approved already


def test_evidence_is_gathered_again_at_the_decision(rig: Rig) -> None:
    rig.update(pb.Artifact(approval=approval_policy(thresholds={"accuracy": (0.9, None)})), "approval")
    poor = rig.ask(rig.push("one", metrics={"accuracy": 0.5}))
    checks = {each.name: (each.passed, each.required) for each in poor.evidence.checks}
    assert checks == {
        "validation": (False, False),
        "scan": (False, False),
        "license": (True, True),
        "metric:accuracy": (False, True),
    }
    assert not poor.evidence.sufficient
    assert _refused(rig.decide, poor.name) == (grpc.StatusCode.FAILED_PRECONDITION, "EVIDENCE_MISSING")
    assert rig.decide(poor.name, decision=DECLINE).state == pb.APPROVAL_STATE_DECLINED
    good = rig.ask(rig.push("two", metrics={"accuracy": 0.95}))
    assert good.evidence.sufficient
    rig.update(pb.Artifact(), "license")
    assert _refused(rig.decide, good.name)[1] == "EVIDENCE_MISSING"  # it was there when it was asked for
    rig.update(pb.Artifact(license="MIT"), "license")
    assert rig.decide(good.name).state == APPROVED


def test_a_decision_is_on_the_evidence_that_was_read(rig: Rig) -> None:
    rig.update(pb.Artifact(approval=approval_policy(thresholds={"accuracy": (0.9, None)})), "approval")
    asked = rig.ask(rig.push("one", metrics={"accuracy": 0.95}))
    rig.update(pb.Artifact(approval=approval_policy(thresholds={"accuracy": (0.5, None)})), "approval")
    guarded = pb.DecideApprovalRequest(name=asked.name, decision=APPROVE, comment="hm", etag=asked.etag)
    assert _refused(rig.sara.catalog.DecideApproval, guarded)[1] == "ETAG_MISMATCH"
    guarded.etag = rig.sara.catalog.GetApproval(pb.GetApprovalRequest(name=asked.name)).approval.etag
    assert rig.sara.catalog.DecideApproval(guarded).approval.state == APPROVED


def test_evidence_tells_all_digits_of_a_metric(rig: Rig) -> None:
    limits = {"accuracy": (0.9, None), "parameters": (None, 1234567.0)}
    rig.update(pb.Artifact(approval=approval_policy(thresholds=limits)), "approval")
    close = rig.ask(rig.push("one", metrics={"accuracy": 0.8999999999, "parameters": 1234568}))
    told = {each.name: (each.found, each.expected) for each in close.evidence.checks[3:]}
    assert told == {
        "metric:accuracy": ("0.8999999999", "at least 0.9"),
        "metric:parameters": ("1234568", "at most 1234567"),
    }


def test_only_owners_change_what_approvals_need(rig: Rig) -> None:
    wanted = pb.Artifact(approval=approval_policy(protected_aliases=["prod"]))
    assert _refused(lambda: rig.update(wanted, "approval", who=rig.omid))[0] is (
        grpc.StatusCode.PERMISSION_DENIED
    )
    assert rig.update(wanted, "approval").approval == wanted.approval
    assert rig.update(pb.Artifact(description="x"), "description", who=rig.omid).approval == wanted.approval
    for wrong in (
        pb.ApprovalPolicy(required_evidence=["luck"]),
        pb.ApprovalPolicy(protected_aliases=["PROD"]),
        approval_policy(thresholds={"a": (2.0, 1.0)}),
        approval_policy(thresholds={"a": (float("nan"), None)}),
        approval_policy(thresholds={"": (1.0, None)}),
    ):
        assert _refused(lambda policy=wrong: rig.update(pb.Artifact(approval=policy), "approval"))[0] is (
            grpc.StatusCode.INVALID_ARGUMENT
        )


def test_only_owners_let_validations_pass_more(rig: Rig) -> None:
    """Who asks for an approval must not make its evidence easier."""

    def change(who: Stubs, **rules: object) -> pb.Artifact:
        wanted = pb.ValidationPolicy(rules=pb.ValidationRules(**rules))  # type: ignore[arg-type]  # by name
        return rig.update(pb.Artifact(validation=wanted), "validation", who=who)

    change(rig.omid, min_records=5)  # a writer may ask for more
    denied = (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING")
    assert _refused(lambda: change(rig.omid, min_records=4)) == denied
    assert _refused(lambda: change(rig.omid, min_records=5, max_bad_ratio=1.0)) == denied
    assert _refused(lambda: rig.update(pb.Artifact(), "validation", who=rig.omid)) == denied
    free = pb.ValidationPolicy(mode=pb.VALIDATION_MODE_NONE)
    with rig.client("omid") as writer, pytest.raises(Denied) as failed:
        writer.catalog.update(NAME, pb.Artifact(validation=free), ["validation"])
    assert "asks for less (mode, min_records)" in str(failed.value)
    assert failed.value.next_step == "Ask users/sara, or an owner of namespaces/team."
    assert change(rig.sara, max_bad_ratio=0.5).validation.rules.max_bad_ratio == 0.5
    with Client(rig.server.address, rig.server.admin_token) as admin:
        entry = next(each for each in admin.audit.entries(target=NAME) if each.code == "OK")
    assert entry.principal == "users/sara"
    assert entry.facts["validation"] == "max_bad_ratio 0.5"
    assert entry.facts["validation_before"] == "min_records 5"


def test_a_namespace_asks_for_more_of_all_that_it_owns(rig: Rig) -> None:
    policy = approval_policy(["scan"], {"accuracy": (0.9, None)}, ["prod"])
    with rig.client("sara") as owner, pytest.raises(Denied):
        owner.auth.set_approval_policy("team", policy)  # administrators do
    with Client(rig.server.address, rig.server.admin_token) as admin:
        before = admin.auth.namespace("team")
        after = admin.auth.set_approval_policy("team", policy, etag=before.etag)
        assert (after.approval, after.effective_quota_bytes) == (policy, before.effective_quota_bytes)
        assert after.etag != before.etag
        assert admin.auth.set_quotas("team", {"quota_bytes": 10**9}).approval == policy
    rig.update(pb.Artifact(approval=approval_policy(thresholds={"loss": (None, 2.0)})), "approval")
    asked = rig.ask(rig.push("one", metrics={"accuracy": 0.95, "loss": 1.0}))
    checks = {each.name: (each.passed, each.required) for each in asked.evidence.checks}
    assert checks == {
        "validation": (False, False),
        "scan": (False, True),
        "license": (True, True),
        "metric:accuracy": (True, True),
        "metric:loss": (True, True),
    }
    assert _refused(rig.decide, asked.name)[1] == "EVIDENCE_MISSING"
    alias = pb.SetAliasRequest(name=f"{NAME}/aliases/prod", version=asked.version)
    assert _refused(rig.sara.catalog.SetAlias, alias)[1] == "APPROVAL_REQUIRED"


def test_protected_aliases_move_only_to_approved_versions(rig: Rig) -> None:
    rig.update(pb.Artifact(approval=approval_policy(protected_aliases=["prod"])), "approval")
    version = rig.push("one")
    alias = pb.SetAliasRequest(name=f"{NAME}/aliases/prod", version=version)
    needs = (grpc.StatusCode.FAILED_PRECONDITION, "APPROVAL_REQUIRED")
    assert _refused(rig.sara.catalog.SetAlias, alias) == needs
    assert _refused(rig.server.admin.catalog.SetAlias, alias) == needs
    with pytest.raises(Exception, match="protected"):
        rig.push("two", aliases=["prod"])
    rig.decide(rig.ask(version).name)
    assert rig.omid.catalog.SetAlias(alias).alias.protected
    removing = pb.DeleteAliasRequest(name=f"{NAME}/aliases/prod")
    assert _refused(rig.sara.catalog.DeleteAlias, removing)[1] == "PROTECTED"
    other = rig.push("three")
    rig.omid.catalog.SetAlias(pb.SetAliasRequest(name=f"{NAME}/aliases/next", version=other))
    shown = rig.mina.catalog.ListAliases(pb.ListAliasesRequest(parent=NAME)).aliases
    assert {each.name.rpartition("/")[2]: each.protected for each in shown} == {"latest": False, "prod": True}
    assert _refused(rig.mina.catalog.GetVersion, pb.GetVersionRequest(name=f"{NAME}/aliases/next"))[0] is (
        grpc.StatusCode.NOT_FOUND
    )


def test_strangers_hear_nothing_of_aliases_of_what_is_not_approved(rig: Rig) -> None:
    """No page is empty, none is cut short, and no token, which anybody can read, names one."""
    rig.decide(rig.ask(rig.push("one", aliases=["alpha", "omega"])).name)
    hidden = [f"next-{number}" for number in range(3)]
    rig.push("two", aliases=["alpha", *hidden])
    assert _pages(rig.mina.catalog.ListAliases, pb.ListAliasesRequest(parent=NAME)) == ["latest", "omega"]
    assert _pages(rig.vera.catalog.ListAliases, pb.ListAliasesRequest(parent=NAME)) == sorted(
        ["alpha", "latest", "omega", *hidden]
    )
    moves = {each: pb.ListAliasMovesRequest(parent=f"{NAME}/aliases/{each}") for each in ("alpha", "next-1")}
    assert _pages(rig.vera.catalog.ListAliasMoves, moves["alpha"]) == ["2", "1"]
    moves["alpha"].ClearField("page_token")
    assert _pages(rig.mina.catalog.ListAliasMoves, moves["alpha"]) == ["1"]
    never = pb.ListAliasMovesRequest(parent=f"{NAME}/aliases/never")
    absent = (grpc.StatusCode.NOT_FOUND, "ALIAS_NOT_FOUND")
    for unknown in (moves["next-1"], never):
        assert _refused(rig.mina.catalog.ListAliasMoves, unknown) == absent
    rig.omid.catalog.DeleteAlias(pb.DeleteAliasRequest(name=f"{NAME}/aliases/next-1"))
    rig.omid.catalog.DeleteAlias(pb.DeleteAliasRequest(name=f"{NAME}/aliases/omega"))
    assert _refused(rig.mina.catalog.ListAliasMoves, moves["next-1"]) == absent
    omega = pb.ListAliasMovesRequest(parent=f"{NAME}/aliases/omega")
    assert _pages(rig.mina.catalog.ListAliasMoves, omega) == ["", "1"], "where it was removed, too"


def test_a_version_that_goes_away_takes_its_request_with_it(rig: Rig) -> None:
    version = rig.push("one")
    asked = rig.ask(version)
    rig.sara.catalog.DeleteVersion(pb.DeleteVersionRequest(name=version, force=True))
    found = rig.omid.catalog.GetApproval(pb.GetApprovalRequest(name=asked.name)).approval
    assert (found.state, found.decider) == (pb.APPROVAL_STATE_WITHDRAWN, "system")
    other = rig.ask(rig.push("two"))
    rig.sara.catalog.DeleteArtifact(pb.DeleteArtifactRequest(name=NAME, force=True))
    found = rig.omid.catalog.GetApproval(pb.GetApprovalRequest(name=other.name)).approval
    assert found.state == pb.APPROVAL_STATE_WITHDRAWN


def test_who_asked_takes_it_back(rig: Rig) -> None:
    asked = rig.ask(rig.push("one"))
    taking = pb.WithdrawApprovalRequest(name=asked.name)
    assert _refused(rig.vera.catalog.WithdrawApproval, taking)[1] == "SCOPE_MISSING"
    assert rig.omid.catalog.WithdrawApproval(taking).approval.state == pb.APPROVAL_STATE_WITHDRAWN
    assert _refused(rig.decide, asked.name)[1] == "STATE_INVALID"


def test_lists_show_what_concerns_one(rig: Rig) -> None:
    names = [rig.ask(rig.push(str(number))).name for number in range(5)]
    rig.decide(names[1])

    def listed(who: Stubs, **narrow: object) -> list[str]:
        found, token = [], ""
        while True:
            request = pb.ListApprovalsRequest(page_size=2, page_token=token, **narrow)  # type: ignore[arg-type]
            page = who.catalog.ListApprovals(request)
            found += [each.name for each in page.approvals]
            token = page.next_page_token
            if not token:
                return found

    everything = names[::-1]
    for who in (rig.sara, rig.omid, rig.vera, rig.server.admin):
        assert listed(who) == everything
        assert listed(who, parent=NAME) == everything
        assert listed(who, parent="namespaces/team") == everything
        assert listed(who, state=APPROVED) == [names[1]]
    waiting = [name for name in everything if name != names[1]]
    assert listed(rig.sara, inbox=True) == listed(rig.server.admin, inbox=True) == waiting
    assert listed(rig.omid, inbox=True) == listed(rig.vera, inbox=True) == []
    assert listed(rig.mina) == listed(rig.mina, parent="namespaces/team") == []


def test_a_decision_stands_in_the_audit_log(rig: Rig) -> None:
    asked = rig.ask(rig.push("one"))
    assert rig.ask(asked.version).name == asked.name  # waits already: nothing is done
    rig.decide(asked.name)
    with Client(rig.server.address, rig.server.admin_token) as admin:
        entry, before = admin.audit.entries(limit=2)
    assert (before.method, before.target, before.facts["approval"]) == (
        "CatalogService/RequestApproval",
        asked.version,
        asked.name,
    )
    assert (entry.method, entry.principal, entry.target) == (
        "CatalogService/DecideApproval",
        "users/sara",
        asked.name,
    )
    assert entry.facts["decision"] == "APPROVED"
    assert entry.facts["version"] == asked.version
    assert entry.facts["comment"] == "looked at it"
