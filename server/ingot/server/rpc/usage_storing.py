"""Writes down what usage gathered in memory, and keeps it there when that fails: a full disk loses none."""

import asyncio

from ingot.server.domain.usage import Usage
from ingot.server.rpc.hops import Hops


async def store(hops: Hops, usage: Usage) -> None:
    """Write what was gathered, if anything. A caller that is cancelled does not stop it."""
    if not usage.pending():
        return
    gathered = usage.take()
    writing = asyncio.ensure_future(hops.write(usage.write, gathered))

    def ended(done: "asyncio.Future[None]") -> None:
        if done.cancelled() or done.exception() is not None:
            usage.put_back(gathered)

    writing.add_done_callback(ended)
    await asyncio.shield(writing)
