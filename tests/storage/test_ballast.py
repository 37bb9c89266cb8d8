"""The ballast: put in place while there is room, dropped by the first write that finds none."""

import os
from pathlib import Path

import pytest

from helpers import notes
from ingot.server.core import failpoints
from ingot.server.core.errors import Exhausted
from ingot.server.storage import ballast
from ingot.server.storage.database import open_database


def test_it_is_kept_once_and_dropped_once(tmp_path: Path) -> None:
    database = str(tmp_path / "ingot.db")
    assert ballast.keep(database)
    file = tmp_path / "ingot.db.ballast"
    assert file.stat().st_blocks * 512 >= ballast.MOST
    assert ballast.keep(database)
    assert ballast.drop(database)
    assert not file.exists()
    assert not ballast.drop(database)


def test_it_is_not_kept_where_it_cannot_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert not ballast.keep(str(tmp_path / "file" / "ingot.db"))
    assert "ballast.not_kept" in caplog.text


def test_a_write_without_room_drops_it_and_succeeds_when_tried_again(tmp_path: Path) -> None:
    path = str(tmp_path / "ingot.db")
    database = notes.prepare(open_database(f"sqlite:///{path}"))
    ballast.keep(path)
    with failpoints.armed("database.committing:1=ENOSPC"), pytest.raises(Exhausted, match="disk is full"):
        database.write(notes.add, "a").result(60)
    assert not os.path.exists(f"{path}.ballast")
    database.write(notes.add, "a").result(60)
    assert database.read(notes.names) == ["a"]
    database.close()
