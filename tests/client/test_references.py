"""References: one parser, one printer."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.client import (
    HubSource,
    Invalid,
    Reference,
    TreeReference,
    UrlSource,
    job_name,
    parse_artifact,
    parse_reference,
    parse_tree,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("datasets/chat", Reference("datasets", "chat")),
        ("models/team-nlp/tiny@3", Reference("models", "tiny", "team-nlp", version="3")),
        ("models/tiny@v1.0.0", Reference("models", "tiny", version="1.0.0")),
        ("models/tiny@prod", Reference("models", "tiny", alias="prod")),
        ("models/tiny@prod:a/config.json", Reference("models", "tiny", alias="prod", path="a/config.json")),
        ("namespaces/t/models/tiny/versions/3", Reference("models", "tiny", "t", version="3")),
        (
            "namespaces/t/datasets/D.1/aliases/prod:x",
            Reference("datasets", "D.1", "t", alias="prod", path="x"),
        ),
        ("namespaces/t/models/tiny", Reference("models", "tiny", "t")),
        ("trainingJobs/job_12/checkpoints/500", TreeReference("trainingJobs/job_12/checkpoints/500")),
        ("uploads/file_12:a", TreeReference("uploads/file_12", "a")),
        ("hf://google/flan-t5-small@main", HubSource("google/flan-t5-small", revision="main")),
        ("hf://gpt2", HubSource("gpt2")),
        ("hf://datasets/org/name", HubSource("org/name", "datasets")),
        ("https://example.org/a.bin", UrlSource("https://example.org/a.bin")),
    ],
)
def test_forms(text: str, expected: object) -> None:
    assert parse_reference(text) == expected


@pytest.mark.contract("S2-32", "S2-46")
@pytest.mark.parametrize(
    ("text", "artifact_id"),
    [
        ("hf://bert-base-uncased", "bert-base-uncased"),
        ("hf://google/flan-t5-small", "google_flan-t5-small"),
        ("hf://facebook/opt-125m", "facebook_opt-125m"),
        ("hf://gpt2", "gpt2"),
    ],
)
def test_hub_names_get_ids_with_an_underscore(text: str, artifact_id: str) -> None:
    found = parse_reference(text)
    assert isinstance(found, HubSource)
    assert found.artifact_id == artifact_id


@pytest.mark.parametrize(
    ("text", "next_step"),
    [
        ("model/tiny", "Did you mean models/tiny?"),
        ("Datasets/chat", "Did you mean datasets/chat?"),
        ("tiny", "Did you mean models/tiny or datasets/tiny?"),
        ("models", "Write for example: models/NAME"),
        ("models/a/b/c", "Write for example: models/a"),
    ],
)
def test_a_wrong_word_gets_the_nearest(text: str, next_step: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_reference(text)
    assert caught.value.next_step == next_step
    assert (caught.value.reason, caught.value.facts["got"]) == ("NAME_INVALID", text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "models/",
        "models/tiny@",
        "models/tiny@UPPER",
        "models/Team/tiny",
        "models/-tiny",
        "namespaces/t/models/tiny/releases/3",
        "namespaces/t/models/tiny/versions/prod",
        "namespaces/t/models/tiny/aliases/3",
        "trainingJobs/job_12",
        "trainingJobs/job_12/checkpoints/last",
        "uploads/12",
        "hf://",
        "hf://a/b/c",
    ],
)
def test_bad_forms_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_reference(text)


def test_kinds_of_references_are_told_apart() -> None:
    with pytest.raises(Invalid):
        parse_artifact("uploads/file_12")
    with pytest.raises(Invalid) as caught:
        parse_tree("hf://gpt2")
    assert caught.value.next_step == "Fetch it first: ingot import hf://gpt2"
    assert {job_name(each) for each in ("12", "job_12", "trainingJobs/job_12")} == {"trainingJobs/job_12"}
    with pytest.raises(Invalid):
        job_name("job-12")


WORD = string.ascii_letters + string.digits
REFERENCES = st.builds(
    Reference,
    st.sampled_from(["models", "datasets"]),
    st.builds(lambda a, b: a + b, st.sampled_from(WORD), st.text(WORD + "._-", max_size=20)),
    st.sampled_from(["", "ada", "team-nlp", "0"]),
    st.just(""),
    st.just(""),
    st.sampled_from(["", "config.json", "a/b c/د.txt"]),
)
SELECTED = st.one_of(
    REFERENCES,
    st.builds(
        lambda ref, version: Reference(ref.kind, ref.artifact, ref.namespace, version=version, path=ref.path),
        REFERENCES,
        st.from_regex(r"[0-9][A-Za-z0-9.-]{0,10}", fullmatch=True),
    ),
    st.builds(
        lambda ref, alias: Reference(ref.kind, ref.artifact, ref.namespace, alias=alias, path=ref.path),
        REFERENCES,
        st.from_regex(r"(?!v[0-9])[a-z][a-z0-9-]{0,10}", fullmatch=True),
    ),
)


@given(SELECTED)
def test_what_is_printed_is_parsed_back(reference: Reference) -> None:
    assert parse_reference(str(reference)) == reference
    full = reference.in_namespace("own")
    name = full.name + (f":{full.path}" if full.path else "")
    assert parse_reference(name) == full


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("library/datasets/humaneval", "datasets/library/humaneval"),
        ("ftp://example.com/a", "http:// and https://"),
    ],
)
def test_what_is_nearly_right_is_answered_with_what_is_right(text: str, hint: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_reference(text)
    assert hint in refused.value.next_step
