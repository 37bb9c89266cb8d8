"""Wrong passwords: how many may be tried, by whom, and how long to wait then.

Attempts are counted for a user and an address together, whether there is such a user or not. After a few
wrong ones each costs a pause that doubles up to a quarter of an hour, and an hour without any forgets them
all. So guessing gets about a hundred tries a day, while nobody can lock somebody else out: other addresses,
logins that are open and API tokens are not affected, and the longest pause is short. An address that tries
many users empties an allowance of its own.

An attempt counts as wrong from its beginning until it turns out right, or hundreds of them side by side would
all pass. Counts live in memory: a restart forgets them, and there are never more than some thousands.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from ingot.server.core import peers
from ingot.server.core.clock import Clock
from ingot.server.core.errors import Exhausted, Reason

FREE = 5  # wrong passwords without a pause
FIRST_PAUSE, LONGEST_PAUSE = 10.0, 900.0  # seconds
FORGOTTEN_AFTER = 3600.0
ADDRESS_BURST, ADDRESS_SECONDS = 100, 20.0  # wrong passwords of one address; then one in so many seconds
_MOST = 20_000  # entries of each kind


@dataclass(slots=True)
class _Count:
    wrong: int
    last: float
    until: float = 0.0  # no attempt before then


@dataclass(slots=True)
class _Allowance:
    left: float
    time: float


@dataclass(frozen=True, slots=True, order=True)
class Lock:
    """An address from which a user's password is not taken before a time."""

    address: str
    until: float  # epoch seconds


class LoginAttempts:
    """Counts attempts; lives on the event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: dict[tuple[str, str], _Count] = {}
        self._addresses: dict[str, _Allowance] = {}

    @contextlib.contextmanager
    def attempt(self, user: str, address: str) -> Iterator["Attempt"]:
        """Count an attempt for the length of a with block; as wrong unless it says otherwise.

        Raises Exhausted (LOGIN_LOCKED), which counts nothing.
        """
        key = (user, peers.network_of(address))
        now = self._clock.monotonic()
        self._make_room()
        known = self._counts.get(key)
        if known is not None and known.until > now:
            raise _locked(f"for {user!r} from {address}", known.until - now)
        allowance = self._take(key[1], now)
        count = self._count(key, now)
        running = Attempt()
        try:
            yield running
        finally:
            if running.right:
                self._counts.pop(key, None)
            elif running.unheard:
                count.wrong, count.until = count.wrong - 1, 0.0
            if allowance is not None and (running.right or running.unheard):
                allowance.left += 1

    def locks(self, user: str) -> list[Lock]:
        """Return from where the password of a user is not taken at present."""
        now, passed = self._clock.now(), self._clock.monotonic()
        return sorted(
            Lock(address, now + count.until - passed)
            for (name, address), count in self._counts.items()
            if name == user and count.until > passed
        )

    def _count(self, key: tuple[str, str], now: float) -> _Count:
        count = self._counts.get(key)
        if count is None or now - count.last >= FORGOTTEN_AFTER:
            count = self._counts[key] = _Count(0, now)
        count.wrong, count.last = count.wrong + 1, now
        if count.wrong >= FREE:
            count.until = now + min(FIRST_PAUSE * 2.0 ** min(count.wrong - FREE, 30), LONGEST_PAUSE)
        return count

    def _take(self, address: str, now: float) -> _Allowance | None:
        """Count an attempt of an address, whoever it is for."""
        if address == peers.LOCAL:
            return None
        found = self._addresses.setdefault(address, _Allowance(ADDRESS_BURST, now))
        found.left = min(float(ADDRESS_BURST), found.left + (now - found.time) / ADDRESS_SECONDS)
        found.time = now
        if found.left < 1:
            raise _locked(f"from {address}", (1 - found.left) * ADDRESS_SECONDS)
        found.left -= 1
        return found

    def _make_room(self) -> None:
        """Keep what is remembered bounded: what was left alone for longest goes."""
        if len(self._counts) >= _MOST:
            latest = sorted(self._counts.items(), key=lambda item: item[1].last)
            self._counts = dict(latest[-_MOST // 2 :])
        if len(self._addresses) >= _MOST:
            newest = sorted(self._addresses.items(), key=lambda item: item[1].time)
            self._addresses = dict(newest[-_MOST // 2 :])


class Attempt:
    """How an attempt went: wrong, unless told otherwise."""

    __slots__ = ("right", "unheard")

    def __init__(self) -> None:
        self.right = False
        self.unheard = False

    def succeeded(self) -> None:
        """Tell that the password was right."""
        self.right = True

    def was_not_heard(self) -> None:
        """Tell that nobody looked at the password: it counts as if it had never been sent."""
        self.unheard = True


def _locked(whom: str, seconds: float) -> Exhausted:
    return Exhausted(
        Reason.LOGIN_LOCKED,
        f"Too many wrong passwords {whom}: the next one is taken in {seconds:.0f} s.",
        next_step="Wait, or sign in with an API token; an administrator can set another password.",
        facts={"seconds": f"{seconds:.0f}"},
        retry_after=seconds,
    )
