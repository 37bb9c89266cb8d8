"""Rows of data files from the beginning, the end and random places, of small and large files."""

import functools
import gzip
import io
import json
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingot.server.core.contents import Part, Preview, Sampling, WantedRows
from ingot.server.formats import previews, summaries
from ingot.server.formats.data_files import NoRows

COUNT = 60_000  # records, of more than SMALL bytes


class Source(io.BytesIO):
    """Bytes in memory that count how many were read."""

    taken = 0

    @property
    def size(self) -> int:
        return len(self.getbuffer())

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


def shown(path: str, data: bytes, part: Part = Part.FIRST, count: int = 20, seed: int = 0) -> Preview:
    return previews.preview(path, Source(data), WantedRows(part, count, seed))


def ids(preview: Preview) -> list[int]:
    assert all(isinstance(row.value, dict) for row in preview.rows), preview.rows
    return [int(str(row.value["id"])) for row in preview.rows if isinstance(row.value, dict)]


@functools.cache
def _records(count: int) -> list[dict[str, object]]:
    dice = random.Random(1)
    return [
        {
            "id": number,
            "text": 'a "quoted", [text] {with}\nlines\\' + "x" * dice.randrange(200),
            "parts": [{"id": -1, "x": 1}, {"id": -2, "x": 2}],
        }
        for number in range(1, count + 1)
    ]


def _csv(rows: Sequence[dict[str, object]]) -> bytes:
    lines = ["id,text,parts"]
    for row in rows:
        text = str(row["text"]).replace('"', '""')
        lines.append(f'{row["id"]},"{text}",3')
    return "\n".join(lines).encode() + b"\n"


LARGE = ("a.jsonl", "a.csv", "a.json")


@functools.cache
def large(path: str) -> bytes:
    """Return a file of many records; made by the first who wants it, not by everybody who collects tests."""
    rows = _records(COUNT)
    match path:
        case "a.jsonl":
            return "".join(json.dumps(row) + "\n" for row in rows).encode()
        case "a.csv":
            return _csv(rows)
        case _:
            return json.dumps(rows, indent=1).encode()


@pytest.mark.parametrize("path", LARGE)
def test_the_ends_of_a_large_file_need_little_reading(path: str) -> None:
    for part, expected in ((Part.FIRST, [1, 2, 3]), (Part.LAST, [COUNT - 2, COUNT - 1, COUNT])):
        source = Source(large(path))
        found = previews.preview(path, source, WantedRows(part, 3))
        assert ids(found) == expected
        assert source.taken < 3 * 1024 * 1024
        assert found.sampling is Sampling.NONE


@pytest.mark.parametrize("path", LARGE)
def test_random_rows_of_a_large_file_are_whole_and_from_everywhere(path: str) -> None:
    source = Source(large(path))
    found = previews.preview(path, source, WantedRows(Part.RANDOM, 30, 4))
    numbers = ids(found)
    assert found.sampling is Sampling.BY_OFFSET
    assert len(set(numbers)) == 30
    assert numbers == sorted(numbers)
    assert min(numbers) < COUNT / 4
    assert max(numbers) > COUNT * 3 / 4
    assert all(number > 0 for number in numbers)  # none is an object inside another
    assert source.taken < 32 * 1024 * 1024
    for row, number in zip(found.rows, numbers, strict=True):
        assert isinstance(row.value, dict)
        assert row.value["text"] == _records(COUNT)[number - 1]["text"]
    assert ids(shown(path, large(path), Part.RANDOM, 30, 5)) != numbers


@pytest.mark.parametrize("path", LARGE)
def test_each_row_of_a_small_file_is_as_likely_as_any_other(path: str) -> None:
    rows = _records(COUNT)[:10]
    data = {"a.jsonl": large("a.jsonl")[: large("a.jsonl").index(b'{"id": 11,')], "a.csv": _csv(rows)}
    content = data.get(path) or json.dumps(rows).encode()
    seen: dict[int, int] = {}
    for seed in range(300):
        for number in ids(shown(path, content, Part.RANDOM, 2, seed)):
            seen[number] = seen.get(number, 0) + 1
    assert sorted(seen) == list(range(1, 11))
    assert all(30 < count < 95 for count in seen.values())


def test_values_are_as_an_answer_can_hold_them() -> None:
    rows = [
        b'{"n": 9007199254740993, "f": 1.5, "t": true, "none": null, "deep": ' + b"[" * 30 + b"]" * 30 + b"}",
        b'{"n": 9007199254740993, "t": true, "none": null}',
        b'{"text": "\xff"}',
        b"[1]",
        b"   ",
        b'{"long": "' + b"x" * 70_000 + b'"}',
    ]
    found = shown("a.jsonl", b"\n".join(rows))
    assert [row.number for row in found.rows] == [1, 2, 3, 4, 5]
    assert found.rows[1].value == {"n": "9007199254740993", "t": True, "none": None}
    assert [bool(row.problem) for row in found.rows] == [True, False, True, True, True]
    assert "deeper" in found.rows[0].problem
    assert len(found.rows[4].text) == 2000
    assert found.columns == ("n", "t", "none")


def test_whole_numbers_beyond_64_bits_keep_their_digits() -> None:
    long, longer = "123456789012345678901234567890", "7" * 5000
    lines = [f'{{"n": -{long}, "f": {long}.5, "s": "{long}"}}', f'{{"n": {longer}}}', f'{{"n": {long}}}']
    rows = shown("a.jsonl", "\n".join(lines).encode()).rows
    assert rows[0].value == {"n": f"-{long}", "f": float(long), "s": long}
    assert rows[1].problem == "It is no JSON object."  # no double is so large
    assert rows[2].value == {"n": long}


def test_csv_has_names_for_all_columns_and_tells_ragged_rows() -> None:
    found = shown("a.tsv", '\ufeffid\tid\t\n1\t2\t3\r\n\n4\t5\n"a\tb"\tc\td'.encode())
    assert found.columns == ("id", "id_2", "column_3")
    assert [row.value for row in found.rows] == [
        {"id": "1", "id_2": "2", "column_3": "3"},
        None,
        {"id": "a\tb", "id_2": "c", "column_3": "d"},
    ]
    assert found.rows[1].problem == "It has 2 fields; expected 3."
    assert shown("a.csv", b"id,text").rows == []


def test_plain_text_is_lines() -> None:
    found = shown("a.txt", "سلام\r\n\n  \nخداحافظ".encode())
    assert [(row.number, row.value) for row in found.rows] == [(1, "سلام"), (2, "خداحافظ")]
    assert found.columns == ()


def test_packed_files_are_read_from_their_beginning() -> None:
    packed = gzip.compress(large("a.jsonl"), 1)
    drawn = shown("a.jsonl.gz", packed, Part.RANDOM, 5)
    assert drawn.sampling is Sampling.FROM_BEGINNING
    assert len(drawn.rows) == 5
    assert ids(shown("a.jsonl.gz", gzip.compress(b'{"id": 1}\n{"id": 2}'), Part.LAST, 1)) == [2]
    assert ids(shown("a.jsonl.gz", packed[: len(packed) // 2], count=2)) == [1, 2]
    with pytest.raises(NoRows, match="damaged"):
        shown("a.jsonl.gz", packed[:30])


@pytest.mark.parametrize(
    ("path", "data", "why"),
    [
        ("a.json", b'{"a": [1]}', "one JSON document"),
        ("a.bin", b"\0", "none of"),
        ("a.csv", b"", "no header"),
        ("a.jsonl", "{}".encode("utf-16"), "UTF-16"),
        ("a.csv", b",".join([b"x"] * 30_000), "30000 fields"),
    ],
)
def test_what_has_no_rows_says_why(path: str, data: bytes, why: str) -> None:
    with pytest.raises(NoRows, match=why):
        shown(path, data)


def test_an_answer_does_not_grow_without_end() -> None:
    row = json.dumps({"text": "x" * 60_000}).encode() + b"\n"
    found = shown("a.jsonl", row * 100, count=100)
    assert 10 < len(found.rows) < 20


@given(
    st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.txt", "a.jsonl.gz"]),
    st.binary(max_size=300) | st.text('[]{},":\\\n a1', max_size=300).map(str.encode),
    st.sampled_from(list(Part)),
)
@settings(deadline=None, max_examples=300)
def test_no_content_breaks_a_preview(path: str, data: bytes, part: Part) -> None:
    try:
        found = shown(path, data, part, 5)
    except NoRows:
        return
    for row in found.rows:
        assert row.problem or row.value is not None
        row.text.encode()


@pytest.mark.parametrize("path", LARGE)
def test_the_records_of_a_large_file_are_estimated_from_several_places(path: str) -> None:
    told = summaries.of_data_file(path, Source(large(path)), lambda: None)
    assert told.file.estimated
    assert told.file.records is not None
    assert abs(told.file.records - COUNT) < COUNT * 0.1
    assert told.file.columns == ("id", "text", "parts")
