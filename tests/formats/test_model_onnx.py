"""What is wrong with an ONNX file is found where it is, and a tensor outside the version is unsafe."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.checks import checked, errors
from ingot.server.core.params import Rules


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def entry(key: str, value: str) -> bytes:
    return block(13, block(1, key.encode()) + block(2, value.encode()))


FLOAT = number(1, 2) + number(1, 2) + number(2, 1)
RAW = FLOAT + block(8, b"w") + block(9, bytes(16))
NODE = block(1, block(1, b"x") + block(4, b"Add") + block(5, block(1, b"value") + block(5, RAW)))
BEGIN = number(1, 10) + block(8, block(1, b"") + number(2, 21))


def model(tensor: bytes = RAW) -> bytes:
    return BEGIN + block(7, NODE + block(5, tensor))


def outside(location: str) -> bytes:
    return model(FLOAT + entry("location", location) + number(14, 1))


GOOD = model()
GRAPH = len(BEGIN)  # where the field of the graph begins
TENSOR = GRAPH + 2 + len(NODE)  # where the field of the tensor begins
EXTERNAL = TENSOR + 2 + len(FLOAT) + 2 + 10 + 2  # where the text of a location begins

# content, byte offset, reason
DEFECTS = [
    (GOOD[:-1], len(GOOD) - 1, "truncated"),
    (b"\x08", 1, "truncated"),
    (BEGIN, len(BEGIN), "no_graph"),
    (number(1, 10) + GOOD[len(BEGIN) :], len(GOOD) - len(BEGIN) + 2, "no_opset"),
    (GOOD[2:], len(GOOD) - 2, "no_version"),
    (GOOD + b"\x0b", len(GOOD), "invalid_field"),
    (GOOD + b"\x80" * 11, len(GOOD), "invalid_field"),
    (GOOD + block(7, b"\x0a\x05") + bytes(9), len(GOOD) + 3, "invalid_field"),
    (model(number(1, 3) + number(2, 1) + block(9, bytes(16))), TENSOR + 2 + 4, "size_mismatch"),
    (model(number(1, 3) + number(2, 99)), TENSOR, "unknown_type"),
    (model(number(1, 2**63) + number(2, 1)), TENSOR + 2, "invalid_tensor"),
    (model(FLOAT + number(14, 1)), TENSOR, "no_location"),
    (outside("/etc/passwd"), EXTERNAL, "unsafe_content"),
    (outside("../../secret"), EXTERNAL, "unsafe_content"),
    (outside("a\\..\\..\\b"), EXTERNAL, "unsafe_content"),
    (outside("C:\\b"), EXTERNAL, "unsafe_content"),
]


@pytest.mark.parametrize(("content", "offset", "reason"), DEFECTS)
def test_a_defect_is_told_with_its_place(tmp_path: Path, content: bytes, offset: int, reason: str) -> None:
    outcome = checked("m.onnx", content, tmp_path)
    assert [(each.reason, each.byte_offset) for each in errors(outcome)] == [(reason, offset)]


def test_messages_nested_without_end(tmp_path: Path) -> None:
    content = b""
    for _ in range(40):
        content = block(1, block(5, block(6, content)))
    outcome = checked("m.onnx", BEGIN + block(7, content), tmp_path)
    assert [each.reason for each in errors(outcome)] == ["too_deep"]


def test_a_right_file_passes_and_is_counted(tmp_path: Path) -> None:
    outcome = checked("m.onnx", GOOD, tmp_path)
    assert outcome.findings.kept == []
    assert outcome.report.statistics == {
        "ir_version": 10,
        "opsets": {"ai.onnx": 21},
        "nodes": 1,
        "tensors": 2,
        "parameters": 8,
        "types": {"float": 2},
        "external_files": [],
    }


def test_a_tensor_beside_the_model_passes(tmp_path: Path) -> None:
    outcome = checked("m.onnx", outside("data/weights.bin"), tmp_path)
    assert outcome.report.passed
    assert outcome.report.statistics["external_files"] == ["data/weights.bin"]


def test_unsafe_content_that_is_allowed_is_a_remark(tmp_path: Path) -> None:
    outcome = checked("m.onnx", outside("/etc/passwd"), tmp_path, Rules(allow_unsafe=True))
    assert [(each.severity, each.reason) for each in outcome.findings.kept] == [("warning", "unsafe_content")]
    assert outcome.report.passed


@given(st.lists(st.tuples(st.integers(0, len(GOOD)), st.binary(max_size=4)), min_size=1, max_size=4))
@settings(max_examples=300)
def test_no_mutant_breaks_the_check(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, bytes]]
) -> None:
    mutant = bytearray(GOOD)
    for at, put in edits:
        mutant[at : at + len(put)] = put
    outcome = checked("m.onnx", bytes(mutant), tmp_path_factory.getbasetemp())
    outcome.report.model_dump_json()
    for each in outcome.findings.kept:
        assert each.byte_offset is not None or each.reason == "empty_file"
