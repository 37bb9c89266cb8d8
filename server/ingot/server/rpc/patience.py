"""Patience with those who read: a reply that nobody takes for too long ends its stream.

gRPC takes the next reply only when the one before has left, as far as its reader made room for it. A reader
that stalls therefore stops the stream where it is, with what is read ahead for it, and time is all it costs
to hold that; so time is limited, and the number of streams too (domain/stream_slots.py).
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import TypeVar

from ingot.server.core.errors import IngotError, Reason, TooSlow
from ingot.server.rpc import pipeline

log = logging.getLogger(__name__)

M = TypeVar("M")


async def waited_for(
    replies: AsyncGenerator[M, None], seconds: float, ender: Callable[[IngotError], None] | None = None
) -> AsyncIterator[M]:
    """Yield the replies of a call; end it once one waits for so many seconds (TOO_SLOW).

    It is the call that runs now, unless there is an `ender` of another one.
    """
    end, loop = ender or pipeline.ender(), asyncio.get_running_loop()

    def give_up() -> None:
        log.info("stream.stalled seconds=%g", seconds)
        end(_stalled(seconds))

    async with aclosing(replies):
        async for reply in replies:
            timer = loop.call_later(seconds, give_up)
            try:
                yield reply
            finally:
                timer.cancel()


def _stalled(seconds: float) -> TooSlow:
    return TooSlow(
        Reason.TOO_SLOW,
        f"The reader took nothing for {seconds:g} s.",
        next_step="Read what comes, or cancel the stream; what has arrived need not be asked for again.",
    )
