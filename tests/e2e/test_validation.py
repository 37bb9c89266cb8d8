"""A validation as people meet it: asked for over the wire, done by a child process, decided, kept."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from helpers.sdk import tree_of, write_tree
from helpers.servers import Server, running_server
from ingot import client as sdk
from ingot.client import Client
from ingot.server.core.params import ValidationReport
from ingot.v1 import catalog_pb2

pytestmark = pytest.mark.slow

GOOD = b"".join(b'{"text": "sentence number %d"}\n' % number for number in range(100))
CSV = b"id,text\n1,one\n2,two\n"
RULES = {"max_file_size": 1_000_000_000, "allowed_formats": ["jsonl", "csv"], "min_records": 100}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address, server.token("sara"), user="sara") as client:
        yield client


def validated(client: Client, version: str, **rules: Any) -> ValidationReport:
    """Validate over the wire and return the report as it came back."""
    begun = client.operations.start_validation(version, rules)
    done = client.operations.wait(begun.name)
    return ValidationReport.model_validate(json_format.MessageToDict(done.result))


def errors(report: ValidationReport) -> list[tuple[str, str, int | None, int | None, int | None]]:
    return [
        (each.path, each.reason, each.row, each.byte_offset, each.column)
        for each in report.findings
        if each.severity == "error"
    ]


@pytest.mark.contract("S0-9", "S3-13", "S3-43")
def test_defects_of_jsonl_csv_and_text_come_back_with_their_places(client: Client, tmp_path: Path) -> None:
    files = {
        "a.jsonl": GOOD + b'{"text": nul}\n',
        "b.csv": CSV + b"3\n",
        "c.txt": "سلام\n".encode() + b"caf\xe9\n",
        "d.json": b'[{"text": "x"}, {"text": 01}]',
    }
    version = client.push("datasets/defects", write_tree(tmp_path / "in", files)).name
    report = validated(client, version)
    assert not report.passed
    assert errors(report) == [
        ("a.jsonl", "json_syntax", 101, len(GOOD) + 12, 13),
        ("b.csv", "ragged_row", 3, len(CSV) + 1, 1),
        ("c.txt", "invalid_utf8", 2, 12, 4),
        ("d.json", "json_syntax", 2, 26, 27),
    ]
    assert [(each.path, each.records, each.bad_records) for each in report.files] == [
        ("a.jsonl", 101, 1),
        ("b.csv", 3, 1),
        ("c.txt", 2, 1),
        ("d.json", 2, 1),
    ]
    assert report.summary.startswith("Failed: 4 files, 108 records, 4 of them bad. First: a.jsonl, row 101")


@pytest.mark.contract("S3-34", "S3-15", "S3-43", "S0-99", "S1-54")
def test_the_rules_of_before_pass_what_keeps_them_and_refuse_what_does_not(
    client: Client, tmp_path: Path
) -> None:
    good = client.push("datasets/kept", write_tree(tmp_path / "good", {"a.jsonl": GOOD})).name
    assert validated(client, good, **RULES).passed
    few = GOOD[: GOOD.rfind(b"\n", 0, -1) + 1]
    files = {"a.jsonl": few, "notes.md": b"# Notes\n"}
    report = validated(client, client.push("datasets/few", write_tree(tmp_path / "few", files)).name, **RULES)
    assert not report.passed
    assert {reason for _, reason, *_ in errors(report)} == {"too_few_records", "format_not_allowed"}
    report = validated(client, good, **{**RULES, "max_file_size": len(GOOD) - 1})
    assert {reason for _, reason, *_ in errors(report)} == {"too_large"}


@pytest.mark.contract("S3-14", "S0-104")
def test_a_sample_tells_the_quality_of_persian_text(client: Client, tmp_path: Path) -> None:
    lines = [
        "این یک متن فارسی است که می‌خوانیم",
        "كتاب و دفتر و مدرسه يعني درس",
        "سال ۱۴۰۳ یا ٢٠٢٤ یا 2025",
    ] * 20
    content = "".join(json.dumps({"text": each}, ensure_ascii=False) + "\n" for each in lines).encode()
    version = client.push("datasets/persian", write_tree(tmp_path / "in", {"a.jsonl": content})).name
    report = validated(client, version)
    assert report.passed
    assert {each.reason for each in report.findings} == {"mixed_letters", "mixed_digits", "many_duplicates"}
    told: Any = report.files[0].statistics
    letters = {name: "".join(lines).count(each) for name, each in (("arabic_yeh", "ي"), ("persian_yeh", "ی"))}
    assert {name: told["letters"][name] for name in letters} == letters
    assert told["letters"]["zero_width_non_joiner"] == 20
    assert told["digits"] == {"latin": 80, "persian": 80, "arabic_indic": 80}
    assert max(told["languages"], key=told["languages"].get) == "fa"
    assert told["duplicates"] == {"count": 57, "compared_records": 60}
    assert [each["row"] for each in told["samples"]["first"]] == [1, 2, 3]
    assert json.loads(told["samples"]["last"][-1]["text"])["text"] == lines[-1]


@pytest.mark.contract("S3-57")
def test_a_format_without_a_check_of_its_own_gets_the_plain_one(client: Client, tmp_path: Path) -> None:
    files = {"scan.tiff": b"II*\0" + bytes(300_000), "hidden.csv": b"\x7fELF\x02\x01\x01" + bytes(100)}
    version = client.push("datasets/other", write_tree(tmp_path / "in", files)).name
    report = validated(client, version)
    assert {each.path: (each.format, each.validator, each.passed) for each in report.files} == {
        "hidden.csv": ("program", "plain", False),
        "scan.tiff": ("tiff", "plain", True),
    }
    assert errors(report) == [("hidden.csv", "hidden_program", None, 0, None)]


@pytest.mark.contract("S3-16")
def test_it_goes_on_without_whoever_asked(server: Server, client: Client, tmp_path: Path) -> None:
    version = client.push("datasets/alone", write_tree(tmp_path / "in", {"a.jsonl": GOOD})).name
    with Client(server.address, server.token("sara"), user="sara") as asking:
        begun = asking.operations.start_validation(version)
    done = client.operations.wait(begun.name)
    assert done.queue == "validate"
    assert json_format.MessageToDict(done.result)["passed"] is True


def test_what_does_not_pass_its_policy_is_rejected_with_the_place(client: Client, tmp_path: Path) -> None:
    policy = catalog_pb2.ValidationPolicy(
        mode=catalog_pb2.VALIDATION_MODE_REQUIRED,
        rules=catalog_pb2.ValidationRules(required_columns=["text"]),
    )
    client.catalog.create("datasets/strict", catalog_pb2.Artifact(validation=policy))
    bad = write_tree(tmp_path / "bad", {"a.jsonl": GOOD + b'{"txt": 1}\n'})
    with pytest.raises(sdk.IngotError) as caught:
        client.push("datasets/strict", bad)
    assert caught.value.reason == "VALIDATION_FAILED"
    assert "row 101" in str(caught.value)
    done = client.push("datasets/strict", write_tree(tmp_path / "good", {"a.jsonl": GOOD}))
    assert client.catalog.version(done.name).state == catalog_pb2.VERSION_STATE_READY


def test_bad_records_are_parted_from_the_good_ones_by_the_body_itself(client: Client, tmp_path: Path) -> None:
    files = {"a.jsonl": GOOD + b"{]\n", "b.csv": CSV, "README.md": b"# Chat\n"}
    version = client.push("datasets/mixed", write_tree(tmp_path / "in", files)).name
    report = validated(client, version, quarantine=True)
    assert report.quarantined == 1
    client.pull(report.version, tmp_path / "clean")
    assert tree_of(tmp_path / "clean") == {**files, "a.jsonl": GOOD}
    client.pull("datasets/mixed-quarantine", tmp_path / "aside")
    (line,) = (tmp_path / "aside/a.jsonl.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "row": 101,
        "byte_offset": len(GOOD) + 1,
        "column": 2,
        "reason": "json_syntax",
        "text": "{]",
    }
