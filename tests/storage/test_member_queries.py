"""What memberships and grants cost: searches in indexes, for callers with many of them too."""

from collections.abc import Callable, Iterator

import pytest

from helpers.catalogs import START, CatalogRig, person
from helpers.queries import recorded, scans, sorts
from ingot.server.core.artifacts import Visibility
from ingot.server.core.grants import Grant
from ingot.server.core.members import Member, MemberRole
from ingot.server.core.names import Kind
from ingot.server.domain.catalog_asked import ArtifactListing
from ingot.server.storage.grants_sql import GrantsSql
from ingot.server.storage.members_sql import MembersSql

OMID = person("omid")
ORDERS = ("", "create_time", "update_time desc", "name", "size_bytes desc")


@pytest.fixture(scope="module")
def rig() -> Iterator[CatalogRig]:
    """40 private models of sara's, every second of which omid is granted, and a team of 40."""
    found = CatalogRig()
    sara = found.user("sara")
    found.user("omid")
    members, grants = MembersSql(), GrantsSql()
    for number in range(40):
        made = found.create(sara, f"m{number}", visibility=Visibility.PRIVATE)
        if number % 2:
            found.write(grants.add, made, Grant("omid", "users/sara", START))
        found.user(f"user{number}")
    found.write(members.add_namespace, "team", START)
    for number in range(40):
        found.write(members.put, Member("team", f"user{number}", MemberRole.OWNER, START))
    yield found
    found.database.close()


def _questions(rig: CatalogRig, rule: Callable[..., object], *args: object) -> list[str]:
    with recorded(rig.database) as asked:
        rig.read(rule, *args)
    assert asked
    return asked


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("namespace", ["-", "sara"])
def test_lists_with_grants_read_no_table_whole(rig: CatalogRig, namespace: str, order: str) -> None:
    wanted = ArtifactListing(namespace, None, "", order, 5)
    assert len(rig.read(rig.catalog.page, OMID, wanted).items) == 5
    assert scans(rig.database, _questions(rig, rig.catalog.page, OMID, wanted)) == []


def test_totals_count_what_is_granted(rig: CatalogRig) -> None:
    assert rig.read(rig.catalog.totals, OMID, Kind.MODEL).artifact_count == 20
    assert scans(rig.database, _questions(rig, rig.catalog.totals, OMID, Kind.MODEL)) == []


def test_who_belongs_where_is_searched_in_order(rig: CatalogRig) -> None:
    members, grants = MembersSql(), GrantsSql()
    secret = rig.read(rig.catalog.page, person("sara"), ArtifactListing("sara")).items[0]
    asked = [
        *_questions(rig, rig.users.memberships, "user7"),
        *_questions(rig, members.page, "team", "user1", 5),
        *_questions(rig, members.other_owners, "team", "user7"),
        *_questions(rig, members.owned_count, "user7"),
        *_questions(rig, members.member_count, "team"),
        *_questions(rig, members.contents, "sara"),
        *_questions(rig, grants.of, secret),
        *_questions(rig, grants.has, secret, "omid"),
        *_questions(rig, grants.has_any, "omid"),
    ]
    assert scans(rig.database, asked) == []
    assert [each for each in sorts(rig.database, asked) if " LIMIT " in each] == []
