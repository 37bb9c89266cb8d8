"""What the server does by itself has an entry in the audit log by `system`, once, and nothing else has."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.clocks import HandClock
from helpers.eventually import eventually
from helpers.sdk import write_tree
from helpers.servers import Server, running_server
from ingot.client import Client
from ingot.v1 import system_pb2 as pb

MIB = 1024 * 1024
DAY = 24 * 3600.0


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def server(tmp_path: Path, clock: HandClock) -> Iterator[Server]:
    never = dict.fromkeys(("clean_hours", "collect_hours", "scrub_hours", "backup_hours"), 0.0)
    with running_server(
        tmp_path / "home", clock=clock, collect_grace_seconds=0.0, trash_days=7.0, **never
    ) as found:
        yield found


@pytest.fixture
def admin(server: Server) -> Iterator[Client]:
    with Client(server.address, server.admin_token, user="root") as client:
        yield client


def _own(admin: Client) -> list[pb.AuditEntry]:
    """Return what the server did by itself, in order."""
    found = list(admin.audit.entries(principal="system", oldest_first=True))
    assert all((each.code, each.method, each.address) == ("OK", "", "local") for each in found)
    return found


def _run(admin: Client, kind: str) -> str:
    name = admin.operations.start_upkeep(kind).name
    admin.operations.wait(name)
    return name


def test_what_was_in_the_trash_for_too_long_is_purged_and_told(
    server: Server, admin: Client, clock: HandClock, tmp_path: Path
) -> None:
    admin.push("datasets/gone", write_tree(tmp_path / "one", {"a.bin": os.urandom(MIB)}))
    for number in range(2):
        data = write_tree(tmp_path / f"two{number}", {"a.bin": bytes([number]) * 100})
        admin.push("datasets/kept", data)
    admin.catalog.delete("datasets/gone", force=True)
    admin.catalog.delete_version("datasets/kept@1", force=True)
    _run(admin, "clean")
    assert [each.action for each in _own(admin)] == []
    clock.ahead += 8 * DAY
    cleaned = _run(admin, "clean")
    eventually(lambda: {"remove", "collect"} <= {each.action for each in _own(admin)})
    told = {each.action: each for each in _own(admin)}
    purged = {each.target for each in _own(admin) if each.action == "purge"}
    kept = "namespaces/admin/datasets/kept/versions/1"
    assert purged == {"namespaces/admin/datasets/gone", kept}
    assert (told["clean"].target, told["clean"].facts["trash"]) == (cleaned, "2")
    assert told["remove"].target == "namespaces/admin/datasets/gone"
    assert told["remove"].facts["versions"] == "1"
    assert [each.action for each in admin.audit.entries(target="datasets/kept@1")] == [
        "purge",
        "delete",
        "upload",
    ]
    assert list(admin.audit.verify().findings) == []


def test_upkeep_that_changes_nothing_makes_no_entry(server: Server, admin: Client, tmp_path: Path) -> None:
    admin.push("datasets/chat", write_tree(tmp_path / "data", {"a.bin": os.urandom(MIB)}))
    for kind in ("clean", "collect", "scrub", "verify"):
        _run(admin, kind)
    assert _own(admin) == []


def test_damage_that_a_scrub_finds_is_told_with_the_pack_set_aside(
    server: Server, admin: Client, tmp_path: Path
) -> None:
    admin.push("datasets/chat", write_tree(tmp_path / "data", {"a.bin": os.urandom(2 * MIB)}))
    (pack,) = server.folder.glob("packs/*/*.pack")
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)
    operation = _run(admin, "scrub")
    lost, aside, scrub = _own(admin)
    assert (lost.action, lost.target, aside.action) == ("lose", f"packs/{pack.stem}", "quarantine")
    assert lost.facts["needed_by"] == "namespaces/admin/datasets/chat/versions/1"
    assert (scrub.action, scrub.target, scrub.facts["asked_by"]) == ("scrub", operation, "users/admin")
    assert (scrub.facts["damaged_chunks"], scrub.facts["quarantined_packs"]) == ("1", "1")
    assert [each.action for each in admin.audit.entries(target=aside.target)] == ["quarantine", "lose"]


def test_another_key_for_packs_is_told(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    lines = [os.urandom(32).hex() for _ in range(2)]
    for text in (lines[0], lines[0], f"{lines[1]}\n{lines[0]}"):
        keys.write_text(f"{text}\n", encoding="ascii")
        keys.chmod(0o600)
        with (
            running_server(tmp_path / "home", encryption_key_file=keys) as server,
            Client(server.address, server.admin_token) as admin,
        ):
            told = [dict(each.facts) for each in _own(admin) if each.action == "key"]
    first, second = told
    assert second["before"] == first["key"] != second["key"]
    assert lines[0] not in str(told)
