"""What an owner says about an artifact: one form for each value, and masks that name what may change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.refusals import refusal_of
from ingot.server.core.artifacts import Artifact, ArtifactFields, Visibility
from ingot.server.core.errors import Invalid
from ingot.server.core.expressions import Term
from ingot.server.core.names import ArtifactName, Kind
from ingot.server.domain import catalog_fields, filters
from ingot.server.domain.catalog_fields import SETTABLE, checked, masked

BEFORE = ArtifactFields(display_name="Before", tags=("old",), license="MIT", visibility=Visibility.PUBLIC)
NEW = ArtifactFields(display_name="New", framework="pytorch")


def test_tags_are_one_form_each_once_in_order() -> None:
    said = ArtifactFields(tags=("Chat, persian", "chat", " Two  words ", "", "FA"))
    assert checked(said).tags == ("chat", "persian", "two words", "fa")


def test_a_license_is_found_however_its_words_were_set_apart() -> None:
    fields = checked(ArtifactFields(license=" Apache  License\n2.0 "))
    artifact = Artifact(ArtifactName("sara", Kind.MODEL, "chat"), "uid", fields, "users/sara", 1.0, 1.0)
    asked = filters.parse('license = "Apache  License 2.0"', catalog_fields.FILTERABLE)
    assert fields.license == "Apache License 2.0"
    assert asked in catalog_fields.terms_of(artifact)


def test_languages_are_codes() -> None:
    assert checked(ArtifactFields(language="fa, en-GB ,fa")).language == "fa,en-GB"
    with pytest.raises(Invalid, match="expected language codes such as fa"):
        checked(ArtifactFields(language="persian!"))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        (ArtifactFields(display_name="x" * 201), "artifact.display_name"),
        (ArtifactFields(description="x" * 10_001), "artifact.description"),
        (ArtifactFields(card="x" * 200_001), "artifact.card"),
        (ArtifactFields(tags=("x" * 65,)), "artifact.tags"),
        (ArtifactFields(tags=tuple(str(each) for each in range(65))), "artifact.tags"),
        (ArtifactFields(framework="no spaces"), "artifact.framework"),
        (ArtifactFields(license="x" * 101), "artifact.license"),
        (ArtifactFields(metadata={"x": "y" * 70_000}), "artifact.metadata"),
    ],
)
def test_too_much_is_refused_by_field(fields: ArtifactFields, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        checked(fields)
    assert caught.value.fields[0].field == field


def test_an_empty_mask_takes_what_is_populated() -> None:
    changed = masked(BEFORE, NEW, (), ("name", "etag", "display_name", "framework"))
    assert (changed.display_name, changed.framework) == ("New", "pytorch")
    assert (changed.tags, changed.license) == (("old",), "MIT")


def test_a_mask_may_empty_a_field() -> None:
    changed = masked(BEFORE, NEW, ("tags", "license"), ())
    assert (changed.display_name, changed.tags, changed.license) == ("Before", (), "")


def test_a_star_takes_everything() -> None:
    assert masked(BEFORE, NEW, ("*",), ()) == NEW


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        (("colour",), "no such field"),
        (("uid",), "the server gives it"),
        (("name",), "the server gives it"),
        (("format",), "the server gives it"),
        (("size_bytes", "tags"), "the server gives it"),
        (("metadata.owner",), "parts of a field"),
        (("*", "tags"), "alone"),
        (("",), "no such field"),
    ],
)
def test_other_paths_are_refused(paths: tuple[str, ...], why: str) -> None:
    with pytest.raises(Invalid, match=why) as caught:
        masked(BEFORE, NEW, paths, ())
    assert caught.value.fields[0].field == "update_mask"


@given(st.lists(st.text(max_size=12) | st.sampled_from(sorted(SETTABLE)), min_size=1, max_size=5))
def test_a_mask_changes_what_it_names_and_nothing_else(paths: list[str]) -> None:
    refused = refusal_of(masked, BEFORE, NEW, paths, ())
    if refused is not None:
        assert refused.fields[0].field == "update_mask"
        assert paths.count("*") or not SETTABLE.issuperset(paths)
        return
    changed = masked(BEFORE, NEW, paths, ())
    taken = SETTABLE if paths == ["*"] else set(paths)
    for name in SETTABLE:
        assert getattr(changed, name) == getattr(NEW if name in taken else BEFORE, name)


def test_terms_are_lower_case_and_one_for_each_language() -> None:
    name = ArtifactName("sara", Kind.DATASET, "Chat")
    fields = ArtifactFields(tags=("chat",), language="fa,en-GB", license="Apache-2.0")
    found = catalog_fields.terms_of(Artifact(name, "uid", fields, "users/sara", 1.0, 1.0))
    assert {Term("tag", "chat"), Term("language", "fa"), Term("language", "en-gb")} <= found
    assert {Term("license", "apache-2.0"), Term("owner", "users/sara"), Term("lifecycle", "active")} <= found
    assert not any(term.value == "" for term in found)
