"""A filling disk: which level counts when, on small disks and on huge ones."""

import logging
import shutil
from pathlib import Path

import pytest

from helpers.eventually import eventually
from helpers.schema import migrated
from ingot.server.core.disk_room import DiskLevel, DiskSpace, Watermarks
from ingot.server.core.errors import Exhausted, Reason
from ingot.server.core.health import HealthStatus
from ingot.server.domain.disk_room import DiskRoom
from ingot.server.domain.health import Health
from ingot.server.storage.data_folder import DataFolder
from ingot.server.storage.database import open_database
from ingot.server.storage.disk_space import FolderDisk
from ingot.server.storage.vitals import SqliteVitals

GB = 10**9
ROOMY, FILLING, LOW, FULL = DiskLevel


class Disk:
    """A disk whose size and used share a test sets."""

    def __init__(self, size: int, percent: float) -> None:
        self.size = size
        self.percent = percent

    def space(self) -> DiskSpace:
        used = int(self.size * self.percent / 100)
        return DiskSpace(self.size, used, self.size - used)


class BrokenDisk:
    def space(self) -> DiskSpace:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("size", "percent", "level"),
    [
        (100 * GB, 84.9, ROOMY),
        (100 * GB, 85.0, FILLING),
        (100 * GB, 91.9, FILLING),
        (100 * GB, 92.0, LOW),
        (100 * GB, 96.0, FULL),
        (100 * GB, 100.0, FULL),
        (1 * GB, 84.0, ROOMY),
        (1 * GB, 92.5, LOW),
        (64 * 10**6, 96.5, FULL),
        (4000 * GB, 93.0, ROOMY),  # 280 GB are free
        (4000 * GB, 98.5, FILLING),  # 60 GB
        (4000 * GB, 99.7, LOW),  # 12 GB
        (4000 * GB, 99.9, FULL),  # 4 GB
        (0, 0.0, FULL),
    ],
)
def test_a_level_counts_when_both_of_its_marks_are_reached(size: int, percent: float, level: int) -> None:
    assert Watermarks().level(Disk(size, percent).space()) is level


@pytest.mark.parametrize(
    ("percent", "uploads", "streams"), [(91.0, True, True), (93.0, False, True), (97.0, False, False)]
)
def test_new_uploads_are_refused_before_streams(percent: float, uploads: bool, streams: bool) -> None:
    room = DiskRoom(Disk(100 * GB, percent), Watermarks())
    for require, allowed in ((room.require_upload, uploads), (room.require_stream, streams)):
        if allowed:
            require()
            continue
        with pytest.raises(Exhausted) as caught:
            require()
        assert caught.value.reason is Reason.DISK_LOW
        assert caught.value.retry_after == 60.0
        assert "collect" in caught.value.next_step


def test_a_disk_that_cannot_be_asked_refuses_nothing() -> None:
    room = DiskRoom(BrokenDisk(), Watermarks())
    room.require_upload()
    room.require_stream()


def test_a_change_of_level_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    disk = Disk(100 * GB, 50)
    room = DiskRoom(disk, Watermarks())
    for percent in (50, 93, 93, 50):
        disk.percent = percent
        room.look()
    assert [record.getMessage().split()[1] for record in caplog.records] == ["level=LOW", "level=ROOMY"]


@pytest.mark.contract("S3-58")
@pytest.mark.parametrize(
    ("percent", "status", "said"),
    [
        (50, HealthStatus.HEALTHY, "has room"),
        (86, HealthStatus.DEGRADED, "before uploads are refused"),
        (93, HealthStatus.DEGRADED, "new uploads are refused"),
        (97, HealthStatus.UNHEALTHY, "no data are taken"),
    ],
)
def test_health_tells_the_level_and_what_to_do(
    tmp_path: Path, percent: float, status: HealthStatus, said: str
) -> None:
    database = open_database("sqlite:///:memory:")
    migrated(database)
    disk = DiskRoom(Disk(100 * GB, percent), Watermarks())
    parts = {part.name: part for part in Health(SqliteVitals(database, tmp_path), disk).report().parts}
    database.close()
    part = parts["disk"]
    assert part.status == status
    assert said in part.message
    assert ("collect" in part.message) == (status is not HealthStatus.HEALTHY)


def test_the_real_disk_is_read_as_df_reads_it(tmp_path: Path) -> None:
    def agree() -> bool:
        before, space = shutil.disk_usage(tmp_path), FolderDisk(folder.path).space()
        assert shutil.disk_usage(tmp_path) == before, "others write just now"
        assert (space.total, space.used, space.free) == before
        assert 0 < space.used_percent <= 100
        return True

    folder = DataFolder.hold(tmp_path)
    eventually(agree)
    folder.close()
