"""A file that is being fetched: `<name>.part`, and beside it a journal that tells how much of it is safe.

    write → (every 32 MiB or 5 s, and when nothing comes for a moment) sync: data to disk, then the journal
          → finish: sync, rename

The journal never tells of bytes that a power cut could take: it is written after the data is on disk, and
opening a part cuts off what is past it. It also names the version of the file that the bytes are from.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ingot.server.core import failpoints
from ingot.server.sources import checksums

SYNC_BYTES = 32 * 1024 * 1024
SYNC_SECONDS = 5.0
IDLE_SYNC_SECONDS = 1.0  # a source that drips is not synced more often
_PIECE = 1024 * 1024


class Version(BaseModel):
    """Which version of a file at which server the bytes of a part are from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asked: str = ""  # scheme, host and port that were asked
    origin: str = ""  # and those that answered in the end, after redirects
    validator: str = ""  # strong ETag or time of the last change
    size: int | None = None  # of the whole file


class _Journal(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    synced: int
    version: Version


class PartFile:
    """A file on its way; opened it stands behind the bytes that are safe already."""

    def __init__(self, target: Path, algorithm: str, check: Callable[[], None]) -> None:
        """Open the part of `target`; `check` is called while its bytes are read, and may raise."""
        self.target = target
        self._part = target.with_name(target.name + ".part")
        self._journal = target.with_name(target.name + ".part.json")
        self._algorithm = algorithm
        target.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._unsynced = 0
        self._synced_at = time.monotonic()
        self.offset = 0
        self.version = Version()
        self._hash = checksums.hasher(algorithm) if algorithm else None
        try:
            self._recover(check)
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._part.exists() and self._unsynced and not isinstance(error, OSError):
                self.sync()
        finally:
            os.close(self._descriptor)

    def begin(self, version: Version) -> None:
        """Start over with the first byte of this version."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.offset = self._unsynced = 0
        self.version = version
        self._hash = checksums.hasher(self._algorithm) if self._algorithm else None
        self._write_journal()

    def write(self, data: bytes) -> bool:
        """Append bytes; return whether they were brought to disk with all before them. Raises OSError."""
        failpoints.hit("fetch.written")
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self.offset += len(data)
        self._unsynced += len(data)
        if self._hash is not None:
            self._hash.update(data)
        if self._unsynced < SYNC_BYTES and time.monotonic() < self._synced_at + SYNC_SECONDS:
            return False
        self.sync()
        return True

    def idle(self) -> None:
        """Bring what came to disk, since nothing more comes for now: a kill then loses none of it."""
        if self._unsynced and time.monotonic() >= self._synced_at + IDLE_SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Bring all bytes to disk and note it in the journal."""
        os.fdatasync(self._descriptor)
        failpoints.hit("fetch.synced")
        self._unsynced = 0
        self._synced_at = time.monotonic()
        self._write_journal()

    @property
    def checksum(self) -> str:
        """The checksum of all bytes so far in hex; empty where none was asked for."""
        return self._hash.hexdigest() if self._hash is not None else ""

    def finish(self) -> None:
        """Give the complete file its name."""
        os.fsync(self._descriptor)
        os.replace(self._part, self.target)
        self._journal.unlink(missing_ok=True)
        self._unsynced = 0

    def _recover(self, check: Callable[[], None]) -> None:
        """Go behind the bytes that are safe, and compute their checksum."""
        journal = self._read_journal()
        size = os.fstat(self._descriptor).st_size
        if journal is None or journal.synced > size:
            os.ftruncate(self._descriptor, 0)
            return
        os.ftruncate(self._descriptor, journal.synced)
        self.version = journal.version
        while self._hash is not None and self.offset < journal.synced:
            check()
            data = os.pread(self._descriptor, min(_PIECE, journal.synced - self.offset), self.offset)
            self._hash.update(data)
            self.offset += len(data)
        self.offset = os.lseek(self._descriptor, journal.synced, os.SEEK_SET)

    def _read_journal(self) -> _Journal | None:
        try:
            return _Journal.model_validate(json.loads(self._journal.read_bytes()))
        except (OSError, ValueError, ValidationError):
            return None  # none, or one that a power cut left half: the file is fetched again

    def _write_journal(self) -> None:
        text = _Journal(synced=self.offset, version=self.version).model_dump_json()
        fresh = self._journal.with_name(self._journal.name + ".new")
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, self._journal)
