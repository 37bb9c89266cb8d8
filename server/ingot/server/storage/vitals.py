"""Figures about the database, the disk and what is stored, for health and storage reports."""

import shutil
from pathlib import Path

from ingot.server.core.clock import Clock, SystemClock
from ingot.server.core.health import StorageArea, StorageReport, Tallies, WriterReport
from ingot.server.storage import sql
from ingot.server.storage.database import SQLITE_MINIMUM, SQLITE_VERSION, Database, dotted
from ingot.server.storage.operations_sql import CLAIMED, WAITING

_OPEN = "('OPEN', 'SEALING')"
_VERSIONS = (
    "SELECT SUM(coalesce(own_version_count, version_count)), SUM(coalesce(own_version_bytes, version_bytes)) "
    "FROM artifact"
)
_AREAS: tuple[tuple[str, str], ...] = (  # name; how many items, and the bytes of their files
    (
        "datasets",
        f"{_VERSIONS} WHERE live AND kind = 'datasets'",
    ),
    ("models", f"{_VERSIONS} WHERE live AND kind = 'models'"),
    (
        "checkpoints",  # the trees that belong to no artifact and are no upload's
        """SELECT COUNT(DISTINCT tree.id), SUM(tree_file.size_bytes) FROM tree
        LEFT JOIN tree_file ON tree_file.tree = tree.id WHERE tree.artifact = '' AND tree.expires IS NULL""",
    ),
    (
        "trash",  # artifacts, and versions of those that are not deleted themselves
        """SELECT COUNT(*), SUM(version.size_bytes) FROM version JOIN artifact
        ON artifact.id = version.artifact_id WHERE version.deleted IS NOT NULL OR NOT artifact.live""",
    ),
    (
        "staging",  # what comes in, and what came in but has not passed its validation
        """SELECT COUNT(*), SUM(CASE state WHEN 'COMMITTED' THEN manifest_bytes ELSE received_bytes END)
        FROM upload WHERE stage IN ('UPLOADING', 'PROCESSING', 'STAGED', 'VALIDATING')
        OR (stage = 'FAILED' AND state = 'COMMITTED')""",
    ),
)


class SqliteVitals:
    """Implements Vitals for SQLite and packs on a disk; `folder` is the data folder."""

    def __init__(self, database: Database, folder: Path, clock: Clock | None = None) -> None:
        self._database = database
        self._folder = folder
        self._clock = clock or SystemClock()

    @property
    def database_version(self) -> str:
        return f"SQLite {dotted(SQLITE_VERSION)}"

    @property
    def database_warning(self) -> str:
        if SQLITE_VERSION >= SQLITE_MINIMUM:
            return ""
        return f"{self.database_version} may corrupt the database; install pysqlite3 for a newer one"

    def tallies(self) -> Tallies:
        return self._database.read(_tallies, self._clock.now())

    def probe_writer(self, seconds: float) -> None:
        self._database.write(_probe).result(timeout=seconds)

    def writer(self) -> WriterReport:
        figures = self._database.queue()
        return WriterReport(
            waiting=figures.waiting,
            holder=figures.holder,
            holder_seconds=figures.holder_seconds,
            longest_wait_seconds=max(figures.longest_wait_seconds, figures.oldest_wait_seconds),
        )

    def disk(self) -> tuple[int, int]:
        usage = shutil.disk_usage(self._folder)
        return usage.total, usage.free

    def storage(self) -> StorageReport:
        total, free = self.disk()
        areas, (chunk_count, chunk_bytes), (pack_count, pack_bytes) = self._database.read(_stored)
        return StorageReport(
            areas=areas,
            chunk_bytes=chunk_bytes,
            chunk_count=chunk_count,
            pack_bytes=pack_bytes,
            pack_count=pack_count,
            disk_total_bytes=total,
            disk_free_bytes=free,
            database_bytes=_size(self._database.path) + _size(f"{self._database.path}-wal"),
        )


def _tallies(now: float) -> Tallies:
    due = f"FROM operation WHERE phase = '{WAITING}' AND due <= {now:.3f}"
    oldest = sql.rows(f"SELECT due, number, kind, queue {due} ORDER BY due LIMIT 1")
    since, number, kind, queue = oldest[0] if oldest else (now, 0, "", "")
    return Tallies(
        active_uploads=_pair(f"SELECT COUNT(*), 0 FROM upload WHERE state IN {_OPEN}")[0],
        failed_uploads=_pair("SELECT COUNT(*), 0 FROM upload WHERE stage = 'FAILED'")[0],
        total_files=_pair(
            """SELECT SUM(version.file_count), 0 FROM version
            JOIN artifact ON artifact.id = version.artifact_id
            WHERE artifact.live AND version.state = 'READY'"""
        )[0],
        lost_chunks=_pair("SELECT COUNT(*), 0 FROM chunk WHERE lost = 1")[0],
        missing_packs=_pair(
            """SELECT COUNT(*), 0 FROM pack
            WHERE missing AND EXISTS(SELECT 1 FROM chunk WHERE chunk.pack = pack.id)"""
        )[0],
        running_operations=_pair(f"SELECT COUNT(*), 0 FROM operation WHERE phase = '{CLAIMED}'")[0],
        waiting_operations=_pair(f"SELECT COUNT(*), 0 {due}")[0],
        longest_wait_seconds=max(0.0, now - float(since)),
        longest_waiting=f"operations/op_{number} ({kind}) in queue {queue}" if number else "",
    )


def _stored() -> tuple[tuple[StorageArea, ...], tuple[int, int], tuple[int, int]]:
    areas = []
    for name, question in _AREAS:
        count, size = _pair(question)
        areas.append(StorageArea(name, size, count))
    return (
        tuple(areas),
        _pair("SELECT COUNT(*), SUM(length) FROM chunk WHERE NOT lost"),
        _pair("SELECT COUNT(*), SUM(size_bytes - COALESCE(punched, 0)) FROM pack WHERE NOT missing"),
    )


def _pair(question: str) -> tuple[int, int]:
    """Return the two sums that a question gives; SQL's NULL for the sum of nothing is 0."""
    first, second = sql.rows(question)[0]
    return int(first or 0), int(second or 0)


def _probe() -> None:
    """Write a page that changes nothing, so that the disk is asked, too."""
    sql.rows("PRAGMA user_version = 0")  # nobody uses it


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return 0
