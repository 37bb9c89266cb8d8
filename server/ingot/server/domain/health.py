"""Whether the server is well: the database answers and takes writes, bytes are there, the disk has room."""

from typing import Protocol

from ingot.server.core.data_addresses import DataAddresses
from ingot.server.core.disk_room import DiskLevel
from ingot.server.core.health import (
    HealthPart,
    HealthReport,
    HealthStatus,
    StorageReport,
    Tallies,
    Vitals,
)
from ingot.server.domain.disk_room import DiskRoom

PROBE_SECONDS = 2.0
_DAY = 24 * 3600.0
_RENEWAL_DAYS = 14
_LONG_WAIT_SECONDS = 15 * 60.0  # of an operation whose time has come

_ADVICE = "delete versions and run `ingot upkeep collect`, or add disk space"
_DISK = {
    DiskLevel.ROOMY: (HealthStatus.HEALTHY, "it has room"),
    DiskLevel.FILLING: (HealthStatus.DEGRADED, f"it fills up: {_ADVICE} before uploads are refused"),
    DiskLevel.LOW: (HealthStatus.DEGRADED, f"it is low, new uploads are refused: {_ADVICE}"),
    DiskLevel.FULL: (HealthStatus.UNHEALTHY, f"it is full, no data are taken: {_ADVICE}"),
}


class Certificate(Protocol):
    """What the addresses are protected with."""

    def seconds_left(self) -> float:
        """Return how long it is good still; below 0 when it has ended."""
        ...


class AuditWatch(Protocol):
    """Who compares the audit log with its kept head."""

    @property
    def alarm(self) -> str:
        """What was wrong with the log since the start, "" when nothing was."""
        ...


class Health:
    """Asks the parts how they are. Its methods may wait: they run on an I/O thread, in no unit of work."""

    def __init__(
        self,
        vitals: Vitals,
        disk: DiskRoom,
        certificate: Certificate | None = None,
        audit: AuditWatch | None = None,
        data: DataAddresses | None = None,
    ) -> None:
        self._vitals = vitals
        self._room = disk
        self._certificate = certificate
        self._audit = audit
        self._data = data

    def report(self) -> HealthReport:
        """Return how every part is; a part that fails is told, not raised."""
        database, tallies = self._database()
        parts = [database, self._writer(), _packs(tallies), self._disk(), _operations(tallies)]
        if self._audit is not None and self._audit.alarm:
            parts.append(_audit(self._audit.alarm))
        if self._certificate is not None:
            parts.append(_tls(self._certificate.seconds_left()))
        if self._data is not None and self._data.wanted:
            parts.append(_data_processes(self._data.wanted, self._data.serving))
        return HealthReport(
            parts=tuple(parts),
            database_version=self._vitals.database_version,
            writer=self._vitals.writer(),
            tallies=tallies,
        )

    def storage(self) -> StorageReport:
        """Return what is stored."""
        return self._vitals.storage()

    def _database(self) -> tuple[HealthPart, Tallies]:
        version = self._vitals.database_version
        try:
            tallies = self._vitals.tallies()
        except Exception as error:  # noqa: BLE001 (whatever it is, it is what this report is about)
            part = HealthPart("database", HealthStatus.UNHEALTHY, f"it cannot be read: {error}")
            return part, Tallies(0, 0, 0)
        if self._vitals.database_warning:
            return HealthPart("database", HealthStatus.DEGRADED, self._vitals.database_warning), tallies
        return HealthPart("database", HealthStatus.HEALTHY, version), tallies

    def _writer(self) -> HealthPart:
        try:
            self._vitals.probe_writer(PROBE_SECONDS)
        except TimeoutError:
            holder = self._vitals.writer().holder or "nothing"
            message = f"a write waited {PROBE_SECONDS:g} s; {holder} is being written"
            return HealthPart("writer", HealthStatus.DEGRADED, message)
        except Exception as error:  # noqa: BLE001 (as above)
            return HealthPart("writer", HealthStatus.UNHEALTHY, f"nothing can be written: {error}")
        return HealthPart("writer", HealthStatus.HEALTHY, "writes are taken")

    def _disk(self) -> HealthPart:
        try:
            space, level = self._room.look()
        except OSError as error:
            return HealthPart("disk", HealthStatus.UNHEALTHY, f"it cannot be used: {error.strerror}")
        figures = (
            f"{space.free // 10**6} MB of {space.total // 10**6} MB are free, {space.used_percent:.1f} % used"
        )
        return HealthPart("disk", *_DISK[level], figures)


def _audit(alarm: str) -> HealthPart:
    message = f"the log is not what it was: {alarm} Run `ingot audit verify`, and compare exported logs"
    return HealthPart("audit", HealthStatus.DEGRADED, message)


def _tls(left: float) -> HealthPart:
    days = left / _DAY
    if days > _RENEWAL_DAYS:
        return HealthPart("tls", HealthStatus.HEALTHY, f"the certificate is good for {days:.0f} days")
    told = f"ends in {days:.1f} days" if days > 0 else "has ended, and new connections fail"
    return HealthPart("tls", HealthStatus.DEGRADED, f"the certificate {told}: renew the file of tls_cert")


def _data_processes(wanted: int, serving: int) -> HealthPart:
    if serving >= wanted:
        return HealthPart("data", HealthStatus.HEALTHY, f"{serving} data processes serve")
    message = (
        f"{serving} of {wanted} data processes serve; clients do without, the others are started again: the "
        "log tells why, and so does logs/data-1.log of the first"
    )
    return HealthPart("data", HealthStatus.DEGRADED, message)


def _packs(tallies: Tallies) -> HealthPart:
    if not (tallies.lost_chunks or tallies.missing_packs):
        return HealthPart("packs", HealthStatus.HEALTHY, "every known chunk has its place")
    message = (
        f"{tallies.lost_chunks} chunks are lost ({tallies.missing_packs} packs are missing); versions that "
        "need them cannot be read: push their files again, which heals them, or put the packs back"
    )
    return HealthPart("packs", HealthStatus.UNHEALTHY, message)


def _operations(tallies: Tallies) -> HealthPart:
    figures = f"{tallies.running_operations} run, {tallies.waiting_operations} wait"
    if tallies.longest_wait_seconds <= _LONG_WAIT_SECONDS:
        return HealthPart("operations", HealthStatus.HEALTHY, "they get their turn", figures)
    message = (
        f"{tallies.waiting_operations} wait for their turn, the first for "
        f"{tallies.longest_wait_seconds / 60:.0f} minutes; all else works: cancel what need not be, "
        "or let more run at once (operation_queues)"
    )
    return HealthPart("operations", HealthStatus.DEGRADED, message, tallies.longest_waiting)
