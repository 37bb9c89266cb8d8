"""Writes down what was gathered in memory, and keeps it there when that fails: a full disk loses none."""

import asyncio
from typing import Protocol, TypeVar

from ingot.server.rpc.hops import Hops

T = TypeVar("T")


class Gathers(Protocol[T]):
    """What gathers figures that are written together: usage, figures of calls."""

    def pending(self) -> bool:
        """Return whether there is anything to write."""
        ...

    def take(self) -> T:
        """Return what was gathered, and begin anew."""
        ...

    def put_back(self, gathered: T, /) -> None:
        """Keep what could not be written for the next time."""
        ...

    def write(self, gathered: T, /) -> None:
        """Write what was gathered; runs inside a write."""
        ...


async def store(hops: Hops, gathers: Gathers[T]) -> None:
    """Write what was gathered, if anything. A caller that is cancelled does not stop it."""
    if not gathers.pending():
        return
    gathered = gathers.take()
    writing = asyncio.ensure_future(hops.keep(gathers.write, gathered))

    def ended(done: "asyncio.Future[None]") -> None:
        if done.cancelled() or done.exception() is not None:
            gathers.put_back(gathered)

    writing.add_done_callback(ended)
    await asyncio.shield(writing)
