"""What workers do to get and keep work: register, claim, beat; and what happens when one falls silent.

A claim is a lease on a row. Whoever reports on work names its attempt, and the row must still say that this
worker has this attempt; else the call is refused with ATTEMPT_OUTDATED and nothing is stored. So a worker
that was frozen and wakes up cannot disturb the one that took over. A lease lives on in its row while the
server is restarted: a worker that beats again in time never notices.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ingot.content import digests
from ingot.server.core import journal
from ingot.server.core.catalog_stores import CounterStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import Precondition, Problem, Reason, invalid_field
from ingot.server.core.generation import GenerationAssignment
from ingot.server.core.identity import Caller
from ingot.server.core.names import made_id
from ingot.server.core.pages import Page, PageTokens, page_size
from ingot.server.core.training import Desired, Move, TrainingJob, order_for
from ingot.server.core.training_stores import CheckpointStore, TrainingStore, WorkerStore
from ingot.server.core.workers import (
    Beat,
    HeldWork,
    Hints,
    TrainingAssignment,
    Worker,
    WorkerFacts,
    WorkerState,
    WorkerView,
    WorkKind,
    WorkOrder,
    WorkPolicy,
    worker_not_found,
)
from ingot.server.domain import generation, plans
from ingot.server.domain.attempts import Attempts, owns
from ingot.server.domain.generation import Generations
from ingot.server.domain.jobs import Jobs

LONGEST_NAME = 100
_LOOKED_AT = 200  # queued jobs that one question returns


class Workers:
    """Registers workers and leases work to them. Methods run inside a write, `hints` and `page` in a read."""

    def __init__(
        self,
        store: WorkerStore,
        queue: TrainingStore,
        checkpoints: CheckpointStore,
        jobs: Jobs,
        attempts: Attempts,
        generations: Generations,
        counters: CounterStore,
        tokens: PageTokens,
        policy: WorkPolicy,
        clock: Clock,
    ) -> None:
        self._store = store
        self._queue = queue
        self._checkpoints = checkpoints
        self._jobs = jobs
        self._attempts = attempts
        self._generations = generations
        self._counters = counters
        self._tokens = tokens
        self._clock = clock
        self.policy = policy

    # --- life of a worker -------------------------------------------------------------------------------

    def register(self, caller: Caller, facts: WorkerFacts) -> Worker:
        """Register a worker, or note that it started again: what its process had before is lost.

        The same token and display name keep the same worker. Raises Invalid (FIELD_INVALID).
        """
        if not 0 < len(facts.display_name) <= LONGEST_NAME:
            raise invalid_field(
                "display_name", f"expected 1 to {LONGEST_NAME} characters, got {len(facts.display_name)}"
            )
        now = self._clock.now()
        known = self._store.by_name(caller.principal, facts.display_name)
        if known is None:
            number = self._counters.next("worker")
            worker = Worker(number, caller.principal, facts, caller.address, now, now)
        else:
            worker = replace(known, facts=facts, address=caller.address, last_heartbeat_time=now)
            for job in self._queue.held_by([known.id]):
                self._attempts.lose(job, _restarted(worker, now))
            self._generations.drop_worker(known.id)
        self._store.put(worker)
        journal.about(worker.name)
        return worker

    def own(self, caller: Caller, name: str) -> Worker:
        """Return a worker of the caller's token.

        Raises NotFound (WORKER_NOT_FOUND), Invalid (NAME_INVALID).
        """
        found = self._store.find(made_id(name, "workers", "worker"))
        if found is None or found.token != caller.principal:
            raise worker_not_found(name)
        return found

    def counts(self) -> Mapping[WorkerState, int]:
        """Return how many workers are in which state."""
        found: Counter[WorkerState] = Counter()
        after: int | None = None
        while True:
            rows = self._store.page(after, _LOOKED_AT)
            found.update(self._view(worker, ()).state for worker in rows.items)
            if rows.next_key is None:
                return found
            after = int(rows.next_key[0])

    def page(self, size: int, token: str) -> Page[WorkerView]:
        """Return a page of workers in the order in which they first registered.

        Raises Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        size = page_size(size)
        after = self._tokens.decode("ListWorkers", token)
        rows = self._store.page(int(after[0]) if after else None, size)
        held = self._queue.held_by([worker.id for worker in rows.items])
        views = tuple(self._view(worker, held) for worker in rows.items)
        next_token = self._tokens.encode("ListWorkers", rows.next_key) if rows.next_key else ""
        return Page(views, next_token)

    # --- work -------------------------------------------------------------------------------------------

    def claim(
        self, caller: Caller, worker: str, kind: WorkKind | None
    ) -> TrainingAssignment | GenerationAssignment | None:
        """Lease the next work this worker can do to it: a text somebody waits for first, then a job.

        Raises NotFound (WORKER_NOT_FOUND), Precondition (STATE_INVALID) when the worker takes no work.
        """
        found = self._heard(self.own(caller, worker))
        if found.takes_no_work:
            raise Precondition(
                Reason.STATE_INVALID,
                f"{found.name} takes no work: it lacks {', '.join(found.facts.missing_software)}.",
                next_step="Install what is missing (see ingot-worker check) and start the worker again.",
                facts={"missing_software": ", ".join(found.facts.missing_software)},
            )
        assignment: TrainingAssignment | GenerationAssignment | None = None
        if kind is not WorkKind.TRAINING:
            assignment = self._generations.claim(found)
        if assignment is None and kind is not WorkKind.GENERATION:
            job = self._suitable(found)
            assignment = None if job is None else self._leased(job, found)
        if assignment is None:  # it was only heard
            journal.no_act()
        return assignment

    def heartbeat(self, caller: Caller, worker: str, held: Sequence[HeldWork], free_disk_bytes: int) -> Beat:
        """Extend the leases of the named work and return what each is asked to do. Raises NotFound."""
        found = self.own(caller, worker)
        facts = replace(found.facts, free_disk_bytes=free_disk_bytes or found.facts.free_disk_bytes)
        self._heard(replace(found, facts=facts))
        orders = tuple(self._extended(found, each) for each in held)
        return Beat(orders, drain=found.takes_no_work)

    def hints(self, caller: Caller, worker: str) -> Hints:
        """Return what waits that this worker could claim, and its orders. Raises NotFound."""
        found = self.own(caller, worker)
        waiting: list[WorkKind] = []
        if not found.takes_no_work:
            if self._generations.waiting():
                waiting.append(WorkKind.GENERATION)
            if self._suitable(found):
                waiting.append(WorkKind.TRAINING)
        orders = [order_of(job) for job in self._queue.held_by([found.id])]
        due = self._queue.next_due(self._clock.now())
        return Hints(
            tuple(waiting),
            (*orders, *self._generations.orders(found)),
            None if due is None else max(0.0, due - self._clock.now()),
        )

    # --- silence ----------------------------------------------------------------------------------------

    def reap(self) -> int:
        """Take work back from workers whose lease has run out; return how much. Called every few seconds."""
        now = self._clock.now()
        expired = self._queue.expired(now)
        for job in expired:
            self._attempts.lose(job, _silent(job, self.policy.lease_seconds, now))
        return len(expired) + self._generations.reap()

    def recover(self) -> int:
        """Give every lease a whole turn from now, once at the start of the server; return how many live on.

        While the server was away nobody could beat, so silence proves nothing yet.
        """
        return self._queue.extend_all(self._clock.now() + self.policy.lease_seconds)

    # --- inside -----------------------------------------------------------------------------------------

    def _heard(self, worker: Worker) -> Worker:
        heard = replace(worker, last_heartbeat_time=self._clock.now())
        self._store.put(heard)
        return heard

    def _suitable(self, worker: Worker) -> TrainingJob | None:
        """Return the job that waits longest among those that this worker can do."""
        now, after = self._clock.now(), 0
        while queued := self._queue.claimable(now, after, _LOOKED_AT):
            for job in queued:
                if plans.suits(job.config, worker):
                    return job
            after = queued[-1].number
        return None

    def _leased(self, job: TrainingJob, worker: Worker) -> TrainingAssignment:
        leased = self._jobs.move(
            job,
            Move.CLAIM,
            f"attempt {job.attempt + 1} by {worker.facts.display_name}",
            attempt=job.attempt + 1,
            worker=worker.id,
            lease_expire_time=self._clock.now() + self.policy.lease_seconds,
            last_outcome="",
        )
        step = leased.latest_step
        checkpoint = None if step is None else self._checkpoints.find(leased.id, step)
        if checkpoint is None:
            return TrainingAssignment(leased, "", "")
        return TrainingAssignment(leased, checkpoint.name, digests.format_digest(checkpoint.digest))

    def _extended(self, worker: Worker, held: HeldWork) -> WorkOrder:
        if held.name.startswith(generation.PREFIX):
            return self._generations.extend(worker, held)
        job = self._queue.find(made_id(held.name, "trainingJobs", "work.name"))
        if job is None or not owns(worker, job, held.attempt):
            return WorkOrder(held.name, held.attempt, Desired.CANCEL, lost=True)
        return order_of(self._jobs.extend(job, self._clock.now() + self.policy.lease_seconds))

    def _view(self, worker: Worker, held: Sequence[TrainingJob]) -> WorkerView:
        online = worker.is_online(self._clock.now(), self.policy.lease_seconds)
        state = WorkerState.ONLINE if online else WorkerState.OFFLINE
        if online and worker.takes_no_work:
            state = WorkerState.DRAINING
        jobs = [job.name for job in held if job.worker == worker.id]
        texts = [order.name for order in self._generations.orders(worker)]
        return WorkerView(worker, state, (*jobs, *texts))


def order_of(job: TrainingJob) -> WorkOrder:
    """Return what the worker of a job is asked to do now."""
    return WorkOrder(job.name, job.attempt, order_for(job.state), lease_expire_time=job.lease_expire_time)


def _silent(job: TrainingJob, seconds: float, now: float) -> Problem:
    return Problem(
        Reason.PEER_LOST,
        f"workers/{job.worker} was silent for {seconds:g} s, so attempt {job.attempt} was taken back.",
        {},
        "Look at the log of that worker; the job goes on from its last checkpoint.",
        now,
    )


def _restarted(worker: Worker, now: float) -> Problem:
    return Problem(
        Reason.PEER_LOST,
        f"{worker.name} ({worker.facts.display_name}) started again and lost what it was doing.",
        {},
        "Look at the log of that worker; the job goes on from its last checkpoint.",
        now,
    )
