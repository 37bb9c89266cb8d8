"""Text generations: work that a worker claims while somebody waits for the text.

They live in memory and not in rows, because a generation is worth nothing without the call that waits for it:
when the server dies the call is gone too, and the client asks again. So nothing here needs to be durable, and
a token costs no transaction. Everything else is as for jobs: claims are leases, attempts are fenced, a worker
that falls silent loses the work to another one as long as no text has been shown.

Calls come from the writer thread, from readers and from the event loop, so a lock guards the table.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ingot.server.core.clock import Clock
from ingot.server.core.errors import (
    Exhausted,
    IngotError,
    NotFound,
    Precondition,
    Problem,
    Reason,
    Unavailable,
)
from ingot.server.core.events import Announcer
from ingot.server.core.generation import (
    GenerationAssignment,
    GenerationDone,
    GenerationRequest,
    GenerationView,
)
from ingot.server.core.names import VersionName
from ingot.server.core.training import Desired
from ingot.server.core.workers import HeldWork, Worker, WorkGrant, WorkOrder, WorkPolicy, outdated
from ingot.server.domain.jobs import WORK_TOPIC

PREFIX = "generations/"


@dataclass(slots=True)
class _Generation:
    name: str
    model: VersionName
    digest: bytes
    request: GenerationRequest
    attempt: int = 0
    worker: str = ""
    token: str = ""
    lease_expire_time: float = 0.0
    claim_time: float = 0.0
    producer_seq: int = 0
    pieces: list[str] = field(default_factory=list)
    done: GenerationDone | None = None
    failure: IngotError | None = None
    lost: int = 0
    cancelled: bool = False

    @property
    def is_waiting(self) -> bool:
        return not self.worker and not self.cancelled and not self.is_over

    @property
    def is_over(self) -> bool:
        return self.done is not None or self.failure is not None


class Generations:
    """The table of running text generations. Safe for many threads; needs no unit of work."""

    def __init__(self, announcer: Announcer, policy: WorkPolicy, clock: Clock) -> None:
        self._announcer = announcer
        self._policy = policy
        self._clock = clock
        self._lock = threading.Lock()
        self._table: dict[str, _Generation] = {}

    # --- the call that wants text -----------------------------------------------------------------------

    def open(self, name: str, model: VersionName, digest: bytes, request: GenerationRequest) -> None:
        """Offer a generation to the workers; `name` is `generations/{id}` and must be new."""
        with self._lock:
            self._table[name] = _Generation(name, model, digest, request)
        self._announcer.wake(WORK_TOPIC)

    def view(self, name: str, after: int) -> GenerationView:
        """Return what there is by now, of the pieces those after the first `after`.

        Raises the failure of the generation when it has one.
        """
        with self._lock:
            found = self._table[name]
            if found.failure is not None:
                raise found.failure
            return GenerationView(found.worker, found.attempt, tuple(found.pieces[after:]), found.done)

    def close(self, name: str) -> None:
        """End a generation whose call is over; a worker that still has it is told to stop."""
        with self._lock:
            found = self._table[name]
            worker = found.worker
            if worker and not found.is_over:
                found.cancelled = True  # kept until its worker has heard, or its lease has run out
            else:
                del self._table[name]
        if worker:
            self._announcer.wake(f"workers/{worker}")

    # --- the worker that does it ------------------------------------------------------------------------

    def waiting(self) -> bool:
        """Return whether a generation waits for a worker."""
        with self._lock:
            return any(each.is_waiting for each in self._table.values())

    def claim(self, worker: Worker) -> GenerationAssignment | None:
        """Lease the generation that waits longest to a worker; None when none waits."""
        now = self._clock.now()
        with self._lock:
            found = next((each for each in self._table.values() if each.is_waiting), None)
            if found is None:
                return None
            found.attempt += 1
            found.worker, found.token = worker.id, worker.token
            found.claim_time = now
            found.producer_seq = 0
            found.lease_expire_time = now + self._policy.lease_seconds
            assignment = GenerationAssignment(
                name=found.name,
                attempt=found.attempt,
                model=found.model,
                digest=found.digest,
                namespace=found.model.artifact.namespace,
                request=found.request,
                lease_expire_time=found.lease_expire_time,
            )
        self._announcer.wake(assignment.name)
        return assignment

    def extend(self, worker: Worker, held: HeldWork) -> WorkOrder:
        """Extend the lease of a generation and return what it is asked to do."""
        with self._lock:
            found = self._table.get(held.name)
            if found is None or not _owns(found, worker, held.attempt):
                return WorkOrder(held.name, held.attempt, Desired.CANCEL, lost=True)
            found.lease_expire_time = self._clock.now() + self._policy.lease_seconds
            return _order(found)

    def orders(self, worker: Worker) -> list[WorkOrder]:
        """Return what the generations of a worker are asked to do."""
        with self._lock:
            return [_order(each) for each in self._table.values() if each.worker == worker.id]

    def report(self, worker: Worker, name: str, attempt: int, pieces: Sequence[tuple[int, str]]) -> WorkOrder:
        """Add pieces of text, each with its producer number; those seen before are skipped.

        Raises NotFound (GENERATION_NOT_FOUND), Precondition (ATTEMPT_OUTDATED).
        """
        with self._lock:
            found = self._owned(worker, name, attempt)
            for seq, text in pieces:
                if seq > found.producer_seq:
                    found.producer_seq = seq
                    found.pieces.append(text)
            order = _order(found)
        self._announcer.wake(name)
        return order

    def finish(self, worker: Worker, name: str, attempt: int, done: GenerationDone) -> None:
        """End a generation well, with its counts. Raises as `report`; repeating it is harmless."""

        def end(found: _Generation) -> None:
            seconds = max(0.0, self._clock.now() - found.claim_time)
            found.done = GenerationDone(
                done.finish_reason, done.prompt_tokens, done.completion_tokens, seconds
            )

        self._end(worker, name, attempt, end)

    def give_back(self, worker: Worker, name: str, attempt: int) -> None:
        """Offer a generation to another worker, or fail it when text was shown already.

        Raises as `report`.
        """
        self._end(worker, name, attempt, lambda found: self._let_go(found, penalty=False))

    def fail(self, worker: Worker, name: str, attempt: int, problem: Problem, *, retry: bool) -> None:
        """End a generation that failed, or offer it again when trying may help. Raises as `report`."""

        def end(found: _Generation) -> None:
            if retry and not found.pieces and found.lost < self._policy.max_retries:
                self._let_go(found, penalty=True)
            else:
                found.failure = failure_of(problem)

        self._end(worker, name, attempt, end)

    def drop_worker(self, worker: str) -> None:
        """Take back everything a worker (id) had: it started anew and knows nothing of it."""
        self._take_back(lambda each: each.worker == worker)

    def reap(self) -> int:
        """Take back generations whose lease has run out; return how many."""
        now = self._clock.now()
        return self._take_back(lambda each: bool(each.worker) and each.lease_expire_time <= now)

    def held_by(self, principal: str) -> Sequence[WorkGrant]:
        """Return what workers with this token may read for their generations."""
        with self._lock:
            return [
                WorkGrant(each.name, each.attempt, each.model.artifact.namespace, frozenset({each.model}))
                for each in self._table.values()
                if each.worker and each.token == principal
            ]

    # --- inside -----------------------------------------------------------------------------------------

    def _owned(self, worker: Worker, name: str, attempt: int) -> _Generation:
        found = self._table.get(name)
        if found is None:
            raise NotFound(
                Reason.GENERATION_NOT_FOUND,
                f"There is no {name}: the call that wanted it is over.",
                next_step="Stop writing and claim new work.",
                facts={"name": name},
            )
        if not _owns(found, worker, attempt):
            raise outdated(name, attempt)
        return found

    def _end(self, worker: Worker, name: str, attempt: int, end: Callable[[_Generation], None]) -> None:
        with self._lock:
            found = self._owned(worker, name, attempt)
            if found.cancelled:
                del self._table[name]
            elif not found.is_over:
                end(found)
        self._announcer.wake(name)
        self._announcer.wake(WORK_TOPIC)

    def _take_back(self, chosen: Callable[[_Generation], bool]) -> int:
        with self._lock:
            taken = [each for each in self._table.values() if not each.is_over and chosen(each)]
            for each in taken:
                if each.cancelled:
                    del self._table[each.name]
                else:
                    self._let_go(each, penalty=True)
        for each in taken:
            self._announcer.wake(each.name)
        if taken:
            self._announcer.wake(WORK_TOPIC)
        return len(taken)

    def _let_go(self, found: _Generation, *, penalty: bool) -> None:
        """Make it wait again, unless text was shown: another worker would write another text."""
        found.lost += penalty
        if found.pieces or found.lost > self._policy.max_retries:
            found.failure = _worker_lost(found)
        else:
            found.worker = found.token = ""


def failure_of(problem: Problem) -> IngotError:
    """Return the error for a worker's problem, so that the caller sees the same reason."""
    kinds: dict[Reason, type[IngotError]] = {
        Reason.OUT_OF_MEMORY: Exhausted,
        Reason.DISK_LOW: Exhausted,
        Reason.PEER_LOST: Unavailable,
    }
    kind = kinds.get(problem.reason, Precondition)
    return kind(problem.reason, problem.message, next_step=problem.next_step, facts=problem.facts)


def no_worker(seconds: float, why: str) -> Exhausted:
    """Return the error for a generation that no worker took in time."""
    return Exhausted(
        Reason.NO_WORKER,
        f"No worker took the text generation within {seconds:g} s: {why}",
        next_step="Start a worker with ingot-worker run, or try again when the training is done.",
        retry_after=10.0,
    )


def _owns(found: _Generation, worker: Worker, attempt: int) -> bool:
    return found.worker == worker.id and found.attempt == attempt


def _order(found: _Generation) -> WorkOrder:
    stop = found.cancelled or found.is_over
    return WorkOrder(
        found.name,
        found.attempt,
        Desired.CANCEL if stop else Desired.RUN,
        lease_expire_time=found.lease_expire_time,
    )


def _worker_lost(found: _Generation) -> Unavailable:
    return Unavailable(
        Reason.PEER_LOST,
        f"The worker workers/{found.worker} was lost while it wrote {found.name}.",
        next_step="Ask again; with the same seed and temperature 0 the text is the same.",
        facts={"worker": f"workers/{found.worker}"},
        retry_after=1.0,
    )
