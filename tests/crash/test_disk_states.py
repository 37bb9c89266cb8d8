"""The model of a disk that loses its power, and the record of what a program did to one."""

import subprocess
import sys
from pathlib import Path

import pytest

from helpers import disk_record
from helpers.disk_record import Link, Make, Note, Remove, Rename, Step, Sync, Truncate, Write
from helpers.disk_states import BYTES, KEPT, LOST, NAMES, ZEROS, Cut, Disk, State, torn

MADE: list[Step] = [Make("/d/f"), Write("/d/f", 0, b"12345", 5)]


def after(steps: list[Step], cut: Cut) -> State:
    disk = Disk("/d")
    for step in steps:
        disk.apply(step)
    return disk.state(cut)


@pytest.mark.parametrize(
    ("cut", "left"),
    [(LOST, {}), (NAMES, {"f": b""}), (ZEROS, {"f": bytes(5)}), (BYTES, {}), (KEPT, {"f": b"12345"})],
)
def test_what_was_not_synced_may_be_lost(cut: Cut, left: State) -> None:
    assert after(MADE, cut) == left


def test_a_synced_file_needs_its_folder_synced() -> None:
    assert after([*MADE, Sync("/d/f", 2)], LOST) == {}
    assert after([*MADE, Sync("/d/f", 2)], NAMES) == {"f": b"12345"}
    assert after([*MADE, Sync("/d/f", 2), Sync("/d", 3)], LOST) == {"f": b"12345"}
    assert after([*MADE, Sync("", 2)], LOST) == {"f": b"12345"}


def test_a_sync_promises_nothing_about_what_came_while_it_ran() -> None:
    steps: list[Step] = [*MADE, Write("/d/f", 5, b"6", 1), Sync("/d/f", 2), Sync("/d", 4)]
    assert after(steps, LOST) == {"f": b"12345"}


def test_a_rename_happens_or_not() -> None:
    steps: list[Step] = [
        *MADE,
        Sync("", 2),
        Make("/d/g"),
        Write("/d/g", 0, b"new", 3),
        Rename("/d/g", "/d/f"),
    ]
    assert after(steps, LOST) == {"f": b"12345"}
    assert after(steps, NAMES) == {"f": b""}  # renamed before its bytes were synced: the classic
    assert after(steps, KEPT) == {"f": b"new"}


def test_a_rename_between_folders_may_be_half_there() -> None:
    steps: list[Step] = [
        Make("/d/a", is_folder=True),
        Make("/d/b", is_folder=True),
        Make("/d/a/f"),
        Sync("", 3),
    ]
    steps += [Rename("/d/a/f", "/d/b/f"), Sync("/d/a", 5)]
    assert after(steps, LOST) == {"a": None, "b": None}
    assert after(steps, KEPT) == {"a": None, "b": None, "b/f": b""}


def test_links_removals_and_sizes() -> None:
    steps: list[Step] = [
        *MADE,
        Link("/d/f", "/d/l"),
        Sync("", 3),
        Remove("/d/f"),
        Truncate("/d/l", 2),
        Write("/d/l", 0, None, 1),
    ]
    assert after(steps, KEPT) == {"l": b"\x002"}
    assert after(steps, LOST) == {"f": b"12345", "l": b"12345"}


def test_a_torn_write_leaves_some_sectors() -> None:
    steps: list[Step] = [Make("/d/f"), Sync("", 1), Write("/d/f", 100, b"x" * 5000, 5000)]
    found = {bytes(after(steps, torn(seed))["f"] or b"") for seed in range(20)}
    assert len(found) > 5
    for content in found:
        assert all(set(content[at : at + 512]) <= {0, 120} for at in range(0, len(content), 512))


PROGRAM = """
import os, sys
root, notes = sys.argv[1:]
os.mkdir(f"{root}/sub")
with open(f"{root}/sub/f.new", "wb") as file:
    file.write(b"begin")
    file.flush()
    os.pwritev(file.fileno(), [b"B", b"E"], 0)
    os.pwrite(file.fileno(), b"N", 4)
    file.write(b" end")
    file.flush()
    os.fsync(file.fileno())
    os.ftruncate(file.fileno(), 8)
    os.posix_fallocate(file.fileno(), 0, 10)
with open(f"{root}/sub/f.new", "ab") as file:
    file.write(b"!")
os.rename(f"{root}/sub/f.new", f"{root}/sub/f")
os.link(f"{root}/sub/f", f"{root}/g")
os.unlink(f"{root}/g")
folder = os.open(root, os.O_RDONLY)
os.fsync(folder)
descriptor = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(descriptor, b"told\\n")
try:
    os.unlink(f"{root}/absent")
except FileNotFoundError:
    pass
"""


@pytest.mark.slow
def test_a_record_has_what_a_program_did(tmp_path: Path) -> None:
    root, record, notes = tmp_path / "disk", tmp_path / "record", tmp_path / "notes"
    root.mkdir()
    command = disk_record.traced([sys.executable, "-S", "-c", PROGRAM, str(root), str(notes)], str(record))
    try:
        subprocess.run(command, check=True, timeout=100)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("strace is not installed, or may not trace here")
    with record.open(encoding="ascii") as lines:
        steps = list(disk_record.steps(lines, str(root), str(notes)))
    new, kept = f"{root}/sub/f.new", f"{root}/sub/f"
    assert steps == [
        Make(f"{root}/sub", is_folder=True),
        Make(new),
        Write(new, 0, b"begin", 5),
        Write(new, 0, b"BE", 2),
        Write(new, 4, b"N", 1),
        Write(new, 5, b" end", 4),
        Sync(new, 6),
        Truncate(new, 8),
        Truncate(new, 10),
        Write(new, 10, b"!", 1),
        Rename(new, kept),
        Link(kept, f"{root}/g"),
        Remove(f"{root}/g"),
        Sync(str(root), 13),
        Note("told"),
    ]
    disk = Disk(str(root))
    for step in steps:
        disk.apply(step)
    assert disk.state(KEPT) == {"sub": None, "sub/f": b"BEgiN en\0\0!"}
    assert disk.state(LOST) == {"sub": None}
