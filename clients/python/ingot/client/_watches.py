"""Follow what the server streams across broken connections, so that nothing is lost or comes twice.

The server numbers the events of one resource without gaps. After a break the stream is opened again `after`
the last number that was handed on; a stream of latest states goes on with its last resume token instead. A
server that restarts, drains or drops the stream is waited for with the pauses of `_retries.py`; anything that
arrives starts the count of tries anew.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message

from ingot.client import _retries
from ingot.client._calls import Calls
from ingot.client._errors import Cancelled, IngotError, TimedOut, Unreachable

if TYPE_CHECKING:
    from ingot.v1 import operations_pb2, training_pb2, transfer_pb2

    W = TypeVar(
        "W",
        training_pb2.WatchTrainingJobResponse,
        operations_pb2.WatchOperationResponse,
        transfer_pb2.WatchUploadResponse,
    )
R = TypeVar("R", bound=Message)
P = TypeVar("P")

OnBreak = Callable[[IngotError], None]


def follow(
    calls: Calls,
    open_stream: Callable[[int], Iterator[R]],
    sequence_of: Callable[[R], int | None],
    after: int,
    on_break: OnBreak | None = None,
) -> Iterator[R]:
    """Yield the messages of `open_stream(after)` and of its continuations until the server ends it.

    `sequence_of` returns the number of a message that is an event and None for any other. `on_break` is told
    each failure that is waited out.
    """

    def moved(position: int, message: R) -> int | None:
        sequence = sequence_of(message)
        if sequence is None:
            return position
        return sequence if sequence > position else None

    return go_on(calls, open_stream, moved, after, on_break)


def follow_one(
    calls: Calls, open_stream: "Callable[[int], Iterator[W]]", after: int, on_break: OnBreak | None = None
) -> "Iterator[W]":
    """Yield a watch of one resource: `snapshot` and `synced` once each, and every event; no heartbeats."""
    seen: set[str] = set()

    def sequence_of(message: "W") -> int | None:
        return message.event.seq if message.WhichOneof("message") == "event" else None

    for message in follow(calls, open_stream, sequence_of, after, on_break):
        kind = message.WhichOneof("message")
        if kind == "event":
            yield message
        elif kind in ("snapshot", "synced") and kind not in seen:
            seen.add(kind)
            yield message


def go_on(
    calls: Calls,
    open_stream: Callable[[P], Iterator[R]],
    moved: Callable[[P, R], P | None],
    position: P,
    on_break: OnBreak | None = None,
) -> Iterator[R]:
    """Yield the messages of `open_stream(position)` and of its continuations until the server ends it.

    `moved` returns the position behind a message, None when the message was handed on before.
    """
    attempt = 1
    while True:
        try:
            for message in open_stream(position):
                attempt = 1
                behind = moved(position, message)
                if behind is None:
                    continue
                position = behind
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
