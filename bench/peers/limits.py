"""The limits: `cp` with fsync on the disk, and raw gRPC streaming of the same bytes, which keeps nothing."""

import sys
from pathlib import Path

from peers.peer import LARGE, LIMIT, MODELS, SMALL, Case, Found, Peer
from processes import Command, Said, Server

BENCH = Path(__file__).parents[1]
_READ = """
import os, sys, time
place, offset, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
begun = time.perf_counter()
descriptor = os.open(place, os.O_RDONLY)
got = len(os.pread(descriptor, length, offset))
print(got, time.perf_counter() - begun)
"""


class Copy(Peer):
    """Files copied on the same disk."""

    name = "cp + fsync"
    group = LIMIT
    note = "a local copy made durable in one sync: no network, no digests"
    cases = LARGE - {Case.AGAIN} | SMALL | MODELS

    def __init__(self, folder: Path, found: Found) -> None:
        self.stored = self.kept = folder / "copies"
        self.stored.mkdir()

    def push(self, source: Path, key: str) -> Command:
        """Copy it there."""
        return _copied(source, self._folder(key))

    def pull(self, key: str, name: str, target: Path) -> Command:
        """Copy it back."""
        return _copied(self._folder(key) / name, target)

    def read(self, key: str, name: str, offset: int, length: int) -> Command:
        """Read the file."""
        place = self._folder(key) / name
        return Command([sys.executable, "-c", _READ, place, str(offset), str(length)], read=said_read)

    def _folder(self, key: str) -> Path:
        assert self.stored
        place = self.stored / key
        place.mkdir(exist_ok=True)
        return place


class RawStream(Peer):
    """bench/raw_stream.py."""

    name = "raw gRPC"
    group = LIMIT
    note = "plain bytes in messages of 1 MiB, malloc tuned, thrown away at the far end"
    cases = frozenset({Case.PUSH, Case.PULL})
    keeps = False

    def __init__(self, folder: Path, found: Found) -> None:
        self.server = Server([sys.executable, BENCH / "raw_stream.py", "serve"])
        self._sizes: dict[str, Path] = {}

    def push(self, source: Path, key: str) -> Command:
        """Send the file."""
        self._sizes[key] = source
        return self._run("push", source)

    def pull(self, key: str, name: str, target: Path) -> Command:
        """Receive as many bytes."""
        return self._run("pull", self._sizes[key])

    def _run(self, verb: str, source: Path) -> Command:
        assert self.server
        return Command([sys.executable, BENCH / "raw_stream.py", verb, self.server.first_line, source])


def said_read(text: str) -> Said:
    """Read `BYTES SECONDS`."""
    moved, seconds = text.split()
    return Said(int(moved), float(seconds))


def _copied(source: Path, target: Path) -> Command:
    return Command(["sh", "-c", 'cp -r -- "$1" "$2" && sync -f "$2"', "sh", source, target])
