"""The data folder: private, held by one process, and found by programs on the same machine."""

import json
import os
import stat
from pathlib import Path

import pytest

from ingot.server.storage.data_folder import DataFolder, DataFolderError, read_announcement


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_in_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = DataFolder.hold(tmp_path / "a" / "b")
    folder.keep_token("admin", "ingot_1_secret")
    assert _mode(folder.path) == 0o700
    modes = {path.name: _mode(path) for path in folder.path.iterdir() if path.is_file()}
    assert modes == dict.fromkeys(("lock", "secret", "server_id", "admin.token"), 0o600)
    assert folder.token("admin") == "ingot_1_secret"
    assert folder.token("worker") == ""
    folder.close()


def test_an_open_folder_is_made_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    DataFolder.hold(tmp_path).close()
    assert _mode(tmp_path) == 0o700


def test_secrets_outlive_a_restart_and_differ_between_folders(tmp_path: Path) -> None:
    first = DataFolder.hold(tmp_path / "one")
    secret, server_id = first.secret, first.server_id
    first.close()
    again = DataFolder.hold(tmp_path / "one")
    other = DataFolder.hold(tmp_path / "two")
    assert (again.secret, again.server_id) == (secret, server_id)
    assert len(secret) == 32
    assert other.secret != secret
    assert other.server_id != server_id
    again.close()
    other.close()


@pytest.mark.contract("S2-48")
def test_a_second_server_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    folder = DataFolder.hold(tmp_path)
    folder.announce({"pid": os.getpid(), "listen": ["127.0.0.1:7070"]})
    with pytest.raises(
        DataFolderError, match=rf"process {os.getpid()} at 127\.0\.0\.1:7070 serves it already"
    ):
        DataFolder.hold(tmp_path)
    folder.close()
    DataFolder.hold(tmp_path).close()


def test_the_announcement_is_there_while_it_serves(tmp_path: Path) -> None:
    folder = DataFolder.hold(tmp_path)
    folder.announce({"pid": 1, "listen": ["127.0.0.1:1"]})
    assert json.loads((tmp_path / "server.json").read_text())["listen"] == ["127.0.0.1:1"]
    folder.close()
    assert read_announcement(tmp_path) == {}
    folder.close()


@pytest.mark.contract("S2-48")
def test_a_path_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataFolderError, match=r"cannot be used: .*--data"):
        DataFolder.hold(tmp_path / "file" / "data")


def test_a_path_too_long_for_a_socket_gets_a_short_private_one(tmp_path: Path) -> None:
    folder = DataFolder.hold(tmp_path / ("long" * 30))
    path = folder.socket_path()
    assert len(os.fsencode(path)) <= 100
    assert path == folder.socket_path()
    assert _mode(path.parent) == 0o700
    folder.close()
    assert not path.parent.exists()


def test_a_short_path_keeps_its_socket_inside(tmp_path: Path) -> None:
    folder = DataFolder.hold(tmp_path / "d")
    if len(os.fsencode(tmp_path)) < 80:
        assert folder.socket_path() == tmp_path / "d" / "server.sock"
    folder.close()
