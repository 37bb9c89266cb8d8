"""Who hears of every call from its beginning to its end: figures, metrics, traces.

A watcher must be quick and may not raise. It hears of calls that nobody answers for and of refused floods
too, which the list of activities leaves out; of health and reflection it hears nothing.
"""

from collections.abc import Mapping
from typing import Protocol

import grpc

from ingot.server.core.call_figures import Failure
from ingot.server.core.clock import Clock
from ingot.server.domain.call_figures import MESSAGE_LIMIT, CallFigures, EndedCall
from ingot.server.rpc.calls import Call


class CallWatcher(Protocol):
    """Watches calls, on the event loop."""

    def began(self, call: Call, metadata: Mapping[str, str]) -> None:
        """A call came, with this metadata; nobody knows yet who makes it."""
        ...

    def ended(self, call: Call, seconds: float) -> None:
        """A call is over after so many seconds; its `code` and `reason` say how."""
        ...


class FiguresWatcher:
    """Counts calls for the dashboard."""

    def __init__(self, figures: CallFigures, clock: Clock) -> None:
        self._figures = figures
        self._clock = clock

    def began(self, call: Call, metadata: Mapping[str, str]) -> None:
        """Nothing is counted before the end."""

    def ended(self, call: Call, seconds: float) -> None:
        """Count it."""
        now = self._clock.now()
        method = call.method.short
        spent = None if call.method.follows else seconds
        self._figures.ended(EndedCall(method, call.code, now, spent, _failure(call, now)))


def _failure(call: Call, now: float) -> Failure | None:
    """Return why a call failed; a client that leaves is no failure."""
    if not call.reason or call.code == grpc.StatusCode.OK.name:
        return None
    return Failure(
        reason=call.reason,
        time=now,
        code=call.code,
        method=call.method.short,
        target=call.target,
        principal=call.caller.principal if call.caller else "",
        message=call.message[:MESSAGE_LIMIT],
        call_id=call.id,
    )
