"""Who counts as having made a version, and what a decision is about."""

import json
from collections.abc import Iterator

import pytest

from helpers.catalogs import NO_KEY, CatalogRig, machine
from ingot.server.core.artifacts import VersionOrigin
from ingot.server.core.errors import Denied
from ingot.server.core.identity import Role
from ingot.server.core.workers import WorkGrant
from ingot.server.storage import sql

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
    rig.write(
        sql.run,
        "INSERT INTO training_job(number, uid, namespace, state, attempt, revision, worker, not_before, "
        "training_seconds, definition, condition) "
        "VALUES (1, 'u', 'sara', 'SUCCEEDED', 1, 1, '', 0, 0, ?, '{}')",
        json.dumps({"creator": sara.principal}),
    )
    asked = rig.write(rig.approvals.request, admin, made.name, "", NO_KEY)
    assert (asked.creator, asked.creator_user) == (worker.principal, "sara")
    rig.write(rig.approvals.withdraw, admin, asked.name, NO_KEY)
    asked = rig.write(rig.approvals.request, sara, made.name, "", NO_KEY)
    with pytest.raises(Denied):
        rig.write(rig.approvals.decide, sara, asked.name, "mine", "", NO_KEY, approve=True)
    decided = rig.write(rig.approvals.decide, admin, asked.name, "good", "", NO_KEY, approve=True)
    assert decided.decider == "users/admin"
