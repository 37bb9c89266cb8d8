"""Which files a push finds, and what the journal remembers about them."""

import mmap
import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from ingot.client import Invalid, SourceChanged
from ingot.client._cutting import cut_files
from ingot.client._journal import Cut, FileState, Journal, Note
from ingot.client._mapped import Pages
from ingot.client._progress import Reporter
from ingot.client._walk import find_files
from ingot.content.globs import matches, wanted

OLD = 10**18  # nanoseconds: long before now


def files_in(folder: pathlib.Path, *names: str) -> pathlib.Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def paths(*sources: pathlib.Path, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
    return [each.path for each in find_files(sources, include=include, exclude=exclude)]


def test_a_folder_gives_its_content_and_several_paths_their_names(tmp_path: pathlib.Path) -> None:
    folder = files_in(tmp_path / "in", "b.txt", "a/c.txt", "a.txt", ".git/config", "a/.hidden")
    other = files_in(tmp_path, "other.bin") / "other.bin"
    assert paths(folder) == ["a.txt", "a/c.txt", "b.txt"]
    assert paths(other) == ["other.bin"]
    assert paths(folder, other) == ["in/a.txt", "in/a/c.txt", "in/b.txt", "other.bin"]
    hidden = [each.path for each in find_files([folder], hidden=True)]
    assert hidden == [".git/config", "a.txt", "a/.hidden", "a/c.txt", "b.txt"]


def test_include_and_exclude(tmp_path: pathlib.Path) -> None:
    folder = files_in(tmp_path, "a.txt", "a.bin", "logs/x.txt", "deep/er/x.bin")
    assert paths(folder, include=("*.txt",)) == ["a.txt", "logs/x.txt"]
    assert paths(folder, exclude=("logs", "*.bin")) == ["a.txt"]
    assert paths(folder, include=("deep",)) == ["deep/er/x.bin"]


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("a/b/c.txt", "*.txt", True),
        ("a/b/c.txt", "b", True),
        ("a/b/c.txt", "a/*.txt", False),
        ("a/b/c.txt", "a/**/*.txt", True),
        ("a/c.txt", "a/**/c.txt", True),
        ("a/b/c.txt", "a/**", True),
        ("a/b/c.txt", "/a", True),
        ("b/a/c.txt", "/a/c.txt", False),
        ("c.txt", "[a-c].t?t", True),
        ("c.txt", "[!a-c].txt", False),
        ("a+b.txt", "a+b.txt", True),
        ("aab.txt", "a+b.txt", False),
    ],
)
def test_globs(path: str, pattern: str, *, expected: bool) -> None:
    assert matches(path, pattern) is expected
    assert wanted(path, (pattern,), ()) is expected
    assert wanted(path, (), (pattern,)) is not expected


def test_links_inside_are_followed_and_others_refused(tmp_path: pathlib.Path) -> None:
    folder = files_in(tmp_path / "in", "a.txt")
    (folder / "link").symlink_to("a.txt")
    assert paths(folder) == ["a.txt", "link"]
    outside = files_in(tmp_path, "secret") / "secret"
    for target in (outside, tmp_path, folder / "absent", folder / "bad"):
        (folder / "bad").symlink_to(target)
        with pytest.raises(Invalid, match="bad"):
            paths(folder)
        assert paths(folder, exclude=("bad",)) == ["a.txt", "link"]
        (folder / "bad").unlink()


def test_what_is_no_file_or_has_a_bad_name_is_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = files_in(tmp_path / "in", "a.txt")
    os.mkfifo(folder / "pipe")
    with pytest.raises(Invalid, match="pipe, socket or device"):
        paths(folder)
    (folder / "pipe").unlink()
    monkeypatch.chdir(tmp_path)  # the path of a socket has at most 107 characters
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        with pytest.raises(Invalid, match="neither a file nor a folder"):
            paths(tmp_path / "s")
    files_in(folder, "A.txt")
    with pytest.raises(Invalid, match="same name where case is ignored"):
        paths(folder)


def test_what_a_pull_left_for_the_next_is_never_pushed(tmp_path: pathlib.Path) -> None:
    folder = files_in(tmp_path / "in", ".ingot-pull/lock", "deep/.ingot-pull/4f6c", ".kept", "a.txt")
    assert [each.path for each in find_files([folder], hidden=True)] == [".kept", "a.txt"]


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_any_more_when_its_turn_comes_is_named(tmp_path: pathlib.Path, kind: str) -> None:
    (found,) = find_files([files_in(tmp_path / "in", "a.txt")])
    place = pathlib.Path(found.source)
    place.unlink()
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        place.symlink_to("/dev/zero")
    else:
        place.mkdir()
    with pytest.raises(SourceChanged, match="no file any more"):
        list(cut_files([found], None, Reporter(None)))


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="there are no such files here")
def test_a_file_that_says_it_is_empty_and_is_not_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(Invalid, match="0 bytes, and it has more"):
        list(cut_files(find_files(["/proc/self/status"]), None, Reporter(None)))


def cut(size: int, fill: int) -> Cut:
    return Cut(size, (bytes([fill]) * 32 + size.to_bytes(4, "little")) if size else b"", "cdc")


def state(size: int, inode: int = 1) -> FileState:
    return FileState(size, OLD, OLD, inode)


def test_the_journal_remembers_until_the_file_changes(tmp_path: pathlib.Path) -> None:
    journal = Journal(tmp_path)
    journal.put("/a", state(5), cut(5, 1))
    journal.put("/سلام", state(7), cut(7, 2))
    journal.put("/a", state(6), cut(6, 3))
    journal.close()
    journal = Journal(tmp_path)
    assert journal.get("/a", state(6)) == cut(6, 3)
    assert journal.get("/سلام", state(7)) == cut(7, 2)
    for other in (state(5), state(6, inode=2), FileState(6, OLD + 1, OLD, 1), FileState(6, OLD, OLD + 1, 1)):
        assert journal.get("/a", other) is None
    journal.close()


def test_what_was_just_written_is_not_remembered(tmp_path: pathlib.Path) -> None:
    file = files_in(tmp_path, "a") / "a"
    fresh = FileState.of(file.stat())
    journal = Journal(tmp_path)
    journal.put(str(file), fresh, cut(fresh.size, 1))
    assert journal.get(str(file), fresh) is None
    journal.close()


@pytest.mark.parametrize("damage", ["cut off", "flipped", "another file"])
def test_a_damaged_journal_loses_only_what_is_behind_the_damage(tmp_path: pathlib.Path, damage: str) -> None:
    journal = Journal(tmp_path)
    journal.put("/a", state(5), cut(5, 1))
    journal.put("/b", state(5), cut(5, 2))
    journal.close()
    (path,) = (tmp_path / "xdg" / "cache" / "ingot" / "cuts").iterdir()
    data = bytearray(path.read_bytes())
    if damage == "cut off":
        del data[-3:]
    elif damage == "flipped":
        data[-20] ^= 1
    else:
        data = bytearray(b"something else")
    path.write_bytes(data)
    journal = Journal(tmp_path)
    assert journal.get("/b", state(5)) is None
    assert journal.get("/a", state(5)) == (None if damage == "another file" else cut(5, 1))
    journal.put("/c", state(5), cut(5, 3))
    journal.close()
    journal = Journal(tmp_path)
    assert journal.get("/c", state(5)) == cut(5, 3)
    journal.close()


def test_notes_survive_and_differ_by_what_they_are_about() -> None:
    assert Note("upload", "a").read_or("one") == "one"
    assert Note("upload", "a").read_or("two") == "one"
    assert Note("upload", "b").read_or("two") == "two"
    Note("upload", "a").remove()
    assert Note("upload", "a").read() == ""


FULL = """
import pathlib, resource
from ingot.client import LimitReached
from ingot.client._journal import Journal, Note
from ingot.client._pulled import Pulled
here = pathlib.Path()
note, pulled = Note("about"), Pulled(here)
resource.setrlimit(resource.RLIMIT_FSIZE, (5, 5))  # files take no more, as on a full disk
for work in (lambda: Journal(here), lambda: note.keep("many words"), lambda: pulled.add([("a", bytes(32))])):
    try:
        work()
    except LimitReached as error:
        print(error.message)
"""


def test_a_cache_folder_that_is_full_is_named(tmp_path: pathlib.Path) -> None:
    environment = {**os.environ, "INGOT_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", FULL],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    places = [tmp_path / "cuts", tmp_path / "notes", tmp_path / "pulled"]
    assert done.stdout.splitlines() == [f"Cannot keep notes in {each}: File too large." for each in places]
    assert not [each for each in (tmp_path / "notes").iterdir() if each.stat().st_size]


def test_a_cut_knows_its_chunks_and_its_root() -> None:
    two = Cut(12, cut(5, 1).entries + cut(7, 2).entries, "cdc")
    assert list(two.chunks()) == [(0, 5, b"\1" * 32), (5, 7, b"\2" * 32)]
    assert (two.chunk_count, len(two.segments()), len(two.root())) == (2, 1, 32)


def change_again(place: pathlib.Path, look: Callable[[pathlib.Path], object]) -> bool:
    """Write through memory to one page before and after a look at a file; return whether its times tell."""
    with place.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[:1] = b"A"
        os.utime(place, ns=(OLD, OLD))
        look(place)
        memory[:1] = b"B"
    return place.stat().st_mtime_ns != OLD


def test_a_second_write_through_memory_to_a_page_shows(tmp_path: pathlib.Path) -> None:
    def protect(place: pathlib.Path) -> None:
        with place.open("rb") as file:
            Pages(file.fileno(), FileState.of(place.stat())).let_writes_show()

    place = files_in(tmp_path, "a.bin") / "a.bin"
    if not change_again(place, protect):
        pytest.skip("this file system keeps no times of writes through memory")
    assert change_again(place, lambda _: list(cut_files(find_files([place]), None, Reporter(None))))
