"""Places where a crash test may kill the process or make a system call fail; inert and free otherwise.

The code calls `hit("name")` after each step whose order matters. Nothing happens unless that name is armed:

    INGOT_FAILPOINT=pack.renamed            kill -9 of this process at the first hit
    INGOT_FAILPOINT=pack.renamed:3          … at the third hit
    INGOT_FAILPOINT=pack.synced=EIO         raise OSError(EIO) instead, as a failing disk would

Names in write order: pack.reserved, pack.appended, pack.footer, pack.synced, pack.renamed,
pack.folder_synced, database.committing, database.committed. Also pack.reading, and
body.started of the runner. Features add their own.
"""

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

VARIABLE = "INGOT_FAILPOINT"


@dataclass(slots=True)
class _Armed:
    name: str
    remaining: int
    error: int  # an errno, or 0 for kill -9


def _parse(text: str) -> _Armed:
    place, _, error = text.partition("=")
    name, _, count = place.partition(":")
    if error and not hasattr(errno, error):
        raise ValueError(f"{VARIABLE}: expected an errno name after '=', got {error!r}")
    return _Armed(name, int(count or 1), getattr(errno, error) if error else 0)


_armed: _Armed | None = _parse(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


def hit(name: str) -> None:
    """Mark that the step `name` was reached; kills or raises OSError if a test armed it."""
    if _armed is not None:
        _fire(name)


@contextmanager
def armed(text: str) -> Iterator[None]:
    """Arm a fail point in this process for the length of a with block; `text` as in INGOT_FAILPOINT."""
    global _armed  # noqa: PLW0603 (one process has one fail point, like one environment)
    before, _armed = _armed, _parse(text)
    try:
        yield
    finally:
        _armed = before


def _fire(name: str) -> None:
    point = _armed
    if point is None or point.name != name or point.remaining == 0:
        return
    point.remaining -= 1
    if point.remaining:
        return
    if point.error:
        raise OSError(point.error, f"{os.strerror(point.error)} (fail point {name})")
    os.kill(os.getpid(), signal.SIGKILL)
