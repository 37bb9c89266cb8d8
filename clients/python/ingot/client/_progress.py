"""How far a push or a pull has come, for whoever shows it.

A callback gets a `TransferProgress` at most ten times a second and at every change of stage. It may be called
from any thread, but never from two at once, and should return quickly.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

_INTERVAL = 0.1  # seconds


class Stage(StrEnum):
    """What is being done; the value is the word people see."""

    WAITING = "Waiting"  # for another pull that writes into the folder
    HASHING = "Hashing"
    SENDING = "Sending"
    RECEIVING = "Receiving"
    VERIFYING = "Verifying"
    FETCHING = "Fetching"  # the server fetches it from where it is registered
    COMMITTING = "Committing"
    VALIDATING = "Validating"  # the server checks it before others see it
    DONE = "Done"


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """Counts so far. Hashing and sending overlap: `stage` says what is waited for."""

    stage: Stage = Stage.HASHING
    files_total: int = 0
    files_done: int = 0
    bytes_total: int = 0
    bytes_hashed: int = 0  # read and cut on this side
    bytes_moved: int = 0  # that travelled
    bytes_reused: int = 0  # that did not have to: they were there
    bytes_validated: int = 0  # that the server has checked
    seconds: float = 0.0

    @property
    def bytes_done(self) -> int:
        """Bytes of `bytes_total` that the present stage has behind it."""
        if self.stage is Stage.VALIDATING:
            return self.bytes_validated
        return self.bytes_hashed if self.stage is Stage.HASHING else self.bytes_moved + self.bytes_reused


OnProgress = Callable[[TransferProgress], None]


class Reporter:
    """Counts from several threads and calls back now and then."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._callback = on_progress
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._told = 0.0
        self._now = TransferProgress()  # without what is counted below
        self._files = self._hashed = self._moved = self._reused = 0

    @property
    def now(self) -> TransferProgress:
        """The counts as they are."""
        with self._lock:
            return self._timed()

    def total(self, *, files: int, size: int) -> None:
        """Set the totals."""
        with self._lock:
            self._now = replace(self._now, files_total=files, bytes_total=size)

    def stage(self, stage: Stage) -> None:
        """Go on to a stage, and tell."""
        with self._lock:
            if self._now.stage is not stage:
                self._now = replace(self._now, stage=stage)
                self._tell()

    def add(self, *, files: int = 0, hashed: int = 0, moved: int = 0, reused: int = 0) -> None:
        """Count something done; negative numbers take back what has to be done again."""
        with self._lock:
            self._files += files
            self._hashed += hashed
            self._moved += moved
            self._reused += reused
            if time.monotonic() - self._told >= _INTERVAL:
                self._tell()

    def validated(self, size: int) -> None:
        """Set how many bytes the server has checked, and tell: it says so a few times a second."""
        with self._lock:
            self._now = replace(self._now, bytes_validated=size)
            self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        if self._callback is not None:
            self._callback(self._timed())

    def _timed(self) -> TransferProgress:
        return replace(
            self._now,
            files_done=self._files,
            bytes_hashed=self._hashed,
            bytes_moved=self._moved,
            bytes_reused=self._reused,
            seconds=time.monotonic() - self._begun,
        )
