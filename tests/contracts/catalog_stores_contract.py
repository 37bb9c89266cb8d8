"""What every store of users, tokens and the catalog promises, whatever database is below.

A test class inherits from a contract and gives the fixtures `units` (a Database) and `store`.
"""

import dataclasses
from collections.abc import Sequence

import pytest

from ingot.server.core.alias_stores import AliasStore
from ingot.server.core.artifacts import (
    EVERYONE,
    Alias,
    AliasMove,
    Artifact,
    ArtifactFields,
    ArtifactOrder,
    ArtifactQuery,
    Scope,
    Version,
    VersionOrigin,
    VersionState,
    Visibility,
)
from ingot.server.core.catalog_stores import (
    ArtifactStore,
    CounterStore,
    TokenStore,
    UserStore,
    VersionStore,
)
from ingot.server.core.expressions import Term, Word, all_of
from ingot.server.core.facts import FactsStore, VersionFacts
from ingot.server.core.identity import ApiToken, Role, User
from ingot.server.core.identity import Scope as Right
from ingot.server.core.names import ArtifactName, Kind
from ingot.server.core.pages import Key
from ingot.server.core.request_stores import RequestStore
from ingot.server.storage.database import Database

ALL = (Scope(Kind.MODEL), Scope(Kind.DATASET))


def artifact(
    artifact_id: str, *, kind: Kind = Kind.MODEL, namespace: str = "sara", time: float = 1.0, **fields: object
) -> Artifact:
    """Return an artifact as the rules would make it."""
    name = ArtifactName(namespace, kind, artifact_id)
    said = ArtifactFields(**fields)  # type: ignore[arg-type]  # by name
    return Artifact(name, f"uid-{name}", said, f"users/{namespace}", time, time)


def version(of: Artifact, version_id: str, **changes: object) -> Version:
    """Return a version as the rules would make it."""
    made = Version(
        name=of.name.version(version_id),
        uid=f"uid-{of.uid}-{version_id}",
        state=VersionState.READY,
        digest=bytes(range(32)),
        file_count=3,
        size_bytes=2**40,
        new_bytes=7,
        format="jsonl",
        creator="users/sara",
        create_time=5.0,
        ready_time=5.5,
        changelog="Größer",
        metadata={"a": [1, 2.5, None, True, {"b": "ی"}]},
        performance_metrics={"accuracy": 97.5},
        origin=VersionOrigin("uploads/file_1", "operations/op_1", "trainingJobs/job_1", "abc", "d", "b"),
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]  # by name


def changed(before: Artifact, **changes: object) -> Artifact:
    """Return the next revision of an artifact."""
    return dataclasses.replace(before, revision=before.revision + 1, **changes)  # type: ignore[arg-type]


class ArtifactStoreContract:
    def _add(
        self, units: Database, store: ArtifactStore, *made: Artifact, text: str = "", **terms: str
    ) -> None:
        found = [Term(field, value) for field, value in terms.items()]
        for each in made:
            assert units.write(store.add, each, text, found).result()

    def _names(self, units: Database, store: ArtifactStore, query: ArtifactQuery, size: int = 2) -> list[str]:
        """Walk all pages."""
        seen: list[str] = []
        after: Sequence[Key] | None = None
        while True:
            rows = units.read(store.page, query, after, size)
            seen += [row.name.artifact for _, row in rows.items]
            after = rows.next_key
            if after is None:
                return seen

    def test_what_is_added_is_found(self, units: Database, store: ArtifactStore) -> None:
        made = artifact(
            "Tiny",
            display_name="مدل",
            tags=("a", "b c"),
            requirements={"gb": 2},
            metadata={"x": [None, {"y": 1.5}]},
            visibility=Visibility.PUBLIC,
        )
        self._add(units, store, made)
        assert units.read(store.find, ArtifactName("sara", Kind.MODEL, "tINY")) == made
        assert units.read(store.by_uid, made.uid) == made
        for name in (ArtifactName("sara", Kind.DATASET, "Tiny"), ArtifactName("omid", Kind.MODEL, "Tiny")):
            assert units.read(store.find, name) is None

    def test_a_name_is_taken_in_any_case(self, units: Database, store: ArtifactStore) -> None:
        made = artifact("Tiny")
        self._add(units, store, made)
        assert not units.write(store.add, dataclasses.replace(artifact("tiny"), uid="other"), "", ()).result()
        assert units.read(store.by_uid, "other") is None

    def test_saving_compares_the_revision(self, units: Database, store: ArtifactStore) -> None:
        made = artifact("tiny")
        self._add(units, store, made)
        after = changed(made, size_bytes=2**40, current_version="1", format="x", update_time=9.0)
        assert units.write(store.save, after, "", ()).result()
        assert not units.write(store.save, dataclasses.replace(after, format="y"), "", ()).result()
        assert units.read(store.find, made.name) == after

    def test_the_trash_is_found_by_uid_only(self, units: Database, store: ArtifactStore) -> None:
        made = artifact("tiny")
        self._add(units, store, made, text="word", tag="chat")
        gone = changed(made, delete_time=9.0)
        assert units.write(store.save, gone, "word", [Term("tag", "chat")]).result()
        assert units.read(store.find, made.name) is None
        assert units.read(store.by_uid, made.uid) == gone
        for query in (ArtifactQuery(ALL), ArtifactQuery(ALL, Word("word"))):
            assert self._names(units, store, query) == []
        assert units.read(store.totals, ALL, ["tag"]).terms == {}
        again = dataclasses.replace(made, uid="again")
        self._add(units, store, again)
        assert units.read(store.find, made.name) == again

    @pytest.mark.parametrize("descending", [False, True])
    @pytest.mark.parametrize("order", ArtifactOrder)
    def test_pages_are_in_order_over_all_scopes(
        self, units: Database, store: ArtifactStore, order: ArtifactOrder, descending: bool
    ) -> None:
        for number in range(7):
            kind = Kind.MODEL if number % 2 else Kind.DATASET
            name = f"{(number * 5) % 7}"
            self._add(units, store, artifact(name, kind=kind, time=float(number // 2)))
        query = ArtifactQuery(ALL, order=order, descending=descending)
        seen = self._names(units, store, query)
        expected = ["0", "5", "3", "1", "6", "4", "2"]
        if order is ArtifactOrder.NAME:
            expected = ["0", "2", "3", "6", "1", "4", "5"]  # datasets come before models
        assert seen == (expected[::-1] if descending else expected)

    def test_scopes_narrow(self, units: Database, store: ArtifactStore) -> None:
        self._add(units, store, artifact("private"), artifact("data", kind=Kind.DATASET))
        self._add(units, store, artifact("open", visibility=Visibility.INTERNAL))
        self._add(units, store, artifact("theirs", namespace="omid"))
        expected = {
            Scope(Kind.MODEL): ["theirs", "open", "private"],
            Scope(Kind.MODEL, "sara"): ["open", "private"],
            Scope(Kind.MODEL, "sara", EVERYONE): ["open"],
            Scope(Kind.MODEL, None, EVERYONE): ["open"],
            Scope(Kind.MODEL, None, "omid"): ["theirs"],
            Scope(Kind.DATASET, None, "sara"): ["data"],
            Scope(Kind.DATASET, "omid"): [],
        }
        found = {scope: self._names(units, store, ArtifactQuery((scope,))) for scope in expected}
        assert found == expected

    def test_terms_and_words_narrow(self, units: Database, store: ArtifactStore) -> None:
        self._add(units, store, artifact("a"), text="کتاب small chat", tag="chat", language="fa")
        self._add(units, store, artifact("b"), text="large chatter", tag="chat")
        self._add(units, store, artifact("c"), text="و آی café", language="fa")
        chat, persian = Term("tag", "chat"), Term("language", "fa")
        expected = [
            ((chat,), (), ["b", "a"]),
            ((chat, persian), (), ["a"]),
            ((Term("language", "chat"),), (), []),
            ((), ("chat",), ["a"]),
            ((), ("chat*",), ["b", "a"]),
            ((), ("کتاب", "chat"), ["a"]),
            ((), ("large", "small"), []),
            ((persian,), ("café",), ["c"]),
        ]
        for terms, words, names in expected:
            for order in ArtifactOrder:
                query = ArtifactQuery(ALL, all_of(*terms, *map(Word, words)), order)
                assert self._names(units, store, query) == names, (terms, words, order)

    def test_saving_changes_what_it_is_found_by(self, units: Database, store: ArtifactStore) -> None:
        made = artifact("a")
        self._add(units, store, made, text="old", tag="old")
        assert units.write(store.save, changed(made), "new", [Term("tag", "new")]).result()
        for word, names in (("old", []), ("new", ["a"])):
            assert self._names(units, store, ArtifactQuery(ALL, Word(word))) == names
            assert self._names(units, store, ArtifactQuery(ALL, Term("tag", word))) == names

    def test_totals_are_over_the_scopes(self, units: Database, store: ArtifactStore) -> None:
        self._add(
            units, store, dataclasses.replace(artifact("a"), version_count=2, version_bytes=2**40), tag="x"
        )
        self._add(units, store, artifact("b"), tag="x", language="fa")
        self._add(units, store, artifact("c", namespace="omid"), tag="x")
        found = units.read(store.totals, (Scope(Kind.MODEL, "sara"),), ["tag"])
        assert (found.artifact_count, found.version_count, found.size_bytes) == (2, 2, 2**40)
        assert found.terms == {Term("tag", "x"): 2}
        assert units.read(store.totals, ALL, ["tag", "language"]).terms[Term("tag", "x")] == 3
        assert units.read(store.totals, (), ["tag"]).artifact_count == 0


class VersionStoreContract:
    """Needs the fixture `artifacts` beside: a store of artifacts in the same database."""

    @pytest.fixture
    def tiny(self, units: Database, artifacts: ArtifactStore) -> Artifact:
        made = artifact("tiny")
        assert units.write(artifacts.add, made, "", ()).result()
        return made

    def test_what_is_added_is_found(self, units: Database, store: VersionStore, tiny: Artifact) -> None:
        made = version(tiny, "1.0.0")
        assert units.write(store.add, tiny, made).result()
        assert units.read(store.find, tiny, "1.0.0") == made
        assert units.read(store.find, tiny, "1") is None
        assert not units.write(store.add, tiny, dataclasses.replace(made, uid="other")).result()

    def test_latest_is_where_the_artifact_says(
        self, units: Database, store: VersionStore, tiny: Artifact
    ) -> None:
        units.write(store.add, tiny, version(tiny, "1")).result()
        found = units.read(store.find, dataclasses.replace(tiny, current_version="1"), "1")
        assert found is not None
        assert found.aliases == ("latest",)

    def test_the_largest_number(self, units: Database, store: VersionStore, tiny: Artifact) -> None:
        assert units.read(store.largest_number, tiny) == 0
        for version_id in ("2", "10.1", "9", "9" * 30):
            units.write(store.add, tiny, version(tiny, version_id)).result()
        assert units.read(store.largest_number, tiny) == 10

    def test_pages_are_newest_first(self, units: Database, store: VersionStore, tiny: Artifact) -> None:
        for number in range(5):
            units.write(store.add, tiny, version(tiny, str(number))).result()
        first = units.read(store.page, tiny, None, 3)
        second = units.read(store.page, tiny, first[-1][0], 3)
        assert [each.name.version for _, each in (*first, *second)] == ["4", "3", "2", "1", "0"]

    def test_the_newest_of_several_artifacts(
        self, units: Database, store: VersionStore, artifacts: ArtifactStore, tiny: Artifact
    ) -> None:
        other, empty = artifact("other"), artifact("empty")
        for each in (other, empty):
            units.write(artifacts.add, each, "", ()).result()
        for number in range(4):
            for each in (tiny, other):
                units.write(store.add, each, version(each, str(number))).result()
        found = units.read(store.newest, [tiny, other, empty], 2)
        assert {uid: [each.name for each in versions] for uid, versions in found.items()} == {
            each.uid: [each.name.version("3"), each.name.version("2")] for each in (tiny, other)
        }
        assert units.read(store.newest, [], 2) == {}

    def test_readers_are_told_of_ready_ones_only(
        self, units: Database, store: VersionStore, artifacts: ArtifactStore, tiny: Artifact
    ) -> None:
        other = artifact("other")
        units.write(artifacts.add, other, "", ()).result()
        states = (VersionState.READY, VersionState.STAGED, VersionState.READY, VersionState.REJECTED)
        for number, state in enumerate(states):
            for each in (tiny, other):
                units.write(store.add, each, version(each, str(number), state=state)).result()
        first = units.read(store.page, tiny, None, 1, ready_only=True)
        second = units.read(store.page, tiny, first[0][0], 5, ready_only=True)
        assert [each.name.version for _, each in (*first, *second)] == ["2", "0"]
        found = units.read(store.newest, [tiny, other], 2, ready_only=[tiny.uid])
        assert [each.name.version for each in found[tiny.uid]] == ["2", "0"]
        assert [each.name.version for each in found[other.uid]] == ["3", "2"]
        newest = units.read(store.newest_ready, tiny)
        assert newest is not None
        assert newest == first[0]
        assert newest[0] == units.read(store.position, tiny, "2") < units.read(store.position, tiny, "3")
        assert units.read(store.position, tiny, "9") == 0

    def test_a_change_of_state_compares_the_state(
        self, units: Database, store: VersionStore, tiny: Artifact
    ) -> None:
        made = version(tiny, "1", state=VersionState.STAGED, ready_time=None, asked_aliases=("b", "a"))
        units.write(store.add, tiny, made).result()
        ready = dataclasses.replace(
            made, state=VersionState.READY, ready_time=7.5, last_validation="operations/op_3"
        )
        assert not units.write(store.save, ready, VersionState.VALIDATING).result()
        assert units.read(store.find, tiny, "1") == made
        assert units.write(store.save, ready, VersionState.STAGED).result()
        assert units.read(store.find, tiny, "1") == ready

    def test_what_is_said_about_it_compares_the_revision(
        self, units: Database, store: VersionStore, tiny: Artifact
    ) -> None:
        made = version(tiny, "1")
        units.write(store.add, tiny, made).result()
        said = dataclasses.replace(
            made,
            changelog="x",
            metadata={"a": 1},
            performance_metrics={"b": 2.5},
            update_time=7.5,
            revision=2,
        )
        assert units.write(store.amend, said).result()
        assert units.read(store.find, tiny, "1") == said
        assert not units.write(store.amend, said).result()

    def test_it_is_found_by_what_made_and_validated_it(
        self, units: Database, store: VersionStore, artifacts: ArtifactStore, tiny: Artifact
    ) -> None:
        made = version(
            tiny, "1", origin=VersionOrigin(upload="uploads/file_4"), last_validation="operations/op_3"
        )
        units.write(store.add, tiny, made).result()
        units.write(store.add, tiny, version(tiny, "2", origin=VersionOrigin())).result()
        trashed = changed(tiny, delete_time=1.0)
        assert units.write(artifacts.save, trashed, "", ()).result()
        for found in (
            units.read(store.by_validation, "operations/op_3"),
            units.read(store.by_upload, "uploads/file_4"),
        ):
            assert found == (trashed, made)
        for nothing in ("", "operations/op_4"):
            assert units.read(store.by_validation, nothing) is None
            assert units.read(store.by_upload, nothing) is None

    def test_the_id_of_a_removed_one_is_spent_if_it_was_ready(
        self, units: Database, store: VersionStore, tiny: Artifact
    ) -> None:
        for version_id in ("1", "2", "9"):
            units.write(store.add, tiny, version(tiny, version_id)).result()
        staged = version(tiny, "3", ready_time=None, state=VersionState.STAGED)
        units.write(store.add, tiny, staged).result()
        for removed in (version(tiny, "1"), version(tiny, "9"), staged):
            units.write(store.remove, removed).result()
            assert units.read(store.find, tiny, removed.name.version) is None
        assert units.read(store.find, tiny, "2") is not None
        spent = {each: units.read(store.is_spent, tiny, each) for each in ("1", "2", "3", "9")}
        assert spent == {"1": True, "2": False, "3": False, "9": True}
        assert units.read(store.largest_number, tiny) == 9
        assert not units.write(store.add, tiny, version(tiny, "1", uid="another")).result()
        assert units.write(store.add, tiny, version(tiny, "3", uid="another")).result()

    def test_descendants_are_by_artifact_and_not_from_the_trash(
        self, units: Database, store: VersionStore, artifacts: ArtifactStore, tiny: Artifact
    ) -> None:
        data = "namespaces/sara/datasets/chat"
        origins = {
            "1": VersionOrigin(dataset_version=f"{data}/versions/1"),
            "2": VersionOrigin(base_version=f"{data}/versions/2", dataset_version=f"{data}/versions/3"),
            "3": VersionOrigin(dataset_version=f"{data}2/versions/1"),
        }
        for version_id, origin in origins.items():
            units.write(store.add, tiny, version(tiny, version_id, origin=origin)).result()
        name = ArtifactName("sara", Kind.DATASET, "chat")
        expected = [str(tiny.name.version("1")), str(tiny.name.version("2"))]
        assert sorted(units.read(store.descendants, name, 0.0, 10)) == expected
        assert len(units.read(store.descendants, name, 0.0, 1)) == 1
        assert units.write(artifacts.save, changed(tiny, delete_time=1.0), "", ()).result()
        assert list(units.read(store.descendants, name, 0.0, 10)) == []


class AliasStoreContract:
    """Needs the fixture `tiny` beside: a stored artifact with versions 1 and 2."""

    def _alias(self, tiny: Artifact, alias: str, version_id: str = "1", revision: int = 1) -> Alias:
        return Alias(tiny.name.alias(alias), tiny.name.version(version_id), 3.5, "users/sara", revision)

    def test_an_alias_is_put_moved_and_removed(
        self, units: Database, store: AliasStore, tiny: Artifact
    ) -> None:
        assert units.read(store.find, tiny, "prod") is None
        for each in (self._alias(tiny, "prod"), self._alias(tiny, "prod", "2", 2)):
            units.write(store.put, tiny, each).result()
            assert units.read(store.find, tiny, "prod") == each
        assert units.write(store.delete, tiny, "prod", 4.5, "users/omid").result()
        assert not units.write(store.delete, tiny, "prod", 5.5).result()
        assert units.read(store.find, tiny, "prod") is None

    def test_every_move_is_noted(self, units: Database, store: AliasStore, tiny: Artifact) -> None:
        for version_id in ("1", "1", "2"):
            units.write(store.put, tiny, self._alias(tiny, "prod", version_id)).result()
        units.write(store.put, tiny, self._alias(tiny, "other")).result()
        units.write(store.delete, tiny, "prod", 4.5, "users/omid").result()
        units.write(store.note, tiny, "latest", AliasMove("2", "1", 9.5, "")).result()
        first = units.read(store.moves, tiny, "prod", None, 2)
        rest = units.read(store.moves, tiny, "prod", first[-1][0], 9)
        assert [move for _, move in (*first, *rest)] == [
            AliasMove("", "2", 4.5, "users/omid"),
            AliasMove("2", "1", 3.5, "users/sara"),
            AliasMove("1", "", 3.5, "users/sara"),
        ]
        assert [move.version for _, move in units.read(store.moves, tiny, "latest", None, 9)] == ["2"]

    def test_pages_are_in_the_order_of_ids(self, units: Database, store: AliasStore, tiny: Artifact) -> None:
        for alias in ("c", "a", "b"):
            units.write(store.put, tiny, self._alias(tiny, alias)).result()
        first = units.read(store.page, tiny, "", 2)
        second = units.read(store.page, tiny, first[-1].name.alias, 2)
        assert [each.name.alias for each in (*first, *second)] == ["a", "b", "c"]

    def test_versions_know_their_aliases(
        self, units: Database, store: AliasStore, versions: VersionStore, tiny: Artifact
    ) -> None:
        for alias in ("prod", "a"):
            units.write(store.put, tiny, self._alias(tiny, alias)).result()
        rows = units.read(versions.page, tiny, None, 9)
        found = {each.name.version: each.aliases for _, each in rows}
        assert found == {"1": ("a", "prod"), "2": ()}


class FactsStoreContract:
    def test_facts_are_kept_and_the_artifact_shows_those_of_its_latest(
        self, units: Database, store: FactsStore, artifacts: ArtifactStore, versions: VersionStore
    ) -> None:
        tiny = dataclasses.replace(artifact("tiny"), current_version="2")
        units.write(artifacts.add, tiny, "", ()).result()
        first, second = version(tiny, "1"), version(tiny, "2")
        for each in (first, second):
            units.write(versions.add, tiny, each).result()
            units.write(store.want, each.uid).result()
        assert [uid for uid, _ in units.read(store.wanted, 9)] == [second.uid, first.uid]
        small, large = VersionFacts(parameters=7, dtypes=("F32",)), VersionFacts(records=0, columns=("متن",))
        assert units.write(store.put, first.uid, small).result()
        assert units.write(store.put, second.uid, large).result()
        assert units.read(store.wanted, 9) == []
        found = units.read(versions.find, tiny, "1")
        assert found is not None
        assert found.facts == small
        shown = units.read(artifacts.find, tiny.name)
        assert shown is not None
        assert shown.facts == large
        units.write(store.want, first.uid).result()  # it was read already
        assert units.read(store.wanted, 9) == []

    def test_what_a_validation_told_stays(
        self, units: Database, store: FactsStore, artifacts: ArtifactStore, versions: VersionStore
    ) -> None:
        tiny = artifact("tiny")
        units.write(artifacts.add, tiny, "", ()).result()
        made = version(tiny, "1")
        units.write(versions.add, tiny, made).result()
        exact = VersionFacts(records=3, validated=True)
        for facts, stored in (
            (VersionFacts(records=2, estimated=True), True),
            (exact, True),
            (VersionFacts(records=4), False),
        ):
            assert units.write(store.put, made.uid, facts).result() is stored
        found = units.read(versions.find, tiny, "1")
        assert found is not None
        assert found.facts == exact
        assert not units.write(store.put, "gone", exact).result()


class UserStoreContract:
    def test_a_user_comes_with_a_namespace(self, units: Database, store: UserStore) -> None:
        sara = User("sara", "uid-1", "سارا", Role.MEMBER, 1.5)
        assert units.write(store.add, sara).result()
        assert units.read(store.find, "sara") == sara
        assert units.read(store.namespace_exists, "sara")
        assert units.read(store.find, "omid") is None
        assert not units.read(store.namespace_exists, "omid")
        assert not units.write(store.add, dataclasses.replace(sara, uid="uid-2")).result()

    def test_pages_are_in_the_order_of_ids(self, units: Database, store: UserStore) -> None:
        for name in ("c", "a", "b"):
            units.write(store.add, User(name, f"uid-{name}", "", Role.VIEWER, 1.0)).result()
        first = units.read(store.page, "", 2)
        second = units.read(store.page, first[-1].id, 2)
        assert [each.id for each in (*first, *second)] == ["a", "b", "c"]


class TokenStoreContract:
    """Needs the fixture `users` beside."""

    @pytest.fixture(autouse=True)
    def _people(self, units: Database, users: UserStore) -> None:
        for name in ("sara", "omid"):
            units.write(users.add, User(name, f"uid-{name}", "", Role.MEMBER, 1.0)).result()

    def _add(
        self, units: Database, store: TokenStore, number: int, user: str = "sara", name: str = "x"
    ) -> ApiToken:
        rights = frozenset({Right.ACCOUNT, Right.CATALOG_READ})
        token = ApiToken(f"tok_{number}", user, name, Role.MEMBER, rights, 1.5, 9.5)
        units.write(store.add, token, bytes([number]) * 32).result()
        return token

    def test_a_token_is_found_by_id_and_digest(self, units: Database, store: TokenStore) -> None:
        token = self._add(units, store, 7)
        assert units.read(store.find, "tok_7") == token
        assert units.read(store.by_digest, b"\7" * 32) == token
        assert units.read(store.find, "tok_8") is None
        assert units.read(store.by_digest, b"\0" * 32) is None

    def test_it_is_revoked_once(self, units: Database, store: TokenStore) -> None:
        self._add(units, store, 1)
        assert [units.write(store.revoke, "tok_1", time).result() for time in (3.0, 4.0)] == [True, False]
        found = units.read(store.find, "tok_1")
        assert found is not None
        assert found.revoke_time == 3.0
        assert list(units.read(store.valid_of, "sara", "x")) == []

    def test_valid_ones_are_by_user_and_purpose(self, units: Database, store: TokenStore) -> None:
        mine = self._add(units, store, 1)
        self._add(units, store, 2, name="y")
        self._add(units, store, 3, user="omid")
        assert list(units.read(store.valid_of, "sara", "x")) == [mine]

    def test_uses_are_written_down(self, units: Database, store: TokenStore) -> None:
        self._add(units, store, 1)
        units.write(store.used, {"tok_1": 5.5, "tok_9": 6.0}).result()
        found = units.read(store.find, "tok_1")
        assert found is not None
        assert found.last_use_time == 5.5

    def test_pages_are_in_the_order_of_making(self, units: Database, store: TokenStore) -> None:
        for number in (1, 2, 10):
            self._add(units, store, number)
        self._add(units, store, 3, user="omid")
        first = units.read(store.page, "sara", 0, 2)
        second = units.read(store.page, "sara", first[-1][0], 2)
        assert [each.id for _, each in (*first, *second)] == ["tok_1", "tok_2", "tok_10"]


class RequestStoreContract:
    def test_a_request_is_known_by_who_what_and_id(self, units: Database, store: RequestStore) -> None:
        units.write(store.add, "users/sara", "Create", "id", b"digest", "result", 5.0).result()
        assert units.read(store.find, "users/sara", "Create", "id") == (b"digest", "result")
        for key in (
            ("users/omid", "Create", "id"),
            ("users/sara", "Delete", "id"),
            ("users/sara", "Create", "x"),
        ):
            assert units.read(store.find, *key) is None

    def test_one_is_dropped(self, units: Database, store: RequestStore) -> None:
        for key in ("id", "other"):
            units.write(store.add, "users/sara", "Create", key, b"digest", "result", 5.0).result()
        units.write(store.drop, "users/sara", "Create", "id").result()
        assert units.read(store.find, "users/sara", "Create", "id") is None
        assert units.read(store.find, "users/sara", "Create", "other") == (b"digest", "result")

    def test_old_ones_are_forgotten(self, units: Database, store: RequestStore) -> None:
        for number in range(3):
            units.write(store.add, "users/sara", "Create", f"{number}", b"", "", float(number)).result()
        assert units.write(store.forget, 1.0).result() == 1
        assert units.read(store.find, "users/sara", "Create", "0") is None
        assert units.read(store.find, "users/sara", "Create", "1") == (b"", "")


class CounterStoreContract:
    def test_each_word_counts_from_one(self, units: Database, store: CounterStore) -> None:
        given = [units.write(store.next, word).result() for word in ("model", "model", "file", "model")]
        assert given == [1, 2, 1, 3]

    def test_a_rolled_back_number_is_given_again(self, units: Database, store: CounterStore) -> None:
        def fail() -> None:
            store.next("model")
            raise RuntimeError("undone")

        with pytest.raises(RuntimeError, match="undone"):
            units.write(fail).result()
        assert units.write(store.next, "model").result() == 1
