"""What the stores of members and of grants promise, whatever database is below."""

import dataclasses

import pytest

from ingot.server.core.artifacts import Artifact, ArtifactFields
from ingot.server.core.grants import Grant, GrantStore
from ingot.server.core.identity import Role, User
from ingot.server.core.members import Member, MemberRole, MemberStore
from ingot.server.core.names import ArtifactName, Kind
from ingot.server.storage.catalog_sql import ArtifactsSql
from ingot.server.storage.database import Database
from ingot.server.storage.identity_sql import UsersSql

TEAM = "team"


def member(
    user: str, role: MemberRole = MemberRole.READER, namespace: str = TEAM, time: float = 5.0
) -> Member:
    return Member(namespace, user, role, time)


class MemberStoreContract:
    @pytest.fixture(autouse=True)
    def team(self, units: Database, store: MemberStore) -> None:
        users = UsersSql()
        for name in ("sara", "omid", "nima"):
            units.write(users.add, User(name, f"uid-{name}", "", Role.MEMBER, 1.0)).result()
        assert units.write(store.add_namespace, TEAM, 2.0).result()

    def test_ids_are_one_set_for_people_and_teams_and_never_used_again(
        self, units: Database, store: MemberStore
    ) -> None:
        for taken in (TEAM, "sara"):
            assert not units.write(store.add_namespace, taken, 3.0).result()
        units.write(store.remove_namespace, TEAM, 4.0).result()
        assert not units.read(UsersSql().namespace_exists, TEAM)
        assert not units.write(store.add_namespace, TEAM, 5.0).result()
        of_that_id = User(TEAM, "uid-team", "", Role.MEMBER, 1.0)
        assert not units.write(UsersSql().add, of_that_id).result()
        assert units.write(UsersSql().ensure_namespace, TEAM, 6.0).result()  # the configuration may
        assert units.read(UsersSql().namespace_exists, TEAM)

    def test_members_are_put_found_paged_and_removed(self, units: Database, store: MemberStore) -> None:
        for user, role in (
            ("sara", MemberRole.OWNER),
            ("omid", MemberRole.WRITER),
            ("nima", MemberRole.READER),
        ):
            units.write(store.put, member(user, role)).result()
        assert units.read(store.find, TEAM, "omid") == member("omid", MemberRole.WRITER)
        first = units.read(store.page, TEAM, "", 2)
        assert [each.user for each in first] == ["nima", "omid"]
        assert [each.user for each in units.read(store.page, TEAM, "omid", 2)] == ["sara"]
        units.write(store.put, member("omid", MemberRole.OWNER, time=9.0)).result()
        assert units.read(store.find, TEAM, "omid") == member("omid", MemberRole.OWNER)  # joined at 5.0 still
        assert [units.read(store.other_owners, TEAM, ""), units.read(store.member_count, TEAM)] == [2, 3]
        assert units.read(store.owned_count, "omid") == 2
        assert units.write(store.remove, TEAM, "omid").result()
        assert not units.write(store.remove, TEAM, "omid").result()
        assert units.read(store.find, TEAM, "omid") is None

    def test_memberships_of_a_user_with_its_own_namespace(self, units: Database, store: MemberStore) -> None:
        units.write(store.put, member("sara", MemberRole.WRITER)).result()
        found = units.read(UsersSql().memberships, "sara")
        assert {(each.namespace, each.role) for each in found} == {
            ("sara", MemberRole.OWNER),
            (TEAM, MemberRole.WRITER),
        }
        units.write(store.remove_namespace, TEAM, 4.0).result()
        assert [each.namespace for each in units.read(UsersSql().memberships, "sara")] == ["sara"]


class GrantStoreContract:
    @pytest.fixture
    def artifacts(self, units: Database) -> list[Artifact]:
        """Three models of sara's."""
        made = []
        for word in ("one", "two", "three"):
            name = ArtifactName("sara", Kind.MODEL, word)
            made.append(Artifact(name, f"uid-{word}", ArtifactFields(), "users/sara", 1.0, 1.0))
            units.write(ArtifactsSql().add, made[-1], "", ()).result()
        return made

    def test_grants_are_added_once_found_and_removed(
        self, units: Database, store: GrantStore, artifacts: list[Artifact]
    ) -> None:
        one, two, three = artifacts
        assert not units.read(store.has_any, "omid")
        omid, nima = (Grant(user, "users/sara", 5.0) for user in ("omid", "nima"))
        for artifact, grant in ((one, omid), (one, nima), (two, omid)):
            assert units.write(store.add, artifact, grant).result()
        assert not units.write(store.add, one, Grant("omid", "users/root", 9.0)).result()
        assert list(units.read(store.of, one)) == [nima, omid]  # by user, and as they were given
        assert units.read(store.has_any, "omid")
        assert [units.read(store.has, each, "omid") for each in artifacts] == [True, True, False]
        assert units.read(store.among, artifacts, "omid") == {one.uid, two.uid}
        assert units.read(store.among, [three], "omid") == set()
        assert units.write(store.remove, one, "omid").result()
        assert not units.write(store.remove, one, "omid").result()
        units.write(store.forget, "omid").result()
        assert not units.read(store.has_any, "omid")
        assert list(units.read(store.of, one)) == [nima]

    def test_grants_go_with_an_artifact_that_is_purged(
        self, units: Database, store: GrantStore, artifacts: list[Artifact]
    ) -> None:
        one = artifacts[0]
        units.write(store.add, one, Grant("omid", "users/sara", 5.0)).result()
        gone = dataclasses.replace(one, delete_time=9.0, revision=2)
        assert units.write(ArtifactsSql().save, gone, "", ()).result()
        assert units.read(store.has, one, "omid")
        units.write(ArtifactsSql().remove, gone).result()
        assert not units.read(store.has_any, "omid")
