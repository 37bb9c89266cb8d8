"""Work that must come to its end once it has begun, also when the call that it belongs to is cancelled.

A call may be cancelled more than once: by its client, by the end of its credential, and by a server that
stops. Whoever waits for such work leaves only when it has ended, so nobody cleans up under it.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns. A caller that is cancelled meanwhile is so at its end, whatever that is."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # nobody waits for it any more
        raise
