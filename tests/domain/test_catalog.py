"""The catalog: artifacts are made, found, changed under a guard, and put into the trash."""

import dataclasses
import uuid
from collections.abc import Iterator

import pytest

from helpers.catalogs import NO_KEY, START, CatalogRig
from ingot.server.core.artifacts import Artifact, ArtifactFields, VersionOrigin, Visibility
from ingot.server.core.errors import (
    AlreadyExists,
    Conflict,
    Invalid,
    NotFound,
    Precondition,
    Reason,
)
from ingot.server.core.expressions import Term
from ingot.server.core.identity import Caller
from ingot.server.core.names import Kind, artifact_name
from ingot.server.domain.catalog_asked import ArtifactChange, ArtifactListing, NewArtifact
from ingot.server.domain.requests import RequestKey

KEY = RequestKey(str(uuid.UUID(int=1)), b"request")


@pytest.fixture
def rig() -> Iterator[CatalogRig]:
    found = CatalogRig()
    yield found
    found.database.close()


@pytest.fixture
def sara(rig: CatalogRig) -> Caller:
    return rig.user("sara")


def _update(rig: CatalogRig, caller: Caller, change: ArtifactChange, *, dry: bool = False) -> Artifact:
    return rig.write(rig.catalog.update, caller, change, NO_KEY, validate_only=dry)


def _found(rig: CatalogRig, caller: Caller, **wanted: object) -> list[str]:
    page = rig.read(rig.catalog.page, caller, ArtifactListing(**wanted))  # type: ignore[arg-type]  # by name
    return [each.name.artifact for each in page.items]


# --- making -------------------------------------------------------------------------------------------


def test_an_artifact_keeps_what_is_said_about_it(rig: CatalogRig, sara: Caller) -> None:
    said = ArtifactFields(
        display_name="مدل کوچک",
        description="A small model",
        card="# Card",
        tags=("chat", "fa"),
        language="fa",
        license="Apache-2.0",
        framework="pytorch",
        task_type="text-generation",
        model_type="llm",
        source="manual",
        requirements={"memory_gb": 2},
        metadata={"team": ["nlp", {"lead": None}]},
        visibility=Visibility.INTERNAL,
    )
    wanted = NewArtifact("sara", Kind.MODEL, "Tiny", said)
    made = rig.write(rig.catalog.create, sara, wanted, NO_KEY, validate_only=False)
    assert made == rig.read(rig.catalog.require_read, sara, artifact_name("namespaces/sara/models/Tiny"))
    assert made.fields == said
    assert (made.owner, made.create_time, made.update_time) == ("users/sara", START, START)
    assert uuid.UUID(made.uid).version == 7


def test_ids_are_made_when_none_is_chosen(rig: CatalogRig, sara: Caller) -> None:
    rig.create(sara, "model_2")
    made = [rig.create(sara, "").name.artifact for _ in range(2)]
    assert made == ["model_1", "model_3"]
    assert rig.create(sara, "", Kind.DATASET).name.artifact == "dataset_1"


def test_names_are_unique_without_case_in_one_collection(rig: CatalogRig, sara: Caller) -> None:
    rig.create(sara, "Tiny")
    rig.create(sara, "tiny", Kind.DATASET)
    with pytest.raises(AlreadyExists) as caught:
        rig.create(sara, "tINY")
    assert caught.value.reason is Reason.NAME_TAKEN
    found = rig.read(rig.catalog.require_read, sara, artifact_name("namespaces/sara/models/TINY"))
    assert found.name.artifact == "Tiny"


def test_a_repeated_creation_gives_the_same_artifact(rig: CatalogRig, sara: Caller) -> None:
    wanted = NewArtifact("sara", Kind.MODEL, "", ArtifactFields())
    first, second = (rig.write(rig.catalog.create, sara, wanted, KEY, validate_only=False) for _ in range(2))
    assert first == second
    assert _found(rig, sara) == ["model_1"]


def test_validation_only_changes_nothing(rig: CatalogRig, sara: Caller) -> None:
    wanted = NewArtifact("sara", Kind.MODEL, "tiny", ArtifactFields())
    rig.write(rig.catalog.create, sara, wanted, KEY, validate_only=True)
    assert _found(rig, sara) == []
    made = rig.create(sara, "tiny")
    with pytest.raises(AlreadyExists):
        rig.write(rig.catalog.create, sara, wanted, NO_KEY, validate_only=True)
    change = ArtifactChange(made.name, ArtifactFields(license="MIT"), ("license",))
    assert _update(rig, sara, change, dry=True).fields.license == "MIT"
    assert rig.read(rig.catalog.require_read, sara, made.name) == made


# --- changing -----------------------------------------------------------------------------------------


def test_an_update_changes_what_the_mask_names(rig: CatalogRig, sara: Caller) -> None:
    made = rig.create(sara, "tiny", tags=("old",), license="MIT")
    rig.clock.time += 5
    change = ArtifactChange(made.name, ArtifactFields(tags=("new",)), ("tags",), (), made.etag)
    changed = _update(rig, sara, change)
    assert (changed.fields.tags, changed.fields.license) == (("new",), "MIT")
    assert (changed.create_time, changed.update_time) == (START, START + 5)
    assert changed.etag != made.etag
    assert (_found(rig, sara, filter="tag:new"), _found(rig, sara, filter="tag:old")) == (["tiny"], [])


def test_an_outdated_etag_is_refused(rig: CatalogRig, sara: Caller) -> None:
    made = rig.create(sara, "tiny")
    change = ArtifactChange(made.name, ArtifactFields(license="MIT"), ("license",), (), made.etag)
    _update(rig, sara, change)
    with pytest.raises(Conflict) as caught:
        _update(rig, sara, change)
    assert caught.value.reason is Reason.ETAG_MISMATCH


def test_a_failed_update_leaves_nothing(rig: CatalogRig, sara: Caller) -> None:
    made = rig.create(sara, "tiny", license="MIT")
    with pytest.raises(Invalid):
        _update(rig, sara, ArtifactChange(made.name, ArtifactFields(language="?"), ("language", "license")))
    assert rig.read(rig.catalog.require_read, sara, made.name) == made


# --- finding ------------------------------------------------------------------------------------------


def test_lists_are_filtered_and_searched(rig: CatalogRig, sara: Caller) -> None:
    rig.create(sara, "persian-chat", Kind.DATASET, tags=("chat",), language="fa", display_name="گفتگوي فارسی")
    rig.create(sara, "english-chat", Kind.DATASET, tags=("chat", "small"), language="en", description="Café")
    rig.create(sara, "tiny", framework="pytorch", model_type="llm")
    expected = {
        "tag:chat": ["english-chat", "persian-chat"],
        "tag:chat AND language = fa": ["persian-chat"],
        "tag:chat tag:small": ["english-chat"],
        "framework = PyTorch": ["tiny"],
        "گفتگوی": ["persian-chat"],
        "cafe": ["english-chat"],
        "chat": ["english-chat", "persian-chat"],
        "chat english": ["english-chat"],
        "eng*": ["english-chat"],
        "eng": [],
        "tag:nothing": [],
        'owner = "users/sara" tiny': ["tiny"],
    }
    assert {text: _found(rig, sara, filter=text) for text in expected} == expected
    assert _found(rig, sara, kind=Kind.MODEL) == ["tiny"]
    with pytest.raises(Invalid, match="position 1: there is no field 'colour'"):
        _found(rig, sara, filter="colour:red")


@pytest.mark.parametrize("order", ["", "create_time", "update_time", "update_time desc", "name", "name desc"])
def test_pages_show_everything_once_in_order(rig: CatalogRig, sara: Caller, order: str) -> None:
    omid = rig.user("omid")
    for number in range(23):
        kind = Kind.MODEL if number % 3 else Kind.DATASET
        who, visibility = (omid, Visibility.PUBLIC) if number % 2 else (sara, Visibility.PRIVATE)
        rig.clock.time += number % 4  # some have the same time
        rig.create(who, f"n-{(number * 7) % 23:02}", kind, visibility=visibility)
    seen: list[Artifact] = []
    token = ""
    while True:
        wanted = ArtifactListing(order_by=order, page_size=4, page_token=token)
        page = rig.read(rig.catalog.page, sara, wanted)
        seen += page.items
        token = page.next_token
        if not token:
            break
        assert len(page.items) == 4
    assert len({each.uid for each in seen}) == 23
    field, _, direction = (order or "create_time desc").partition(" ")
    keys = [each.name if field == "name" else getattr(each, field) for each in seen]
    assert list(map(str, keys)) == sorted(map(str, keys), reverse=direction == "desc")


def test_a_page_token_belongs_to_its_list(rig: CatalogRig, sara: Caller) -> None:
    for name in "abc":
        rig.create(sara, name)
    token = rig.read(rig.catalog.page, sara, ArtifactListing(page_size=1)).next_token
    for other in (ArtifactListing(filter="tag:x"), ArtifactListing(order_by="name"), ArtifactListing("sara")):
        with pytest.raises(Invalid) as caught:
            rig.read(rig.catalog.page, sara, dataclasses.replace(other, page_size=1, page_token=token))
        assert caught.value.reason is Reason.PAGE_TOKEN_INVALID


def test_unknown_orders_are_refused(rig: CatalogRig, sara: Caller) -> None:
    with pytest.raises(Invalid, match="order_by: expected one of"):
        _found(rig, sara, order_by="size")


def test_totals_count_what_the_caller_sees(rig: CatalogRig, sara: Caller) -> None:
    omid = rig.user("omid")
    rig.create(omid, "hidden", Kind.DATASET, tags=("chat",))
    rig.create(omid, "open", Kind.DATASET, tags=("chat",), language="en", visibility=Visibility.PUBLIC)
    rig.create(sara, "mine", Kind.DATASET, tags=("chat", "fa"), language="fa,en")
    rig.commit(sara, "namespaces/sara/datasets/mine", size=100, format="jsonl")
    rig.commit(sara, "namespaces/sara/datasets/mine", size=50, format="jsonl")
    rig.create(sara, "model", framework="pytorch", model_type="llm")
    found = rig.read(rig.catalog.totals, sara, Kind.DATASET)
    assert (found.artifact_count, found.version_count, found.size_bytes) == (2, 2, 150)
    assert found.terms == {
        Term("tag", "chat"): 2,
        Term("tag", "fa"): 1,
        Term("language", "fa"): 1,
        Term("language", "en"): 2,
        Term("format", "jsonl"): 1,
    }
    models = rig.read(rig.catalog.totals, sara, Kind.MODEL)
    assert models.terms == {Term("framework", "pytorch"): 1, Term("model_type", "llm"): 1}


# --- trash --------------------------------------------------------------------------------------------


def test_a_deleted_artifact_is_gone_and_its_name_free(rig: CatalogRig, sara: Caller) -> None:
    made = rig.create(sara, "tiny", tags=("chat",))
    deletion = rig.write(rig.catalog.delete, sara, made.name, NO_KEY)
    assert deletion.artifact is not None
    assert deletion.artifact.delete_time == START
    with pytest.raises(NotFound):
        rig.read(rig.catalog.require_read, sara, made.name)
    assert (_found(rig, sara), _found(rig, sara, filter="tag:chat"), _found(rig, sara, filter="tiny")) == (
        *([], [], []),
    )
    assert rig.read(rig.catalog.totals, sara, Kind.MODEL).artifact_count == 0
    assert rig.create(sara, "TINY").uid != made.uid
    assert rig.read(rig.artifacts.by_uid, made.uid) == deletion.artifact


def test_versions_go_to_the_trash_with_force_only(rig: CatalogRig, sara: Caller) -> None:
    version = rig.commit(sara, "namespaces/sara/models/tiny", size=70)
    name = version.name.artifact
    with pytest.raises(Precondition) as caught:
        rig.write(rig.catalog.delete, sara, name, NO_KEY)
    assert caught.value.reason is Reason.IN_USE
    assert (caught.value.facts["versions"], caught.value.facts["bytes"]) == ("1", "70")
    told = rig.write(rig.catalog.delete, sara, name, NO_KEY, validate_only=True)
    assert told.artifact is not None
    assert told.artifact.delete_time is None
    gone = rig.write(rig.catalog.delete, sara, name, NO_KEY, force=True).artifact
    assert gone is not None
    assert (gone.version_count, gone.version_bytes) == (1, 70)
    with pytest.raises(NotFound):
        rig.read(rig.versions.resolve, sara, version.name)


def test_who_depends_on_an_artifact_is_told(rig: CatalogRig, sara: Caller) -> None:
    chat = rig.create(sara, "chat", Kind.DATASET)
    rig.work.needed_by[str(chat.name)] = ["trainingJobs/job_4"]
    origin = VersionOrigin(dataset_version=f"{chat.name}/versions/1")
    trained = rig.commit(sara, "namespaces/sara/models/tiny", origin=origin)
    rig.commit(
        sara, "namespaces/sara/models/x", origin=VersionOrigin(dataset_version=f"{chat.name}2/versions/1")
    )
    with pytest.raises(Precondition) as caught:
        rig.write(rig.catalog.delete, sara, chat.name, NO_KEY)
    assert caught.value.facts["dependants"] == f"trainingJobs/job_4, {trained.name}"
    deletion = rig.write(rig.catalog.delete, sara, chat.name, NO_KEY, force=True)
    assert deletion.dependants == ("trainingJobs/job_4", str(trained.name))


def test_deleting_is_guarded_and_may_be_repeated(rig: CatalogRig, sara: Caller) -> None:
    made = rig.create(sara, "tiny")
    with pytest.raises(Conflict):
        rig.write(rig.catalog.delete, sara, made.name, NO_KEY, etag="old")
    first = rig.write(rig.catalog.delete, sara, made.name, KEY, etag=made.etag)
    assert rig.write(rig.catalog.delete, sara, made.name, KEY, etag=made.etag).artifact == first.artifact
    with pytest.raises(NotFound):
        rig.write(rig.catalog.delete, sara, made.name, NO_KEY)
    assert rig.write(rig.catalog.delete, sara, made.name, NO_KEY, allow_missing=True).artifact is None


def test_a_page_with_versions_ends_once_it_has_enough_of_them(rig: CatalogRig) -> None:
    sara = rig.user()
    counts = {"a": 15, "b": 20, "c": 19, "d": 2, "e": 0}
    for name, count in counts.items():
        artifact = rig.create(sara, name)
        for _ in range(count):
            rig.commit(sara, str(artifact.name))
    many = [rig.create(sara, f"many-{number}") for number in range(6)]
    for artifact in many:
        for _ in range(21):
            rig.commit(sara, str(artifact.name))
    pages: list[list[tuple[str, int]]] = []
    token = ""
    while not pages or token:
        listing = ArtifactListing(with_versions=True, page_token=token)
        page, versions = rig.read(rig.catalog.page_with_versions, sara, listing)
        pages.append([(each.name.artifact, len(versions.get(each.uid, ()))) for each in page.items])
        token = page.next_token
    assert pages == [
        [(f"many-{number}", 20) for number in (5, 4, 3, 2, 1)],  # a hundred
        [("many-0", 20), ("e", 0), ("d", 2), ("c", 19), ("b", 20), ("a", 15)],
    ]
