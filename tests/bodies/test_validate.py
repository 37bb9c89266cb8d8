"""Validation of versions through a server: what is read, what is told, what is set aside."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.claimed import claimed, run_here
from helpers.sdk import tree_of, write_tree
from helpers.servers import Server, running_server
from ingot.client import Client
from ingot.server.bodies import validate
from ingot.server.core.params import Finding, ValidationReport

GOOD = "".join(f'{{"text": "This is the sentence number {number}."}}\n' for number in range(120)).encode()
CSV = b"id,text\n" + b"".join(b"%d,some text\n" % number for number in range(150))


class Rig:
    """A server with a member who pushes datasets and validates them."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server, self._folder = server, folder
        self._count = 0
        self.client = Client(server.address, server.token("member"), user="ada")

    def push(self, files: dict[str, bytes], ref: str = "datasets/chat") -> str:
        self._count += 1
        return self.client.push(ref, write_tree(self._folder / f"in{self._count}", files)).name

    def validate(self, version: str, **rules: Any) -> ValidationReport:
        self._count += 1
        attempt = claimed(self._server, "validate", {"rules": rules, "publish": False}, target=version)
        spec = attempt.spec(self._folder / f"work{self._count}").model_copy(update={"target": version})
        report = run_here(spec, validate.run)
        assert report.problem is None, report.problem
        return ValidationReport.model_validate(report.result)

    def pulled(self, version: str) -> dict[str, bytes]:
        self._count += 1
        self.client.pull(version, self._folder / f"out{self._count}")
        return tree_of(self._folder / f"out{self._count}")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    # Nobody beats for what a test has claimed.
    with running_server(tmp_path / "data", operation_lease_seconds=600.0) as server:
        rig = Rig(server, tmp_path)
        yield rig
        rig.client.close()


def places(report: ValidationReport) -> list[tuple[str, str, int | None, int | None, int | None]]:
    return [(each.path, each.reason, each.row, each.byte_offset, each.column) for each in errors(report)]


def errors(report: ValidationReport) -> list[Finding]:
    return [each for each in report.findings if each.severity == "error"]


def test_good_files_pass_with_what_they_hold(rig: Rig) -> None:
    version = rig.push({"a/train.jsonl": GOOD, "b.csv": CSV, "README.md": b"# Chat\n"})
    report = rig.validate(version)
    assert report.passed
    assert report.summary == "Passed: 3 files, 270 records."
    assert {each.path: (each.format, each.validator, each.records) for each in report.files} == {
        "README.md": ("md", "plain", None),
        "a/train.jsonl": ("jsonl", "jsonl", 120),
        "b.csv": ("csv", "csv", 150),
    }
    assert report.files[1].statistics["columns"] == {"text": {"present": 120, "types": {"string": 120}}}


def test_defects_of_several_files_are_told_by_path_and_place(rig: Rig) -> None:
    version = rig.push({"a.jsonl": GOOD + b'{"text": nul}\n', "b.csv": CSV + b"151\n", "c.json": b"[1,]"})
    report = rig.validate(version)
    assert not report.passed
    assert places(report) == [
        ("a.jsonl", "json_syntax", 121, len(GOOD) + 12, 13),
        ("b.csv", "ragged_row", 151, len(CSV) + 3, 1),
        ("c.json", "json_syntax", None, 3, 4),
    ]
    first = f"a.jsonl, row 121, column 13, byte {len(GOOD) + 12}: "
    assert report.summary.startswith(f"Failed: 3 files, 272 records, 2 of them bad. First: {first}")


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"min_records": 271}, "too_few_records"),
        ({"max_records": 269}, "too_many_records"),
        ({"max_file_size": 2000}, "too_large"),
        ({"allowed_formats": ["json", "csv"]}, "format_not_allowed"),
        ({"required_columns": ["text", "label"]}, "missing_column"),
        ({"max_duplicate_ratio": 0.1}, "too_many_duplicates"),
        ({"min_text_length": 20}, "text_too_short"),
        ({"max_text_length": 20}, "text_too_long"),
        ({"allowed_languages": ["fa"]}, "language_not_allowed"),
    ],
)
def test_each_rule_refuses_what_it_is_for(rig: Rig, rules: dict[str, Any], reason: str) -> None:
    doubled = CSV.replace(b"17,some text", b"1,some text\n" * 40)
    version = rig.push({"a.jsonl": GOOD, "b.csv": doubled if "max_duplicate_ratio" in rules else CSV})
    report = rig.validate(version, **rules)
    assert not report.passed
    assert {each.reason for each in errors(report)} == {reason}


def test_rules_that_are_kept_let_it_pass(rig: Rig) -> None:
    version = rig.push({"a.jsonl": GOOD, "b.csv": CSV})
    report = rig.validate(
        version,
        max_file_size=1_000_000_000,
        allowed_formats=["jsonl", "csv"],
        min_records=100,
        max_records=270,
        required_columns=["text"],
        max_bad_ratio=0.0,
        max_duplicate_ratio=0.0,
        min_text_length=10,
        max_text_length=100,
        allowed_languages=["en"],
    )
    assert report.passed, report.findings


def test_a_share_of_bad_records_may_be_allowed(rig: Rig) -> None:
    version = rig.push({"a.jsonl": GOOD + b"{\n"})
    assert rig.validate(version, max_bad_ratio=0.01).passed
    assert not rig.validate(version, max_bad_ratio=0.001).passed


def test_bad_records_are_put_aside_and_the_good_ones_make_a_version(rig: Rig) -> None:
    bad = b'{"text": "caf\xe9"}'
    lines = GOOD.splitlines(keepends=True)
    mixed = b"".join([*lines[:60], bad + b"\n", *lines[60:]])
    array = b'[{"text": "one"}, {"text": ?}, {"text": "three"}]'
    packed = gzip.compress(b"id,text\n1,one\n2\n3,three\n")
    version = rig.push(
        {"a.jsonl": mixed, "b/c.json": array, "d.csv.gz": packed, "e.jsonl": GOOD, "README.md": b"# Chat"}
    )
    report = rig.validate(version, quarantine=True)
    assert not report.passed
    assert report.quarantined == 3
    clean = rig.pulled(report.version)
    assert clean["a.jsonl"] == GOOD
    assert json.loads(clean["b/c.json"]) == [{"text": "one"}, {"text": "three"}]
    assert gzip.decompress(clean["d.csv.gz"]) == b"id,text\n1,one\n3,three\n"
    assert (clean["e.jsonl"], clean["README.md"]) == (GOOD, b"# Chat")
    assert rig.validate(report.version).passed
    aside = rig.pulled("datasets/chat-quarantine")
    assert sorted(aside) == ["a.jsonl.jsonl", "b/c.json.jsonl", "d.csv.gz.jsonl"]
    offset = len(b"".join(lines[:60])) + bad.index(b"\xe9")
    assert json.loads(aside["a.jsonl.jsonl"]) == {
        "row": 61,
        "byte_offset": offset,
        "column": 14,
        "reason": "invalid_utf8",
        "base64": "eyJ0ZXh0IjogImNhZukifQ==",
    }
    assert json.loads(aside["d.csv.gz.jsonl"])["text"] == "2"


def test_nothing_is_made_when_nothing_is_bad(rig: Rig) -> None:
    version = rig.push({"a.jsonl": GOOD})
    report = rig.validate(version, quarantine=True)
    assert (report.passed, report.quarantined, report.version) == (True, 0, "")
    assert [each.name for each in rig.client.catalog.versions("datasets/chat")] == [version]


def test_a_large_file_is_read_in_pieces_and_places_stay_exact(rig: Rig) -> None:
    line = b'{"text": "%s"}\n' % (b"x" * 5000)
    version = rig.push({"a.jsonl": line * 1500 + b"{]\n"})
    report = rig.validate(version)
    assert places(report) == [("a.jsonl", "json_syntax", 1501, len(line) * 1500 + 1, 2)]
