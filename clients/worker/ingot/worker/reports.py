"""What happened in claimed work, on its way to the server: numbered, batched, kept while the server is away.

`Reports.add` never waits. A thread sends batches at most every 0.25 s and again until the server has them:
events are numbered within the attempt, so sending twice changes nothing. While the server is away the newest
progress stands for all before it; numbers of steps, logs and warnings are kept. An event that the server
finds malformed is left out, so that it holds up none behind it. When the server says that the attempt is
over, `on_order` hears of it and nothing more is sent.
"""

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from ingot.client import IngotError, Invalid, NotFound, Precondition
from ingot.v1 import workers_pb2

log = logging.getLogger(__name__)

INTERVAL = 0.25  # seconds between batches
LARGEST_BATCH = 500  # events in one call; the API takes 1000
LARGEST_BYTES = 4 << 20  # of the events in one call; a message has at most 8 MiB
RETRY_PAUSE = 2.0  # seconds after a failed call

Event = workers_pb2.ReportedEvent


class Send(Protocol):
    """How a batch reaches the server: `client.workers.report` with name and attempt filled in."""

    def __call__(self, events: Sequence[Event]) -> workers_pb2.WorkOrder:
        """Store the events and return what the work is asked to do. Raises IngotError."""
        ...


class Reports:
    """The way of one attempt's events to the server. Close it before the work is finished."""

    def __init__(self, send: Send, on_order: Callable[[workers_pb2.WorkOrder], None]) -> None:
        self._send = send
        self._on_order = on_order
        self._waiting: deque[Event] = deque()
        self._seq = 0
        self._most = LARGEST_BATCH  # events in the next call; fewer while one that is malformed is looked for
        self._changed = threading.Condition()
        self._closing = False
        self._lost = False
        self._give_up_at = float("inf")
        self._thread = threading.Thread(target=self._work, name="reports", daemon=True)
        self._thread.start()

    def add(self, event: Event) -> None:
        """Number an event and queue it."""
        with self._changed:
            if self._closing or self._lost:
                return
            self._seq += 1
            event.producer_seq = self._seq
            if not event.HasField("time"):
                event.time.GetCurrentTime()
            if event.WhichOneof("body") == "progress" and len(self._waiting) > LARGEST_BATCH:
                self._drop_progress()
            self._waiting.append(event)
            self._changed.notify_all()

    def close(self, timeout: float = 60.0) -> bool:
        """Send what waits and stop; False when the server took it not within `timeout` seconds."""
        with self._changed:
            self._closing = True
            self._give_up_at = time.monotonic() + timeout
            self._changed.notify_all()
        self._thread.join()
        return not self._waiting

    def _drop_progress(self) -> None:
        # The batch in flight is still at the front of the queue, where `_work` takes it off once it is sent.
        self._waiting = deque(
            event
            for at, event in enumerate(self._waiting)
            if at < LARGEST_BATCH or event.WhichOneof("body") != "progress"
        )

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                order = self._send(batch)
            except (Precondition, NotFound) as error:
                log.warning("reports.refused reason=%s", error.reason)
                self._lose()
                return
            except Invalid as error:
                self._narrow(batch, error)
                continue
            except IngotError as error:
                log.warning("reports.delayed waiting=%d reason=%s", len(self._waiting), error.reason)
                if not self._pause(RETRY_PAUSE):
                    return
                continue
            self._forget(batch)
            self._most = min(2 * self._most, LARGEST_BATCH)
            self._on_order(order)
            self._pause(INTERVAL)

    def _next_batch(self) -> list[Event]:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            batch: list[Event] = []
            size = 0
            for event in itertools.islice(self._waiting, self._most):
                size += event.ByteSize()
                if batch and size > LARGEST_BYTES:
                    break
                batch.append(event)
            return batch

    def _narrow(self, batch: Sequence[Event], error: Invalid) -> None:
        """Send fewer next time; leave out the one that is malformed once it is alone."""
        if len(batch) > 1:
            self._most = len(batch) // 2
            return
        log.warning("reports.left_out event=%s error=%s", batch[0].WhichOneof("body"), error.message)
        self._forget(batch)

    def _forget(self, batch: Sequence[Event]) -> None:
        with self._changed:
            for _ in batch:
                self._waiting.popleft()

    def _pause(self, seconds: float) -> bool:
        """Wait a little, less when closing; False when it is time to give up."""
        with self._changed:
            if not self._closing:
                self._changed.wait_for(lambda: self._closing, seconds)
                return True
            left = self._give_up_at - time.monotonic()
        if left <= 0:
            return False
        if seconds > INTERVAL:
            time.sleep(min(seconds, left, 0.5))
        return True

    def _lose(self) -> None:
        with self._changed:
            self._lost = True
            self._waiting.clear()
        self._on_order(workers_pb2.WorkOrder(lost=True))
