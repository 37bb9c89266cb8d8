"""How lists are asked for: by searches in indexes, in order, and with as many questions for 2 rows as 40."""

from collections.abc import Callable, Iterator

import pytest

from helpers.catalogs import NO_KEY, CatalogRig, person
from helpers.queries import recorded, scans, sorts
from ingot.server.core.artifacts import Visibility
from ingot.server.core.identity import Caller, Role
from ingot.server.core.names import Kind, artifact_name
from ingot.server.domain.catalog_asked import ArtifactListing
from ingot.server.domain.identity import NewToken

SARA, ADMIN = person("sara"), person("root", Role.ADMIN)
TINY = artifact_name("namespaces/sara/models/tiny")
ORDERS = ("", "create_time", "update_time desc", "update_time", "name", "name desc")


@pytest.fixture(scope="module")
def rig() -> Iterator[CatalogRig]:
    found = CatalogRig()
    sara, root = found.user("sara"), found.user("root", Role.ADMIN)
    for number in range(40):
        kind = Kind.MODEL if number % 2 else Kind.DATASET
        visibility = Visibility.PUBLIC if number % 3 else Visibility.PRIVATE
        found.create((sara, root)[number % 4 < 2], f"n{number}", kind, tags=("chat",), visibility=visibility)
        found.commit(sara, f"namespaces/sara/models/m{number}")
    for _ in range(40):
        found.commit(sara, str(TINY))
    for number in range(40):
        found.write(found.aliases.set, sara, TINY.alias(f"a{number}"), TINY.version("1"), "", NO_KEY)
        found.write(found.identity.create_token, sara, NewToken())
        found.user(f"user{number}")
    yield found
    found.database.close()


def _questions(rig: CatalogRig, rule: Callable[..., object], *args: object) -> list[str]:
    with recorded(rig.database) as asked:
        rig.read(rule, *args)
    assert asked
    return asked


@pytest.mark.parametrize("caller", [SARA, ADMIN], ids=["member", "admin"])
@pytest.mark.parametrize("namespace", ["-", "sara", "root"])
@pytest.mark.parametrize("order", ORDERS)
def test_lists_of_artifacts_search_in_order(
    rig: CatalogRig, caller: Caller, namespace: str, order: str
) -> None:
    for filter_text in ("", "tag:chat", "tag:chat size_bytes > 10 n1*"):
        wanted = ArtifactListing(namespace, None, filter_text, order, 5)
        first = rig.read(rig.catalog.page, caller, wanted)
        token = first.next_token
        for page_token in {"", token}:
            wanted = ArtifactListing(namespace, None, filter_text, order, 5, page_token)
            asked = _questions(rig, rig.catalog.page, caller, wanted)
            assert scans(rig.database, asked) == []
            if not filter_text:
                assert [each for each in sorts(rig.database, asked) if " LIMIT " in each] == []


@pytest.mark.parametrize("scope", ["member", "admin"])
def test_statistics_search(rig: CatalogRig, scope: str) -> None:
    caller = SARA if scope == "member" else ADMIN
    assert scans(rig.database, _questions(rig, rig.catalog.totals, caller, Kind.MODEL)) == []


def test_other_lists_search_in_order(rig: CatalogRig) -> None:
    asked = [
        *_questions(rig, rig.versions.page, SARA, TINY, 5, ""),
        *_questions(
            rig, rig.versions.page, SARA, TINY, 5, rig.read(rig.versions.page, SARA, TINY, 5, "").next_token
        ),
        *_questions(rig, rig.aliases.page, SARA, TINY, 5, ""),
        *_questions(
            rig, rig.aliases.page, SARA, TINY, 5, rig.read(rig.aliases.page, SARA, TINY, 5, "").next_token
        ),
        *_questions(rig, rig.identity.list_users, ADMIN, 5, ""),
        *_questions(rig, rig.identity.list_tokens, SARA, "", 5, ""),
    ]
    assert scans(rig.database, asked) == []
    assert [each for each in sorts(rig.database, asked) if " LIMIT " in each] == []


def test_single_things_are_searched(rig: CatalogRig) -> None:
    asked = [
        *_questions(rig, rig.versions.resolve, SARA, TINY.alias("a1")),
        *_questions(rig, rig.versions.resolve, SARA, TINY),
        *_questions(rig, rig.version_rows.descendants, TINY, 0.0, 10),
        *_questions(rig, rig.version_rows.largest_number, rig.read(rig.catalog.require_read, SARA, TINY)),
    ]
    assert scans(rig.database, asked) == []


@pytest.mark.parametrize("caller", [SARA, ADMIN], ids=["member", "admin"])
def test_a_longer_page_takes_no_more_questions(rig: CatalogRig, caller: Caller) -> None:
    def count(rule: Callable[[int], object]) -> list[int]:
        counts = []
        for size in (4, 40):
            with recorded(rig.database) as asked:
                rig.read(rule, size)
            counts.append(len(asked))
        return counts

    def artifacts(size: int) -> None:
        wanted = ArtifactListing(filter="tag:chat", page_size=size, with_versions=True)
        page = rig.catalog.page(caller, wanted)
        rig.catalog.newest_versions(caller, page.items)

    rig.read(artifacts, 1)  # from here on the sets of the filter are in memory
    few, many = count(artifacts)
    assert few == many <= 40  # strangers to some of them are shown what was approved
    few, many = count(lambda size: rig.versions.page(caller, TINY, size, ""))
    assert few == many <= 5
    few, many = count(lambda size: rig.aliases.page(caller, TINY, size, ""))
    assert few == many <= 7
    few, many = count(lambda size: rig.identity.list_tokens(caller, "", size, ""))
    assert few == many <= 2
    few, many = count(lambda size: rig.identity.list_users(ADMIN, size, ""))
    assert few == many == 1
