"""Who may read and write what: what is not yours does not exist, and workers touch only what they hold."""

import dataclasses
from collections.abc import Iterator

import pytest

from helpers.catalogs import CatalogRig, machine, person
from ingot.server.core.artifacts import NewVersion, Visibility
from ingot.server.core.errors import Denied, IngotError, NotFound, Reason
from ingot.server.core.identity import Caller, Role
from ingot.server.core.names import artifact_name
from ingot.server.core.workers import WorkGrant
from ingot.server.domain.catalog_asked import ArtifactListing

WORKER = machine()


@pytest.fixture
def rig() -> Iterator[CatalogRig]:
    found = CatalogRig()
    yield found
    found.database.close()


@pytest.fixture
def sara(rig: CatalogRig) -> Caller:
    return rig.user("sara")


@pytest.fixture
def omid(rig: CatalogRig) -> Caller:
    return rig.user("omid")


def _message(error: IngotError) -> str:
    return error.message.replace("secret", "NAME").replace("absent", "NAME")


def test_private_things_of_others_look_absent(rig: CatalogRig, sara: Caller, omid: Caller) -> None:
    rig.create(sara, "secret")
    refusals = []
    for name in ("secret", "absent"):
        with pytest.raises(NotFound) as caught:
            rig.read(rig.catalog.require_read, omid, artifact_name(f"namespaces/sara/models/{name}"))
        refusals.append((caught.value.reason, _message(caught.value), caught.value.next_step))
    assert refusals[0] == refusals[1]


@pytest.mark.parametrize("visibility", [Visibility.INTERNAL, Visibility.PUBLIC])
def test_visible_things_are_read_and_not_changed(
    rig: CatalogRig, sara: Caller, omid: Caller, visibility: Visibility
) -> None:
    made = rig.create(sara, "open", visibility=visibility)
    seen = rig.read(rig.catalog.require_read, omid, made.name)
    assert dataclasses.replace(seen, revision=made.revision) == made  # strangers are told no revision
    with pytest.raises(Denied, match="may be read by users/omid, but not changed") as caught:
        rig.read(rig.catalog.require_write, omid, made.name)
    assert caught.value.reason is Reason.SCOPE_MISSING


def test_administrators_see_and_change_everything(rig: CatalogRig, sara: Caller) -> None:
    made = rig.create(sara, "secret")
    admin = rig.user("root", Role.ADMIN)
    assert rig.read(rig.catalog.require_write, admin, made.name) == made
    assert [each.name for each in rig.read(rig.catalog.page, admin, ArtifactListing()).items] == [made.name]


def test_nobody_writes_into_other_namespaces(rig: CatalogRig, sara: Caller, omid: Caller) -> None:
    for caller, namespace in (
        (omid, "sara"),
        (sara, "nowhere"),
        (WORKER, "sara"),
        (person("ghost"), "ghost"),
    ):
        with pytest.raises(NotFound) as caught:
            rig.read(rig.access.require_write, caller, namespace)
        assert caught.value.reason is Reason.NAMESPACE_NOT_FOUND


def test_lists_show_ones_own_and_what_is_visible(rig: CatalogRig, sara: Caller, omid: Caller) -> None:
    rig.create(sara, "private")
    rig.create(sara, "internal", visibility=Visibility.INTERNAL)
    rig.create(omid, "mine")
    viewer = rig.user("nima", Role.VIEWER)

    def seen(caller: Caller, namespace: str = "-") -> list[str]:
        page = rig.read(rig.catalog.page, caller, ArtifactListing(namespace))
        return [each.name.artifact for each in page.items]

    assert seen(omid) == ["mine", "internal"]
    assert seen(sara) == ["internal", "private"]
    assert seen(viewer) == ["internal"]
    assert seen(omid, "sara") == ["internal"]
    assert seen(sara, "sara") == ["internal", "private"]
    assert seen(sara, "omid") == []
    assert seen(sara, "nowhere") == []
    assert seen(WORKER) == []


def _grant(rig: CatalogRig, *versions: str, output: str = "") -> WorkGrant:
    names = frozenset(artifact_name(name).version("1") for name in versions)
    grant = WorkGrant("trainingJobs/job_1", 1, "sara", names, output)
    rig.work.grants[WORKER.principal] = [grant]
    return grant


def test_a_worker_reads_the_versions_it_holds_and_no_others(rig: CatalogRig, sara: Caller) -> None:
    name = artifact_name("namespaces/sara/datasets/chat")
    for _ in range(2):
        rig.commit(sara, str(name))
    for reference in (name.version("1"), name, name.alias("latest")):
        with pytest.raises(NotFound):
            rig.read(rig.versions.resolve, WORKER, reference)
    _grant(rig, str(name))
    assert rig.read(rig.versions.resolve, WORKER, name.version("1")).name.version == "1"
    assert rig.read(rig.catalog.require_read, WORKER, name).name == name
    for reference in (name.version("2"), name):
        with pytest.raises(NotFound):
            rig.read(rig.versions.resolve, WORKER, reference)
    artifact = rig.read(rig.catalog.require_read, WORKER, name)
    listed = rig.read(rig.versions.page, WORKER, name, 0, "")
    newest = rig.read(rig.catalog.newest_versions, WORKER, [artifact])[artifact.uid]
    assert [each.name.version for each in (*listed.items, *newest)] == ["1", "1"]
    assert len(rig.read(rig.versions.page, sara, name, 0, "").items) == 2
    with pytest.raises(Denied):
        rig.read(rig.catalog.require_write, WORKER, name)
    rig.work.grants.clear()  # the lease is over
    with pytest.raises(NotFound):
        rig.read(rig.versions.resolve, WORKER, name.version("1"))


def test_a_worker_learns_nothing_of_the_aliases_of_what_it_reads(rig: CatalogRig, sara: Caller) -> None:
    name = artifact_name("namespaces/sara/datasets/chat")
    rig.commit(sara, str(name), aliases=("prod",))
    _grant(rig, str(name))
    assert rig.read(rig.aliases.page, WORKER, name, 0, "").items == ()
    refusals = []
    for reference in (name.alias("prod"), name.alias("absent"), name.alias("latest")):
        with pytest.raises(NotFound) as caught:
            rig.read(rig.versions.resolve, WORKER, reference)
        refusals.append((caught.value.reason, caught.value.message))
    assert len(set(refusals)) == 1


def test_a_worker_writes_the_output_of_its_job_and_nothing_else(rig: CatalogRig, sara: Caller) -> None:
    output = "namespaces/sara/models/tiny"
    grant = _grant(rig, output=output)
    target = NewVersion(artifact_name(output), training_job=grant.name, attempt=1)
    rig.read(rig.access.require_version_write, WORKER, target.artifact, grant.name)
    for other in (
        dataclasses.replace(target, training_job=""),
        dataclasses.replace(target, training_job="trainingJobs/job_2"),
        dataclasses.replace(target, artifact=artifact_name("namespaces/sara/models/other")),
    ):
        with pytest.raises(NotFound) as caught:
            rig.read(rig.access.require_version_write, WORKER, other.artifact, other.training_job)
        assert caught.value.reason is Reason.TRAINING_JOB_NOT_FOUND
        assert "ingot jobs ls" in caught.value.next_step
    with pytest.raises(Denied, match="Only the worker"):
        rig.read(rig.access.require_version_write, sara, target.artifact, grant.name)


def test_jobs_are_read_and_written_by_their_namespace_and_their_worker(
    rig: CatalogRig, sara: Caller, omid: Caller
) -> None:
    job = _grant(rig).name
    for caller in (sara, WORKER, rig.user("root", Role.ADMIN)):
        rig.read(rig.access.require_job_read, caller, job, "sara")
        rig.read(rig.access.require_job_write, caller, job, "sara")
    for caller, name in ((omid, job), (WORKER, "trainingJobs/job_2"), (machine("tok_8"), job)):
        with pytest.raises(NotFound):
            rig.read(rig.access.require_job_read, caller, name, "sara")
        with pytest.raises(NotFound):
            rig.read(rig.access.require_job_write, caller, name, "sara")
