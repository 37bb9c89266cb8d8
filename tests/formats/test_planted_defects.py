"""Each defect that was planted is found where it is: row, byte offset, column, reason; and nothing else."""

from pathlib import Path

import pytest

from helpers.checks import checked, errors
from ingot.server.core.params import Rules

GOOD = b'{"text":"one","n":1}\n'
ROW_2 = len(GOOD)

# path, content, row, byte offset, column, reason
JSON_LINES = [
    (GOOD + b'{"text":"tw\xffo"}\n' + GOOD, 2, ROW_2 + 11, 12, "invalid_utf8"),
    (GOOD + b'{"text":"tw\xd8', 2, ROW_2 + 11, 12, "invalid_utf8"),
    (GOOD + b'{"text": tru}\n' + GOOD, 2, ROW_2 + 12, 13, "json_syntax"),
    (GOOD + b'{"text" "x"}\n' + GOOD, 2, ROW_2 + 8, 9, "json_syntax"),
    (GOOD + b'{"text":"x",}\n' + GOOD, 2, ROW_2 + 12, 13, "json_syntax"),
    (GOOD + b'{"n":01}\n' + GOOD, 2, ROW_2 + 6, 7, "json_syntax"),
    (GOOD + b'{"n":1.}\n' + GOOD, 2, ROW_2 + 7, 8, "json_syntax"),
    (GOOD + b'{"n":NaN}\n' + GOOD, 2, ROW_2 + 5, 6, "json_syntax"),
    (GOOD + b'{"n":1e999}\n' + GOOD, 2, ROW_2 + 5, 6, "huge_number"),
    (GOOD + b'{"text":"a\tb"}\n' + GOOD, 2, ROW_2 + 10, 11, "control_character"),
    (GOOD + b'{"text":"a\0b"}\n' + GOOD, 2, ROW_2 + 10, 11, "nul"),
    (GOOD + b'{"text":"a\\qb"}\n' + GOOD, 2, ROW_2 + 11, 12, "json_syntax"),
    (GOOD + b'{"text":"\\ud800"}\n' + GOOD, 2, ROW_2 + 9, 10, "lone_surrogate"),
    (GOOD + b'{"text":"x"} {}\n' + GOOD, 2, ROW_2 + 13, 14, "json_syntax"),
    (GOOD + b'{"text":"x"\n' + GOOD, 2, ROW_2 + 11, 12, "json_syntax"),
    (GOOD + b"[1,2]\n" + GOOD, 2, ROW_2, 1, "not_object"),
    (GOOD + b'  "x"\n' + GOOD, 2, ROW_2 + 2, 3, "not_object"),
    (GOOD + b'{"a":1,"a":2}\n' + GOOD, 2, ROW_2 + 7, 8, "duplicate_key"),
    (GOOD + b'{"a" :"\\":","a":"\\\\"}\n' + GOOD, 2, ROW_2 + 12, 13, "duplicate_key"),
    (GOOD + b'{"x":{"b":[{"c":1,"c":"q"}]}}\n' + GOOD, 2, ROW_2 + 18, 19, "duplicate_key"),
    (GOOD + b'{"x":' + b"[" * 200 + b"]" * 200 + b"}\n", 2, ROW_2 + 5 + 199, 6 + 199, "too_deep"),
    ("\ufeff".encode() + b'{"n":}\n', 1, 3 + 5, 6, "json_syntax"),
    ('{"text":"سلام" 1}\n'.encode(), 1, 19, 16, "json_syntax"),
]


@pytest.mark.parametrize(("content", "row", "offset", "column", "reason"), JSON_LINES)
def test_a_defect_of_jsonl(
    tmp_path: Path, content: bytes, row: int, offset: int, column: int, reason: str
) -> None:
    found = errors(checked("a.jsonl", content, tmp_path))
    assert [(each.row, each.byte_offset, each.column, each.reason) for each in found] == [
        (row, offset, column, reason)
    ]


ELEMENT = b'{"text":"one"}'
ARRAYS = [
    (b"[" + ELEMENT + b', {"n":tru},' + ELEMENT + b"]", 2, 25, 26, "json_syntax"),
    (b"[\n" + ELEMENT + b",\n" + b'  {"text":"x\xff"}\n]', 2, 2 + 16 + 12, 13, "invalid_utf8"),
    (b"[\n" + ELEMENT + b",\n 7\n]", 2, 2 + 16 + 1, 2, "not_object"),
    (b"[" + ELEMENT + b" " + ELEMENT + b"]", 2, 16, 17, "json_syntax"),
    (b"[" + ELEMENT + b",]", 2, 16, 17, "json_syntax"),
    (b"[" + ELEMENT + b",," + ELEMENT + b"]", 2, 16, 17, "json_syntax"),
    (b"[" + ELEMENT + b"] x", None, 17, 18, "json_syntax"),
    (b"[" + ELEMENT + b",\n" + ELEMENT, 3, 31, 15, "json_syntax"),
    (b"[" + ELEMENT + b',\n{"text":"one', 2, 29, 13, "json_syntax"),
    (b"[" + ELEMENT + b',{"a":1,"a":2}]', 2, 23, 24, "duplicate_key"),
    (b"[" + ELEMENT + b',{"a":[1,2}]]', 2, 25, 26, "json_syntax"),
]


@pytest.mark.parametrize(("content", "row", "offset", "column", "reason"), ARRAYS)
def test_a_defect_of_a_json_array(
    tmp_path: Path, content: bytes, row: int | None, offset: int, column: int, reason: str
) -> None:
    found = errors(checked("a.json", content, tmp_path))
    assert (found[0].row, found[0].byte_offset, found[0].column, found[0].reason) == (
        row,
        offset,
        column,
        reason,
    )
    assert len(found) == 1


DOCUMENTS = [
    (b'{"a": {"b": [1, 2,, 3]}}', 18, 19, "json_syntax"),
    (b'{"a": 1,\n "b" 2}', 14, 6, "json_syntax"),
    (b'{"a": 1}}', 8, 9, "json_syntax"),
    (b'{"a": "\xff"}', 7, 8, "invalid_utf8"),
    (b'["x", "y"', 9, 10, "json_syntax"),
    (b"[" * 300, 200, 201, "too_deep"),
    (b"", 0, 1, "json_syntax"),
]


@pytest.mark.parametrize(("content", "offset", "column", "reason"), DOCUMENTS)
def test_a_defect_of_a_json_document(
    tmp_path: Path, content: bytes, offset: int, column: int, reason: str
) -> None:
    found = errors(checked("a.json", content, tmp_path))
    assert [(each.byte_offset, each.column, each.reason) for each in found] == [(offset, column, reason)]


HEADER = b"id,text,n\n"
CSV = [
    (HEADER + b"1,a,2\n2,b\n3,c,4\n", 2, 19, 2, "ragged_row"),
    (HEADER + b"1,a,2\n2,b,3,4\n3,c,4\n", 2, 22, 4, "ragged_row"),
    (HEADER + b'1,"a\n""b""",2\n2,b\n', 2, 27, 2, "ragged_row"),
    (HEADER + b'1,a,2\n2,b"b,3\n3,c,4\n', 2, 19, 2, "stray_quote"),
    (HEADER + b'1,a,2\n2,"b"b,3\n3,c,4\n', 2, 21, 2, "text_after_quote"),
    (HEADER + b'1,a,2\n2,"b,3\n3,"c",4\n4,d,5\n', 2, 18, 2, "unclosed_quote"),
    (HEADER + b'1,a,2\n2,"b,3\n3,c,4\n4,d,5\n', 2, 18, 2, "unclosed_quote"),
    (HEADER + b'1,a,2\n2,"b\nb","b,3\n3,c,4\n', 2, 24, 3, "unclosed_quote"),
    (HEADER + b"1,a,2\n2,b\xff,3\n3,c,4\n", 2, 19, 2, "invalid_utf8"),
    (HEADER + b'1,a,2\n2,"b,\xff",3\n3,c,4\n', 2, 21, 2, "invalid_utf8"),
    (HEADER + b"1,a,2\r\n2,b,\0\r\n", 2, 21, 3, "nul"),
    (b"id,text,id\n1,a,2\n", None, 8, 3, "duplicate_column"),
    (b'id;"te;xt";n\n1;a;2\n2;b\n', 2, 22, 2, "ragged_row"),
]


@pytest.mark.parametrize(("content", "row", "offset", "column", "reason"), CSV)
def test_a_defect_of_csv(
    tmp_path: Path, content: bytes, row: int | None, offset: int, column: int, reason: str
) -> None:
    found = errors(checked("a.csv", content, tmp_path))
    assert [(each.row, each.byte_offset, each.column, each.reason) for each in found] == [
        (row, offset, column, reason)
    ]


TEXTS = [
    ("سلام\n".encode() + b"b\xff\n", 2, 10, 2, "invalid_utf8"),
    ("سلام\x07\n".encode(), 1, 8, 5, "control_character"),
    (b"a\n\nb\0\n", 3, 4, 2, "nul"),
    (b"a\rb\r\n", None, None, None, None),
]


@pytest.mark.parametrize(("content", "row", "offset", "column", "reason"), TEXTS)
def test_a_defect_of_text(
    tmp_path: Path,
    content: bytes,
    row: int | None,
    offset: int | None,
    column: int | None,
    reason: str | None,
) -> None:
    found = errors(checked("a.txt", content, tmp_path))
    wanted = [(row, offset, column, reason)] if reason else []
    assert [(each.row, each.byte_offset, each.column, each.reason) for each in found] == wanted


def test_every_bad_record_is_found_beside_the_others(tmp_path: Path) -> None:
    content = b'[{"a":1}, {"a":}, {"b":2}, 5, {"a":2}]'
    found = errors(checked("a.json", content, tmp_path, Rules(required_columns=("a",))))
    assert [(each.row, each.byte_offset, each.reason) for each in found] == [
        (2, 15, "json_syntax"),
        (3, 18, "missing_column"),
        (4, 27, "not_object"),
    ]


def test_a_line_without_end_needs_no_memory_and_hides_nothing_behind_it(tmp_path: Path) -> None:
    long = b'{"text":"' + b"x" * (9 * 1024 * 1024) + b'"}\n'
    found = errors(checked("a.jsonl", GOOD + long + b"{\n", tmp_path))
    assert [(each.row, each.byte_offset, each.reason) for each in found] == [
        (2, ROW_2, "line_too_long"),
        (3, ROW_2 + len(long) + 1, "json_syntax"),
    ]


def test_a_long_csv_line_does_not_shift_what_follows(tmp_path: Path) -> None:
    long = b"1," + b"x" * (9 * 1024 * 1024) + b",2\n"
    found = errors(checked("a.csv", HEADER + long + b"2,b\n", tmp_path))
    assert [(each.row, each.byte_offset, each.reason) for each in found] == [
        (1, len(HEADER), "line_too_long"),
        (2, len(HEADER) + len(long) + 3, "ragged_row"),
    ]


def test_places_are_right_behind_the_first_block(tmp_path: Path) -> None:
    lines = [b'{"n":%d,"text":"%s"}\n' % (number, b"x" * (number % 977)) for number in range(4000)]
    lines[3900] = b'{"n":?}\n'
    offset = sum(map(len, lines[:3900]))
    found = errors(checked("a.jsonl", b"".join(lines), tmp_path))
    assert [(each.row, each.byte_offset, each.column) for each in found] == [(3901, offset + 5, 6)]


def test_more_columns_than_can_be_checked_are_told_at_once(tmp_path: Path) -> None:
    header = ",".join(f"c{index}" for index in range(20_001))
    found = checked("wide.csv", f"{header}\n{header}\n".encode() * 3, tmp_path)
    assert [each.reason for each in errors(found)] == ["too_many_columns"]
    assert not found.report.passed
