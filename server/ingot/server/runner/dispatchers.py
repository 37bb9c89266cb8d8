"""What starts operations, and when. The row is the truth: a dispatcher only says which one to claim now.

`Rows` asks the rows for whatever is due, each time something may have changed. `Memory` keeps the waiting
ones in a queue of its own, fed by the same hints and, at the start, by the rows; it stands for engines that
bring their own queue. Whatever either says twice, late or wrongly is harmless, because the claim is fenced.

A third one implements `Dispatcher` and passes tests/contracts/dispatcher_contract.py.
"""

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection
from enum import Enum, auto
from typing import Protocol

from ingot.server.core.clock import Clock
from ingot.server.core.complaints import Complaints
from ingot.server.core.operations import CLAIMED_STATES, WAITING_STATES, Operation, QueueLimits
from ingot.server.domain.claims import Claims
from ingot.server.runner.seams import Hops

log = logging.getLogger(__name__)


class Launched(Enum):
    """What came of starting an operation."""

    YES = auto()
    LATER = auto()  # it waits still: not due, or its queue is full
    NO = auto()  # it does not wait any more


class Launcher(Protocol):
    """Claims operations and runs them; the runner is one. Both return when the claim is decided."""

    async def launch(self, operation: str) -> Launched:
        """Claim one operation by its id and run it."""
        ...

    async def launch_next(self, queue: str) -> bool:
        """Claim what is next in a queue and run it; return whether there was something."""
        ...


class Dispatcher(Protocol):
    """Decides which operation runs when."""

    def start(self, launcher: Launcher) -> None:
        """Begin to launch, on the running event loop."""
        ...

    def changed(self, operation: Operation) -> None:
        """Take note of an operation in a new state; called on the event loop, after the commit."""
        ...

    async def stop(self) -> None:
        """Launch nothing more; return when nothing is being launched."""
        ...


class _Loop(ABC):
    """A task that takes a turn whenever it is woken, and at the latest after `poll` seconds."""

    def __init__(self, poll: float) -> None:
        self._poll = poll
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._complaints = Complaints(log)

    def start(self, launcher: Launcher) -> None:
        """Begin to take turns."""
        self._task = asyncio.create_task(self._turns(launcher))

    async def stop(self) -> None:
        """Take no more turns; one that is under way is finished."""
        if self._task is not None:
            task, self._task = self._task, None
            self._woken.set()
            await task

    def _wake(self) -> None:
        self._woken.set()

    @abstractmethod
    async def _turn(self, launcher: Launcher) -> float | None:
        """Launch what can be launched; return the seconds until more is due."""

    async def _turns(self, launcher: Launcher) -> None:
        while self._task is not None:
            self._woken.clear()
            pause = None
            try:
                pause = await self._turn(launcher)
            except Exception as error:  # noqa: BLE001 (the next turn comes anyway)
                self._complaints.tell("dispatcher.turn_failed", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll if pause is None else min(pause, self._poll)):
                    await self._woken.wait()


class Rows(_Loop):
    """Asks the rows; implements Dispatcher."""

    def __init__(self, claims: Claims, hops: Hops, limits: QueueLimits, poll: float) -> None:
        super().__init__(poll)
        self._claims = claims
        self._hops = hops
        self._limits = limits

    def changed(self, operation: Operation) -> None:
        """Look at the rows again when something waits or a slot is free."""
        if operation.state not in CLAIMED_STATES:
            self._wake()

    async def _turn(self, launcher: Launcher) -> float | None:
        while ready := await self._hops.read(self._claims.ready, self._limits):
            started = [await launcher.launch_next(queue) for queue in ready]
            if not any(started):
                break
        return await self._hops.read(self._claims.seconds_to_next)


class Memory(_Loop):
    """Keeps a queue in memory; implements Dispatcher."""

    def __init__(self, claims: Claims, hops: Hops, clock: Clock, poll: float) -> None:
        super().__init__(poll)
        self._claims = claims
        self._hops = hops
        self._clock = clock
        self._waiting: dict[str, Operation] = {}
        self._claimed: dict[str, Operation] = {}
        self._filled = False

    def changed(self, operation: Operation) -> None:
        """Queue what waits, forget the rest, and look again when a slot may be free."""
        if operation.state in WAITING_STATES:
            self._waiting[operation.id] = operation
        else:
            self._waiting.pop(operation.id, None)
        if operation.state in CLAIMED_STATES:
            self._claimed[operation.id] = operation
        else:
            self._claimed.pop(operation.id, None)
            self._wake()

    async def _turn(self, launcher: Launcher) -> float | None:
        if not self._filled:  # what an earlier run of the server left
            for operation in await self._hops.read(self._claims.waiting):
                self._waiting.setdefault(operation.id, operation)
            self._filled = True
        full: set[str] = set()
        while found := self._next(full):
            launched = await launcher.launch(found.id)
            if launched is Launched.LATER:
                full.add(found.queue)
                continue
            self._waiting.pop(found.id, None)
            if launched is Launched.YES:
                self._claimed[found.id] = found
        now = self._clock.now()
        later = [each.due_time - now for each in self._waiting.values() if each.due_time > now]
        return min(later, default=None)

    def _next(self, full: Collection[str]) -> Operation | None:
        """Return what runs next in the order of `Claims.next`, of the queues that are not full."""
        now = self._clock.now()
        running = Counter((each.queue, each.requester) for each in self._claimed.values())

        def place(each: Operation) -> tuple[int, int, int, float, int]:
            turn = self._claims.turn(each.queue, each.requester)
            ran = running[each.queue, each.requester]
            return -each.priority, ran, turn, each.due_time, each.number

        due = (each for each in self._waiting.values() if each.due_time <= now and each.queue not in full)
        return min(due, key=place, default=None)
