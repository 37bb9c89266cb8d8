"""Count records that occurred before, exactly, in bounded memory.

A record stands by a 64-bit hash of its bytes, keyed anew in each process (SipHash, the hash of Python): among
ten million records the chance of one false match is about one in a million. Hashes are gathered in a set; a
full one is sorted and cut by value into the partitions of a spill file on disk. At the end each partition is
counted alone. Beyond MAX_RECORDS nothing more is counted, and the report says so.
"""

import os
import tempfile
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path

RUN = 128 * 1024  # hashes in memory, about 12 MB
PARTITIONS = 256
MAX_RECORDS = 50_000_000  # hashes on disk, 400 MB
_WORD = 8
_LOWEST, _SPAN = -(2**63), 2**64 // PARTITIONS
_EDGES = [_LOWEST + index * _SPAN for index in range(1, PARTITIONS)]


class Duplicates:
    """Counts duplicates among the records of one file."""

    def __init__(self, folder: Path, run: int = RUN, most: int = MAX_RECORDS) -> None:
        self.counted = 0  # records that were compared
        self._found = 0
        self._folder = folder
        self._seen: set[int] = set()
        self._run = run
        self._most = most
        self._spill: int | None = None
        self._runs: list[tuple[int, list[int]]] = []  # place in the spill file, cuts between partitions

    def add(self, records: Iterable[bytes]) -> None:
        """Count records."""
        if self.counted >= self._most:
            return
        hashes = list(map(hash, records))
        before = len(self._seen)
        self._seen.update(hashes)
        self.counted += len(hashes)
        self._found += len(hashes) - (len(self._seen) - before)
        if len(self._seen) >= self._run:
            self._write()

    def finish(self) -> int:
        """Return how many records occurred before, and forget everything."""
        if self._spill is None:
            self._seen = set()
            return self._found
        self._write()
        try:
            for partition in range(PARTITIONS):
                hashes = self._read(self._spill, partition)
                self._found += len(hashes) - len(set(hashes))
        finally:
            self.close()
        return self._found

    def close(self) -> None:
        """Give the spill file back; it has no name, so a process that dies leaves none."""
        if self._spill is not None:
            os.close(self._spill)
            self._spill = None

    def _write(self) -> None:
        if self._spill is None:
            file, name = tempfile.mkstemp(prefix="hashes-", dir=self._folder)
            os.unlink(name)
            self._spill = file
        run = array("q", sorted(self._seen))
        self._seen = set()
        place = os.lseek(self._spill, 0, os.SEEK_END)
        cuts = [0, *(bisect_left(run, edge) for edge in _EDGES), len(run)]
        rest = memoryview(run).cast("B")
        while rest:
            rest = rest[os.write(self._spill, rest) :]
        self._runs.append((place, cuts))

    def _read(self, spill: int, partition: int) -> "array[int]":
        hashes = array("q")
        for place, cuts in self._runs:
            first, last = cuts[partition], cuts[partition + 1]
            hashes.frombytes(os.pread(spill, (last - first) * _WORD, place + first * _WORD))
        return hashes
