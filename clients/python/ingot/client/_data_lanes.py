"""Lanes to the data processes of a server: which of them to use, and when to do without.

A server may move data in processes of their own; GetCapabilities tells where. A large transfer spreads its
lanes over them, everything else stays with the main address. They are used only where it is certain who
answers, since calls carry the token: at other ports of a host whose certificate is checked, and at unix
sockets in the folder of the one that is used already. Over plaintext the same port number may belong to
anybody, as behind a tunnel, so there they are left alone.

One that cannot be reached, through a firewall or because it ended, is left out for a while: its lanes go on
through the main address.
"""

import os
import random
import time
from collections.abc import Callable, Sequence

from ingot.client._connection import Endpoint
from ingot.client._errors import IngotError, NotAllowed, ServerFault, TimedOut, Unreachable

LARGE = 64 * 1024 * 1024  # bytes of a transfer that makes use of them
_LEFT_SECONDS = 30.0
_GONE = (Unreachable, TimedOut)
# What somebody else at that address may answer, before it has shown to be a data process.
_ODD = (*_GONE, ServerFault, NotAllowed)


class DataTargets:
    """The data processes of one server, as targets to dial. For any thread."""

    def __init__(self, endpoint: Endpoint, clock: Callable[[], float] = time.monotonic) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._targets: tuple[str, ...] = ()
        self._left: dict[str, float] = {}  # until when they are left out
        self._good: set[str] = set()
        self._lanes: dict[int, str] = {}  # what each lane went to last, if that was one of them
        self._first = random.randrange(1 << 16)  # or the first process would have a lane of every client
        self.asked = not _may_be_used(endpoint)  # no answer would change anything

    def told(self, addresses: Sequence[str]) -> None:
        """Take in what GetCapabilities says."""
        self.asked = True
        found = (_target(self._endpoint, address) for address in addresses)
        self._targets = tuple(target for target in found if target)

    def of(self, lane: int) -> str:
        """Return what a lane should go to now; empty for the main address."""
        now = self._clock()
        able = [target for target in self._targets if self._left.get(target, 0.0) <= now]
        target = able[(self._first + lane) % len(able)] if able else ""
        self._lanes[lane] = target
        return target

    def works(self, lane: int) -> None:
        """Note that a call of the lane has succeeded."""
        if target := self._lanes.get(lane, ""):
            self._good.add(target)

    def leave(self, lane: int, error: IngotError) -> bool:
        """Hear how a call of the lane failed; return whether it should be made again, elsewhere, at once."""
        target = self._lanes.get(lane, "")
        slow = error.reason == "TOO_SLOW"  # that is this client, not the process
        if not target or slow or not isinstance(error, _GONE if target in self._good else _ODD):
            return False
        self._left[target] = self._clock() + _LEFT_SECONDS
        return True


def _may_be_used(endpoint: Endpoint) -> bool:
    return endpoint.tls or endpoint.target.startswith("unix:")


def _target(endpoint: Endpoint, address: str) -> str:
    """Return the target of a data process, empty where it is not certain who answers."""
    if endpoint.target.startswith("unix:"):
        beside = os.path.dirname(address.removeprefix("unix:")) == os.path.dirname(endpoint.target[5:])
        return address if address.startswith("unix:") and beside else ""
    port = address.removeprefix(":")
    if not endpoint.tls or port == address or not port.isdecimal():
        return ""
    return f"{endpoint.target.rpartition(':')[0]}:{port}"
