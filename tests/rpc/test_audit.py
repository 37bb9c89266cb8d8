"""The audit log through the API, the SDK and the command line: list, verify, export, restore."""

import contextlib
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import grpc
import pytest

from helpers.servers import Server, running_server
from ingot.client import Client, approval_policy
from ingot.content import audit as canonical
from ingot.server.sources import signing
from ingot.server.storage import backups
from ingot.v1 import auth_pb2
from ingot.v1 import system_pb2 as pb


@pytest.fixture(name="server")
def _server(tmp_path: pathlib.Path) -> Iterator[Server]:
    with running_server(tmp_path) as server:
        yield server


@pytest.fixture(name="admin")
def _admin(server: Server) -> Iterator[Client]:
    with Client(server.address, server.admin_token) as client:
        yield client


def _make(server: Server, count: int, user: str = "sara") -> None:
    with Client(server.address, server.token(user)) as client:
        for number in range(count):
            client.catalog.create(f"models/m{number}")


@contextlib.contextmanager
def _tampered(server: Server, statement: str) -> Iterator[None]:
    with server.app.database.direct() as connection:
        connection.execute_sql(statement)
    yield


def test_only_administrators_see_it(server: Server) -> None:
    for call, request in (
        ("ListAuditEntries", pb.ListAuditEntriesRequest()),
        ("VerifyAudit", pb.VerifyAuditRequest()),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            getattr(server.member("sara").system, call)(request)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_entries_are_listed_and_narrowed(server: Server, admin: Client) -> None:
    _make(server, 3)
    _make(server, 1, "omid")
    everything = list(admin.audit.entries())
    assert [each.number for each in everything] == sorted((each.number for each in everything), reverse=True)
    mine = list(admin.audit.entries(principal="users/omid", oldest_first=True))
    assert [each.target for each in mine] == ["namespaces/omid/models/m0"]
    whole = list(admin.audit.entries(target="namespaces/sara"))
    assert {each.target.rpartition("/")[2] for each in whole} == {"m0", "m1", "m2"}
    one = list(admin.audit.entries(target="models/sara/m1"))
    assert [(each.principal, each.action, each.code) for each in one] == [("users/sara", "create", "OK")]
    with pytest.raises(grpc.RpcError):
        server.admin.system.ListAuditEntries(pb.ListAuditEntriesRequest(order_by="time"))


def test_an_entry_says_whose_role_changed_and_how(server: Server, admin: Client) -> None:
    server.token("boss")
    promoted = auth_pb2.UpdateUserRequest(user=auth_pb2.User(name="users/boss", role=auth_pb2.ROLE_ADMIN))
    promoted.update_mask.paths.append("role")
    server.admin.auth.UpdateUser(promoted)
    entry = next(iter(admin.audit.entries(target="users/boss")))
    assert (entry.method, entry.target) == ("AuthService/UpdateUser", "users/boss")
    assert dict(entry.facts) == {"role": "ADMIN", "before": "MEMBER"}
    admin.auth.set_approval_policy("boss", approval_policy(["scan"], {"loss": (None, 2.0)}, ["prod"]))
    entry = next(iter(admin.audit.entries(target="namespaces/boss")))
    assert entry.method == "AuthService/UpdateNamespace"
    policy = {"approval": "scan, loss at most 2, @prod", "approval_before": "nothing"}
    assert dict(entry.facts) == {"fields": "approval", **policy}
    admin.auth.set_quotas("boss", {"quota_bytes": 10**9})
    entry = next(iter(admin.audit.entries(target="namespaces/boss")))
    quotas = {"quota_bytes": "1000000000", "quota_bytes_before": "the server's default"}
    assert dict(entry.facts) == {"fields": "quota_bytes", **quotas}


def test_an_entry_tells_all_of_a_long_policy(server: Server, admin: Client) -> None:
    server.token("sara")
    aliases = [f"alias-{number}-{'x' * 20}" for number in range(32)]
    limits = {f"{'metric' * 15} {number}": (None, 2.0) for number in range(31)}
    admin.auth.set_approval_policy("sara", approval_policy(["scan"], {**limits, "loss": (0.1, 2.0)}, aliases))
    admin.auth.set_approval_policy("sara", approval_policy(["scan"], limits, aliases))
    entry = next(iter(admin.audit.entries(target="namespaces/sara")))
    before, after = (
        ", ".join(
            text
            for name, text in sorted(entry.facts.items(), key=lambda fact: (len(fact[0]), fact[0]))
            if name.startswith("approval") and ("before" in name) is earlier
        )
        for earlier in (True, False)
    )
    assert before.replace("loss at least 0.1 and at most 2, ", "") == after
    assert all(f"@{alias}" in after for alias in aliases)


@pytest.mark.contract("S3-51")
def test_what_was_cut_off_or_changed_is_found(server: Server, admin: Client) -> None:
    _make(server, 6)
    kept = admin.audit.head()
    assert not admin.audit.verify(kept).findings
    with _tampered(server, "UPDATE audit_entry SET target = 'x' WHERE number = 2"):
        found = admin.audit.verify()
        assert [each.fault for each in found.findings] == [pb.AUDIT_FAULT_CHANGED]
    with _tampered(server, "DELETE FROM audit_entry WHERE number > 2"):
        faults = {each.fault for each in admin.audit.verify(kept).findings}
        assert pb.AUDIT_FAULT_CUT_OFF in faults
    forged = pb.AuditHead()
    forged.CopyFrom(kept)
    forged.number = 1
    assert pb.AUDIT_FAULT_BAD_HEAD in {each.fault for each in admin.audit.verify(forged).findings}


def test_health_tells_of_an_alarm(server: Server, admin: Client, tmp_path: pathlib.Path) -> None:
    _make(server, 3)
    server.app.audit.heads.keep()
    assert "audit" not in {part.name for part in admin.system.health().parts}
    with _tampered(server, "DELETE FROM audit_entry WHERE number > 1"):
        server.app.audit.heads.keep()
    parts = {part.name: part for part in admin.system.health().parts}
    assert parts["audit"].status == pb.HEALTH_STATUS_DEGRADED
    assert "ingot audit verify" in parts["audit"].message


def test_a_check_goes_on_where_it_stopped(server: Server) -> None:
    _make(server, 4)
    whole = server.admin.system.VerifyAudit(pb.VerifyAuditRequest())
    assert whole.complete
    entry = server.admin.system.ListAuditEntries(pb.ListAuditEntriesRequest(order_by="number")).entries[1]
    rest = pb.VerifyAuditRequest(after_number=entry.number, after_hash=entry.hash)
    assert server.admin.system.VerifyAudit(rest).checked == whole.checked - 2
    wrong = pb.VerifyAuditRequest(after_number=entry.number, after_hash="blake3:" + 64 * "0")
    faults = [each.fault for each in server.admin.system.VerifyAudit(wrong).findings]
    assert faults == [pb.AUDIT_FAULT_BROKEN]
    with pytest.raises(grpc.RpcError):
        server.admin.system.VerifyAudit(pb.VerifyAuditRequest(after_number=2))


def test_an_export_is_verified_without_the_server(
    server: Server, admin: Client, tmp_path: pathlib.Path
) -> None:
    _make(server, 5)
    lines: list[str] = []
    head = admin.audit.export(lines.append)
    key = server.admin.system.GetServerInfo(pb.GetServerInfoRequest()).bundle_key
    checked = canonical.check_export(lines, signing.has_signed, key)
    assert (checked.last, checked.hash) == (head.number, head.hash)
    assert [json.loads(line)["number"] for line in lines[1:-1]] == list(range(1, head.number + 1))
    kept, cut = tmp_path / "audit.jsonl", tmp_path / "cut.jsonl"
    kept.write_text("".join(lines), encoding="utf-8")
    cut.write_text("".join([*lines[:-2], lines[-1]]), encoding="utf-8")
    assert _ingot(server, "audit", "verify", str(kept), "--key", key).returncode == 0
    broken = _ingot(server, "audit", "verify", str(cut))
    assert broken.returncode == 6
    assert "cut off or replaced" in broken.stderr
    later = tmp_path / "head.json"
    _make(server, 1, "omid")
    assert _ingot(server, "audit", "head", "--output", str(later)).returncode == 0
    older = _ingot(server, "audit", "verify", str(kept), "--head", str(later))
    assert (older.returncode, "the head that you kept names entry" in older.stderr) == (6, True)
    assert _ingot(server, "audit", "verify", "--key", key).returncode == 2


def test_the_command_line_lists_exports_and_compares_heads(server: Server, tmp_path: pathlib.Path) -> None:
    _make(server, 3)
    listed = _ingot(server, "audit", "ls", "--who", "users/sara", "--json")
    assert [each["action"] for each in json.loads(listed.stdout)] == ["create"] * 3
    assert "namespaces/sara/models/m2" in _ingot(server, "audit", "ls").stdout
    head = tmp_path / "head.json"
    head.write_text(_ingot(server, "audit", "head").stdout, encoding="utf-8")
    assert _ingot(server, "audit", "verify", "--head", str(head)).returncode == 0
    exported = tmp_path / "log.jsonl"
    assert _ingot(server, "audit", "export", str(exported)).returncode == 0
    assert _ingot(server, "audit", "verify", str(exported)).returncode == 0
    with _tampered(server, "DELETE FROM audit_entry WHERE number > 1"):
        lost = _ingot(server, "audit", "verify", "--head", str(head))
        assert lost.returncode == 6
        assert "missing at its end" in lost.stderr


def test_a_restored_backup_is_told_and_alarms_nobody(tmp_path: pathlib.Path) -> None:
    with running_server(tmp_path / "one") as server, Client(server.address, server.admin_token) as admin:
        _make(server, 3)
        store = backups.FolderBackups(server.folder, server.app.database.path, tmp_path / "backups")
        for pack in store.begin(1_700_000_000.0):
            store.copy(pack)
        _make(server, 1, "omid")
        backup = store.finish()
        before = admin.audit.head()
    home = tmp_path / "two" / "data"
    backups.restore(tmp_path / "backups", home)
    with running_server(tmp_path / "two") as server, Client(server.address, server.admin_token) as admin:
        found = admin.audit.verify()
        assert list(found.findings) == []
        assert [each.facts["backup"] for each in found.restores] == [backup.name]
        assert [each.facts["ended_logins"] for each in found.restores] == ["0"]
        assert "users/sara/tokens/tok_" in found.restores[0].facts["tokens"]
        later = [each.fault for each in admin.audit.verify(before).findings]
        assert later in ([pb.AUDIT_FAULT_CUT_OFF], [pb.AUDIT_FAULT_OTHER_HISTORY])
    with running_server(tmp_path / "two") as server, Client(server.address, server.admin_token) as admin:
        assert len(admin.audit.verify().restores) == 1  # told once


def _ingot(server: Server, *words: str) -> "subprocess.CompletedProcess[str]":
    program = pathlib.Path(sys.executable).parent / "ingot"
    return subprocess.run(
        [program, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        env={"INGOT_SERVER": server.address, "INGOT_TOKEN": server.admin_token, "PATH": "/usr/bin:/bin"},
    )
