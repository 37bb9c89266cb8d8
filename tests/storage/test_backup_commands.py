"""`ingot-server backup` and `restore`, as an administrator types them."""

from pathlib import Path

import pytest

from ingot.server import cli


@pytest.mark.contract("S3-60")
def test_a_backup_is_restored_into_another_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, folder, new = tmp_path / "home", tmp_path / "backup", tmp_path / "new"
    assert cli.main(["migrate", "--data", str(home)]) == 0
    capsys.readouterr()
    assert cli.main(["backup", "--data", str(home), "--backup-dir", str(folder)]) == 0
    made = Path(capsys.readouterr().out.strip())
    assert made.parent == folder
    assert cli.main(["restore", str(folder), "--data", str(new)]) == 0
    assert made.name in capsys.readouterr().out
    assert (new / "secret").read_bytes() == (home / "secret").read_bytes()
    assert (new / "ingot.db").exists()


def test_restoring_over_data_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, folder = tmp_path / "home", tmp_path / "backup"
    assert cli.main(["migrate", "--data", str(home)]) == 0
    assert cli.main(["backup", "--data", str(home), "--backup-dir", str(folder)]) == 0
    assert cli.main(["restore", str(folder), "--data", str(home)]) == 1
    assert "has data already" in capsys.readouterr().err


def test_a_folder_without_backups_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["restore", str(tmp_path / "nothing"), "--data", str(tmp_path / "new")]) == 1
    assert "There is no backup in" in capsys.readouterr().err


def test_a_folder_without_data_is_not_backed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It would look like a backup, and in time take the place of those that are some."""
    home, folder = tmp_path / "home", tmp_path / "backup"
    assert cli.main(["backup", "--data", str(home), "--backup-dir", str(folder)]) == 1
    assert f"There is nothing to back up in {home}" in capsys.readouterr().err
    assert not home.exists()
    assert not folder.exists()
