"""The audit log: every change of it, and every part of it that is missing, is found."""

import contextlib
import dataclasses
import json
import pathlib

import pytest

from helpers.catalogs import StandingClock
from helpers.queries import plan, recorded
from helpers.schema import migrated
from ingot.content import audit as canonical
from ingot.server.core.audit import ALARM, AuditFilter, Deed, Fault, Finding, SignedHead, server_deed
from ingot.server.core.identity import system_caller
from ingot.server.core.pages import PageTokens
from ingot.server.domain.audit import Audit
from ingot.server.domain.audit_heads import AuditHeads
from ingot.server.sources import signing
from ingot.server.sources.signing import SigningKey
from ingot.server.storage.audit_head import AuditHeadFile
from ingot.server.storage.audit_sql import AuditSql
from ingot.server.storage.database import open_database

SERVER = "server-1"


class Rig:
    """A log of a server, its head file and the key it signs with."""

    def __init__(self, folder: pathlib.Path, seed: bytes = b"k" * 32) -> None:
        self.folder = folder
        self.clock = StandingClock()
        self.database = migrated(open_database(f"sqlite:///{folder / 'ingot.db'}"))
        self.key = SigningKey(seed)
        self.start()

    def start(self, **restored: str) -> None:
        """Do what a server does at its start."""
        self.audit = Audit(AuditSql(), PageTokens(b"secret"), self.clock, SERVER)
        file = AuditHeadFile(self.folder / "audit.head")
        self.heads = AuditHeads(self.audit, self.database, file, self.key, signing.has_signed, self.clock)
        self.heads.begin(restored)

    def add(self, count: int, **facts: str) -> None:
        for _ in range(count):
            self.database.write(self.audit.append, _deed(facts)).result()

    def faults(self, known: SignedHead | None = None) -> list[Fault]:
        """Return what a whole check finds, a few entries at a time."""
        number, hashed = 0, self.audit.beginning
        found: list[Finding] = []
        while True:
            stretch = self.database.read(self.audit.check, number, hashed, 3)
            found += stretch.findings
            number, hashed = stretch.number, stretch.hash
            if stretch.ended:
                break
        found += self.database.read(self.heads.compare_kept)
        if known is not None:
            found += self.database.read(self.heads.compare, known)
        return [finding.fault for finding in found]

    def head(self) -> SignedHead:
        return self.heads.signed(self.database.read(self.audit.head))

    def tamper(self, statement: str) -> None:
        with self.database.direct() as connection:
            connection.execute_sql(statement)


@pytest.fixture(name="rig")
def _rig(tmp_path: pathlib.Path) -> Rig:
    return Rig(tmp_path)


def _deed(facts: dict[str, str]) -> Deed:
    return Deed(
        time=1_700_000_000.123456,
        action="create",
        method="CatalogService/CreateArtifact",
        target="namespaces/sara/models/گفت",
        principal="users/sara",
        user="sara",
        token="users/sara/tokens/tok_1",
        declared_user="سارا",
        address="127.0.0.1",
        client="ingot-python/0.1.0",
        call_id="call-1",
        facts=facts,
    )


def test_a_log_that_nobody_touched_is_whole(rig: Rig) -> None:
    assert rig.faults() == []
    rig.add(10, version="namespaces/sara/models/m/versions/1")
    rig.heads.keep()
    assert rig.faults(rig.head()) == []


@pytest.mark.contract("S3-51")
@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE audit_entry SET principal = 'users/omid' WHERE number = 4", Fault.CHANGED),
        ("UPDATE audit_entry SET time = time + 1 WHERE number = 4", Fault.CHANGED),
        ("""UPDATE audit_entry SET facts = '{"a":"b"}' WHERE number = 4""", Fault.CHANGED),
        ("UPDATE audit_entry SET hash = (SELECT hash FROM audit_entry WHERE number = 5) WHERE number = 4",
         Fault.CHANGED),
        ("DELETE FROM audit_entry WHERE number = 4", Fault.MISSING),
        ("DELETE FROM audit_entry WHERE number < 4", Fault.MISSING),
        ("DELETE FROM audit_entry WHERE number > 4", Fault.CUT_OFF),
        ("DELETE FROM audit_entry", Fault.CUT_OFF),
    ],
)  # fmt: skip
def test_every_change_is_found(rig: Rig, statement: str, fault: Fault) -> None:
    rig.add(8)
    rig.heads.keep()
    rig.tamper(statement)
    assert fault in rig.faults()


def test_a_chain_written_anew_does_not_lead_to_a_known_head(rig: Rig) -> None:
    rig.add(8)
    rig.heads.keep()
    known = rig.head()
    rig.tamper("DELETE FROM audit_entry WHERE number > 3")
    rig.add(8, version="another")  # hashes and places are right, but it is another history
    assert set(rig.faults(known)) == {Fault.OTHER_HISTORY}


def test_what_is_cut_off_is_alarm_at_the_next_start_and_found_for_ever(rig: Rig) -> None:
    rig.add(8)
    rig.heads.keep()
    known = rig.head()
    rig.tamper("DELETE FROM audit_entry WHERE number > 3")
    rig.start()
    assert rig.faults() == [Fault.ALARM]
    assert rig.faults(known) == [Fault.ALARM, Fault.CUT_OFF]
    rig.start()
    assert rig.faults() == [Fault.ALARM]  # one entry, not one a start


def test_a_log_that_shrinks_while_the_server_runs_is_alarm(rig: Rig) -> None:
    rig.add(8)
    rig.heads.keep()
    rig.tamper("DELETE FROM audit_entry WHERE number > 3")
    rig.heads.keep()
    assert rig.faults() == [Fault.ALARM]


def test_a_crash_before_the_head_is_kept_alarms_nobody(rig: Rig) -> None:
    rig.add(3)
    rig.heads.keep()
    rig.add(5)  # then the server dies: the head is older than the log
    rig.start()
    assert rig.faults() == []


def test_a_head_file_that_is_gone_or_damaged_is_alarm(rig: Rig) -> None:
    rig.add(3)
    (rig.folder / "audit.head").unlink()
    rig.start()
    (rig.folder / "audit.head").write_text("nonsense", encoding="utf-8")
    rig.start()
    other = AuditHeads(
        rig.audit,
        rig.database,
        AuditHeadFile(rig.folder / "audit.head"),
        SigningKey(b"x" * 32),
        signing.has_signed,
        rig.clock,
    )
    other.begin({})  # the key was replaced
    stretch = rig.database.read(rig.audit.check, 0, rig.audit.beginning, 100)
    assert [finding.fault for finding in stretch.findings] == [Fault.ALARM] * 3


def test_a_log_that_is_gone_with_its_head_is_alarm(rig: Rig) -> None:
    rig.add(3)
    rig.heads.keep()
    rig.tamper("DELETE FROM audit_entry")
    (rig.folder / "audit.head").unlink()
    assert rig.faults() == [Fault.NO_HEAD]
    rig.start()
    assert rig.faults() == [Fault.ALARM]
    assert "the file of its head is gone" in rig.heads.alarm


def test_a_head_that_is_removed_while_the_server_runs_is_alarm(rig: Rig) -> None:
    (rig.folder / "audit.head").unlink()  # of a log without any entry
    assert rig.faults() == [Fault.NO_HEAD]
    rig.heads.keep()
    assert rig.faults() == [Fault.ALARM]


def test_a_folder_that_was_never_served_has_no_head_and_no_alarm(tmp_path: pathlib.Path) -> None:
    (tmp_path / "fresh").mkdir()
    fresh = Rig(tmp_path / "fresh")
    assert fresh.heads.alarm == ""
    assert fresh.faults() == []
    assert (tmp_path / "fresh" / "audit.head").exists()


def test_a_restored_backup_is_told_and_no_alarm(rig: Rig) -> None:
    rig.add(8)
    rig.heads.keep()
    known = rig.head()
    rig.tamper("DELETE FROM audit_entry WHERE number > 3")  # as a backup has it
    rig.start(backup="20261121T103100Z")
    assert rig.faults() == []
    stretch = rig.database.read(rig.audit.check, 0, rig.audit.beginning, 100)
    assert [entry.deed.facts["backup"] for entry in stretch.restores] == ["20261121T103100Z"]
    assert rig.faults(known) == [Fault.CUT_OFF]  # who kept a later head hears that it is gone


def test_a_head_of_others_is_refused(rig: Rig) -> None:
    rig.add(3)
    head = rig.head()
    forged = SignedHead(head.head, head.key, bytes(64))
    strange = SigningKey(b"x" * 32)
    message = canonical.head_message(head.head.document())
    others = SignedHead(head.head, strange.name, strange.sign(message))
    assert rig.faults(forged) == [Fault.BAD_HEAD]
    assert rig.faults(others) == [Fault.BAD_HEAD]


def test_pages_go_both_ways_and_narrow(rig: Rig) -> None:
    rig.add(5)
    caller = system_caller()

    def numbers(*, oldest_first: bool, **narrow: str) -> list[int]:
        found, token = [], ""
        while True:
            page = rig.database.read(
                rig.audit.page, caller, AuditFilter(**narrow), size=2, token=token, oldest_first=oldest_first
            )
            found += [entry.number for entry in page.items]
            token = page.next_token
            if not token:
                return found

    assert numbers(oldest_first=False) == [5, 4, 3, 2, 1]
    assert numbers(oldest_first=True) == [1, 2, 3, 4, 5]
    assert numbers(oldest_first=True, principal="users/sara", action="create") == [1, 2, 3, 4, 5]
    assert numbers(oldest_first=True, target="namespaces/sara/models/m") == []


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (AuditFilter(principal="users/sara"), "principal"),
        (AuditFilter(action="create"), "action"),
        (AuditFilter(target="namespaces/sara"), "root"),
        (AuditFilter(target="users/sara/tokens"), "root"),
        (AuditFilter(target="namespaces/sara/models/tiny"), "place"),
        (AuditFilter(target="namespaces/sara/models/tiny/versions/1"), "place"),
    ],
)
@pytest.mark.parametrize("oldest_first", [True, False])
def test_lists_use_an_index(wanted: AuditFilter, index: str, *, oldest_first: bool) -> None:
    with contextlib.closing(migrated(open_database("sqlite:///:memory:"))) as database:
        with recorded(database) as asked:
            database.read(AuditSql().page, wanted, 5, 5, oldest_first=oldest_first)
        (steps,) = [plan(database, statement) for statement in asked]
    assert [step for step in steps if "TEMP B-TREE" in step] == []
    assert f"audit_entry_{index}_number" in steps[0]


def test_a_list_of_a_thing_finds_what_lies_below_it(rig: Rig) -> None:
    tiny = "namespaces/sara/models/tiny"
    targets = [
        "namespaces/sara",
        tiny,
        f"{tiny}/versions/1",
        f"{tiny}/versions/10",
        f"{tiny}/aliases/prod",
        "namespaces/sara/models/tiny2",
        "namespaces/sara2/models/tiny",
        "users/sara/tokens/tok_1",
        "users/sara",
        "operations/op_1",
        "",
    ]
    for target in targets:
        deed = dataclasses.replace(_deed({}), target=target)
        rig.database.write(rig.audit.append, deed).result()

    def below(name: str) -> list[str]:
        page = rig.database.read(AuditSql().page, AuditFilter(target=name), None, 50, oldest_first=True)
        return [entry.deed.target for entry in page]

    assert below("namespaces/sara") == targets[:6]
    assert below(tiny) == targets[1:5]
    assert below(f"{tiny}/versions/1") == [f"{tiny}/versions/1"]
    assert below(f"{tiny}/versions") == targets[2:4]
    assert below("users/sara") == ["users/sara/tokens/tok_1", "users/sara"]
    assert below("users/sara/tokens") == below("users/sara/tokens/tok_1") == ["users/sara/tokens/tok_1"]
    assert below("operations/op_1") == ["operations/op_1"]
    assert below("namespaces") == []
    rig.tamper("UPDATE audit_entry SET place = 'namespaces/x/models/y' WHERE number = 2")
    assert rig.faults() == [Fault.CHANGED]


# --- the exported log ---------------------------------------------------------------------------------


def _exported(rig: Rig) -> list[str]:
    entries = rig.database.read(AuditSql().after, 0, 100)
    opening = {"format": canonical.FORMAT, "server": SERVER, "first": 1, "previous": rig.audit.beginning}
    return [json.dumps(each, ensure_ascii=False) for each in
            (opening, *(entry.document() for entry in entries), _document(rig.head()))]  # fmt: skip


def _document(head: SignedHead) -> dict[str, canonical.Value]:
    return {**head.head.document(), "key": head.key, "signature": head.signature.hex()}


def _beginning_with(entry: str) -> str:
    """Return the first line of a log whose entries before this one were cut off."""
    found = json.loads(entry)
    opening = {"format": canonical.FORMAT, "server": SERVER, "previous": found["previous"]}
    return json.dumps({**opening, "first": found["number"]})


def _check(lines: list[str], key: str = "", kept: "canonical.Document | None" = None) -> canonical.CheckedLog:
    return canonical.check_export(lines, signing.has_signed, key, kept)


def test_an_exported_log_is_checked_line_by_line(rig: Rig) -> None:
    rig.add(4, comment="«خوب»\u2028\U0001f600")
    checked = _check(_exported(rig), rig.key.name)
    assert (checked.last, checked.key, checked.server) == (4, rig.key.name, SERVER)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: lines[:-1], "signed head at the end is missing"),
        (lambda lines: [*lines[:3], *lines[4:]], "entries are missing"),
        (lambda lines: [*lines[:-2], lines[-1]], "cut off or replaced"),
        (lambda lines: [lines[0], lines[1].replace("users/sara", "users/omid"), *lines[2:]], "was changed"),
        (lambda lines: [*lines[:-1], lines[-1].replace("2023", "2024")], "not signed"),
        (lambda lines: lines[1:], "expected an exported log"),
        (lambda lines: ["", *lines], "expected a JSON object"),
        (lambda lines: [], "expected an exported log"),
        (lambda lines: [*lines, lines[1]], "nothing behind the signed head"),
        (lambda lines: [lines[0], '{"principal":"users/omid",' + lines[1][1:], *lines[2:]], "stands twice"),
        (lambda lines: [_beginning_with(lines[3]), *lines[3:]], "begins with entry 3"),
        (lambda lines: [*lines[:-1], lines[-1].replace('"time"', '"when"')], "it has no time"),
        (lambda lines: [*lines[:3], '{"x":"\\ud800"}', *lines[3:]], "expected a JSON object"),
    ],
)
def test_what_is_wrong_with_an_exported_log_is_told(rig: Rig, change: object, told: str) -> None:
    rig.clock.time = 1_700_000_000.0
    rig.add(4)
    with pytest.raises(canonical.BrokenLogError, match=told):
        _check(change(_exported(rig)))  # type: ignore[operator]


def test_an_exported_log_is_compared_with_a_head_that_was_kept(rig: Rig) -> None:
    rig.add(2)
    earlier, shorter = _exported(rig), rig.head()
    rig.add(2)
    later, kept = _exported(rig), _document(rig.head())
    assert _check(later, kept=_document(shorter)).last == 4
    assert _check(later, kept=kept).last == 4
    with pytest.raises(canonical.BrokenLogError, match="ends with entry 2, but the head that you kept"):
        _check(earlier, kept=kept)
    other = dataclasses.replace(shorter.head, hash=str(kept["hash"]))
    signature = rig.key.sign(canonical.head_message(other.document())).hex()
    with pytest.raises(canonical.BrokenLogError, match="entry 2 has the hash blake3:"):
        _check(later, kept={**other.document(), "signature": signature})
    with pytest.raises(canonical.BrokenLogError, match="is not one of this log"):
        _check(later, kept={**kept, "signature": "00"})


def test_alarms_that_an_exported_log_tells_of_are_found(rig: Rig) -> None:
    rig.add(3)
    rig.tamper("DELETE FROM audit_entry WHERE number = 3")
    alarm = server_deed(1.0, ALARM, {"message": "The log ends with entry 2."})
    rig.database.write(rig.audit.append, alarm).result()
    rig.add(1)
    (told,) = _check(_exported(rig)).alarms
    assert told.startswith("Entry 3, ")
    assert told.endswith("The log ends with entry 2.")


def test_another_key_than_the_known_one_is_refused(rig: Rig) -> None:
    rig.add(1)
    with pytest.raises(canonical.BrokenLogError, match="signed by"):
        _check(_exported(rig), SigningKey(b"x" * 32).name)


def test_the_form_of_an_entry_is_pinned() -> None:
    """As RFC 8785 says; whoever checks a log in another language compares with this."""
    entry: dict[str, canonical.Value] = {
        "number": 1,
        "facts": {"b": "\n\u007f", "a": "«é»"},
        "hash": "unused",
    }
    assert canonical.canonical({"number": 1, "facts": {"b": "\n\u007f", "a": "«é»"}}) == (
        '{"facts":{"a":"«é»","b":"\\n\u007f"},"number":1}'.encode()
    )
    assert canonical.entry_hash(entry) == (
        "blake3:1cb8f6946f4c1895587f42ffb3e7649382b1c55422aafc3474647397dcac5b29"
    )
    assert canonical.first_previous(SERVER) == (
        "blake3:0efd39a98d0064ca14cf1e791da8fd1afb3a9178c8fa56a87c2144afdc9fa5e8"
    )
    assert canonical.time_text(1_700_000_000_123_456) == "2023-11-14T22:13:20.123456Z"
