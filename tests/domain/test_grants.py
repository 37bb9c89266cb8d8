"""Who sees an artifact: limits, what bodies of operations see, and what the audit log is told."""

import dataclasses
from collections.abc import Iterator

import pytest

from helpers.catalogs import NO_KEY, START, CatalogRig
from ingot.server.core import journal
from ingot.server.core.artifacts import Artifact, Visibility
from ingot.server.core.errors import Exhausted, IngotError, Invalid, NotFound
from ingot.server.core.grants import Grant
from ingot.server.core.identity import Caller, Role
from ingot.server.core.names import artifact_name
from ingot.server.domain.grants import (
    MOST_AT_ONCE,
    MOST_GRANTS,
    AccessChange,
    Grants,
    GrantStores,
    checked_readers,
)
from ingot.server.storage.grants_sql import GrantsSql
from ingot.server.storage.members_sql import MembersSql

SECRET = artifact_name("namespaces/sara/models/secret")


class Rig(CatalogRig):
    """The catalog with its rule about access."""

    def __init__(self) -> None:
        super().__init__()
        stores = GrantStores(GrantsSql(), MembersSql(), self.users)
        self.grants = Grants(self.catalog, stores, self.access, self.requests, self.clock)

    def change(self, by: Caller, **changes: object) -> None:
        wanted = AccessChange(SECRET, **changes)  # type: ignore[arg-type]  # as the test says
        self.write(self.grants.set, by, wanted, NO_KEY, validate_only=False)

    def used(self, rule: object, *args: object) -> str:
        """Return which thing of others a read tells the audit log of."""

        def look() -> str:
            with journal.taking() as note:
                rule(*args)  # type: ignore[operator]
            return note.used

        return self.read(look)


@pytest.fixture
def rig() -> Iterator[Rig]:
    found = Rig()
    yield found
    found.database.close()


@pytest.fixture
def sara(rig: Rig) -> Caller:
    sara = rig.user("sara")
    rig.create(sara, "secret")
    return dataclasses.replace(sara, owns=frozenset({"sara"}))


@pytest.fixture
def secret(rig: Rig, sara: Caller) -> Artifact:
    return rig.read(rig.catalog.require_read, sara, SECRET)


def test_only_so_many_are_granted_one_artifact(rig: Rig, sara: Caller, secret: Artifact) -> None:
    rig.user("omid")
    rows = GrantsSql()

    def fill() -> None:
        for number in range(MOST_GRANTS):
            rows.add(secret, Grant(f"user-{number}", "users/sara", START))

    rig.write(fill)
    with pytest.raises(Exhausted, match="at most 1000 single users"):
        rig.change(sara, add=("omid",))
    rig.change(sara, add=("omid",), remove=("user-7",))  # one goes, one comes
    assert rig.read(rows.has, secret, "omid")
    with pytest.raises(Invalid, match="at most 100, got 101"):
        checked_readers("add_readers", [f"user-{number}" for number in range(MOST_AT_ONCE + 1)])


def test_the_audit_log_names_everybody_whom_a_call_lets_in(rig: Rig, sara: Caller, secret: Artifact) -> None:
    users = [f"{'u' * 30}-{number:03}" for number in range(MOST_AT_ONCE)]
    for user in users:
        rig.user(user)

    def share() -> dict[str, str]:
        change = AccessChange(SECRET, add=tuple(users), visibility=Visibility.PUBLIC)
        with journal.taking() as note:
            rig.grants.set(sara, change, NO_KEY, validate_only=False)
        return note.facts

    facts = rig.write(share)
    assert facts.pop("visibility") == "PUBLIC"
    assert all(name.startswith("granted") and len(fact) <= journal.FACT_LIMIT for name, fact in facts.items())
    assert ", ".join(facts.values()).split(", ") == users
    assert journal.clean("x" * 301).endswith("…")


def test_the_etag_moves_with_each_real_change_only(rig: Rig, sara: Caller, secret: Artifact) -> None:
    rig.user("omid")

    def etag() -> str:
        return rig.read(rig.grants.get, sara, SECRET).artifact.etag

    rig.change(sara, add=("omid",))
    first = etag()
    assert first != secret.etag
    rig.change(sara, add=("omid",), visibility=Visibility.PRIVATE, owner="sara")
    assert etag() == first
    rig.change(sara, remove=("omid",))
    assert etag() != first


def test_a_body_sees_what_is_granted_to_who_asked_for_it(rig: Rig, sara: Caller) -> None:
    omid = rig.user("omid")
    rig.change(sara, add=("omid",))
    body = dataclasses.replace(omid, operation="operations/op_1", reads=frozenset(), writes=frozenset())
    assert rig.read(rig.catalog.require_read, body, SECRET).name == SECRET
    # The server's own operations act in a namespace, for nobody: what its user is granted is not theirs.
    system = dataclasses.replace(body, principal="system")
    with pytest.raises(NotFound):
        rig.read(rig.catalog.require_read, system, SECRET)


def test_no_body_decides_who_sees_what_it_writes(rig: Rig, sara: Caller) -> None:
    body = dataclasses.replace(sara, operation="operations/op_1", attempt=1)
    with pytest.raises(IngotError):
        rig.change(body, visibility=Visibility.PUBLIC)


@pytest.mark.contract("S1-53")
def test_administrators_leave_a_note_where_only_their_role_lets_them_in(rig: Rig, sara: Caller) -> None:
    root = rig.user("root", Role.ADMIN)
    rig.create(root, "own")
    own = artifact_name("namespaces/root/models/own")
    assert rig.used(rig.catalog.require_read, root, SECRET) == str(SECRET)
    assert rig.used(rig.grants.get, root, SECRET) == str(SECRET)
    assert rig.used(rig.access.require_write, root, "sara") == "namespaces/sara"
    assert rig.used(rig.catalog.require_read, root, own) == ""
    assert rig.used(rig.catalog.require_read, sara, SECRET) == ""
    rig.change(sara, visibility=Visibility.INTERNAL)
    assert rig.used(rig.catalog.require_read, root, SECRET) == ""  # everybody sees it
    assert rig.used(rig.catalog.require_write, root, SECRET) == str(SECRET)
