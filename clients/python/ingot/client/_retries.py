"""When a failed call is tried again, and after how long.

Only two kinds of failure are worth another try: the server could not be reached or is shutting down
(UNAVAILABLE), and the server told how long to wait (RetryInfo, as BUSY and RATE_LIMITED carry). Only methods
that the protos mark as free of side effects or idempotent are repeated; those that change something carry a
request id, so the server recognises the repetition. Pauses double from 0.5 s to 30 s, each drawn from its
upper half so that many clients do not come back at once; a told time is never undercut. A full disk is the
exception: it takes people to empty it, so it is met once more, soon, and then told.

gRPC's own retry policy is not used: it can neither read RetryInfo nor tell a first contact from a lost one.
"""

import random
from dataclasses import dataclass
from functools import lru_cache

from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message

from ingot.client._errors import Cancelled, IngotError, LimitReached, TimedOut, Unreachable

DISK_LOW = "DISK_LOW"


@dataclass(frozen=True, slots=True)
class Retry:
    """The policy; times in seconds."""

    first_pause: float = 0.5
    factor: float = 2.0
    longest_pause: float = 30.0
    tries: int = 8
    # Before the server ever answered, a wrong address is likelier than a short outage.
    tries_at_first_contact: int = 3
    tries_at_full_disk: int = 2

    def pause_before(
        self, attempt: int, error: IngotError, *, contacted: bool, rng: random.Random
    ) -> float | None:
        """Return how long to wait before try number `attempt` (the first repetition is 2); None gives up."""
        if not may_help(error):
            return None
        full = error.reason == DISK_LOW
        tries = self.tries if contacted else self.tries_at_first_contact
        if attempt > (self.tries_at_full_disk if full else tries):
            return None
        pause = min(self.first_pause * self.factor ** (attempt - 2), self.longest_pause)
        if full:
            return pause * rng.uniform(0.5, 1.0)
        return max(pause * rng.uniform(0.5, 1.0), error.retry_after or 0.0)


DEFAULT_RETRY = Retry()


def may_help(error: IngotError) -> bool:
    """Return whether trying again, after a pause, may succeed."""
    told_to_wait = isinstance(error, LimitReached) and error.retry_after is not None
    return isinstance(error, Unreachable) or told_to_wait


def as_outage(error: IngotError) -> IngotError:
    """Return the error by which to decide whether a stream that broke is opened again."""
    return Unreachable(error.message) if isinstance(error, TimedOut | Cancelled) else error


def is_idempotent(request: Message) -> bool:
    """Return whether the method that takes `request` may be called twice, by its idempotency_level."""
    method = _method_of(request.DESCRIPTOR)
    return method.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN


@lru_cache(maxsize=256)
def _method_of(request: Descriptor) -> MethodDescriptor:
    # Each method has a request message of its own, in the file of its service.
    for service in request.file.services_by_name.values():
        for method in service.methods:
            if method.input_type is request:
                return method
    raise LookupError(f"no method takes {request.full_name}")
