"""Whatever a filter asks for, sets find the same artifacts as looking at each of them, in the same order."""

import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.catalog_stores_contract import artifact
from helpers.schema import migrated
from ingot.server.core.artifacts import Artifact, ArtifactOrder, ArtifactQuery, Figures, Scope, Visibility
from ingot.server.core.expressions import AllOf, AnyOf, Comparison, Expression, NotOf, Term, Word
from ingot.server.core.names import Kind
from ingot.server.core.pages import Key
from ingot.server.domain import catalog_fields
from ingot.server.storage import artifact_sets as sets
from ingot.server.storage import sql
from ingot.server.storage.catalog_sql import ArtifactsSql
from ingot.server.storage.database import Database, open_database

ALL = (Scope(Kind.MODEL), Scope(Kind.DATASET))
WORDS = ("chat", "chatter", "small", "کتاب", "7")
TAGS = ("a", "b", "c")
MAKERS = [(4000, 20_000, 4096), (0, 7, 2), (1000, 3, 20)]


def made(number: int, pick: random.Random) -> Artifact:
    """Return an artifact with a few of few values."""
    some = artifact(
        f"n{number:03}",
        kind=pick.choice(list(Kind)),
        namespace=pick.choice(("sara", "omid")),
        time=float(pick.choice((0, 5, 600_000, 2_000_000, 1_800_000_000))),
        tags=tuple(sorted(pick.sample(TAGS, pick.randrange(4)))),
        description=" ".join(pick.sample(WORDS, pick.randrange(4))),
        visibility=pick.choice(list(Visibility)),
    )
    return dataclasses.replace(
        some,
        size_bytes=pick.choice((0, 1, 31, 32, 33, 999, 1000, 1001, 2**40)),
        version_count=pick.randrange(4),
        update_time=some.create_time + pick.choice((0, 1, 10_000_000)),
    )


class Catalog:
    """A store with artifacts in it, and the same artifacts in a list."""

    def __init__(self, store: ArtifactsSql, count: int = 120, seed: int = 1) -> None:
        pick = random.Random(seed)
        self.database: Database = migrated(open_database("sqlite:///:memory:"))
        self.store = store
        self.all = [made(number, pick) for number in range(count)]
        for each in self.all:
            self.write(each, added=True)
        for number in pick.sample(range(count), count // 3):  # changed, and a few of them put in the trash
            before = self.all[number]
            fields = made(number, pick).fields
            self.all[number] = dataclasses.replace(before, fields=fields, revision=2)
            self.write(self.all[number], added=False)
        for number in sorted(pick.sample(range(count), count // 6), reverse=True):
            gone = self.all.pop(number)
            self.write(dataclasses.replace(gone, revision=gone.revision + 1, delete_time=9.0), added=False)

    def write(self, each: Artifact, *, added: bool) -> None:
        found_by = catalog_fields.search_text_of(each), catalog_fields.terms_of(each)
        write = self.store.add if added else self.store.save
        assert self.database.write(write, each, *found_by).result()

    def walk(self, query: ArtifactQuery, size: int) -> list[str]:
        seen: list[str] = []
        after: Sequence[Key] | None = None
        while True:
            rows = self.database.read(self.store.page, query, after, size)
            seen += [each.name.artifact for _, each in rows.items]
            after = rows.next_key
            if after is None:
                return seen

    def expected(self, query: ArtifactQuery) -> list[str]:
        chosen = [
            (number, each)
            for number, each in enumerate(self.all)
            if any(_inside(scope, each) for scope in query.scopes) and _holds(query.where, each)
        ]
        keys: dict[ArtifactOrder, Callable[[Artifact], str | float]] = {
            ArtifactOrder.CREATED: lambda each: 0,
            ArtifactOrder.UPDATED: lambda each: each.update_time,
            ArtifactOrder.NAME: lambda each: str(each.name),
            ArtifactOrder.SIZE: lambda each: each.size_bytes,
            ArtifactOrder.VERSIONS: lambda each: each.version_count,
        }
        chosen.sort(key=lambda row: (keys[query.order](row[1]), row[0]), reverse=query.descending)
        return [each.name.artifact for _, each in chosen]


def _inside(scope: Scope, each: Artifact) -> bool:
    audience = each.name.namespace if each.fields.visibility is Visibility.PRIVATE else "*"
    return (
        each.name.kind is scope.kind
        and scope.namespace in (None, each.name.namespace)
        and scope.audience in (None, audience)
    )


def _holds(where: Expression, each: Artifact) -> bool:
    match where:
        case Term():
            return where in catalog_fields.terms_of(each)
        case Word(text):
            words = catalog_fields.search_text_of(each).split()
            return any(word.startswith(text[:-1]) if text.endswith("*") else word == text for word in words)
        case Comparison(field):
            return where.holds(getattr(each, field))
        case NotOf(part):
            return not _holds(part, each)
        case AllOf(parts):
            return all(_holds(part, each) for part in parts)
        case AnyOf(parts):
            return any(_holds(part, each) for part in parts)


@pytest.fixture(scope="module", params=MAKERS, ids=["sorted", "walked", "mixed"])
def catalog(request: pytest.FixtureRequest) -> Iterator[Catalog]:
    found = Catalog(ArtifactsSql(*request.param))
    yield found
    found.database.close()


NUMBERS = st.sampled_from([0, 1, 2, 5, 31, 32, 33, 500, 999, 1000, 1000.5, 600_000, 2_000_000, 2**40, 1e30])
LEAVES = st.one_of(
    st.builds(Term, st.just("tag"), st.sampled_from([*TAGS, "none"])),
    st.builds(Term, st.just("visibility"), st.sampled_from(["public", "private"])),
    st.builds(Word, st.sampled_from([*WORDS, "cha*", "chatt*", "no", "n0*"])),
    st.builds(
        Comparison,
        st.sampled_from(["size_bytes", "version_count", "create_time", "update_time"]),
        st.sampled_from(["<", "<=", ">", ">=", "="]),
        NUMBERS,
    ),
)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(NotOf, inner),
        st.builds(AllOf, st.lists(inner, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)
SCOPES = st.sampled_from(
    [
        ALL,
        ALL[:1],
        (Scope(Kind.MODEL, "sara"),),
        (Scope(Kind.DATASET, None, "*"), Scope(Kind.DATASET, None, "omid")),
    ]
)


@given(SCOPES, EXPRESSIONS, st.sampled_from(list(ArtifactOrder)), st.booleans(), st.integers(1, 50))
@settings(max_examples=150)
def test_sets_find_what_looking_at_each_finds(
    catalog: Catalog,
    scopes: tuple[Scope, ...],
    where: Expression,
    order: ArtifactOrder,
    descending: bool,
    size: int,
) -> None:
    query = ArtifactQuery(scopes, where, order, descending)
    assert catalog.walk(query, size) == catalog.expected(query)
    catalog.database.write(catalog.store.learn_words).result()


@given(SCOPES, st.none() | EXPRESSIONS)
@settings(max_examples=60)
def test_counts_are_those_of_looking_at_each(
    catalog: Catalog, scopes: tuple[Scope, ...], where: Expression | None
) -> None:
    asked = where or AllOf()
    shown = [
        each for each in catalog.all if any(_inside(scope, each) for scope in scopes) and _holds(asked, each)
    ]
    found = catalog.database.read(catalog.store.facets, scopes, asked, ["tag", "visibility"], 9)
    assert found.total == len(shown)
    terms = Counter(term for each in shown for term in catalog_fields.terms_of(each))
    for field in ("tag", "visibility"):
        assert dict(found.values[field]) == {
            term.value: count for term, count in terms.items() if term.field == field
        }
    if where is None:
        totals = catalog.database.read(catalog.store.totals, scopes, ["tag"])
        assert totals.artifact_count == len(shown)
        assert totals.version_count == sum(each.version_count for each in shown)
        assert totals.size_bytes == sum(each.version_bytes for each in shown)


def test_common_words_are_learned_and_kept_up_to_date() -> None:
    catalog = Catalog(ArtifactsSql(common=5))
    begun = catalog.walk(ArtifactQuery(ALL, Word("ch*")), 50)
    catalog.database.read(catalog.store.look_for_common_words)
    assert catalog.store.wants_words()
    while catalog.database.write(catalog.store.learn_words).result():
        pass
    assert catalog.database.read(sets.value_id, sets.WORD, "chat") is not None
    assert catalog.database.read(sets.value_id, sets.BEGINNING, "ch") is not None
    assert catalog.walk(ArtifactQuery(ALL, Word("ch*")), 50) == begun
    before = catalog.walk(ArtifactQuery(ALL, Word("chat")), 50)
    first, second = (each for each in catalog.all if each.name.artifact in before[:2])
    said = dataclasses.replace(first.fields, description="nothing")
    catalog.write(dataclasses.replace(first, fields=said, revision=first.revision + 1), added=False)
    catalog.write(dataclasses.replace(second, delete_time=1.0, revision=second.revision + 1), added=False)
    catalog.write(artifact("fresh", description="chat"), added=True)
    assert catalog.walk(ArtifactQuery(ALL, Word("chat")), 50) == ["fresh", *before[2:]]
    catalog.database.close()


def test_what_is_in_an_older_form_is_indexed_again() -> None:
    catalog = Catalog(ArtifactsSql())
    query = ArtifactQuery(ALL, AnyOf((Term("tag", "a"), Word("small"))))
    found = catalog.walk(query, 50)

    def forget() -> None:
        for table in ("block", "value", "marks", "count", "total", "words"):
            sql.run(f"DELETE FROM artifact_{table}")
        sql.run("UPDATE artifact SET indexed = 0")

    catalog.database.write(forget).result()
    assert catalog.walk(query, 50) == []
    while outdated := catalog.database.read(catalog.store.outdated, 7):
        renewed = [
            (
                each,
                catalog_fields.search_text_of(each),
                catalog_fields.terms_of(each),
                Figures.of(each),
            )
            for each in outdated
        ]
        catalog.database.write(catalog.store.index_again, renewed).result()
    assert catalog.walk(query, 50) == found
    assert catalog.database.read(catalog.store.totals, ALL, []).artifact_count == len(catalog.all)
    catalog.database.close()


@given(st.sampled_from(["size_bytes", "updated"]), st.integers(0, 2**62))
def test_a_bucket_holds_its_numbers(column: str, number: int) -> None:
    low, high = sets.bounds_of(column, sets.bucket_of(column, number))
    assert low <= number < high
    assert column == "updated" or high - low <= max(1, number // 8)
