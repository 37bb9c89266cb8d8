"""What is counted: duplicates however many, lengths, samples, columns; and findings beyond those kept."""

import random
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.checks import checked
from ingot.server.formats.csv_file import sniff
from ingot.server.formats.duplicates import Duplicates
from ingot.server.formats.samples import DRAWN, Samples
from ingot.server.formats.text_lengths import Lengths


def test_duplicates_are_exact_when_they_are_spilled_to_disk(tmp_path: Path) -> None:
    draw = random.Random(3)
    records = [str(draw.randrange(30_000)).encode() for _ in range(50_000)]
    counter = Duplicates(tmp_path, run=1000)
    for begin in range(0, len(records), 700):
        counter.add(records[begin : begin + 700])
    assert counter.finish() == len(records) - len(set(records))
    assert counter.counted == len(records)
    assert list(tmp_path.iterdir()) == []


def test_duplicates_end_at_a_bound_and_say_so(tmp_path: Path) -> None:
    counter = Duplicates(tmp_path, run=10, most=100)
    for _ in range(30):
        counter.add([b"x"] * 10)
    assert (counter.finish(), counter.counted) == (99, 100)


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=200))
@settings(deadline=None, max_examples=50)
def test_lengths_are_exact_at_the_ends_and_near_between(lengths: list[int]) -> None:
    counted = Lengths()
    for begin in range(0, len(lengths), 7):
        counted.add(lengths[begin : begin + 7])
    told: Any = counted.document()
    assert (told["min"], told["max"]) == (min(lengths), max(lengths))
    assert told["mean"] == round(sum(lengths) / len(lengths), 2)
    median = sorted(lengths)[max(0, -(-len(lengths) // 2) - 1)]
    assert median * 0.998 - 1 <= told["percentiles"]["p50"] <= median


def test_samples_are_the_ends_and_an_even_draw() -> None:
    drawn: list[int] = []
    for shift in range(400):
        samples = Samples()
        samples._random.seed(shift)
        for begin in range(0, 1000, 64):
            rows = range(begin + 1, min(begin + 64, 1000) + 1)
            samples.add([str(row).encode() for row in rows], rows)
        told: Any = samples.document()
        assert [each["row"] for each in told["first"]] == [1, 2, 3]
        assert [each["row"] for each in told["last"]] == [998, 999, 1000]
        assert all(each["text"] == str(each["row"]) for each in told["random"])
        assert len({each["row"] for each in told["random"]}) == DRAWN
        drawn += [each["row"] for each in told["random"]]
    assert 440 < sum(drawn) / len(drawn) < 560
    assert min(drawn) < 20
    assert max(drawn) > 980


def test_the_same_file_gives_the_same_sample(tmp_path: Path) -> None:
    content = b"".join(b'{"n": %d}\n' % number for number in range(5000))
    first = checked("a.jsonl", content, tmp_path).report.statistics["samples"]
    assert checked("a.jsonl", content, tmp_path).report.statistics["samples"] == first


def test_columns_tell_presence_and_types(tmp_path: Path) -> None:
    content = b'{"a": 1, "b": "x"}\n{"a": null}\n{"a": 1.5, "b": ["y"], "c": {"d": true}}\n'
    told: Any = checked("a.jsonl", content, tmp_path).report.statistics
    assert told["columns"] == {
        "a": {"present": 3, "types": {"integer": 1, "null": 1, "number": 1}},
        "b": {"present": 2, "types": {"string": 1, "array": 1}},
        "c": {"present": 1, "types": {"object": 1}},
    }
    assert told["text_lengths"]["max"] == 1


def test_columns_of_csv_tell_what_is_empty(tmp_path: Path) -> None:
    content = b'id;text;n\n1;"a;b";2.5\n2;;3\n3;c;\n'
    told: Any = checked("a.csv", content, tmp_path).report.statistics
    assert told["delimiter"] == ";"
    assert {name: (each["present"], each["empty"]) for name, each in told["columns"].items()} == {
        "id": (3, 0),
        "text": (2, 1),
        "n": (2, 1),
    }


def test_the_delimiter_is_told_by_the_rows() -> None:
    assert sniff(b"a;b;c\n1,5;2,5;3,5\n") == b";"
    assert sniff(b"a\tb\n1, 2\t3\n") == b"\t"
    assert sniff(b'a,b\n"x;y;z",2\n') == b","
    assert sniff(b"a|b\n1|2\n") == b"|"
    assert sniff(b"text\nhello\n") == b","


def test_every_finding_counts_and_the_first_thousand_are_kept(tmp_path: Path) -> None:
    found = checked("a.jsonl", b"".join(b"{%d\n" % number for number in range(5000)), tmp_path)
    assert (found.findings.count, found.report.bad_records) == (5000, 5000)
    assert [each.row for each in found.findings.kept] == list(range(1, 1001))
