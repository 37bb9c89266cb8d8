"""Versions and aliases: what a commit makes, which version a reference means, and how aliases move."""

import dataclasses
from collections.abc import Iterator

import pytest

from helpers.catalogs import NO_KEY, START, CatalogRig, machine
from ingot.server.core.artifacts import (
    Alias,
    ArtifactFields,
    NewVersion,
    VersionOrigin,
    VersionState,
    Visibility,
)
from ingot.server.core.errors import AlreadyExists, Conflict, Invalid, NotFound, Reason
from ingot.server.core.identity import Caller
from ingot.server.core.names import VersionReference, artifact_name, version_reference
from ingot.server.core.workers import WorkGrant

TINY = artifact_name("namespaces/sara/models/tiny")


@pytest.fixture
def rig() -> Iterator[CatalogRig]:
    found = CatalogRig()
    yield found
    found.database.close()


@pytest.fixture
def sara(rig: CatalogRig) -> Caller:
    return rig.user("sara")


def _ids(rig: CatalogRig, caller: Caller, *, size: int = 100) -> list[str]:
    seen: list[str] = []
    token = ""
    while True:
        page = rig.read(rig.versions.page, caller, TINY, size, token)
        seen += [each.name.version for each in page.items]
        token = page.next_token
        if not token:
            return seen


def _set(rig: CatalogRig, caller: Caller, alias: str, target: VersionReference, etag: str = "") -> Alias:
    return rig.write(rig.aliases.set, caller, TINY.alias(alias), target, etag, NO_KEY)


# --- commits ------------------------------------------------------------------------------------------


def test_a_commit_makes_the_artifact_and_its_first_version(rig: CatalogRig, sara: Caller) -> None:
    origin = VersionOrigin(upload="uploads/file_3")
    made = rig.commit(
        sara,
        str(TINY),
        origin=origin,
        size=786_432,
        create=ArtifactFields(license="MIT"),
        changelog="First",
        metadata={"features": 10},
        performance_metrics={"accuracy": 97.5},
        format="joblib",
    )
    assert made == rig.read(rig.versions.resolve, sara, TINY)
    assert (str(made.name), made.state, made.aliases) == (
        f"{TINY}/versions/1",
        VersionState.READY,
        ("latest",),
    )
    assert (made.size_bytes, made.new_bytes, made.file_count) == (786_432, 393_216, 2)
    assert (made.changelog, made.metadata, made.performance_metrics) == (
        *("First", {"features": 10}, {"accuracy": 97.5}),
    )
    assert (made.creator, made.create_time, made.ready_time, made.format) == (
        "users/sara",
        START,
        START,
        "joblib",
    )
    assert (made.origin, made.storage_uri) == (origin, f"ingot://trees/{'07' * 32}")
    artifact = rig.read(rig.catalog.require_read, sara, TINY)
    assert artifact.fields.license == "MIT"
    assert (artifact.current_version, artifact.version_count, artifact.format) == ("1", 1, "joblib")


def test_latest_and_the_counters_follow_each_commit(rig: CatalogRig, sara: Caller) -> None:
    rig.commit(sara, str(TINY), size=100)
    before = rig.read(rig.catalog.require_read, sara, TINY)
    rig.clock.time += 9
    rig.commit(sara, str(TINY), size=60)
    after = rig.read(rig.catalog.require_read, sara, TINY)
    assert (after.current_version, after.version_count, after.size_bytes) == ("2", 2, 60)
    assert (after.version_bytes, after.stored_bytes, after.update_time) == (160, 80, START + 9)
    assert after.etag != before.etag


def test_ids_are_chosen_or_one_above_the_largest_number(rig: CatalogRig, sara: Caller) -> None:
    for wanted in ("", "v1.0.0", "v2.1.0", "", "10-rc.1", "", "99999999999999999999", ""):
        rig.commit(sara, str(TINY), version_id=wanted)
    made = ["1", "1.0.0", "2.1.0", "3", "10-rc.1", "11", "99999999999999999999", "12"]
    assert _ids(rig, sara, size=3) == made[::-1]


def test_a_version_is_made_once(rig: CatalogRig, sara: Caller) -> None:
    rig.commit(sara, str(TINY), version_id="1.0.0")
    before = rig.read(rig.catalog.require_read, sara, TINY)
    for wanted in ("1.0.0", "v1.0.0"):
        with pytest.raises(AlreadyExists) as caught:
            rig.commit(sara, str(TINY), version_id=wanted)
        assert caught.value.reason is Reason.NAME_TAKEN
    assert rig.read(rig.catalog.require_read, sara, TINY) == before


def test_expected_latest_is_compared_at_commit(rig: CatalogRig, sara: Caller) -> None:
    rig.commit(sara, str(TINY), expected_latest="")
    rig.commit(sara, str(TINY), expected_latest="1")
    rig.commit(sara, str(TINY), expected_latest=f"{TINY}/versions/2")
    for wrong in ("", "2"):
        with pytest.raises(Conflict) as caught:
            rig.commit(sara, str(TINY), expected_latest=wrong)
        assert caught.value.reason is Reason.VERSION_CONFLICT
        assert caught.value.facts == {"expected": wrong, "found": "3"}
    assert _ids(rig, sara) == ["3", "2", "1"]


def test_a_missing_artifact_is_made_on_request_only(rig: CatalogRig, sara: Caller) -> None:
    with pytest.raises(NotFound) as caught:
        rig.commit(sara, str(TINY), create=None)
    assert caught.value.reason is Reason.ARTIFACT_NOT_FOUND


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version_id": "x"}, Reason.NAME_INVALID),
        ({"aliases": ("latest",)}, Reason.NAME_INVALID),
        ({"aliases": ("V1",)}, Reason.NAME_INVALID),
        ({"expected_latest": "namespaces/sara/models/tiny"}, Reason.FIELD_INVALID),
        ({"changelog": "x" * 20_001}, Reason.FIELD_INVALID),
        ({"metadata": {"x": "y" * 70_000}}, Reason.FIELD_INVALID),
        ({"format": "no format"}, Reason.FIELD_INVALID),
        ({"create": ArtifactFields(language="?")}, Reason.FIELD_INVALID),
    ],
)
def test_a_bad_target_is_refused_before_any_byte_travels(
    rig: CatalogRig, sara: Caller, changes: dict[str, object], reason: Reason
) -> None:
    target = dataclasses.replace(NewVersion(TINY, create=ArtifactFields()), **changes)  # type: ignore[arg-type]
    with pytest.raises(Invalid) as caught:
        rig.read(rig.versions.check_target, sara, target)
    assert caught.value.reason is reason


def test_a_worker_commits_the_result_of_its_job(rig: CatalogRig, sara: Caller) -> None:
    worker = machine()
    job = WorkGrant("trainingJobs/job_1", 1, "sara", frozenset(), str(TINY))
    rig.work.grants[worker.principal] = [job]
    made = rig.commit(
        worker,
        str(TINY),
        training_job=job.name,
        attempt=1,
        origin=VersionOrigin(upload="uploads/file_1", training_job=job.name, dataset_version="d"),
    )
    assert (made.creator, made.origin.training_job) == (worker.principal, job.name)
    artifact = rig.read(rig.catalog.require_read, sara, TINY)
    assert artifact.owner == "users/sara"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("aliases", ("prod",)),
        ("version_id", "7"),
        ("expected_latest", "1"),
        ("expected_latest", ""),
        ("create", ArtifactFields(visibility=Visibility.PUBLIC)),
        ("create", ArtifactFields(description="mine now")),
    ],
)
def test_a_worker_decides_nothing_but_the_content_of_a_result(
    rig: CatalogRig, sara: Caller, field: str, value: object
) -> None:
    rig.commit(sara, str(TINY), aliases=("prod",))
    worker = machine()
    rig.work.grants[worker.principal] = [WorkGrant("trainingJobs/job_1", 1, "sara", frozenset(), str(TINY))]
    plain = NewVersion(
        TINY, create=ArtifactFields(source="training"), training_job="trainingJobs/job_1", attempt=1
    )
    assert rig.read(rig.versions.check_target, worker, plain) == plain
    target = dataclasses.replace(plain, **{field: value})  # type: ignore[arg-type]  # as the case says
    with pytest.raises(Invalid, match=field):
        rig.read(rig.versions.check_target, worker, target)


@pytest.mark.contract("S0-45")
def test_a_model_that_was_trained_here_says_what_it_is(rig: CatalogRig, sara: Caller) -> None:
    worker, job = machine(), "trainingJobs/job_1"
    rig.work.grants[worker.principal] = [WorkGrant(job, 1, "sara", frozenset(), str(TINY))]
    rig.commit(worker, str(TINY), create=ArtifactFields(source="training"), training_job=job, attempt=1)
    found = rig.read(rig.catalog.require_read, sara, TINY).fields
    assert (found.framework, found.task_type, found.model_type) == ("pytorch", "text-generation", "llm")
    assert found.source == "training"


# --- references ---------------------------------------------------------------------------------------


def test_references_are_pinned_to_a_concrete_version(rig: CatalogRig, sara: Caller) -> None:
    for alias in ("prod", "old"):
        rig.commit(sara, str(TINY), aliases=(alias,))
    expected = {
        "/versions/1": "1",
        "/versions/v2": "2",
        "/aliases/prod": "1",
        "/aliases/latest": "2",
        "": "2",
    }
    found = {
        text: rig.read(rig.versions.resolve, sara, version_reference(f"{TINY}{text}")).name.version
        for text in expected
    }
    assert found == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{TINY}x", Reason.ARTIFACT_NOT_FOUND),
        (f"{TINY}/versions/7", Reason.VERSION_NOT_FOUND),
        (f"{TINY}/aliases/prod", Reason.ALIAS_NOT_FOUND),
        ("namespaces/sara/models/empty", Reason.VERSION_NOT_FOUND),
        ("namespaces/sara/models/empty/aliases/latest", Reason.VERSION_NOT_FOUND),
    ],
)
def test_what_is_absent_is_told_apart(rig: CatalogRig, sara: Caller, text: str, reason: Reason) -> None:
    rig.commit(sara, str(TINY))
    rig.create(sara, "empty")
    with pytest.raises(NotFound) as caught:
        rig.read(rig.versions.resolve, sara, version_reference(text))
    assert caught.value.reason is reason
    assert ("approved" in caught.value.next_step) == ("models/empty" in text)


def test_strangers_learn_nothing_about_versions(rig: CatalogRig, sara: Caller) -> None:
    rig.commit(sara, str(TINY), aliases=("prod",))
    omid = rig.user("omid")
    for text in ("", "/versions/1", "/versions/7", "/aliases/prod", "/aliases/no"):
        with pytest.raises(NotFound) as caught:
            rig.read(rig.versions.get, omid, version_reference(f"{TINY}{text}"))
        assert caught.value.reason is Reason.ARTIFACT_NOT_FOUND


def test_lineage_names_the_versions_that_came_from_an_artifact(rig: CatalogRig, sara: Caller) -> None:
    rig.commit(sara, str(TINY))
    child = rig.commit(
        sara, "namespaces/sara/models/child", origin=VersionOrigin(base_version=f"{TINY}/versions/1")
    )
    assert rig.read(rig.version_rows.descendants, TINY, 0.0, 10) == [str(child.name)]
    rig.write(rig.catalog.delete, sara, child.name.artifact, NO_KEY, force=True)
    assert rig.read(rig.version_rows.descendants, TINY, 0.0, 10) == []


# --- aliases ------------------------------------------------------------------------------------------


def test_an_alias_is_made_and_moves(rig: CatalogRig, sara: Caller) -> None:
    for _ in range(2):
        rig.commit(sara, str(TINY))
    made = _set(rig, sara, "prod", TINY.version("1"))
    rig.clock.time += 3
    moved = _set(rig, sara, "prod", TINY, made.etag)
    assert (made.version.version, moved.version.version) == ("1", "2")
    assert (moved.update_time, moved.updated_by) == (START + 3, "users/sara")
    assert moved.etag != made.etag
    with pytest.raises(Conflict):
        _set(rig, sara, "prod", TINY.version("1"), made.etag)
    assert rig.read(rig.versions.resolve, sara, TINY.version("2")).aliases == ("latest", "prod")
    assert rig.read(rig.versions.resolve, sara, TINY.version("1")).aliases == ()


def test_an_alias_may_follow_another(rig: CatalogRig, sara: Caller) -> None:
    rig.commit(sara, str(TINY), aliases=("stage",))
    rig.commit(sara, str(TINY))
    assert _set(rig, sara, "prod", TINY.alias("stage")).version.version == "1"


def test_aliases_are_listed_in_order_with_latest_among_them(rig: CatalogRig, sara: Caller) -> None:
    rig.create(sara, "tiny")
    assert rig.read(rig.aliases.page, sara, TINY, 0, "").items == ()
    rig.commit(sara, str(TINY), aliases=("prod", "a1", "stage"))
    rig.clock.time += 1
    rig.commit(sara, str(TINY))
    seen: list[tuple[str, str]] = []
    token = ""
    while True:
        page = rig.read(rig.aliases.page, sara, TINY, 1, token)
        seen += [(each.name.alias, each.version.version) for each in page.items]
        token = page.next_token
        if not token:
            break
    assert seen == [("a1", "1"), ("latest", "2"), ("prod", "1"), ("stage", "1")]


def test_latest_moves_by_itself_only(rig: CatalogRig, sara: Caller) -> None:
    rig.commit(sara, str(TINY))
    with pytest.raises(Invalid, match="latest moves by itself"):
        _set(rig, sara, "latest", TINY.version("1"))
    with pytest.raises(Invalid, match="latest moves by itself"):
        rig.write(rig.aliases.delete, sara, TINY.alias("latest"), "", NO_KEY, allow_missing=False)


def test_an_alias_points_at_its_own_artifact(rig: CatalogRig, sara: Caller) -> None:
    other = rig.commit(sara, "namespaces/sara/models/other")
    rig.commit(sara, str(TINY))
    with pytest.raises(Invalid, match="version: expected a version of"):
        _set(rig, sara, "prod", other.name)
    with pytest.raises(NotFound):
        _set(rig, sara, "prod", TINY.version("9"))


def test_an_alias_is_removed_and_its_version_stays(rig: CatalogRig, sara: Caller) -> None:
    rig.commit(sara, str(TINY), aliases=("prod",))

    def delete(etag: str = "", *, missing: bool = False) -> None:
        rig.write(rig.aliases.delete, sara, TINY.alias("prod"), etag, NO_KEY, allow_missing=missing)

    with pytest.raises(Conflict):
        delete("old")
    delete()
    assert rig.read(rig.versions.resolve, sara, TINY.version("1")).aliases == ("latest",)
    with pytest.raises(NotFound) as caught:
        delete()
    assert caught.value.reason is Reason.ALIAS_NOT_FOUND
    delete(missing=True)
