"""`ingot-server doctor`: a checkup of the data folder while no server uses it, with repair.

    exit status 0    nothing is wrong
                1    something was found, repaired or not
                2    the folder could not be checked at all

`--rebuild-index` begins with no database: the index is built from packs alone. Versions and names are not in
the packs; they come back with a database from a backup, or by pushing again, which finds the chunks stored.
"""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ingot.server.core import audit as audit_words
from ingot.server.core.checkup import CheckupReport, Fault, Finding
from ingot.server.core.clock import SystemClock
from ingot.server.core.pages import PageTokens
from ingot.server.domain.audit import Audit
from ingot.server.domain.audit_heads import AuditHeads
from ingot.server.domain.checkup import Checkup
from ingot.server.settings.fields import Settings
from ingot.server.sources import signing
from ingot.server.sources.signing import SigningKey
from ingot.server.storage import audit_head, soundness
from ingot.server.storage.accounts_sql import AccountsSql
from ingot.server.storage.audit_head import AuditHeadFile
from ingot.server.storage.audit_sql import AuditSql
from ingot.server.storage.chunks_sql import ChunksSql
from ingot.server.storage.data_folder import DataFolder
from ingot.server.storage.database import Database, only_server, open_database, path_of
from ingot.server.storage.migration_runner import migrate
from ingot.server.storage.pack_keys import keyring
from ingot.server.storage.packs_disk import DiskPacks
from ingot.server.storage.shelf_sql import ShelfSql
from ingot.server.storage.trees_sql import TreesSql

CLEAN, FOUND, CANNOT = 0, 1, 2
_COMPARE = "Keep folder and backups as they are, and compare with exported logs; nothing repairs it."
_SHOWN = 20  # findings of one kind, and names of one finding


class DoctorError(Exception):
    """The folder cannot be checked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a checkup."""

    repair: bool = False
    deep: bool = False
    rebuild_index: bool = False
    as_json: bool = False


def run(settings: Settings, wanted: Wanted) -> int:
    """Check a data folder, print what was found and return the exit status. Raises DoctorError and others."""
    started = time.monotonic()
    with soundness.told(settings.database), _opened(settings, wanted) as (folder, packs, database):
        report = _damaged(settings, database, wanted) or _checked(settings, folder, packs, database, wanted)
    if wanted.as_json:
        print(json.dumps(_facts(report, time.monotonic() - started), indent=1))
    else:
        print(_text(report, time.monotonic() - started, repairing=wanted.repair))
    return CLEAN if report.is_clean else FOUND


def _damaged(settings: Settings, database: Database, wanted: Wanted) -> CheckupReport | None:
    """Return what is wrong with the database file itself, None where it is sound: else no row counts."""
    report = CheckupReport()
    path = path_of(settings.database)
    if sys.stderr.isatty():
        print("database …\r", end="", file=sys.stderr, flush=True)
    for each in soundness.damage(database, deep=wanted.deep):
        report.add(Finding(Fault.DAMAGED_DATABASE, path, each, soundness.advice(path)))
    return None if report.is_clean else report


def _checked(
    settings: Settings, folder: DataFolder, packs: DiskPacks, database: Database, wanted: Wanted
) -> CheckupReport:
    """Compare rows and packs, and check the audit log."""
    checkup = Checkup(
        database,
        ShelfSql(),
        packs,
        ChunksSql(),
        TreesSql(),
        AccountsSql(),
        SystemClock(),
        deep=wanted.deep,
        repair=wanted.repair or wanted.rebuild_index,
        alone=True,
    )
    report = checkup.run(_Progress())
    if not wanted.rebuild_index:
        _check_audit(settings, folder, database, report)
    return report


@contextlib.contextmanager
def _opened(settings: Settings, wanted: Wanted) -> Iterator[tuple[DataFolder, DiskPacks, Database]]:
    """Hold the folder and open its packs and its database, brought to the present schema."""
    rows = Path(path_of(settings.database))
    if not (settings.data_dir / "packs").is_dir() and not rows.exists():
        raise DoctorError(f"{settings.data_dir} is no data folder: it has neither packs nor a database.")
    if wanted.rebuild_index and rows.exists():
        raise DoctorError(
            f"{rows} is there, and rebuilding makes a new one. Move it (and {rows.name}-wal) away first, or "
            "use --repair to put it right."
        )
    if not wanted.rebuild_index and not rows.exists():
        raise DoctorError(
            f"There is no database {rows}. Put one back from a backup, or run with --rebuild-index to build "
            "the index of chunks from the packs alone."
        )
    with (
        contextlib.closing(DataFolder.hold(settings.data_dir)) as folder,
        only_server(settings.database),
        contextlib.closing(_packs(settings, folder)) as packs,
    ):
        if wanted.rebuild_index:  # first, since one that is cut short has made a database, too
            audit_head.leave_restored(folder.path, {"backup": "none: the index was built from packs"})
        with contextlib.closing(open_database(settings.database)) as database:
            migrate(database)
            yield folder, packs, database


def _packs(settings: Settings, folder: DataFolder) -> DiskPacks:
    return DiskPacks(folder.path, keyring(settings.encryption_key_file, folder.path))


def _check_audit(settings: Settings, folder: DataFolder, database: Database, report: CheckupReport) -> None:
    """Add to the report what is wrong with the audit log."""
    clock = SystemClock()
    audit = Audit(AuditSql(), PageTokens(folder.secret), clock, folder.server_id)
    key = SigningKey.of_folder(folder.path)
    file = AuditHeadFile(settings.audit_head)
    heads = AuditHeads(audit, database, file, key, signing.has_signed, clock)
    for found in heads.whole(restored=bool(audit_head.take_restored(folder.path))):
        if found.fault is not audit_words.Fault.ALARM:  # that one was told, and stands in the log
            report.add(Finding(Fault.BROKEN_AUDIT, f"entry {found.number}", found.message, _COMPARE))


class _Progress:
    """Shows on a terminal how far it is."""

    def __init__(self) -> None:
        self._shown = 0.0

    def __call__(self, report: CheckupReport) -> None:
        now = time.monotonic()
        if sys.stderr.isatty() and now - self._shown > 0.1:
            self._shown = now
            print(f"{report.packs} packs, {report.trees} trees\r", end="", file=sys.stderr, flush=True)


def _facts(report: CheckupReport, seconds: float) -> dict[str, object]:
    return {
        "clean": report.is_clean,
        "packs": report.packs,
        "bytes_read": report.bytes,
        "trees": report.trees,
        "healed_chunks": report.healed_chunks,
        "seconds": round(seconds, 3),
        "counts": {fault.value: count for fault, count in report.counts.items()},
        "findings": [
            {
                "fault": each.fault.value,
                "subject": each.subject,
                "message": each.message,
                "next_step": each.next_step,
                "needed_by": list(each.needed_by),
                "repaired": each.repaired,
                "harmless": each.fault.is_harmless,
            }
            for each in report.findings
        ],
    }


def _text(report: CheckupReport, seconds: float, *, repairing: bool) -> str:
    lines = [f"Checked {report.packs} packs and {report.trees} trees in {seconds:.1f} s."]
    for fault, count in report.counts.items():
        lines.append(f"\n{count} × {fault.value}" + (" (harmless)" if fault.is_harmless else ""))
        shown = [each for each in report.findings if each.fault is fault]
        lines += [line for each in shown[:_SHOWN] for line in _told(each)]
        if len(shown) > _SHOWN:
            lines.append(f"  … and {len(shown) - _SHOWN} more: --json lists them")
    if report.healed_chunks:
        lines.append(f"\n{report.healed_chunks} lost chunks were found again.")
    lines.append("\nNothing is wrong." if report.is_clean else _end(repairing))
    return "\n".join(lines)


def _told(finding: Finding) -> Iterator[str]:
    yield f"  {finding.subject}: {finding.message}" + (" [repaired]" if finding.repaired else "")
    if finding.needed_by:
        more = f" and {len(finding.needed_by) - _SHOWN} more" if len(finding.needed_by) > _SHOWN else ""
        yield f"    needed by {', '.join(finding.needed_by[:_SHOWN])}{more}"
    if finding.needed_by or not finding.repaired:
        yield f"    next: {finding.next_step}"


def _end(repairing: bool) -> str:
    if not repairing:
        return "\nRun again with --repair to put right what can be."
    return "\nWhat can be put right here was; run again to see what is left."
