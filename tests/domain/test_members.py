"""Who belongs to a namespace: how many there may be, what is told, and what the audit log learns."""

from collections.abc import Callable, Iterator

import pytest

from helpers.catalogs import NO_KEY, START, CatalogRig
from ingot.server.core import journal
from ingot.server.core.errors import Exhausted, Precondition
from ingot.server.core.identity import Caller, Role
from ingot.server.core.members import Member, MemberRole, Rights, rights_of
from ingot.server.core.pages import PageTokens
from ingot.server.domain.members import MOST_MEMBERS, MOST_MEMBERSHIPS, Members, MemberStores
from ingot.server.storage.members_sql import MembersSql

OWNER, WRITER, READER = MemberRole.OWNER, MemberRole.WRITER, MemberRole.READER


class Rig(CatalogRig):
    """The rules about members; `changes` counts how often rights changed."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0
        self.rows = MembersSql()
        self.members = Members(
            MemberStores(self.rows, self.users),
            self.requests,
            PageTokens(b"secret"),
            self.clock,
            self._changed,
            3,
        )
        self.root = self.user("root", Role.ADMIN)
        self.write(self.members.create_namespace, self.root, "team", NO_KEY)
        self.changes = 0

    def _changed(self) -> None:
        self.changes += 1

    def fill(self, count: int, member: Callable[[int], Member]) -> None:
        def add() -> None:
            for number in range(count):
                self.rows.put(member(number))

        self.write(add)


@pytest.fixture
def rig() -> Iterator[Rig]:
    found = Rig()
    yield found
    found.database.close()


def test_rights_follow_from_roles_and_memberships() -> None:
    memberships = [
        Member(name, "sara", role, START) for name, role in (("a", OWNER), ("b", WRITER), ("c", READER))
    ]
    everything = Rights(frozenset("a"), frozenset("ab"), frozenset("abc"))
    assert rights_of(Role.MEMBER, memberships) == everything
    assert rights_of(Role.ADMIN, memberships) == everything
    assert rights_of(Role.VIEWER, memberships) == Rights(reads=frozenset("abc"))
    assert rights_of(Role.WORKER, memberships) == Rights()
    assert everything.owns <= everything.writes <= everything.reads


def test_a_namespace_has_only_so_many_members(rig: Rig) -> None:
    rig.user("sara"), rig.user("omid")
    rig.write(rig.members.set, rig.root, "team", "sara", READER)
    rig.fill(MOST_MEMBERS - 2, lambda number: Member("team", f"user-{number}", READER, START))
    with pytest.raises(Exhausted, match="1000 members"):
        rig.write(rig.members.set, rig.root, "team", "omid", READER)
    rig.write(rig.members.set, rig.root, "team", "sara", WRITER)  # who is one already may get another role
    rig.write(rig.members.remove, rig.root, "team", "sara")
    rig.write(rig.members.set, rig.root, "team", "omid", READER)


def test_a_user_belongs_to_only_so_many(rig: Rig) -> None:
    rig.user("omid")
    rig.fill(MOST_MEMBERSHIPS, lambda number: Member(f"team-{number}", "omid", READER, START))
    with pytest.raises(Exhausted, match="belongs to 100 namespaces"):
        rig.write(rig.members.set, rig.root, "team", "omid", READER)


def test_rights_change_only_when_something_does(rig: Rig) -> None:
    rig.user("sara")
    for _ in range(2):
        rig.write(rig.members.set, rig.root, "team", "sara", WRITER)
    assert rig.changes == 1
    for _ in range(2):
        rig.write(rig.members.remove, rig.root, "team", "sara")
    assert rig.changes == 2
    with pytest.raises(Precondition):
        rig.write(rig.members.remove, rig.root, "team", "root")
    assert rig.changes == 2


def test_the_audit_log_learns_which_role_came_before(rig: Rig) -> None:
    rig.user("sara")

    def told(act: Callable[[Caller], object]) -> dict[str, str]:
        def run() -> dict[str, str]:
            with journal.taking() as note:
                act(rig.root)
            return note.facts

        return rig.write(run)

    assert told(lambda root: rig.members.set(root, "team", "sara", READER)) == {"role": "READER"}
    changed = {"role": "OWNER", "before": "READER"}
    assert told(lambda root: rig.members.set(root, "team", "sara", OWNER)) == changed
    assert told(lambda root: rig.members.remove(root, "team", "sara")) == {"before": "OWNER"}


def test_what_is_in_a_namespace_is_counted_when_it_shall_go(rig: Rig) -> None:
    sara = rig.user("sara")
    rig.create(sara, "one")
    rig.write(rig.catalog.delete, sara, rig.create(sara, "two").name, NO_KEY)
    found = rig.read(rig.rows.contents, "sara")
    assert found == {"models": 1, "models and datasets in the trash": 1}
