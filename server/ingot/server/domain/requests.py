"""Requests that may be sent again safely: the first one acts, every repetition gets the same result.

`once` runs inside the write that the request makes, so that what it did and the memory of it become durable
together. A request is known by who sent it, its method and its request id, for seven days.
"""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from ingot.server.core import journal
from ingot.server.core.clock import Clock
from ingot.server.core.errors import Precondition, Reason, invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.request_stores import RequestStore

KEPT_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class RequestKey:
    """How a repeated request is recognised: its request id, and itself in a form equal for equal ones."""

    request_id: str = ""
    payload: bytes = b""


class Requests:
    """Remembers what was asked for under which request id."""

    def __init__(self, store: RequestStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def run(self, caller: Caller, method: str, key: RequestKey, make: Callable[[], str]) -> tuple[str, bool]:
        """As `once`, with id and payload in one."""
        return self.once(caller, method, key.request_id, key.payload, make)

    def once(
        self,
        caller: Caller,
        method: str,
        request_id: str,
        payload: bytes,
        make: Callable[[], str],
        *,
        stands: Callable[[str], bool] = lambda result: True,
    ) -> tuple[str, bool]:
        """Call `make` unless this request was carried out before; return its result and whether it was.

        `payload` is the request in a form that is equal for equal requests. `stands` tells of an earlier
        result whether it is still there: if not, the request is carried out anew. Without a request id
        `make` is just called. Raises Invalid (FIELD_INVALID) when the id is no UUID, and Precondition
        (REQUEST_ID_REUSED) when it came with another request.
        """
        if not request_id:
            return make(), False
        key = checked_id(request_id)
        now = self._clock.now()
        self._store.forget(now - KEPT_SECONDS)
        digest = hashlib.sha256(payload).digest()
        known = self._store.find(caller.principal, method, key)
        if known is not None and known[0] == digest and not stands(known[1]):
            self._store.drop(caller.principal, method, key)
            known = None
        if known is None:
            result = make()
            self._store.add(caller.principal, method, key, digest, result, now)
            return result, False
        if known[0] != digest:
            raise Precondition(
                Reason.REQUEST_ID_REUSED,
                f"The request id {request_id} was used by another {method} request; expected the same one.",
                next_step="Make a new request id for each new request; keep it only to repeat one unchanged.",
                facts={"request_id": request_id, "method": method},
            )
        journal.no_act()
        return known[1], True


def checked_id(request_id: str) -> str:
    """Return the id in its one form. Raises Invalid unless it is a UUID."""
    try:
        return str(uuid.UUID(request_id))
    except ValueError:
        raise invalid_field(
            "request_id",
            f"expected a UUID such as 0198c5a2-7a4e-7c3b-9d0e-3f6a1b2c4d5e, got {request_id[:60]!r}",
            next_step="Make one per request and keep it when the request is repeated.",
        ) from None
