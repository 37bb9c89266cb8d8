"""How many calls a principal may make, and a stranger from one address: token buckets.

A bucket holds up to `burst` calls and fills with `per_second` of them each second; a call takes one, and when
there is none it is told how long that will be. So somebody who pauses may be quick for a while, and nobody
keeps the server from the others. Calls through the unix socket that need no credential are not counted: who
reaches it owns the data folder.
"""

import logging
from dataclasses import dataclass

from ingot.server.core.errors import Exhausted, Reason
from ingot.server.core.peers import LOCAL, network_of

log = logging.getLogger(__name__)

_MOST_BUCKETS = 10_000
_QUIET_SECONDS = 60.0  # between two lines of the log about the same one


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many calls are allowed; 0 a second is any number."""

    per_second: float = 0.0
    burst: int = 1


@dataclass(slots=True)
class _Bucket:
    calls: float
    time: float
    told: float = -_QUIET_SECONDS


class CallRates:
    """Counts calls; lives on the event loop. Times are seconds of the monotonic clock."""

    def __init__(self, principals: Allowance, strangers: Allowance) -> None:
        self._principals = principals
        self._strangers = strangers
        self._buckets: dict[str, _Bucket] = {}

    def take(self, principal: str, now: float) -> None:
        """Count a call of a principal. Raises Exhausted (RATE_LIMITED)."""
        self._take(principal, self._principals, now)

    def take_stranger(self, address: str, now: float) -> None:
        """Count a call that nobody answers for. Raises Exhausted (RATE_LIMITED)."""
        if address != LOCAL:
            self._take(f"address {network_of(address)}", self._strangers, now)

    def _take(self, who: str, allowed: Allowance, now: float) -> None:
        if not allowed.per_second:
            return
        bucket = self._buckets.get(who)
        if bucket is None:
            self._make_room()
            bucket = self._buckets[who] = _Bucket(allowed.burst, now)
        filled = bucket.calls + (now - bucket.time) * allowed.per_second
        bucket.calls, bucket.time = min(float(allowed.burst), filled), now
        if bucket.calls >= 1:
            bucket.calls -= 1
            return
        if now - bucket.told >= _QUIET_SECONDS:
            bucket.told = now
            log.warning("rpc.rate_limited who=%s per_second=%g", who.replace(" ", "_"), allowed.per_second)
        raise _limited(who, allowed, (1 - bucket.calls) / allowed.per_second)

    def _make_room(self) -> None:
        """Keep the number of buckets bounded: those that were left alone longest are as good as full."""
        if len(self._buckets) >= _MOST_BUCKETS:
            oldest = sorted(self._buckets, key=lambda who: self._buckets[who].time)
            for who in oldest[: _MOST_BUCKETS // 10]:
                del self._buckets[who]


def _limited(who: str, allowed: Allowance, wait: float) -> Exhausted:
    return Exhausted(
        Reason.RATE_LIMITED,
        f"{who} makes too many calls: {allowed.per_second:g} a second are allowed on average, and "
        f"{allowed.burst} at once after a pause.",
        next_step="Wait as told, then go on more slowly; one call may carry much.",
        facts={"calls_per_second": f"{allowed.per_second:g}", "burst": str(allowed.burst)},
        retry_after=wait,
    )
