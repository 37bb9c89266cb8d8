"""A defect at any place of any valid file is named at exactly that place."""

import csv
import io
import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.checks import checked, errors

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\ufeff\0"), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
RECORDS = st.lists(st.dictionaries(TEXT, VALUES, max_size=4), min_size=1, max_size=8)
INVALID = b"\xff"  # in no UTF-8 text, wherever it stands


def found(name: str, content: bytes) -> list[tuple[int | None, int | None, int | None, str]]:
    with tempfile.TemporaryDirectory() as folder:
        told = errors(checked(name, content, Path(folder)))
    return [(each.row, each.byte_offset, each.column, each.reason) for each in told]


def line_and_column(content: bytes, offset: int) -> tuple[int, int]:
    before = content[:offset]
    return before.count(b"\n") + 1, len(before[before.rfind(b"\n") + 1 :].decode()) + 1


def character_start(content: bytes, offset: int) -> int:
    while offset and content[offset : offset + 1] and content[offset] & 0xC0 == 0x80:
        offset -= 1
    return offset


@given(RECORDS, st.data(), st.booleans())
@settings(max_examples=70, deadline=None)
def test_jsonl_with_a_byte_that_is_no_text(
    records: list[dict[str, object]], data: st.DataObject, escaped: bool
) -> None:
    lines = [json.dumps(each, ensure_ascii=escaped).encode("utf-8") for each in records]
    content = b"\n".join(lines) + b"\n"
    row = data.draw(st.integers(0, len(lines) - 1))
    begin = sum(len(each) + 1 for each in lines[:row])
    inner = data.draw(st.integers(1, len(lines[row]) - 1))
    at = character_start(content, begin + inner)
    planted = content[:at] + INVALID + content[at:]
    line, column = line_and_column(content, at)
    ((got_line, got_at, got_column, reason),) = found("a.jsonl", planted)
    assert (got_line, got_at, got_column) == (line, at, column)
    assert reason in ("invalid_utf8", "json_syntax")


@given(RECORDS, st.data())
@settings(max_examples=70, deadline=None)
def test_jsonl_that_is_cut_within_a_record(records: list[dict[str, object]], data: st.DataObject) -> None:
    content = b"\n".join(json.dumps(each, ensure_ascii=True).encode() for each in records)
    last = content.rfind(b"\n") + 1
    end = data.draw(st.integers(last + 1, len(content) - 1))
    ((row, at, _, _),) = found("a.jsonl", content[:end])
    assert (row, at) == (len(records), end)


@given(RECORDS, st.data(), st.sampled_from([None, 1]))
@settings(max_examples=70, deadline=None)
def test_a_json_array_with_a_byte_that_is_no_text(
    records: list[dict[str, object]], data: st.DataObject, indent: int | None
) -> None:
    content = json.dumps(records, ensure_ascii=False, indent=indent).encode("utf-8")
    spans = list(elements(content.decode()))
    row = data.draw(st.integers(0, len(records) - 1))
    begin, end = spans[row]
    at = len(content.decode()[: data.draw(st.integers(begin + 1, end - 1))].encode())
    planted = content[:at] + INVALID + content[at:]
    _, column = line_and_column(content, at)
    told = found("a.json", planted)
    assert told[0][:3] == (row + 1, at, column)
    assert len(told) == 1


def elements(text: str) -> list[tuple[int, int]]:
    """Return where the elements of an array begin and end."""
    decoder, at = json.JSONDecoder(), 1
    spans: list[tuple[int, int]] = []
    while True:
        while text[at] in " \n,":
            at += 1
        if text[at] == "]":
            return spans
        _, end = decoder.raw_decode(text, at)
        spans.append((at, end))
        at = end


@given(st.lists(st.lists(TEXT, min_size=3, max_size=3), min_size=1, max_size=8), st.data())
@settings(max_examples=70, deadline=None)
def test_csv_with_a_byte_that_is_no_text(rows: list[list[str]], data: st.DataObject) -> None:
    written = [_csv_row(row) for row in rows]
    row = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(0, 2))
    fields = [_csv_field(each) for each in rows[row]]
    value = rows[row][column]
    inner = data.draw(st.integers(0, len(value)))
    broken = '"' + value[:inner].replace('"', '""') + "\0" + value[inner:].replace('"', '""') + '"'
    before = "".join(["a,b,c\n", *written[:row], *(f"{each}," for each in fields[:column])])
    at = len((before + broken[: broken.index("\0", _escaped(value[:inner]))]).encode())
    whole = before + broken + "".join(f",{each}" for each in fields[column + 1 :]) + "\n"
    content = whole.encode() + "".join(written[row + 1 :]).encode()
    planted = content[:at] + INVALID + content[at + 1 :]
    assert found("a.csv", planted)[0] == (row + 1, at, column + 1, "invalid_utf8")


def _escaped(text: str) -> int:
    return len(text) + text.count('"') + 1


def _csv_field(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _csv_row(values: list[str]) -> str:
    return ",".join(map(_csv_field, values)) + "\n"


@given(st.lists(st.lists(TEXT, min_size=2, max_size=4), min_size=2, max_size=6))
@settings(max_examples=80, deadline=None)
def test_csv_is_cut_as_python_cuts_it(rows: list[list[str]]) -> None:
    width = len(rows[0])
    rows = [(row * 3)[:width] for row in rows]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([["h"] * width, *rows])
    told = found("a.csv", text.getvalue().encode())
    assert {reason for *_, reason in told} <= {"duplicate_column"}


@given(st.lists(TEXT.filter(lambda text: not set(text) & set("\n\r")), min_size=1, max_size=8), st.data())
@settings(max_examples=60, deadline=None)
def test_text_with_a_byte_that_is_no_text(rows: list[str], data: st.DataObject) -> None:
    lines = ["".join(each for each in row if each >= " " and each != "\x7f") for row in rows]
    row = data.draw(st.integers(0, len(lines) - 1))
    inner = data.draw(st.integers(0, len(lines[row])))
    before = "".join(f"{each}\n" for each in lines[:row]) + lines[row][:inner]
    after = lines[row][inner:] + "\n" + "".join(f"{each}\n" for each in lines[row + 1 :])
    at = len(before.encode())
    assert found("a.txt", before.encode() + INVALID + after.encode()) == [
        (row + 1, at, inner + 1, "invalid_utf8")
    ]
