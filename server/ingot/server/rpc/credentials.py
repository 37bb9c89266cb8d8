"""From a bearer token to a caller, with a cache that a revocation empties at once.

The rules behind it (`domain/identity.py`) look the token up in the database. Asking them for every call would
cost one hop more, so answers are kept for a moment. `revision` changes with every committed change of a user
or a token; an answer from another revision is never used.

Tokens of operations are asked for every time: one ends with its attempt, in that very moment.
"""

import hashlib
from typing import Protocol

from ingot.server.core.clock import Clock
from ingot.server.core.identity import Caller
from ingot.server.rpc.hops import Hops

KEPT_SECONDS = 2.0  # bounds how long a token outlives its expiry
_KEPT_ENTRIES = 10_000


class Identity(Protocol):
    """The rules about users and tokens, as far as the pipeline needs them."""

    @property
    def revision(self) -> int:
        """Number that differs after each committed change of a user or a token; read on any thread."""
        ...

    def authenticate(self, secret: str, *, begun: bool = False) -> Caller:
        """Return who a token belongs to; runs inside a read unit of work.

        For a call that has `begun` with it, the access token of a login may have expired since.
        Raises Unauthenticated (TOKEN_INVALID, TOKEN_EXPIRED).
        """
        ...


class Credentials:
    """Finds callers by their tokens."""

    def __init__(self, hops: Hops, identity: Identity, clock: Clock) -> None:
        self._hops = hops
        self._identity = identity
        self._clock = clock
        self._kept: dict[bytes, tuple[Caller, float]] = {}
        self._revision = identity.revision

    async def caller(self, secret: str, *, begun: bool = False) -> Caller:
        """Return the caller behind a token, of a new call or one that has begun. Raises Unauthenticated."""
        key = hashlib.sha256(f"{begun} {secret}".encode()).digest()
        now = self._clock.monotonic()
        revision = self._identity.revision  # before reading: a change in between makes the answer unusable
        if revision != self._revision:
            self._kept.clear()
            self._revision = revision
        known = self._kept.get(key)
        if known is not None and known[1] > now:
            return known[0]
        caller = await self._hops.read(self._identity.authenticate, secret, begun=begun)
        if revision == self._revision and not caller.operation:
            if len(self._kept) >= _KEPT_ENTRIES:
                self._kept.clear()
            self._kept[key] = (caller, now + KEPT_SECONDS)
        return caller
