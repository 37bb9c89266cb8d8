"""Lists of sources: both forms, what is refused and how, and the lists that come with the product."""

import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ingot.server
from helpers.refusals import refusal_of
from ingot.server.core.artifacts import Visibility
from ingot.server.core.errors import Invalid, Reason
from ingot.server.core.names import Kind
from ingot.server.core.params import HubImport, UrlFile, UrlImport
from ingot.server.domain import declarations

SHIPPED = pathlib.Path(ingot.server.__file__).parent / "catalogs" / "benchmarks.toml"
SAMPLE = pathlib.Path(__file__).parents[2] / "docs" / "samples" / "huggingface_models.json"

OWN = """
[[datasets]]
name = "fa-chat"
url = "https://example.com/fa.jsonl"
checksum = "sha256:ab"
size_bytes = 12
description = "گفت‌وگو"
tags = ["Chat", "chat"]
language = "fa"
license = "mit"
visibility = "PUBLIC"

[[datasets]]
name = "parts"
files = [
    { urls = ["https://a.example/1.jsonl", "https://b.example/1.jsonl"], path = "one.jsonl" },
    { urls = ["https://a.example/2.zip"], unpack = true, checksum = "sha256:cd" },
]

[[models]]
hub = "google/flan-t5-small"
revision = "main"
include = ["*.safetensors"]
"""
KEYS = (
    "models",
    "datasets",
    "repo_id",
    "dataset_id",
    "hub",
    "url",
    "files",
    "name",
    "id",
    "type",
    "urls",
    "tags",
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.sampled_from(["gpt2", "org/name", "a/b_c", "a_b/c", "https://example.com/x", "dataset", "\ud800"]),
)
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=8)), inner, max_size=5),
    ),
    max_leaves=20,
)
OWN_DOCUMENTS = st.dictionaries(
    st.sampled_from(["models", "datasets"]),
    st.lists(st.dictionaries(st.sampled_from(KEYS), LEAVES, max_size=4), max_size=4),
)


def _named(text: str, name: str = "list.json") -> list[tuple[Kind, str, str]]:
    found = declarations.parse(text, name)
    assert all(isinstance(each.source, HubImport) for each in found)
    return [
        (each.kind, each.id, each.source.repository) for each in found if isinstance(each.source, HubImport)
    ]


# --- Ingot's own form ---------------------------------------------------------------------------------------


def test_our_form_says_all_of_an_artifact() -> None:
    model, chat, parts = declarations.parse(OWN, "list.toml")
    assert (model.kind, model.id) == (Kind.MODEL, "google_flan-t5-small")
    assert model.source == HubImport(
        repository="google/flan-t5-small",
        repository_kind="model",
        revision="main",
        include=("*.safetensors",),
    )
    assert (model.fields.display_name, model.fields.source) == ("google/flan-t5-small", "huggingface")
    assert model.fields.visibility is Visibility.INTERNAL
    assert (chat.kind, chat.id, chat.checksum, chat.size_bytes) == (Kind.DATASET, "fa-chat", "sha256:ab", 12)
    assert chat.source == UrlImport(
        files=(UrlFile(urls=("https://example.com/fa.jsonl",), checksum="sha256:ab", size_bytes=12),)
    )
    assert (chat.fields.display_name, chat.fields.tags, chat.fields.source) == ("fa-chat", ("chat",), "url")
    assert (chat.fields.language, chat.fields.license) == ("fa", "mit")
    assert (chat.fields.description, chat.fields.visibility) == ("گفت‌وگو", Visibility.PUBLIC)
    assert isinstance(parts.source, UrlImport)
    assert [(file.path, len(file.urls), file.unpack) for file in parts.source.files] == [
        ("one.jsonl", 2, False),
        ("", 1, True),
    ]


def test_our_form_is_read_as_json_too() -> None:
    entry = {"name": "x", "url": "https://example.com/x.jsonl"}
    (found,) = declarations.parse(json.dumps({"datasets": [entry]}), "list.json")
    assert (found.id, found.kind) == ("x", Kind.DATASET)
    assert isinstance(found.source, UrlImport)


def test_an_entry_of_our_form_without_a_source_is_not_taken_for_a_repository() -> None:
    entries = [{"name": "x", "url": "https://example.com/x.jsonl"}, {"name": "y"}]
    with pytest.raises(Invalid, match=r"datasets\[1\]: expected one of hub, url and files, got 0"):
        declarations.parse(json.dumps({"datasets": entries}), "list.json")


@pytest.mark.parametrize("text", ["", "models = []"])
def test_an_empty_list_declares_nothing(text: str) -> None:
    assert declarations.parse(text, "list.toml") == []


URL = 'url = "https://example.com/x"\n'
HUB = 'hub = "org/x"\n'
FILES = 'files = [{urls = ["https://example.com/1"]}, {urls = ["https://example.com/2"]}]\n'


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ('name = "x"', r"models\[0\]: expected one of hub, url and files, got 0"),
        ('name = "x"\n' + URL + HUB, r"models\[0\]: expected one of hub, url and files, got 2"),
        (URL, r"models\[0\]: expected a name"),
        ('hub = "https://huggingface.co/org/x"', r"models\[0\]\.hub: expected name or org/name, got 'https:"),
        ('hub = "org/a--b"', r"models\[0\]\.hub: expected name or org/name"),
        (f'hub = "{"o" * 60}/{"x" * 60}"', r"models\[0\]\.name: expected a letter or digit"),
        ('name = "no spaces"\n' + HUB, r"models\[0\]\.name: expected a letter or digit, .* got 'no spaces'"),
        ('licence = "mit"\n' + HUB, r"models\[0\]\.licence: Extra inputs are not permitted"),
        ('tags = "small"\n' + HUB, r"models\[0\]\.tags: Input should be a valid tuple"),
        ("size_bytes = -1\n" + HUB, r"models\[0\]\.size_bytes: Input should be greater than or equal to 0"),
        ('visibility = "OPEN"\n' + HUB, r"models\[0\]\.visibility: Input should be 'PRIVATE', 'INTERNAL' or"),
        ('language = "persian!"\n' + HUB, r"models\[0\]\.language: expected language codes such as fa"),
        ('task_type = "two words"\n' + HUB, r"models\[0\]\.task_type: expected a word"),
        ("size_bytes = 1\n" + HUB, r"models\[0\]: expected no checksum or size_bytes with hub"),
        ("unpack = true\n" + HUB, r"models\[0\]\.unpack: expected it with url"),
        ('name = "x"\nunpack = true\n' + FILES, r"models\[0\]\.unpack: expected it at each of the files"),
        ('name = "x"\nrevision = "main"\n' + URL, r"expected revision, include and exclude with hub only"),
        ('name = "x"\nsize_bytes = 3\n' + FILES, r"expected checksum and size_bytes at each of the files"),
        ('name = "x"\nfiles = [{urls = []}]', r"models\[0\]\.files\[0\]\.urls: Tuple should have at least 1"),
    ],
)
def test_what_is_wrong_in_our_form_is_told_with_its_place(entry: str, why: str) -> None:
    with pytest.raises(Invalid, match=f"list.toml: .*{why}"):
        declarations.parse(f"[[models]]\n{entry}", "list.toml")


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(Invalid, match=r"list\.toml: dataset: Extra inputs are not permitted"):
        declarations.parse('[[dataset]]\nname = "x"\n' + URL, "list.toml")


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        ("[[models", "list.toml", "list.toml: not TOML: "),
        ("{", "list.json", "list.json: not JSON: "),
        ("", "list.json", "list.json: not JSON: "),
        ("9" * 5000, "list.json", "list.json: not JSON: "),
        ("[" * 200_000, "list.json", "list.json: not usable JSON: it is nested too deeply"),
        ('["a/b",' * 30 + '"c/d"' + "]" * 30, "list.json", "list.json: expected at most 20 levels"),
        ('{"version": "1.0", "cache_dir": "data/models"}', "list.json", "list.json: it names no source"),
    ],
)
def test_files_that_are_no_list_are_refused(text: str, name: str, why: str) -> None:
    with pytest.raises(Invalid, match=f"The list of sources cannot be used. {why}") as caught:
        declarations.parse(text, name)
    assert caught.value.reason is Reason.FIELD_INVALID
    assert "docs/sources.md" in caught.value.next_step


# --- two sources on one id ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('["org/a_b", "org_a/b"]', "list.json"),
        ('[[models]]\nhub = "org/x"\n[[models]]\nname = "ORG_X"\n' + URL, "list.toml"),
        ('[[models]]\nhub = "org/x"\n[[models]]\nhub = "org/x"\nrevision = "v2"', "list.toml"),
    ],
)
def test_two_originals_on_one_id_are_refused(text: str, name: str) -> None:
    with pytest.raises(Invalid, match="is declared twice, with different sources"):
        declarations.parse(text, name)


def test_the_same_twice_is_one_and_a_model_is_no_dataset() -> None:
    assert _named('{"models": ["org/x", {"repo_id": "org/x"}], "datasets": ["org/x"]}') == [
        (Kind.MODEL, "org_x", "org/x"),
        (Kind.DATASET, "org_x", "org/x"),
    ]


# --- lists of Hub repositories ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (["gpt2", "org/x"], ["models gpt2", "models org/x"]),
        ({"models": {"small": ["gpt2"], "large": {"chat": "org/x"}}}, ["models gpt2", "models org/x"]),
        ({"models": [{"repo": "org/x", "frameworks": ["pytorch"]}]}, ["models org/x"]),
        ({"models": ["gpt2"]}, ["models gpt2"]),
        ({"chat": {"model_id": "org/x", "revision": "v1"}}, ["models org/x"]),
        ({"repo_id": "org/x"}, ["models org/x"]),
        ([{"dataset_id": "org/x"}, {"id": "org/y", "type": "dataset"}], ["datasets org/x", "datasets org/y"]),
        ({"hf_datasets": [{"name": "org/x"}]}, ["datasets org/x"]),
        ({"models": [{"name": "My model", "repo": "org/x"}]}, ["models org/x"]),
        (
            {"name": "catalog", "version": "1.0", "models": ["org/x"], "datasets": ["org/y"]},
            ["models org/x", "datasets org/y"],
        ),
        ({"models": [{"repo_id": "org/x", "url": "https://huggingface.co/org/x"}]}, ["models org/x"]),
        ({"cache_dir": "data/hub", "license": "mit/x", "models": ["org/x"]}, ["models org/x"]),
        ({"models": []}, []),
        ([], []),
    ],
)
def test_lists_of_repositories_are_read_in_any_shape(content: object, expected: list[str]) -> None:
    found = _named(json.dumps(content))
    assert [f"{kind.value} {repository}" for kind, _, repository in found] == expected
    assert [id_ for _, id_, _ in found] == [declarations.hub_id(name) for _, _, name in found]


def test_a_repository_whose_name_is_too_long_for_an_id_is_refused() -> None:
    long = f"{'o' * 60}/{'x' * 60}"
    with pytest.raises(Invalid, match="expected a letter or digit"):
        declarations.parse(json.dumps([long]), "list.json")
    named = {"models": [{"hub": long, "name": "short"}]}
    assert _named(json.dumps(named)) == [(Kind.MODEL, "short", long)]


# --- whatever comes -----------------------------------------------------------------------------------------


@given(st.one_of(DOCUMENTS, OWN_DOCUMENTS))
def test_any_json_is_taken_or_refused(content: object) -> None:
    refusal = refusal_of(declarations.parse, json.dumps(content), "list.json")
    assert refusal is None or isinstance(refusal, Invalid)


@given(st.text(), st.sampled_from(["list.json", "list.toml"]))
def test_any_text_is_taken_or_refused(text: str, name: str) -> None:
    refusal = refusal_of(declarations.parse, text, name)
    assert refusal is None or isinstance(refusal, Invalid)


# --- what comes with the product ----------------------------------------------------------------------------


@pytest.mark.contract("S4-4")
def test_the_shipped_catalog_declares_well_known_benchmarks() -> None:
    found = declarations.parse(SHIPPED.read_text(encoding="utf-8"), str(SHIPPED))
    by_id = {each.id: each for each in found}
    assert len(by_id) == len(found)
    assert {"humaneval", "mbpp", "gsm8k", "mmlu", "arc", "squad"} <= by_id.keys()
    assert by_id["humaneval"].kind is Kind.DATASET
    assert by_id["humaneval"].source == HubImport(
        repository="openai/openai_humaneval", repository_kind="dataset"
    )
    assert by_id["humaneval"].fields.license == "mit"
    assert {each.kind for each in found} == {Kind.MODEL, Kind.DATASET}
    assert {"fa"} < {code for each in found for code in each.fields.language.split(",")}
    for each in found:
        assert each.fields.description, each.id
        assert each.fields.task_type, each.id


@pytest.mark.contract("S0-4")
def test_huggingface_models_json_is_read() -> None:
    assert _named(SAMPLE.read_text(encoding="utf-8"), SAMPLE.name) == [
        (Kind.MODEL, "openai-community_gpt2", "openai-community/gpt2"),
        (Kind.MODEL, "google_flan-t5-small", "google/flan-t5-small"),
        (Kind.MODEL, "HooshvareLab_bert-fa-base-uncased", "HooshvareLab/bert-fa-base-uncased"),
        (Kind.DATASET, "openai_openai_humaneval", "openai/openai_humaneval"),
        (Kind.DATASET, "openai_gsm8k", "openai/gsm8k"),
    ]
