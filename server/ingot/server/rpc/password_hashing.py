"""Hashing passwords beside everything else: on I/O threads, few at once, and never a long queue.

One takes about a tenth of a second and 64 MiB on purpose. However many people, or attackers, sign in at once,
the server spends at most two cores and 128 MiB on it, and says so when too many wait.
"""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ingot.server.core.errors import Exhausted, Reason
from ingot.server.domain.passwords import Passwords
from ingot.server.rpc.hops import Hops

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE = 2
MOST_WAITING = 50  # about three seconds


class PasswordHashing:
    """Carries `Passwords` to threads; lives on the event loop."""

    def __init__(self, hops: Hops, passwords: Passwords) -> None:
        self._hops = hops
        self._passwords = passwords
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def matches(self, hashed: str | None, password: str) -> bool:
        """As Passwords.matches. Raises Exhausted (BUSY)."""
        return await self._in_turn(self._passwords.matches, hashed, password)

    async def hashed(self, password: str) -> str:
        """As Passwords.hashed. Raises Exhausted (BUSY)."""
        return await self._in_turn(self._passwords.hashed, password)

    def outdated(self, hashed: str) -> bool:
        """As Passwords.outdated."""
        return self._passwords.outdated(hashed)

    async def _in_turn(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._waiting >= MOST_WAITING:
            raise Exhausted(
                Reason.BUSY,
                f"{self._waiting} passwords wait to be checked already.",
                next_step="Try again in a moment.",
                retry_after=2.0,
            )
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        hashing = asyncio.create_task(self._hops.io(fn, *args, **kwargs))
        hashing.add_done_callback(self._done)
        # A thread that hashes cannot be stopped: whoever hangs up keeps the turn until it is over.
        return await asyncio.shield(hashing)

    def _done(self, hashing: "asyncio.Task[T]") -> None:
        self._turns.release()
        if not hashing.cancelled():
            hashing.exception()  # told to whoever still listens
