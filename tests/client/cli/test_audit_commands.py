"""audit: what the commands print and write, and how they end when the log is not whole."""

import json
import pathlib

import pytest

from helpers import canned_answers
from helpers.canned_server import CannedServer
from helpers.command_lines import CommandLine
from ingot.v1 import system_pb2 as pb


@pytest.fixture(autouse=True)
def _answers(canned: CannedServer) -> None:
    canned_answers.install(canned)


def test_a_head_is_kept_and_given_back(
    canned: CannedServer, cli: CommandLine, tmp_path: pathlib.Path
) -> None:
    kept = tmp_path / "head.json"
    assert cli.run("audit", "head", "--output", str(kept)).out == f"{kept}\n"
    for also in ([], ["--output", str(kept), "--json"]):
        assert json.loads(cli.run("audit", "head", *also).out) == json.loads(kept.read_text(encoding="utf-8"))
    assert cli.run("audit", "verify", "--head", str(kept)).code == 0
    sent = canned.requests("SystemService/VerifyAudit")[-1]
    assert isinstance(sent, pb.VerifyAuditRequest)
    assert (sent.head.number, sent.head.signature) == (3, b"\1" * 64)
    for text in ("", "{}", '{"number": 1}', "[]"):
        kept.write_text(text, encoding="utf-8")
        run = cli.run("audit", "verify", "--head", str(kept))
        assert (run.code, "holds no head of an audit log" in run.err) == (2, True), text
    assert cli.run("audit", "verify", "--head", str(tmp_path / "none")).code == 2


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("models/tiny", "namespaces/ada/models/tiny"),
        ("models/team/tiny@3", "namespaces/team/models/tiny/versions/3"),
        ("datasets/chat@prod", "namespaces/ada/datasets/chat/aliases/prod"),
        ("namespaces/team/", "namespaces/team"),
        ("users/sara", "users/sara"),
    ],
)
def test_entries_are_found_by_short_names(
    canned: CannedServer, cli: CommandLine, given: str, asked: str
) -> None:
    assert cli.run("audit", "ls", "--on", given, "--who", "sara").code == 0
    sent = canned.requests("SystemService/ListAuditEntries")[-1]
    assert isinstance(sent, pb.ListAuditEntriesRequest)
    assert (sent.target, sent.principal) == (asked, "users/sara")
    assert cli.run("audit", "ls", "--who", "system").code == 0
    bare = cli.run("audit", "ls", "--on", "tiny")
    assert (bare.code, "Write models/tiny, namespaces/tiny" in bare.err) == (2, True)


def test_findings_are_told_and_end_with_6(canned: CannedServer, cli: CommandLine) -> None:
    reply = pb.VerifyAuditResponse(
        findings=[pb.AuditFinding(fault=pb.AUDIT_FAULT_CHANGED, number=2, message="Entry 2 was changed.")],
        restores=[pb.AuditEntry(number=5, action="restore", facts={"backup": "20261121T103100Z"})],
        checked=3,
        complete=True,
    )
    canned.answer("SystemService/VerifyAudit", reply)
    run = cli.run("audit", "verify")
    assert run.code == 6
    assert "Entry 2 was changed." in run.err
    assert "the backup 20261121T103100Z was restored" in run.err
    assert "the audit log is not whole" in run.err.lower()


def test_an_export_that_does_not_fit_is_refused(cli: CommandLine, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "log.jsonl"
    assert cli.run("audit", "export", str(file)).code == 0
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line).get("number") for line in lines] == [None, 3, 3]
    assert cli.run("audit", "export", "-").out.splitlines() == lines
    run = cli.run("audit", "verify", str(file))  # the canned entry has no true hash
    assert (run.code, "expected entry 1, got 3" in run.err) == (6, True)
    assert cli.run("audit", "verify", str(tmp_path / "none")).code == 2
