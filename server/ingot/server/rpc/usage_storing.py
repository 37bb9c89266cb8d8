"""Writes down what was gathered in memory, and keeps it there when that fails: a full disk loses none."""

import asyncio
import contextlib
import weakref
from typing import Any, Protocol, TypeVar

from ingot.server.core.errors import IngotError
from ingot.server.rpc.hops import Hops

T = TypeVar("T")


class Gathers(Protocol[T]):
    """What gathers things that are written together: usage, figures, refusals, uses of tokens."""

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


# Whoever asks must not miss what another one is just writing.
_writing: "weakref.WeakKeyDictionary[Gathers[Any], set[asyncio.Future[None]]]" = weakref.WeakKeyDictionary()


async def store(hops: Hops, gathers: Gathers[T]) -> None:
    """Write what was gathered, if anything, and wait for whoever writes already.

    A caller that is cancelled does not stop it. Raises what the write does.
    """
    writing = _writing.setdefault(gathers, set())
    if gathers.pending():
        writing.add(_begun(hops, gathers, writing))
    for each in tuple(writing):
        await asyncio.shield(each)


async def catch_up(hops: Hops, gathers: Gathers[T]) -> None:
    """As `store`, before a question: one that cannot be kept up to date, on a full disk, is answered too."""
    with contextlib.suppress(IngotError):
        await store(hops, gathers)


def _begun(hops: Hops, gathers: Gathers[T], writing: "set[asyncio.Future[None]]") -> "asyncio.Future[None]":
    gathered = gathers.take()
    begun = asyncio.ensure_future(hops.keep(gathers.write, gathered))

    def ended(done: "asyncio.Future[None]") -> None:
        writing.discard(done)
        if done.cancelled() or done.exception() is not None:
            gathers.put_back(gathered)

    begun.add_done_callback(ended)
    return begun
