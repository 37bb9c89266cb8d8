"""Paths that may stand in a tree, on their own and together."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingot.content import paths


@pytest.mark.parametrize(
    "path",
    [
        "a", "a/b/c.txt", ".gitattributes", "..a", "a..b", "...a", "model-00001-of-00002.safetensors",
        "with space.txt", "سلام.jsonl", "می\u200cخواهم/پرونده.txt", "日本/語", "é", "console.txt", "com10",
        "x" * 255, "/".join(["ab"] * 341),
    ],
)  # fmt: skip
def test_good_paths(path: str) -> None:
    paths.check_path(path)


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("", "empty"),
        ("/a", "starts with"),
        ("//server/share", "starts with"),
        ("a//b", "empty part"),
        ("a/", "empty part"),
        (".", "'.'"),
        ("..", "'..'"),
        ("a/../b", "'..'"),
        ("a/./b", "'.'"),
        ("a\0b", r"U\+0000"),
        ("a\nb", r"U\+000A"),
        ("a\x7fb", r"U\+007F"),
        ("a\x85b", r"U\+0085"),
        ("a\\b", "backslash"),
        ("\\\\server\\share", "backslash"),
        ("C:/x", "':'"),
        ("file:stream", "':'"),
        ("what?", "'\\?'"),
        ("CON", "device"),
        ("a/nul.txt", "device"),
        ("Lpt1.tar.gz", "device"),
        ("com¹", "device"),
        ("aux .txt", "device"),
        ("a.", "dot or a space"),
        ("a /b", "dot or a space"),
        ("e\u0301", "NFC"),
        ("\udcff", "Unicode"),
        ("x" * 256, "255 bytes"),
        ("/".join(["ab"] * 342), "1025 bytes long"),
    ],
)
def test_refused_paths(path: str, rule: str) -> None:
    with pytest.raises(paths.PathError, match=rule) as caught:
        paths.check_path(path)
    assert caught.value.path == (path if len(path) <= 200 else f"{path[:200]}…")
    assert caught.value.rule in str(caught.value)


@pytest.mark.parametrize(
    "tree",
    [
        ["a", "a"],
        ["README", "readme"],
        ["straße", "STRASSE"],
        ["data/a", "Data/b"],
        ["a", "a/b"],
        ["a/b", "a"],
        ["ok", "../up"],
        ["\u1e9b\u0323", "\u1e69"],
    ],
)
def test_refused_trees(tree: list[str]) -> None:
    with pytest.raises(paths.PathError):
        paths.check_tree(tree)


def test_good_tree() -> None:
    paths.check_tree(["a/b", "a/c", "ab", "a.txt", "b/a", "ي", "ی"])
    paths.check_tree([])


@given(st.text(max_size=30))
def test_an_accepted_path_is_safe_everywhere(path: str) -> None:
    try:
        paths.check_path(path)
    except paths.PathError:
        return
    assert unicodedata.normalize("NFC", path) == path
    assert len(path.encode()) <= paths.MAX_PATH_BYTES
    for part in path.split("/"):
        assert part not in ("", ".", "..")
        assert not part.endswith((".", " "))
        assert not set(part) & set('\\:<>"|?*\0')


_TOKENS = ["con", "Nul", "com1", "lpt9", "com10", "aux", ".", "..", "/", "-", " ", "x", "X", "x" * 130, "é"]


@given(st.lists(st.sampled_from(_TOKENS), max_size=8).map("".join))
def test_what_is_taken_at_a_glance_also_passes_a_closer_look(path: str) -> None:
    if len(path) <= paths.MAX_PATH_BYTES and paths._PLAIN.fullmatch(path):
        paths._check_closely(path)
    normal = unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())
    assert paths.fold(path) == normal
