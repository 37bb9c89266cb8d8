"""Names parse in one place: what is formatted parses to the same, and everything else is refused clearly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.refusals import refusal_of
from ingot.server.core import names
from ingot.server.core.errors import Invalid, Reason
from ingot.server.core.names import AliasName, ArtifactName, CheckpointName, Kind, UploadName, VersionName

NAMESPACES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,38}", fullmatch=True)
ARTIFACTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", fullmatch=True)
VERSIONS = st.from_regex(r"[0-9][A-Za-z0-9.-]{0,63}", fullmatch=True)
ALIASES = st.from_regex(r"(?!v[0-9])[a-z][a-z0-9-]{0,31}", fullmatch=True)
NAMES = st.builds(ArtifactName, NAMESPACES, st.sampled_from(Kind), ARTIFACTS)


@given(NAMES | st.builds(VersionName, NAMES, VERSIONS) | st.builds(AliasName, NAMES, ALIASES))
def test_references_survive_a_round_trip(reference: ArtifactName | VersionName | AliasName) -> None:
    assert names.version_reference(str(reference)) == reference
    assert names.tree_name(str(reference)) == reference


@given(st.text(max_size=80) | st.from_regex(r"namespaces/[^/]*/(models|datasets|x)/[^/]*(/.*)?"))
def test_other_text_is_refused_or_parses_to_what_it_says(text: str) -> None:
    refused = refusal_of(names.tree_name, text)
    if refused is not None:
        assert refused.reason is Reason.NAME_INVALID
        assert refused.fields[0].field == "tree"
    else:
        found = names.tree_name(text)
        assert str(found) == text or "/versions/v" in text or isinstance(found, UploadName | CheckpointName)


@pytest.mark.parametrize(
    ("given_id", "kept"), [("v1.0.0", "1.0.0"), ("v2.1.0", "2.1.0"), ("1.0.0", "1.0.0"), ("3", "3")]
)
def test_a_leading_v_of_a_version_is_dropped(given_id: str, kept: str) -> None:
    assert names.check_version_id(given_id) == kept
    found = names.version_reference(f"namespaces/sara/models/tiny/versions/{given_id}")
    assert isinstance(found, VersionName)
    assert found.version == kept


@pytest.mark.parametrize("given_id", ["", "v", "vv1", "latest", "1/2", "1 2", "۱", "1" * 65, "-1"])
def test_other_version_ids_are_refused(given_id: str) -> None:
    with pytest.raises(Invalid, match="version_id: expected a digit"):
        names.check_version_id(given_id)


@pytest.mark.parametrize("given_id", ["", "v3", "Prod", "1st", "a" * 33, "a_b", "latest"])
def test_other_alias_ids_are_refused(given_id: str) -> None:
    with pytest.raises(Invalid, match="alias: expected"):
        names.check_alias_id(given_id)


def test_names_of_people_and_tokens() -> None:
    assert names.user_id("users/sara") == "sara"
    assert names.token_ids("users/sara/tokens/tok_7") == ("sara", "tok_7")
    for text in ("users/Sara", "users/", "users/sara/tokens/7", "users/sara/token/tok_7", "tokens/tok_7"):
        with pytest.raises(Invalid):
            names.token_ids(text)


@pytest.mark.parametrize(
    ("version_id", "number"),
    [("3", 3), ("1.0.0", 1), ("20240101", 20240101), ("9" * 15, 10**15 - 1), ("9" * 16, 0)],
)
def test_the_number_a_version_starts_with(version_id: str, number: int) -> None:
    assert names.leading_number(version_id) == number
