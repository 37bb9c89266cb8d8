"""Which check a file gets: by name, by content, and what is said when they disagree."""

import gzip
from pathlib import Path

import pytest

from helpers.checks import checked, errors, reasons
from ingot.server.core.params import Rules
from ingot.server.formats import registry
from ingot.server.formats.seam import Head

LINES = b'{"a": 1}\n{"a": 2}\n'
ARRAY = b'[{"a": 1}, {"a": 2}]'


@pytest.mark.parametrize(
    ("path", "content", "format", "named"),
    [
        ("x/a.jsonl", LINES, "jsonl", None),
        ("a.NDJSON", LINES, "jsonl", None),
        ("a.json", ARRAY, "json", None),
        ("a.json", b'{"a": 1}', "json", None),
        ("a.json", LINES, "jsonl", "json"),
        ("a.jsonl", ARRAY, "json", "jsonl"),
        ("a.csv", LINES, "jsonl", "csv"),
        ("a.csv", b"a,b\n", "csv", None),
        ("a.tsv", b"a\tb\n", "csv", None),
        ("a.txt", LINES, "txt", None),
        ("a.txt", ARRAY, "txt", None),
        ("LICENSE", b"text", "none", None),
        ("a.b.PARQUET", b"PAR1", "parquet", None),
        ("run.sh", b"#!/bin/sh\n", "program", None),
        ("a.csv", b"\x7fELF\x02", "program", "csv"),
        ("a.jsonl", b"MZ" + bytes(0x3A) + (0x40).to_bytes(4, "little") + b"PE\0\0", "program", "jsonl"),
        ("a.txt", b"MZ is how it begins, and no program", "txt", None),
    ],
)
def test_the_format_of_a_file(path: str, content: bytes, format: str, named: str | None) -> None:
    match = registry.find(path, Head(content, len(content)))
    assert (match.format.name, match.named.name if match.named else None) == (format, named)


def test_a_wrong_name_is_reported_and_the_content_checked(tmp_path: Path) -> None:
    found = checked("a.json", LINES + b"{]\n", tmp_path)
    assert reasons(found) == {"format_mismatch", "json_syntax"}
    assert errors(found)[0].row == 3


def test_a_program_that_says_so_is_a_remark_and_one_in_disguise_an_error(tmp_path: Path) -> None:
    script = b"#!/usr/bin/env python3\nprint()\n"
    assert errors(checked("model.py", script, tmp_path)) == []
    assert [each.reason for each in errors(checked("train.jsonl", script, tmp_path))] == ["hidden_program"]
    allowed = checked("train.jsonl", script, tmp_path, Rules(allow_unsafe=True))
    assert errors(allowed) == []


def test_what_is_packed_is_checked_inside(tmp_path: Path) -> None:
    found = checked("a.jsonl.gz", gzip.compress(LINES + b"{]\n"), tmp_path)
    assert (found.report.format, found.report.records) == ("jsonl", 3)
    assert [(each.path, each.row, each.byte_offset) for each in errors(found)] == [
        ("a.jsonl.gz", 3, len(LINES) + 1)
    ]


def test_packed_content_under_a_plain_name_is_reported(tmp_path: Path) -> None:
    assert reasons(checked("a.jsonl", gzip.compress(LINES), tmp_path)) == {"format_mismatch"}


def test_damage_in_packed_content_is_found(tmp_path: Path) -> None:
    packed = gzip.compress(b"".join(b'{"n": %d}\n' % number for number in range(100_000)))
    found = checked("a.jsonl.gz", packed[: len(packed) // 2], tmp_path)
    assert [each.reason for each in errors(found)][:1] == ["gzip_damaged"]
    assert 0 < (found.report.records or 0) < 100_000


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    packed = gzip.compress(b"x" * (6 * 1024 * 1024) + b"\n") * 12  # members in a row are one file
    found = checked("a.txt.gz", packed, tmp_path)
    assert [each.reason for each in errors(found)] == ["gzip_bomb"]


def test_the_largest_size_counts_for_what_is_unpacked_too(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"a": 1}\n' * 100_000)
    found = checked("a.jsonl.gz", packed, tmp_path, Rules(max_file_size=len(packed) + 1))
    assert [each.reason for each in errors(found)] == ["too_large"]


@pytest.mark.parametrize(
    ("mark", "name"), [(b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"), (b"\xff\xfe\0\0", "UTF-32")]
)
@pytest.mark.parametrize("path", ["a.jsonl", "a.json", "a.csv", "a.txt"])
def test_another_encoding_is_named(tmp_path: Path, path: str, mark: bytes, name: str) -> None:
    (error,) = errors(checked(path, mark + b"x\0\n\0", tmp_path))
    assert (error.reason, error.byte_offset) == ("encoding", 0)
    assert name in error.message


def test_remarks_fail_nothing(tmp_path: Path) -> None:
    content = "\ufeff".encode() + b'{"a": 1}\r\n\n{"a": 123456789012345678901234567890}'
    found = checked("a.jsonl", content, tmp_path)
    assert reasons(found) == {
        "byte_order_mark",
        "empty_line",
        "mixed_line_ends",
        "no_final_newline",
        "huge_number",
    }
    assert found.report.passed


def test_an_empty_file_is_a_remark(tmp_path: Path) -> None:
    found = checked("a.txt", b"", tmp_path)
    assert (reasons(found), found.report.passed) == ({"empty_file"}, True)
