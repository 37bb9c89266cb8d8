"""What is wrong with a GGUF file is found where it is, and no count in it is believed."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.checks import checked, errors
from helpers.model_files import Gguf

U32, TEXT, ARRAY, BOOL = 4, 8, 9, 7
F32, Q4_0 = 0, 2
KEY = 24  # where the first metadata key is
ONE = 24 + 8 + 1 + 4  # where the value of a first key of one letter is


def good(order: str = "<", version: int = 3) -> Gguf:
    file = Gguf(order, version)
    words = file.number("I", TEXT) + file.number("Q", 2) + file.text("سلام") + file.text("")
    numbers = file.number("I", U32) + file.number("Q", 3) + bytes(12)
    nested = (
        file.number("I", ARRAY) + file.number("Q", 1) + file.number("I", BOOL) + file.number("Q", 2) + b"\1\0"
    )
    file.key("general.architecture", TEXT, file.text("llama"))
    file.key("general.alignment", U32, file.number("I", 64))
    file.key("tokenizer.tokens", ARRAY, words).key("n", ARRAY, numbers).key("nested", ARRAY, nested)
    return file.tensor("a", (4, 2), F32, 0).tensor("b", (64, 3), Q4_0, 64)


DATA = bytes(64 + 108)
GOOD = good().file(DATA, 64)
HEAD = len(good().head())


def single(kind: int = F32, shape: tuple[int, ...] = (4,), begin: int = 0) -> Gguf:
    return Gguf().tensor("a", shape, kind, begin)


def twice() -> Gguf:
    return single().tensor("b", (4,), F32, 0)


N = Gguf()
# content, byte offset, reason
DEFECTS = [
    (GOOD[:3], 3, "truncated"),
    (GOOD[:100], 100, "truncated"),
    (GOOD[:-1], len(GOOD) - 1, "truncated"),
    (b"GGUX" + GOOD[4:], 0, "invalid_magic"),
    (Gguf(version=1).head(), 4, "unsupported_version"),
    (Gguf(version=4).head(), 4, "unsupported_version"),
    (Gguf(">", 4).head(), 4, "unsupported_version"),
    (Gguf().head(tensors=2**62), 8, "invalid_count"),
    (Gguf().head(tensors=1), 8, "invalid_count"),
    (Gguf().head(keys=2**64 - 1), 16, "invalid_count"),
    (Gguf().key(b"\xff", U32, bytes(4)).head(), KEY + 8, "invalid_utf8"),
    (Gguf().key("k" * 65_536, U32, bytes(4)).head(), KEY, "too_long"),
    (Gguf().key("k", U32, bytes(4)).key("k", U32, bytes(4)).head(), KEY + 17, "duplicate_key"),
    (Gguf().key("k", 13, bytes(8)).head(), KEY + 9, "unknown_type"),
    (Gguf().key("k", BOOL, b"\2").head(), ONE, "invalid_value"),
    (Gguf().key("k", TEXT, N.number("Q", 2**63)).head(), ONE + 8, "truncated"),
    (Gguf().key("k", ARRAY, N.number("I", U32) + N.number("Q", 2**62)).head(), ONE + 12, "truncated"),
    (Gguf().key("k", ARRAY, N.number("I", TEXT) + N.number("Q", 2**40)).head(), ONE + 4, "invalid_count"),
    (Gguf().key("k", ARRAY, N.number("I", 99) + N.number("Q", 0)).head(), ONE, "unknown_type"),
    (Gguf().key("k", ARRAY, (N.number("I", ARRAY) + N.number("Q", 1)) * 20).head(), ONE + 96, "too_deep"),
    (Gguf().key("general.alignment", U32, N.number("I", 24)).head(), KEY + 25, "invalid_alignment"),
    (Gguf().key("general.alignment", TEXT, N.text("8")).head(), KEY + 25, "invalid_alignment"),
    (Gguf().tensor("n" * 65, (1,), F32, 0).file(bytes(4)), KEY, "too_long"),
    (single().tensor("a", (4,), F32, 32).file(bytes(48)), KEY + 33, "duplicate_key"),
    (single(shape=(1, 1, 1, 1, 1)).file(bytes(4)), KEY + 9, "invalid_tensor"),
    (single(kind=4).file(bytes(16)), KEY + 21, "unknown_type"),
    (single(kind=Q4_0, shape=(33,)).file(bytes(64)), KEY + 21, "size_mismatch"),
    (single(begin=8).file(bytes(24)), KEY + 25, "misaligned"),
    (twice().file(bytes(16)), KEY + 33 + 25, "overlap"),
    (single(shape=(2**62,)).file(bytes(16)), 64 + 16, "truncated"),
]


@pytest.mark.parametrize(("content", "offset", "reason"), DEFECTS)
def test_a_defect_is_told_with_its_place(tmp_path: Path, content: bytes, offset: int, reason: str) -> None:
    outcome = checked("m.gguf", content, tmp_path)
    assert [(each.reason, each.byte_offset) for each in errors(outcome)] == [(reason, offset)]


@pytest.mark.parametrize(("order", "version"), [("<", 3), (">", 3), ("<", 2)])
def test_a_right_file_passes_and_is_counted(tmp_path: Path, order: str, version: int) -> None:
    outcome = checked("m.gguf", good(order, version).file(DATA, 64), tmp_path)
    assert outcome.findings.kept == []
    assert outcome.report.statistics == {
        "version": version,
        "architecture": "llama",
        "metadata_keys": 5,
        "tensors": 2,
        "parameters": 200,
        "types": {"F32": 1, "Q4_0": 1},
    }


def test_bytes_that_belong_to_no_tensor_are_a_remark(tmp_path: Path) -> None:
    outcome = checked("m.gguf", single(begin=64).file(bytes(64 + 16 + 32)), tmp_path)
    assert [(each.reason, each.byte_offset) for each in outcome.findings.kept] == [
        ("hole", KEY + 25),
        ("trailing_bytes", 64 + 64 + 16),
    ]
    assert outcome.report.passed


@given(st.lists(st.tuples(st.integers(0, HEAD), st.binary(max_size=4)), min_size=1, max_size=4))
@settings(max_examples=300)
def test_no_mutant_breaks_the_check(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, bytes]]
) -> None:
    mutant = bytearray(GOOD)
    for at, put in edits:
        mutant[at : at + len(put)] = put
    outcome = checked("m.gguf", bytes(mutant), tmp_path_factory.getbasetemp())
    outcome.report.model_dump_json()
    for each in outcome.findings.kept:
        assert each.byte_offset is not None
        assert 0 <= each.byte_offset <= len(mutant)
