"""Gives memory back to the system when transfers have ended.

Heaps keep what was freed, since to take it from the system anew for each message would cost most of the time
(ingot/content/malloc.py). So after a push the server would hold 70 MiB more than before it for ever; once no
transfer has run for some seconds they go back, which takes some milliseconds on a thread of its own.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping

from ingot.server.rpc.calls import Call

QUIET_SECONDS = 5.0
_SERVICE = "TransferService/"


class Trimming:
    """Gives memory back once nothing has run for a while; `trim` may be called on any thread."""

    def __init__(self, trim: Callable[[], object], quiet_seconds: float = QUIET_SECONDS) -> None:
        self._trim = trim
        self._quiet_seconds = quiet_seconds
        self._running = 0
        self._due: asyncio.TimerHandle | None = None

    def began(self) -> None:
        """Put it off while something runs."""
        self._running += 1
        self._put_off()

    def ended(self) -> None:
        """Begin to wait when the last has ended."""
        self._running -= 1
        self._put_off()
        if self._running == 0:
            self._due = asyncio.get_running_loop().call_later(self._quiet_seconds, self._now)

    def _put_off(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _now(self) -> None:
        self._due = None
        threading.Thread(target=self._trim, name="ingot-trim", daemon=True).start()  # a stop waits for none


class IdleMemory:
    """A CallWatcher that trims when no transfer has run for a while."""

    def __init__(self, trim: Callable[[], object], quiet_seconds: float = QUIET_SECONDS) -> None:
        self._transfers = Trimming(trim, quiet_seconds)

    def began(self, call: Call, metadata: Mapping[str, str]) -> None:
        """Put it off while a transfer runs."""
        if _moves(call):
            self._transfers.began()

    def ended(self, call: Call, seconds: float) -> None:
        """Begin to wait when the last transfer has ended."""
        if _moves(call):
            self._transfers.ended()


def _moves(call: Call) -> bool:
    return call.method.short.startswith(_SERVICE) and not call.method.follows
