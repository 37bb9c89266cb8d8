"""Whether the server is well: the database answers and takes writes, bytes are there, the disk has room."""

from ingot.server.core.health import (
    HealthPart,
    HealthReport,
    HealthStatus,
    StorageReport,
    Tallies,
    Vitals,
)

PROBE_SECONDS = 2.0
_DISK_DEGRADED = 0.05  # of the disk is free
_DISK_UNHEALTHY = 256 * 1024 * 1024  # bytes free: uploads are refused


class Health:
    """Asks the parts how they are. Its methods may wait: they run on an I/O thread, in no unit of work."""

    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals

    def report(self) -> HealthReport:
        """Return how every part is; a part that fails is told, not raised."""
        database, tallies = self._database()
        return HealthReport(
            parts=(database, self._writer(), _packs(tallies), self._disk()),
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
            total, free = self._vitals.disk()
        except OSError as error:
            return HealthPart("disk", HealthStatus.UNHEALTHY, f"it cannot be asked: {error.strerror}")
        figures = f"{free // 2**20} MiB of {total // 2**20} MiB are free"
        if free < _DISK_UNHEALTHY:
            return HealthPart("disk", HealthStatus.UNHEALTHY, "it is full, uploads are refused", figures)
        if free < total * _DISK_DEGRADED:
            return HealthPart("disk", HealthStatus.DEGRADED, "it is nearly full", figures)
        return HealthPart("disk", HealthStatus.HEALTHY, "it has room", figures)


def _packs(tallies: Tallies) -> HealthPart:
    if not (tallies.lost_chunks or tallies.missing_packs):
        return HealthPart("packs", HealthStatus.HEALTHY, "every known chunk has its place")
    message = (
        f"{tallies.lost_chunks} chunks are lost ({tallies.missing_packs} packs are missing); versions that "
        "need them cannot be read: push their files again, which heals them, or put the packs back"
    )
    return HealthPart("packs", HealthStatus.UNHEALTHY, message)
