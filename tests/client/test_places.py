"""Where files go: what is there is known before anything is asked twice."""

import unicodedata
from pathlib import Path

import pytest

from ingot.client import Invalid
from ingot.client._places import Folders


def test_what_is_there_may_be_there_whatever_its_spelling(tmp_path: Path) -> None:
    (tmp_path / "Sub").mkdir()
    (tmp_path / "Sub" / unicodedata.normalize("NFD", "Größe.txt")).write_bytes(b"")
    folders = Folders(tmp_path)
    assert folders.may_have("Sub/Größe.txt")
    assert folders.may_have("Sub/grösse.TXT")  # a disk that ignores case finds it
    assert not folders.may_have("Sub/Große.txt")
    assert not folders.may_have("none/such")
    assert folders.may_have("sub")


def test_a_folder_that_cannot_be_listed_may_have_anything(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert Folders(tmp_path).may_have("file/in it")


def test_folders_are_made_once_and_links_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    folders = Folders(root)
    assert folders.place("a/b/c") == str(root / "a" / "b" / "c")
    assert folders.place("a/b/d") == str(root / "a" / "b" / "d")
    assert (root / "a" / "b").is_dir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(Invalid, match="something else"):
        folders.place("link/x")
    with pytest.raises(Invalid, match="something else"):
        Folders(root).place("a/b")
