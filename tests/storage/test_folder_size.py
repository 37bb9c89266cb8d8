"""The size of the data folder: everything but the packs, counted at most once a minute."""

import dataclasses
import pathlib

from helpers.patterns import pattern
from ingot.server.core.clock import SystemClock
from ingot.server.storage.folder_size import FolderSize


@dataclasses.dataclass
class _Clock(SystemClock):
    time: float = 1e9

    def now(self) -> float:
        return self.time


def test_files_are_counted_without_packs_links_and_what_goes_away(tmp_path: pathlib.Path) -> None:
    (tmp_path / "packs").mkdir()
    (tmp_path / "packs" / "p").write_bytes(pattern("pack", 1 << 20))
    (tmp_path / "logs" / "deep").mkdir(parents=True)
    (tmp_path / "logs" / "deep" / "log").write_bytes(pattern("log", 100_000))
    (tmp_path / "around").symlink_to(tmp_path)
    size, time = FolderSize(tmp_path, _Clock()).folder()
    assert 100_000 <= size < 900_000  # some file systems set more aside than was written
    assert time == 1e9
    assert FolderSize(tmp_path / "absent", _Clock()).folder()[0] == 0


def test_it_is_counted_anew_after_a_minute_only(tmp_path: pathlib.Path) -> None:
    clock = _Clock()
    measured = FolderSize(tmp_path, clock)
    before, _ = measured.folder()
    (tmp_path / "more").write_bytes(pattern("more", 100_000))
    clock.time += 59
    assert measured.folder() == (before, 1e9)
    clock.time += 2
    size, time = measured.folder()
    assert size >= before + 100_000
    assert time == clock.time
    clock.time -= 3600  # a clock that was put right
    assert measured.folder()[1] == clock.time
