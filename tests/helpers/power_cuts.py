"""Cut the power of a program at every moment that differs, and give each disk that it may leave.

    for moment in cuts("store", tmp_path, [LOST, KEPT, torn(1)]):
        moment.write(folder)              # the disk as it may be
        moment.noted                      # what the program had told before: all of that must be there

A moment is right before each sync, when most is at stake, and right after each note. Disks that are equal and
of which the same was told come once.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers import disk_record, power_cut_programs
from helpers.disk_states import Cut, Disk, State

Noted = dict[str, object]


@dataclass(frozen=True, slots=True)
class Moment:
    """A power cut: at which step of the record, what it left, and what must be there."""

    step: int
    cut: str
    state: State
    noted: Sequence[Noted]

    def write(self, folder: Path) -> None:
        """Make a folder that holds what is left."""
        folder.mkdir()
        for path, content in self.state.items():
            place = folder / path
            if content is None:
                place.mkdir(exist_ok=True)
            else:
                place.write_bytes(content)

    def __str__(self) -> str:
        return f"cut at step {self.step}, which left {self.cut}"


def recorded(program: str, folder: Path) -> list[disk_record.Step]:
    """Run a program of power_cut_programs.py and return what it did to its disk."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: nothing can record what is written")
    root, record, notes = folder / "disk", folder / "record", folder / "notes"
    root.mkdir()
    command = [sys.executable, str(power_cut_programs.__file__), program, str(root), str(notes)]
    done = subprocess.run(
        disk_record.traced(command, str(record)), capture_output=True, text=True, timeout=300, check=False
    )
    if "PTRACE" in done.stderr or "ptrace" in done.stderr:
        pytest.skip(f"the system lets nobody trace here: {done.stderr.strip()[-200:]}")
    assert done.returncode == 0, done.stderr[-4000:]
    with record.open(encoding="ascii") as lines:
        return list(disk_record.steps(lines, str(root), str(notes)))


def moments(steps: Sequence[disk_record.Step], root: Path, cuts: Sequence[Cut]) -> Iterator[Moment]:
    """Yield every cut at every moment that leaves another disk than those before."""
    disk, noted, seen = Disk(str(root)), list[Noted](), set[bytes]()
    for number, step in enumerate(steps):
        if isinstance(step, disk_record.Sync):
            yield from _states(disk, number, noted, cuts, seen)
        disk.apply(step)
        if isinstance(step, disk_record.Note):
            noted.append(json.loads(step.text))
            yield from _states(disk, number, noted, cuts, seen)


def _states(
    disk: Disk, number: int, noted: Sequence[Noted], cuts: Sequence[Cut], seen: set[bytes]
) -> Iterator[Moment]:
    for cut in cuts:
        state = disk.state(cut)
        digest = _digest(state, len(noted))
        if digest not in seen:
            seen.add(digest)
            yield Moment(number, cut.name, state, tuple(noted))


def _digest(state: State, noted: int) -> bytes:
    hasher = hashlib.blake2b(str(noted).encode())
    for path, content in sorted(state.items()):
        hasher.update(f"{path}\0{'' if content is None else len(content)}\0".encode())
        hasher.update(content or b"")
    return hasher.digest()
