"""Who counts as having made a version, and what a decision is about."""

import dataclasses
import functools
from collections.abc import Iterator

import pytest

from helpers.catalogs import NO_KEY, CatalogRig, machine
from ingot.server.core.approval_policies import ApprovalPolicy, MetricThreshold
from ingot.server.core.artifacts import ArtifactFields, VersionOrigin
from ingot.server.core.errors import Conflict, Denied, NotFound, Precondition, Reason
from ingot.server.core.identity import Caller, Role
from ingot.server.core.namespaces import Quotas
from ingot.server.core.pages import PageTokens
from ingot.server.core.workers import WorkGrant
from ingot.server.domain.catalog_asked import ArtifactChange
from ingot.server.domain.namespaces import NamespaceChange, Namespaces
from ingot.server.domain.trash import Trash, TrashStores
from ingot.server.storage.accounts_sql import AccountsSql
from ingot.server.storage.approvals_sql import ApprovalsSql
from ingot.server.storage.operations_sql import OperationsSql
from ingot.server.storage.trees_sql import TreesSql

TINY = "namespaces/sara/models/tiny"


@pytest.fixture
def rig() -> Iterator[CatalogRig]:
    found = CatalogRig()
    yield found
    found.database.close()


def test_who_trained_a_model_made_it_and_not_who_made_the_workers_token(rig: CatalogRig) -> None:
    sara, admin = rig.user("sara"), rig.user("admin", Role.ADMIN)
    worker = machine()  # its token is admin's
    job = WorkGrant("trainingJobs/job_1", 1, "sara", frozenset(), TINY, creator=sara.principal)
    rig.work.grants[worker.principal] = [job]
    rig.create(sara, "tiny", license="MIT")
    origin = VersionOrigin(training_job=job.name)
    made = rig.commit(worker, TINY, create=None, training_job=job.name, attempt=1, origin=origin)
    rig.work.grants.clear()  # the job may be deleted by now
    asked = rig.write(rig.approvals.request, admin, made.name, "", NO_KEY)
    assert (asked.creator, asked.creator_user) == (worker.principal, "sara")
    rig.write(rig.approvals.withdraw, admin, asked.name, NO_KEY)
    asked = rig.write(rig.approvals.request, sara, made.name, "", NO_KEY)
    with pytest.raises(Denied):
        rig.write(rig.approvals.decide, sara, asked.name, "mine", "", NO_KEY, approve=True)
    decided = rig.write(rig.approvals.decide, admin, asked.name, "good", "", NO_KEY, approve=True)
    assert decided.decider == "users/admin"


def _protect(rig: CatalogRig, alias: str = "prod") -> None:
    rig.write(AccountsSql().require, "sara", ApprovalPolicy(protected_aliases=(alias,)))


def _trash(rig: CatalogRig) -> Trash:
    stores = TrashStores(
        rig.artifacts,
        rig.version_rows,
        rig.alias_rows,
        TreesSql(),
        rig.work,
        OperationsSql(),
        ApprovalsSql(),
    )
    return Trash(rig.catalog, stores, rig.access, rig.operations.operations, rig.requests, rig.clock)


def test_a_protected_alias_does_not_go_with_what_it_names_unless_an_owner_says_so(rig: CatalogRig) -> None:
    sara, admin = rig.user("sara"), rig.user("root", Role.ADMIN)
    trash = _trash(rig)
    artifact = rig.create(sara, "tiny", license="MIT")
    version = rig.commit(sara, TINY)
    asked = rig.write(rig.approvals.request, sara, version.name, "", NO_KEY)
    rig.write(rig.approvals.decide, admin, asked.name, "good", "", NO_KEY, approve=True)
    rig.write(rig.aliases.set, sara, artifact.name.alias("prod"), version.name, "", NO_KEY)
    _protect(rig)

    def delete(who: Caller) -> None:
        rig.write(
            trash.delete_version,
            who,
            version.name,
            NO_KEY,
            etag="",
            force=True,
            allow_missing=False,
            validate_only=False,
        )

    for change in (
        lambda: delete(sara),
        lambda: rig.write(rig.catalog.delete, sara, artifact.name, NO_KEY, force=True),
        lambda: rig.write(
            rig.aliases.delete, sara, artifact.name.alias("prod"), "", NO_KEY, allow_missing=False
        ),
    ):
        with pytest.raises(Precondition) as caught:
            change()
        assert caught.value.reason is Reason.PROTECTED
    assert rig.read(rig.versions.get, sara, artifact.name.alias("prod")).name == version.name
    delete(dataclasses.replace(sara, owns=frozenset({"sara"})))
    with pytest.raises(NotFound):
        rig.read(rig.versions.get, sara, artifact.name.alias("prod"))


def test_a_new_artifact_gets_no_protected_alias_at_its_first_push(rig: CatalogRig) -> None:
    sara = rig.user("sara")
    _protect(rig)
    for create in (ArtifactFields(), ArtifactFields(approval=ApprovalPolicy(protected_aliases=("best",)))):
        alias = "best" if create.approval.protected_aliases else "prod"
        with pytest.raises(Precondition) as caught:
            rig.commit(sara, TINY, create=create, aliases=(alias,))
        assert caught.value.reason is Reason.APPROVAL_REQUIRED


def test_who_has_left_sees_no_approval_any_more(rig: CatalogRig) -> None:
    sara, root = rig.user("sara"), rig.user("root", Role.ADMIN)
    omid = rig.user("omid")
    member = dataclasses.replace(omid, reads=omid.reads | {"sara"}, writes=omid.writes | {"sara"})
    rig.create(sara, "tiny")
    asked = rig.write(rig.approvals.request, member, rig.commit(sara, TINY).name, "", NO_KEY)
    listed = functools.partial(rig.approvals.page, parent=None, state=None, inbox=False, size=0, token="")
    assert [each.name for each in rig.read(listed, member).items] == [asked.name]
    assert rig.read(listed, omid).items == ()
    with pytest.raises(NotFound):
        rig.read(rig.approvals.get, omid, asked.name)
    with pytest.raises(NotFound):
        rig.write(rig.approvals.withdraw, omid, asked.name, NO_KEY)
    assert rig.read(rig.approvals.get, root, asked.name).requester == "users/omid"


def test_a_decision_is_about_what_was_read(rig: CatalogRig) -> None:
    sara, root = rig.user("sara"), rig.user("root", Role.ADMIN)
    rig.create(sara, "tiny", license="MIT")
    version = rig.commit(sara, TINY)
    asked = rig.write(rig.approvals.request, sara, version.name, "", NO_KEY)
    read = rig.read(rig.approvals.get, root, asked.name)
    said = dataclasses.replace(version, changelog="something else", revision=version.revision + 1)
    assert rig.write(rig.version_rows.amend, said)
    with pytest.raises(Conflict):
        rig.write(rig.approvals.decide, root, asked.name, "good", read.etag, NO_KEY, approve=True)
    again = rig.read(rig.approvals.get, root, asked.name)
    assert rig.write(rig.approvals.decide, root, asked.name, "good", again.etag, NO_KEY, approve=True).decider


def test_what_waits_shows_the_evidence_of_now_and_a_decision_keeps_it(rig: CatalogRig) -> None:
    sara, root = rig.user("sara"), rig.user("root", Role.ADMIN)
    artifact = rig.create(sara, "tiny")
    asked = rig.write(rig.approvals.request, sara, rig.commit(sara, TINY).name, "", NO_KEY)

    def license_set(text: str) -> None:
        change = ArtifactChange(artifact.name, ArtifactFields(license=text), ("license",))
        rig.write(rig.catalog.update, sara, change, NO_KEY, validate_only=False)

    def shown() -> list[tuple[bool, float]]:
        page = rig.read(rig.approvals.page, root, None, None, inbox=False, size=0, token="")
        told = (*page.items, rig.read(rig.approvals.get, sara, asked.name))
        return [(not each.evidence.missing, each.evidence.time) for each in told]

    assert shown() == [(False, rig.clock.time)] * 2
    with pytest.raises(Precondition) as caught:
        rig.write(rig.approvals.decide, root, asked.name, "no licence", "", NO_KEY, approve=True)
    assert f"ingot edit {artifact.name} --license" in caught.value.next_step
    rig.clock.time += 60
    license_set("MIT")
    assert shown() == [(True, rig.clock.time)] * 2
    decided = rig.clock.time
    rig.write(rig.approvals.decide, root, asked.name, "good", "", NO_KEY, approve=True)
    rig.clock.time += 60
    license_set("")
    assert shown() == [(True, decided)] * 2


def test_what_is_missing_comes_with_the_command_that_puts_it_right(rig: CatalogRig) -> None:
    sara, root = rig.user("sara"), rig.user("root", Role.ADMIN)
    policy = ApprovalPolicy(("validation", "scan"), (MetricThreshold("accuracy", 0.9),))
    rig.create(sara, "tiny", license="MIT", approval=policy)
    version = rig.commit(sara, TINY)
    asked = rig.write(rig.approvals.request, sara, version.name, "", NO_KEY)
    with pytest.raises(Precondition) as caught:
        rig.write(rig.approvals.decide, root, asked.name, "good?", "", NO_KEY, approve=True)
    assert caught.value.reason is Reason.EVIDENCE_MISSING
    assert caught.value.next_step.count(f"ingot validate {version.name}") == 1
    assert f"ingot edit {version.name} --metric" in caught.value.next_step
    assert "license" not in caught.value.next_step


def test_an_alias_of_what_is_not_approved_cannot_be_protected(rig: CatalogRig) -> None:
    sara, root = rig.user("sara"), rig.user("root", Role.ADMIN)
    artifact = rig.create(sara, "tiny", license="MIT")
    version = rig.commit(sara, TINY, aliases=("prod", "next"))
    policy = ApprovalPolicy(protected_aliases=("prod",))
    namespaces = Namespaces(AccountsSql(), rig.alias_rows, PageTokens(b"secret"), Quotas())

    def of_artifact(policy: ApprovalPolicy = policy) -> None:
        change = ArtifactChange(artifact.name, ArtifactFields(approval=policy), ("approval",))
        rig.write(rig.catalog.update, sara, change, NO_KEY, validate_only=False)

    def of_namespace() -> None:
        change = NamespaceChange("sara", None, None, policy, ("approval",))
        rig.write(namespaces.update, root, change)

    for protecting in (of_artifact, of_namespace):
        with pytest.raises(Precondition) as caught:
            protecting()
        assert caught.value.reason is Reason.APPROVAL_REQUIRED
        assert caught.value.facts == {"alias": f"{TINY}/aliases/prod", "version": f"{TINY}/versions/1"}
        assert f"ingot approvals request {TINY}/versions/1" in caught.value.next_step
    of_artifact(ApprovalPolicy(protected_aliases=("other",)))
    asked = rig.write(rig.approvals.request, sara, version.name, "", NO_KEY)
    rig.write(rig.approvals.decide, root, asked.name, "good", "", NO_KEY, approve=True)
    of_namespace()
    of_artifact()
    of_artifact(ApprovalPolicy())


def test_what_comes_out_of_the_trash_has_no_protected_alias_of_what_is_not_approved(rig: CatalogRig) -> None:
    sara = rig.user("sara")
    artifact = rig.create(sara, "tiny", license="MIT")
    rig.commit(sara, TINY, aliases=("prod", "next"))
    rig.write(rig.catalog.delete, sara, artifact.name, NO_KEY, force=True)
    _protect(rig)
    rig.write(_trash(rig).restore_artifact, sara, artifact.name, "", NO_KEY)
    names = rig.read(rig.aliases.page, sara, artifact.name, 0, "").items
    assert [each.name.alias for each in names] == ["latest", "next"]
    (newest, _) = rig.read(rig.aliases.moves, sara, artifact.name.alias("prod"), 0, "").items
    assert (newest.version, newest.previous, newest.moved_by) == ("", "1", "users/sara")
