"""Rows of kept exports: one artifact to a folder, whatever the case of its name."""

from pathlib import Path

import pytest

from helpers.catalogs import CatalogRig
from ingot.server.core.errors import Invalid, Reason
from ingot.server.core.exports import KeptExport, Layout
from ingot.server.storage.allowed_folders import AllowedFoldersOnDisk
from ingot.server.storage.exports_sql import KeptExportsSql


def kept(folder: str, uid: str = "one") -> KeptExport:
    return KeptExport(
        uid, folder, "/srv", "/srv/x", folder.rpartition("/")[2], Layout.NAME, "users/sara", 1.0
    )


def test_a_folder_belongs_to_one_artifact_without_regard_to_case() -> None:
    rig, store = CatalogRig(), KeptExportsSql()
    assert rig.write(store.add, kept("/srv/x/Tiny"))
    assert not rig.write(store.add, kept("/srv/x/tiny", "two"))
    found = rig.read(store.at, "/srv/x/TINY")
    assert found == kept("/srv/x/Tiny")
    assert rig.write(store.remove, "/srv/x/tiny")
    assert not rig.write(store.remove, "/srv/x/tiny")


def test_the_folder_of_an_artifact_is_the_oldest_that_was_written() -> None:
    rig, store = CatalogRig(), KeptExportsSql()
    for folder in ("/srv/a", "/srv/b", "/srv/c"):
        rig.write(store.add, kept(folder))
    assert rig.read(store.folders, ["one", "two"]) == {}
    for folder in ("/srv/c", "/srv/b"):
        rig.write(store.exported, folder, "version")
    assert rig.read(store.folders, ["one", "two"]) == {"one": "/srv/b"}
    assert [each.folder for each in rig.read(store.of, "one")] == ["/srv/a", "/srv/b", "/srv/c"]
    assert len(rig.read(store.by_requester, "users/sara")) == 3


@pytest.mark.contract("S4-36")
def test_an_allowed_folder_may_itself_be_reached_by_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    folders = AllowedFoldersOnDisk([tmp_path / "link"], "export_roots")
    assert folders.find("a/b", "path").path == str(real / "a" / "b")
    assert folders.find(str(tmp_path / "link" / "a"), "path").root == str(real)
    with pytest.raises(Invalid, match="below"):
        folders.find(str(tmp_path / "other"), "path")
    with pytest.raises(Invalid, match="none is set"):
        AllowedFoldersOnDisk([], "import_roots").find("a", "path")


def test_names_that_no_disk_can_hold_are_refused_at_once(tmp_path: Path) -> None:
    folders = AllowedFoldersOnDisk([tmp_path], "export_roots")
    assert folders.find(f"{'x' * 255}/b", "path").path.endswith("/b")
    with pytest.raises(Invalid, match="names of at most 255 bytes") as caught:
        folders.find(f"a/{'é' * 128}/b", "path")
    assert caught.value.reason is Reason.BAD_PATH


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    folders = AllowedFoldersOnDisk([tmp_path], "import_roots")
    assert folders.find_file("folder/new", "path").path == str(tmp_path / "folder" / "new")
    for path in ("", "folder", "new/", ".", str(tmp_path)):
        with pytest.raises(Invalid, match="the path of a file") as caught:
            folders.find_file(path, "path")
        assert caught.value.reason is Reason.BAD_PATH
