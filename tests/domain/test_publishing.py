"""Versions that must pass a validation first: every step to READY and back, and who sees which of them."""

import dataclasses
from collections.abc import Iterator

import pytest

from helpers.catalogs import NO_KEY, START, CatalogRig, machine, person
from helpers.validations import BAD_ROW, REQUIRED, Validator
from ingot.server.core import journal
from ingot.server.core.artifacts import (
    ArtifactFields,
    ValidationMode,
    ValidationPolicy,
    Version,
    VersionMove,
    VersionState,
    Visibility,
    next_version_state,
)
from ingot.server.core.errors import NotFound, Precondition, Reason
from ingot.server.core.facts import VersionFacts
from ingot.server.core.identity import Caller, Role
from ingot.server.core.names import VersionReference, artifact_name
from ingot.server.core.operations import OperationOptions, OperationState
from ingot.server.core.params import Rules, ValidationParams, ValidationReport
from ingot.server.core.workers import WorkGrant
from ingot.server.domain.catalog_asked import ArtifactListing
from ingot.server.storage.facts_sql import FactsSql

TINY = artifact_name("namespaces/sara/models/tiny")
STAGED, VALIDATING, READY, REJECTED = VersionState


@pytest.fixture
def rig() -> Iterator[CatalogRig]:
    found = CatalogRig(validation_required=True)
    yield found
    found.database.close()


@pytest.fixture
def sara(rig: CatalogRig) -> Caller:
    return rig.user("sara")


@pytest.fixture
def validator(rig: CatalogRig) -> Validator:
    return Validator(rig.operations, rig.database)


def _aliases(rig: CatalogRig, caller: Caller) -> dict[str, str]:
    found = rig.read(rig.aliases.page, caller, TINY, 100, "").items
    return {each.name.alias: each.version.version for each in found}


def _ids(rig: CatalogRig, caller: Caller) -> list[str]:
    return [each.name.version for each in rig.read(rig.versions.page, caller, TINY, 100, "").items]


def _open_to_readers(rig: CatalogRig, sara: Caller) -> None:
    rig.create(sara, "tiny", visibility=Visibility.INTERNAL)


# --- one version --------------------------------------------------------------------------------------


@pytest.mark.contract("S3-6", "S1-63", "S4-37")
def test_a_commit_waits_for_its_validation_and_is_published_by_it(
    rig: CatalogRig, sara: Caller, validator: Validator
) -> None:
    made = rig.commit(sara, str(TINY), aliases=("prod",), size=100)
    assert (made.state, made.ready_time, made.aliases) == (STAGED, None, ())
    assert made == validator.stored(made)
    artifact = rig.read(rig.catalog.require_read, sara, TINY)
    assert (artifact.current_version, artifact.version_count, artifact.size_bytes) == ("", 0, 0)
    queued = validator.operation_of(made)
    assert (queued.kind, queued.state, queued.target) == ("validate", OperationState.QUEUED, str(made.name))
    assert (queued.requester, queued.namespace) == ("users/sara", "sara")

    operation = validator.begin()
    assert operation.name == made.last_validation
    assert validator.stored(made).state is VALIDATING
    assert _aliases(rig, sara) == {}

    rig.clock.time += 5
    validator.report(operation, passed=True)
    ready = validator.stored(made)
    assert (ready.state, ready.ready_time, ready.aliases) == (READY, START + 5, ("latest", "prod"))
    artifact = rig.read(rig.catalog.require_read, sara, TINY)
    assert (artifact.current_version, artifact.version_count, artifact.size_bytes) == ("1", 1, 100)
    assert _aliases(rig, sara) == {"latest": "1", "prod": "1"}


def test_a_validation_tells_the_facts_of_a_version_and_its_artifact(
    rig: CatalogRig, sara: Caller, validator: Validator
) -> None:
    made = rig.commit(sara, str(TINY))
    facts = VersionFacts(parameters=7, tensors=1, dtypes=("F32",), validated=True)
    validator.report(validator.begin(), passed=True, facts=facts)
    assert validator.stored(made).facts == facts
    assert rig.read(rig.catalog.require_read, sara, TINY).facts == facts
    assert rig.read(FactsSql().wanted, 9) == []  # nothing is left to be read

    rejected = rig.commit(sara, str(TINY))
    validator.report(validator.begin(), passed=False, facts=VersionFacts(parameters=8, validated=True))
    found = validator.stored(rejected).facts
    assert found is not None
    assert found.parameters == 8
    assert rig.read(rig.catalog.require_read, sara, TINY).facts == facts  # of the one that is shown


def test_without_a_validation_the_files_are_to_be_read(rig: CatalogRig, sara: Caller) -> None:
    rig.create(sara, "tiny", validation=ValidationPolicy(ValidationMode.NONE))
    made = rig.commit(sara, str(TINY))
    assert rig.read(FactsSql().wanted, 9) == [(made.uid, made.name)]
    rig.write(FactsSql().skip, made.uid)
    assert rig.read(FactsSql().wanted, 9) == []


def test_one_that_does_not_pass_is_rejected(rig: CatalogRig, sara: Caller, validator: Validator) -> None:
    rig.commit(sara, str(TINY))
    validator.run()
    before = rig.read(rig.catalog.require_read, sara, TINY)
    made = rig.commit(sara, str(TINY), aliases=("prod",))
    validator.run(passed=False, findings=(BAD_ROW,))
    assert validator.stored(made).state is REJECTED
    assert rig.read(rig.catalog.require_read, sara, TINY) == before
    assert _aliases(rig, sara) == {"latest": "1"}
    assert validator.operation_of(made).state is OperationState.SUCCEEDED


def test_verdicts_are_acts_of_the_server(rig: CatalogRig, sara: Caller, validator: Validator) -> None:
    def told(name: str, *, passed: bool) -> list[journal.Act]:
        rig.commit(sara, name, aliases=("prod",))
        operation = validator.begin()
        moves = rig.operations.claims
        report = ValidationReport(passed=passed, summary="Seen all of it.").document()

        def succeed() -> list[journal.Act]:
            with journal.taking() as note:
                moves.succeed(operation.id, operation.attempt, report)
            return note.acts

        return rig.write(succeed)

    (published,) = told(str(TINY), passed=True)
    assert (published.action, published.target) == ("publish", f"{TINY}/versions/1")
    assert published.facts == {
        "operation": "operations/op_1",
        "asked_by": "users/sara",
        "asked_aliases": "@prod",
    }
    assert [each.action for each in told(str(TINY), passed=False)] == ["reject"]


def test_no_verdict_leaves_it_staged(rig: CatalogRig, sara: Caller, validator: Validator) -> None:
    made = rig.commit(sara, str(TINY))
    validator.fail(validator.begin(), retry=True)
    assert validator.stored(made).state is STAGED
    assert validator.operation_of(made).state is OperationState.RETRYING
    rig.clock.time += 3600
    validator.fail(validator.begin())
    assert validator.stored(made).state is STAGED
    operation = validator.operation_of(made)
    assert operation.state is OperationState.FAILED
    rig.write(rig.operations.operations.retry, sara, operation.id)
    validator.run()
    assert validator.stored(made).state is READY


def test_a_cancelled_one_is_staged_again(rig: CatalogRig, sara: Caller, validator: Validator) -> None:
    made = rig.commit(sara, str(TINY))
    operation = validator.begin()
    rig.write(rig.operations.operations.cancel, sara, operation.id)
    assert validator.stored(made).state is VALIDATING  # until its body has stopped
    rig.write(rig.operations.claims.stopped, operation.id, operation.attempt)
    assert validator.stored(made).state is STAGED
    again = rig.write(rig.validations.start, sara, NO_KEY, made.name, Rules(), OperationOptions())
    assert again.name == validator.stored(made).last_validation != operation.name
    validator.run()
    assert validator.stored(made).state is READY


def test_the_policy_of_the_artifact_comes_first(rig: CatalogRig, sara: Caller) -> None:
    free = ValidationPolicy(ValidationMode.NONE)
    assert rig.commit(sara, str(TINY), create=ArtifactFields(validation=free)).state is READY
    with_rules = ValidationPolicy(ValidationMode.REQUIRED, Rules(min_records=100))
    made = rig.commit(sara, f"{TINY}-2", create=ArtifactFields(validation=with_rules))
    assert made.state is STAGED
    stored = rig.read(rig.catalog.require_read, sara, made.name.artifact)
    assert stored.fields.validation == with_rules
    queued = rig.read(rig.operations.operations.get, sara, made.last_validation.rpartition("/")[2])
    assert ValidationParams.model_validate(queued.params) == ValidationParams(rules=Rules(min_records=100))


def test_a_commit_that_is_undone_leaves_no_validation(
    rig: CatalogRig, sara: Caller, validator: Validator
) -> None:
    rig.commit(sara, str(TINY), version_id="7")
    validator.run()
    with pytest.raises(Exception, match="exists already"):
        rig.commit(sara, str(TINY), version_id="7")
    assert not validator.waits()


def test_what_a_worker_made_belongs_to_who_asked_for_the_job(rig: CatalogRig, sara: Caller) -> None:
    worker, omid = machine(), rig.user("omid")
    job = WorkGrant("trainingJobs/job_1", 1, "sara", frozenset(), str(TINY), creator=omid.principal)
    rig.work.grants[worker.principal] = [job]
    made = rig.commit(worker, str(TINY), training_job=job.name, attempt=1)
    queued = rig.read(rig.operations.operations.get, sara, made.last_validation.rpartition("/")[2])
    assert queued.requester == omid.principal
    assert rig.read(rig.catalog.require_read, sara, TINY).owner == omid.principal
    assert made.creator == worker.principal


# --- several at once ----------------------------------------------------------------------------------


def test_latest_is_the_newest_ready_one_whichever_passed_first(
    rig: CatalogRig, sara: Caller, validator: Validator
) -> None:
    first, second = (rig.commit(sara, str(TINY), aliases=("prod",), size=size) for size in (10, 20))
    one, two = validator.begin(), validator.begin()
    rig.clock.time += 1
    validator.report(two, passed=True)
    assert _aliases(rig, sara) == {"latest": "2", "prod": "2"}
    rig.clock.time += 1
    validator.report(one, passed=True)
    assert (validator.stored(first).state, validator.stored(second).state) == (READY, READY)
    assert _aliases(rig, sara) == {"latest": "2", "prod": "2"}
    artifact = rig.read(rig.catalog.require_read, sara, TINY)
    assert (artifact.version_count, artifact.size_bytes, artifact.version_bytes) == (2, 20, 30)


def test_in_order_each_moves_the_alias(rig: CatalogRig, sara: Caller, validator: Validator) -> None:
    for _ in range(2):
        rig.commit(sara, str(TINY), aliases=("prod",))
    one, two = validator.begin(), validator.begin()
    rig.clock.time += 9
    validator.report(one, passed=True)
    assert _aliases(rig, sara) == {"latest": "1", "prod": "1"}
    validator.report(two, passed=True)
    assert _aliases(rig, sara) == {"latest": "2", "prod": "2"}


def test_an_alias_that_somebody_moved_meanwhile_stays(
    rig: CatalogRig, sara: Caller, validator: Validator
) -> None:
    for _ in range(2):
        rig.commit(sara, str(TINY), aliases=("prod",))
        rig.clock.time += 1
        validator.run()
    rig.commit(sara, str(TINY), aliases=("prod", "beta"))
    rig.clock.time += 1
    rig.write(rig.aliases.set, sara, TINY.alias("prod"), TINY.version("1"), "", NO_KEY)
    validator.run()
    assert _aliases(rig, sara) == {"latest": "3", "prod": "1", "beta": "3"}


def test_an_artifact_deleted_meanwhile_changes_no_other(
    rig: CatalogRig, sara: Caller, validator: Validator
) -> None:
    made = rig.commit(sara, str(TINY))
    operation = validator.begin()
    with pytest.raises(Precondition) as caught:
        rig.write(rig.catalog.delete, sara, TINY, NO_KEY)
    assert caught.value.reason is Reason.IN_USE
    rig.write(rig.catalog.delete, sara, TINY, NO_KEY, force=True)
    other = rig.commit(sara, str(TINY))
    assert other.name == made.name
    validator.report(operation, passed=True)
    assert validator.stored(other).state is STAGED
    found = rig.read(rig.version_rows.by_validation, operation.name)
    assert found is not None
    assert (found[1].uid, found[1].state, found[0].current_version) == (made.uid, READY, "1")
    assert rig.read(rig.catalog.require_read, sara, TINY).current_version == ""


# --- who sees what ------------------------------------------------------------------------------------


def _errors(rig: CatalogRig, caller: Caller, *references: VersionReference) -> list[Reason]:
    found = []
    for reference in references:
        with pytest.raises((NotFound, Precondition)) as caught:
            rig.read(rig.versions.resolve, caller, reference)
        found.append(caught.value.reason)
    return found


@pytest.mark.contract("S3-5")
@pytest.mark.parametrize("state", [STAGED, VALIDATING, REJECTED])
def test_others_do_not_see_what_is_not_ready(
    rig: CatalogRig, sara: Caller, validator: Validator, state: VersionState
) -> None:
    _open_to_readers(rig, sara)
    reader, admin = rig.user("omid"), rig.user("root", Role.ADMIN)
    made = rig.commit(sara, str(TINY), aliases=("prod",))
    if state is not STAGED:
        operation = validator.begin()
    if state is REJECTED:
        validator.report(operation, passed=False)
    assert validator.stored(made).state is state
    for writer in (sara, admin):
        assert rig.read(rig.versions.get, writer, made.name).state is state
        assert _ids(rig, writer) == ["1"]
        assert _errors(rig, writer, made.name, TINY) == [Reason.STATE_INVALID, Reason.VERSION_NOT_FOUND]
    body = dataclasses.replace(person("omid"), operation="operations/op_1", target=str(made.name))
    assert rig.read(rig.versions.get, body, made.name).state is state
    assert _ids(rig, reader) == []
    absent = Reason.VERSION_NOT_FOUND
    assert _errors(rig, reader, made.name, TINY, TINY.alias("prod")) == [
        *(absent, absent, Reason.ALIAS_NOT_FOUND)
    ]
    page = rig.read(rig.catalog.page, reader, ArtifactListing(with_versions=True))
    assert rig.read(rig.catalog.newest_versions, reader, page.items) == {}
    with pytest.raises(Precondition):
        rig.write(rig.aliases.set, sara, TINY.alias("prod"), made.name, "", NO_KEY)


def test_lists_of_readers_have_the_ready_ones_only(
    rig: CatalogRig, sara: Caller, validator: Validator
) -> None:
    _open_to_readers(rig, sara)
    reader = rig.user("omid")
    for passed in (True, False, True):
        rig.commit(sara, str(TINY))
        validator.run(passed=passed)
    rig.commit(sara, str(TINY))
    assert (_ids(rig, reader), _ids(rig, sara)) == (["3", "1"], ["4", "3", "2", "1"])
    artifacts = rig.read(rig.catalog.page, reader, ArtifactListing()).items
    for caller, expected in ((reader, ["3", "1"]), (sara, ["4", "3", "2", "1"])):
        newest = rig.read(rig.catalog.newest_versions, caller, artifacts)
        assert [each.name.version for each in newest[artifacts[0].uid]] == expected


# --- by hand ------------------------------------------------------------------------------------------


def _start(rig: CatalogRig, caller: Caller, version: Version, rules: Rules | None = None) -> str:
    operation = rig.write(
        rig.validations.start, caller, NO_KEY, version.name, rules or Rules(), OperationOptions()
    )
    return operation.name


def test_a_validation_by_hand_never_takes_a_version_back(
    rig: CatalogRig, sara: Caller, validator: Validator
) -> None:
    made = rig.commit(sara, str(TINY))
    validator.run()
    name = _start(rig, sara, made)
    assert validator.stored(made).last_validation == name != made.last_validation
    assert _start(rig, sara, made) == name  # while it is not done
    validator.run(passed=False, findings=(BAD_ROW,))
    assert validator.stored(made).state is READY
    assert _aliases(rig, sara) == {"latest": "1"}
    assert _start(rig, sara, made) != name


def test_rules_that_are_not_set_come_from_the_policy(rig: CatalogRig, sara: Caller) -> None:
    policy = dataclasses.replace(REQUIRED, rules=Rules(min_records=100, allowed_formats=("csv",)))
    made = rig.commit(sara, str(TINY), create=ArtifactFields(validation=policy))
    rig.write(rig.operations.operations.cancel, sara, made.last_validation.rpartition("/")[2])
    name = _start(rig, sara, made, Rules(min_records=5, max_bad_ratio=0.1))
    operation = rig.read(rig.operations.operations.get, sara, name.rpartition("/")[2])
    expected = Rules(min_records=5, max_bad_ratio=0.1, allowed_formats=("csv",))
    assert ValidationParams.model_validate(operation.params).rules == expected


def test_readers_validate_what_they_read_and_change_nothing(
    rig: CatalogRig, sara: Caller, validator: Validator
) -> None:
    _open_to_readers(rig, sara)
    reader = rig.user("omid")
    made = rig.commit(sara, str(TINY))
    with pytest.raises(NotFound):
        _start(rig, reader, made)
    validator.run()
    name = _start(rig, reader, made)
    operation = rig.read(rig.operations.operations.get, reader, name.rpartition("/")[2])
    assert (operation.requester, operation.namespace) == ("users/omid", "")
    assert not ValidationParams.model_validate(operation.params).publish
    validator.run(passed=False)
    assert validator.stored(made) == dataclasses.replace(validator.stored(made), state=READY)
    assert validator.stored(made).last_validation == made.last_validation
    with pytest.raises(Exception, match="not changed"):
        _start(rig, reader, made, Rules(quarantine=True))


def test_a_rejected_version_is_validated_again(rig: CatalogRig, sara: Caller, validator: Validator) -> None:
    made = rig.commit(sara, str(TINY), aliases=("prod",))
    validator.run(passed=False)
    _start(rig, sara, made, Rules(max_bad_ratio=0.5))
    assert validator.stored(made).state is STAGED
    validator.run()
    assert validator.stored(made).state is READY
    assert _aliases(rig, sara) == {"latest": "1", "prod": "1"}


@pytest.mark.parametrize("begun", [False, True])
def test_other_rules_take_the_place_of_an_unfinished_validation(
    rig: CatalogRig, sara: Caller, validator: Validator, begun: bool
) -> None:
    made = rig.commit(sara, str(TINY))
    old = validator.operation_of(made)
    if begun:
        validator.begin()
    name = _start(rig, sara, made, Rules(min_records=7))
    assert name != old.name
    assert (validator.stored(made).state, validator.stored(made).last_validation) == (STAGED, name)
    stopped = rig.read(rig.operations.operations.get, sara, old.id)
    assert stopped.state is (OperationState.CANCELLING if begun else OperationState.CANCELLED)
    if begun:  # its report comes too late
        validator.report(stopped, passed=True)
        assert validator.stored(made).state is STAGED
    validator.run(passed=False)
    assert validator.stored(made).state is REJECTED


def test_an_older_validation_has_no_say(rig: CatalogRig, sara: Caller, validator: Validator) -> None:
    made = rig.commit(sara, str(TINY))
    validator.fail(validator.begin())
    old = validator.operation_of(made)
    _start(rig, sara, made)
    validator.run(passed=False)
    rig.write(rig.operations.operations.retry, sara, old.id)
    validator.run()
    assert validator.stored(made).state is REJECTED


@pytest.mark.parametrize("move", VersionMove)
def test_a_ready_version_moves_no_more(move: VersionMove) -> None:
    with pytest.raises(Precondition) as caught:
        next_version_state(TINY.version("1"), READY, move)
    assert caught.value.reason is Reason.STATE_INVALID
