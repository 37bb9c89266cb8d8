"""How much of calls without a good credential is kept: enough to see them, never enough to bury the rest.

Anybody who reaches the port can make such calls. So of each address (an IPv6 network is one) the first few
of an hour are logged and recorded, and of all addresses together a fixed number; the others are counted, and
the log says how many. Guessed passwords have an allowance of their own, which no other calls use up.
"""

import logging

from ingot.server.core.peers import network_of

log = logging.getLogger(__name__)

HOUR = 3600.0
OF_ONE_ADDRESS = 30  # calls per hour
OF_ALL = 300  # calls per hour: 30 days of it are some 50 MB of record at most


class Strangers:
    """Decides for each call that nobody answers for whether it is kept; lives on the event loop."""

    def __init__(self) -> None:
        self._hour = 0
        # Calls of this hour by address, of guesses and others; never more than OF_ALL entries in each.
        self._kept: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self._left_out = 0

    def keep(self, address: str, now: float, *, guess: bool = False) -> bool:
        """Return whether to log and record a call from `address` that ended at `now` (epoch seconds)."""
        if int(now // HOUR) != self._hour:
            self.report()
            self._hour = int(now // HOUR)
            self._kept = ({}, {})
        kept, place = self._kept[guess], network_of(address)
        if sum(kept.values()) < OF_ALL and kept.get(place, 0) < OF_ONE_ADDRESS:
            kept[place] = kept.get(place, 0) + 1
            return True
        if not self._left_out:
            log.warning("rpc.strangers_limited address=%s: more of them are only counted this hour", address)
        self._left_out += 1
        return False

    def report(self) -> None:
        """Log how many calls were left out since the last report."""
        if self._left_out:
            log.warning("rpc.strangers_left_out count=%d", self._left_out)
            self._left_out = 0
