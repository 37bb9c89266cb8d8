"""What is wrong with a safetensors file is found where it is, and nothing in it breaks the check."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.checks import checked, errors, reasons
from helpers.model_files import safetensors

A = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
B = {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]}
GOOD = safetensors({"__metadata__": {"format": "pt"}, "a": A, "b": B}, bytes(22), pad=3)
F8 = '{"dtype":"U8","shape":[%d],"data_offsets":[%d,%d]}'

# content, byte offset, reason
DEFECTS = [
    (GOOD[:5], 5, "truncated"),
    (GOOD[:60], 60, "truncated"),
    (GOOD[:-1], len(GOOD) - 1, "truncated"),
    (GOOD + b"x", len(GOOD), "trailing_bytes"),
    ((2**60).to_bytes(8, "little") + b"{}", 0, "header_too_large"),
    (safetensors(" {}"), 8, "invalid_header"),
    (safetensors("{} x"), 8 + 3, "invalid_header"),
    (safetensors('{"a":' + F8 % (0, 0, 0)), 8 + 5 + 47, "invalid_json"),
    (safetensors("{a:1}"), 8 + 1, "invalid_json"),
    (safetensors('{"a" 1}'), 8 + 5, "invalid_json"),
    (safetensors('{"a":[}'), 8 + 6, "invalid_json"),
    (safetensors('{"a":' + "[" * 100_000), 8 + 5, "invalid_json"),
    (safetensors('{"a":' + "1" * 5000 + "}"), 8 + 5, "invalid_json"),
    ((8).to_bytes(8, "little") + b'{"\xff":1} ', 8 + 2, "invalid_utf8"),
    (safetensors('{"a":7}'), 8 + 5, "invalid_tensor"),
    (safetensors('{"é":7}'), 8 + 6, "invalid_tensor"),
    (safetensors({"a": {**A, "extra": 1}}, bytes(16)), 8 + 5, "invalid_tensor"),
    (safetensors({"a": {**A, "dtype": "F31"}}, bytes(16)), 8 + 5, "invalid_tensor"),
    (safetensors({"a": {**A, "shape": [2, -2]}}, bytes(16)), 8 + 5, "invalid_tensor"),
    (safetensors({"a": {**A, "shape": [2, True]}}, bytes(16)), 8 + 5, "invalid_tensor"),
    (safetensors({"a": {**A, "data_offsets": [16, 0]}}, bytes(16)), 8 + 5, "invalid_tensor"),
    (safetensors({"a": {**A, "shape": [2, 3]}}, bytes(16)), 8 + 5, "size_mismatch"),
    (safetensors({"a": {"dtype": "F4", "shape": [3], "data_offsets": [0, 1]}}, b"x"), 13, "size_mismatch"),
    (safetensors({"__metadata__": {"a": 1}}), 8 + 16, "invalid_metadata"),
    (safetensors('{"a":' + F8 % (1, 0, 1) + ',"a":' + F8 % (1, 1, 2) + "}", b"xx"), 8 + 53, "duplicate_key"),
    (safetensors('{"a":{"dtype":"U8","dtype":"I8"}}'), 8 + 5, "duplicate_key"),
    (safetensors('{"a":' + F8 % (1, 1, 2) + "}", b"xx"), 8 + 5, "hole"),
    (safetensors('{"a":' + F8 % (2, 0, 2) + ',"b":' + F8 % (1, 1, 2) + "}", b"xx"), 8 + 57, "overlap"),
]


@pytest.mark.parametrize(("content", "offset", "reason"), DEFECTS)
def test_a_defect_is_told_with_its_place(tmp_path: Path, content: bytes, offset: int, reason: str) -> None:
    outcome = checked("m.safetensors", content, tmp_path)
    assert [(each.reason, each.byte_offset) for each in errors(outcome)] == [(reason, offset)]
    assert not outcome.report.passed


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        safetensors("{}"),
        safetensors({"b": B, "a": A}, bytes(22)),
        safetensors({"é\U0001f600": A}, bytes(16)),
        safetensors({"empty": {"dtype": "F64", "shape": [0, 4], "data_offsets": [0, 0]}}),
        safetensors({"scalar": {"dtype": "F64", "shape": [], "data_offsets": [0, 8]}}, bytes(8)),
        gzip.compress(GOOD),
    ],
)
def test_a_right_file_passes(tmp_path: Path, content: bytes) -> None:
    name = "m.safetensors.gz" if content.startswith(b"\x1f") else "m.safetensors"
    outcome = checked(name, content, tmp_path)
    assert outcome.findings.kept == []


def test_statistics(tmp_path: Path) -> None:
    report = checked("m.safetensors", GOOD, tmp_path).report
    assert (report.format, report.validator) == ("safetensors", "safetensors")
    assert report.statistics == {
        "tensors": 2,
        "parameters": 7,
        "dtypes": {"F32": 1, "BF16": 1},
        "metadata": {"format": "pt"},
    }


def test_metadata_that_no_report_can_hold(tmp_path: Path) -> None:
    report = checked("m.safetensors", safetensors('{"__metadata__":{"\\ud800":"\\udfff"}}'), tmp_path).report
    assert b'"?":"?"' in report.model_dump_json().encode()


def test_it_is_recognised_under_another_name(tmp_path: Path) -> None:
    outcome = checked("m.txt", GOOD, tmp_path)
    assert outcome.report.format == "safetensors"
    assert "format_mismatch" in reasons(outcome)


@given(st.lists(st.tuples(st.integers(0, len(GOOD)), st.binary(max_size=4)), min_size=1, max_size=4))
@settings(max_examples=300)
def test_no_mutant_breaks_the_check(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, bytes]]
) -> None:
    mutant = bytearray(GOOD)
    for at, put in edits:
        mutant[at : at + len(put)] = put
    outcome = checked("m.safetensors", bytes(mutant), tmp_path_factory.getbasetemp())
    outcome.report.model_dump_json()
    for each in outcome.findings.kept:
        assert each.byte_offset is not None
        assert 0 <= each.byte_offset <= len(mutant)
