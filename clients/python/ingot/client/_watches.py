"""Follow a log on the server across broken connections, so that nothing is lost or comes twice.

The server numbers the events of one resource without gaps. After a break the stream is opened again `after`
the last number that was handed on. A server that restarts, drains or drops the stream is waited for with the
pauses of `_retries.py`; anything that arrives starts the count of tries anew.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

from google.protobuf.message import Message

from ingot.client import _retries
from ingot.client._calls import Calls
from ingot.client._errors import Cancelled, IngotError, TimedOut, Unreachable

R = TypeVar("R", bound=Message)


def follow(
    calls: Calls,
    open_stream: Callable[[int], Iterator[R]],
    sequence_of: Callable[[R], int | None],
    after: int,
    on_break: Callable[[IngotError], None] | None = None,
) -> Iterator[R]:
    """Yield the messages of `open_stream(after)` and of its continuations until the server ends it.

    `sequence_of` returns the number of a message that is an event and None for any other. `on_break` is told
    each failure that is waited out.
    """
    attempt = 1
    while True:
        try:
            for message in open_stream(after):
                attempt = 1
                sequence = sequence_of(message)
                if sequence is not None:
                    if sequence <= after:
                        continue
                    after = sequence
                yield message
            return
        except IngotError as error:
            attempt += 1
            pause = (
                calls.pause_before(attempt, error)
                if _retries.may_help(error)
                else _pause_of(calls, attempt, error)
            )
            if pause is None:
                raise
            if on_break is not None:
                on_break(error)
        calls.pause(pause)


def _pause_of(calls: Calls, attempt: int, error: IngotError) -> float | None:
    # A burst of watchers can be cancelled by the server's own limits, and a silent stream is a broken one:
    # both look like an outage to whoever follows.
    if not isinstance(error, Cancelled | TimedOut):
        return None
    return calls.pause_before(attempt, Unreachable(error.message))
