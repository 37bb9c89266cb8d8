"""Claims: whoever runs an operation has claimed its row, and everything it writes names the attempt.

    operation = claims.next(runner, "download", limits)     # attempt and tries grow, the lease begins
    claims.beat(operation.id, operation.attempt, progress)  # extends the lease; tells LOST and CANCEL
    claims.succeed(operation.id, operation.attempt, result) # or fail, stopped, release

A claim that is lost (silent, or its server was killed) counts as a try, so that a body which kills whoever
runs it ends FAILED. Whoever comes back after its claim was lost is refused with ATTEMPT_OUTDATED.
"""

from collections.abc import Collection, Sequence

from ingot.server.core.artifacts import JsonObject
from ingot.server.core.clock import Clock
from ingot.server.core.errors import Precondition, Problem, Reason
from ingot.server.core.events import LogLevel, LogLine, NewEvent, Progress
from ingot.server.core.kinds import QUEUES
from ingot.server.core.operation_stores import OperationStore
from ingot.server.core.operations import (
    CLAIMED_STATES,
    WAITING_STATES,
    Operation,
    OperationMove,
    OperationState,
    QueueLimits,
    Standing,
)
from ingot.server.domain import own_acts
from ingot.server.domain.operation_moves import OperationMoves

MOST_LOG_BYTES = 64 * 1024 * 1024  # of the log lines of one operation, in all its attempts
_LINE_BYTES = 64  # what a line takes besides its text, so that there are never more than 2^20


class NotBegunError(Exception):
    """A feature could not take note that an operation begins; `operation` is its id."""

    def __init__(self, operation: str) -> None:
        super().__init__(f"operations/{operation} could not begin")
        self.operation = operation


class Claims:
    """Claims operations for runners and takes in what they tell. Methods run inside a write."""

    def __init__(
        self, store: OperationStore, moves: OperationMoves, lease_seconds: float, clock: Clock
    ) -> None:
        self._store = store
        self._moves = moves
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._turns: dict[tuple[str, str], int] = {}  # a new run of the server begins anew
        self._turn = 0

    # --- taking -----------------------------------------------------------------------------------------

    def next(self, runner: str, queue: str, limits: QueueLimits) -> Operation | None:
        """Claim what runs next in a queue; None when nothing is due or the queue's slots are taken.

        Of the highest priority it is the turn of who has the fewest running, then of who had the last turn
        longest ago. Raises NotBegunError.
        """
        if self._full(queue, limits):
            return None
        now = self._clock.now()
        first = self._store.next_waiting(queue, now)
        if first is None:
            return None
        running = self._store.claimed_in(queue)

        def place(requester: str) -> tuple[int, int, bool]:
            turn = self.turn(queue, requester)
            return running.get(requester, 0), turn, requester != first.requester

        for requester in sorted(self._store.requesters(queue, first.priority), key=place):
            found = self._store.next_of(requester, queue, first.priority, now)
            if found is not None:
                return self._claim(runner, found)
        return None

    def turn(self, queue: str, requester: str) -> int:
        """Return the number of the last turn that somebody had in a queue; 0 before the first."""
        return self._turns.get((queue, requester), 0)

    def claim(self, runner: str, operation: str, limits: QueueLimits | None) -> Operation | None:
        """Claim one operation by its id; None when it does not wait, is not due, or its queue is full.

        Without limits a full queue does not count. Raises NotBegunError.
        """
        found = self._store.find(operation)
        if found is None or found.state not in WAITING_STATES or found.due_time > self._clock.now():
            return None
        full = limits is not None and self._full(found.queue, limits)
        return None if full else self._claim(runner, found)

    def ready(self, limits: QueueLimits) -> Sequence[str]:
        """Return the queues that have something due and a free slot. Inside a read, as the next three."""
        now = self._clock.now()
        return [
            queue
            for queue in QUEUES
            if not self._full(queue, limits) and self._store.next_waiting(queue, now) is not None
        ]

    def waiting(self) -> Sequence[Operation]:
        """Return all operations that wait for their turn, due or not."""
        return self._store.waiting()

    def seconds_to_next(self) -> float | None:
        """Return the seconds until a waiting operation becomes due; None without one."""
        now = self._clock.now()
        due = self._store.next_due(now)
        return None if due is None else due - now

    def find(self, operation: str) -> Operation | None:
        """Return an operation by its id."""
        return self._store.find(operation)

    # --- while it runs ----------------------------------------------------------------------------------

    def beat(
        self,
        operation: str,
        attempt: int,
        progress: Progress | None = None,
        lines: Sequence[LogLine] = (),
    ) -> Standing:
        """Extend a claim, store what its body told, and return what whoever runs it is to do.

        Log lines beyond MOST_LOG_BYTES are left out; the last one that is stored says so.
        """
        found = self._store.find(operation)
        if found is None or not _holds(found, attempt):
            return Standing.LOST
        until = self._clock.now() + self._lease_seconds
        lines, size = _with_room(found, lines)
        if progress is None and not lines:
            self._moves.extend(found, until)
        else:
            events = [NewEvent(line) for line in lines]
            if progress is not None and progress != found.progress:
                events.append(NewEvent(progress))
            self._moves.note(
                found, events, progress=progress or found.progress, log_bytes=size, lease_time=until
            )
        return Standing.CANCEL if found.state is OperationState.CANCELLING else Standing.GO_ON

    # --- ending -----------------------------------------------------------------------------------------

    def succeed(self, operation: str, attempt: int, result: JsonObject) -> Operation:
        """End an operation with what it found or made. Raises Precondition (ATTEMPT_OUTDATED)."""
        found = self._fenced(operation, attempt)
        own_acts.ended(found, result)
        return self._moves.move(found, OperationMove.SUCCEED, result=dict(result), problem=None)

    def fail(
        self,
        operation: str,
        attempt: int,
        problem: Problem,
        *,
        retry: bool,
        retry_after: float | None = None,
    ) -> Operation:
        """End an attempt that failed: RETRYING when another may help and is left, else FAILED.

        `retry_after` is the least pause in seconds. Raises Precondition (ATTEMPT_OUTDATED).
        """
        found = self._fenced(operation, attempt)
        pause = max(found.policy.pause(found.tries), retry_after or 0.0)
        return self._failed(found, problem, pause if retry else None)

    def stopped(self, operation: str, attempt: int) -> Operation:
        """End a cancelled operation whose body has stopped. Raises Precondition (ATTEMPT_OUTDATED)."""
        found = self._fenced(operation, attempt)
        return self._moves.move(found, OperationMove.STOPPED, "its body has stopped", problem=None)

    def release(self, operation: str, attempt: int) -> Operation:
        """Give a claim back unharmed because the server stops; the try does not count.

        Raises Precondition (ATTEMPT_OUTDATED).
        """
        found = self._fenced(operation, attempt)
        return self._moves.move(
            found, OperationMove.RELEASE, "the server stops", tries=max(found.tries - 1, 0)
        )

    def give_up(self, operation: str, attempt: int, problem: Problem) -> Operation:
        """End a claim that cannot be ended otherwise since a hook raises; its feature does not hear of it.

        It is FAILED, or CANCELLED when that was asked for. Raises Precondition (ATTEMPT_OUTDATED).
        """
        found = self._fenced(operation, attempt)
        return self._moves.move(found, OperationMove.FAIL, problem.message, hooks=False, problem=problem)

    def refuse(self, runner: str, operation: str, problem: Problem) -> Operation | None:
        """End an operation that waits and cannot begin since a hook raises; None when it does not wait."""
        found = self._store.find(operation)
        if found is None or found.state not in WAITING_STATES:
            return None
        begun = self._begin(runner, found, hooks=False)
        return self._moves.move(begun, OperationMove.FAIL, problem.message, hooks=False, problem=problem)

    # --- silence ----------------------------------------------------------------------------------------

    def expired(self, alive: Collection[str]) -> Sequence[Operation]:
        """Return the claims whose lease has run out. Inside a read, asked every few seconds.

        Those of `alive` (ids) are watched by the caller itself, who knows better than a clock that may jump.
        """
        now = self._clock.now()
        return [
            each
            for each in self._store.claimed()
            if each.id not in alive and (each.lease_time is None or each.lease_time < now)
        ]

    def left_by(self, server: str) -> Sequence[Operation]:
        """Return what earlier runs of a server had claimed. Inside a read, before it claims anything.

        `server` is what the names of its runners start with.
        """
        return [each for each in self._store.claimed() if each.runner.startswith(server) or not each.runner]

    def take_back(self, operation: str, attempt: int) -> Operation:
        """Take back an expired claim. Raises Precondition (ATTEMPT_OUTDATED)."""
        found = self._fenced(operation, attempt)
        text = f"{found.name} was silent for more than {self._lease_seconds:g} s in attempt {attempt}."
        return self._lose(found, text, found.policy.pause(found.tries))

    def recover(self, operation: str, attempt: int) -> Operation:
        """Take back what an earlier run of the server had claimed; if tries are left it is due at once.

        Raises Precondition (ATTEMPT_OUTDATED).
        """
        found = self._fenced(operation, attempt)
        text = f"The server was killed while {found.name} ({found.kind}) was {found.state}."
        return self._lose(found, text, 0.0)

    # --- inside -----------------------------------------------------------------------------------------

    def _full(self, queue: str, limits: QueueLimits) -> bool:
        return sum(self._store.claimed_in(queue).values()) >= limits.of(queue)

    def _claim(self, runner: str, found: Operation) -> Operation:
        try:
            return self._begin(runner, found)
        except Exception as error:
            raise NotBegunError(found.id) from error

    def _begin(self, runner: str, found: Operation, *, hooks: bool = True) -> Operation:
        now = self._clock.now()
        self._turn += 1
        self._turns[found.queue, found.requester] = self._turn
        return self._moves.move(
            found,
            OperationMove.BEGIN,
            f"attempt {found.attempt + 1} by {runner}",
            hooks=hooks,
            attempt=found.attempt + 1,
            tries=found.tries + 1,
            runner=runner,
            lease_time=now + self._lease_seconds,
            attempt_time=now,
            start_time=found.start_time or now,
            progress=None,
        )

    def _fenced(self, operation: str, attempt: int) -> Operation:
        found = self._moves.find(operation)
        if not _holds(found, attempt):
            raise Precondition(
                Reason.ATTEMPT_OUTDATED,
                f"Attempt {attempt} of {found.name} is over: it is {found.state} in attempt {found.attempt}.",
                next_step="Stop; publish nothing of that attempt.",
                facts={"operation": found.name, "attempt": str(found.attempt), "state": found.state},
            )
        return found

    def _lose(self, operation: Operation, text: str, pause: float) -> Operation:
        facts = {"operation": operation.name, "kind": operation.kind, "attempt": str(operation.attempt)}
        step = f"Read the log of {operation.name}; retry it when the cause is mended."
        problem = Problem(Reason.BODY_LOST, text, facts, step, self._clock.now())
        return self._failed(operation, problem, pause)

    def _failed(self, operation: Operation, problem: Problem, pause: float | None) -> Operation:
        """End an attempt; `pause` None is for good."""
        if pause is None or operation.tries >= operation.policy.max_attempts:
            return self._moves.move(operation, OperationMove.FAIL, problem.message, problem=problem)
        return self._moves.move(
            operation,
            OperationMove.RETRY,
            f"try {operation.tries} of {operation.policy.max_attempts} failed: {problem.message}",
            problem=problem,
            due_time=self._clock.now() + pause,
        )


def _with_room(operation: Operation, lines: Sequence[LogLine]) -> tuple[Sequence[LogLine], int]:
    """Return the lines for which an operation's log has room, and how large it is with them."""
    kept: list[LogLine] = []
    size = operation.log_bytes
    for line in lines:
        if size >= MOST_LOG_BYTES:
            break
        size += len(line.text.encode()) + _LINE_BYTES
        kept.append(line)
        if size >= MOST_LOG_BYTES:
            text = f"The log has {MOST_LOG_BYTES // 2**20} MiB: more lines of this operation are left out."
            kept.append(LogLine(LogLevel.WARNING, 0, text))
    return kept, size


def _holds(operation: Operation, attempt: int) -> bool:
    return operation.attempt == attempt and operation.state in CLAIMED_STATES
