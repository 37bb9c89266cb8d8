"""The runner: claims what a dispatcher names, runs it under supervision, and keeps time for all of it.

await runner.recover(server_id)   # before anything is served: what an earlier run had is taken back
await runner.now("recover")       # one operation, here and now
runner.start()                    # when the server can be reached: bodies are its clients
await runner.stop(seconds)        # bodies are asked to stop; the next start goes on with what they left
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from ingot.server.core.clock import Clock
from ingot.server.core.complaints import Complaints
from ingot.server.core.errors import Precondition, Reason
from ingot.server.core.identity import system_caller
from ingot.server.core.kinds import KINDS, Place
from ingot.server.core.operations import (
    WAITING_STATES,
    NewOperation,
    Operation,
    OperationState,
    QueueLimits,
)
from ingot.server.domain.claims import Claims, NotBegunError
from ingot.server.domain.operations import Operations
from ingot.server.domain.schedules import Schedules
from ingot.server.runner.bodies import BodyFolders
from ingot.server.runner.dispatchers import Dispatcher, Launched
from ingot.server.runner.seams import Bodies, Hops, Patience, may_pass, unheard
from ingot.server.runner.supervision import Supervision

log = logging.getLogger(__name__)

KEPT_SECONDS = 24 * 3600.0  # folders of operations that failed


class Runner:
    """Runs operations; implements Launcher and OperationListener. `name` starts with that of the server."""

    def __init__(
        self,
        name: str,
        hops: Hops,
        operations: Operations,
        claims: Claims,
        schedules: Schedules,
        dispatcher: Dispatcher,
        places: Mapping[Place, Bodies],
        limits: QueueLimits,
        patience: Patience,
        folders: BodyFolders,
        leftovers: Callable[[Operation], None],
        clock: Clock,
    ) -> None:
        self.name = name
        self._hops = hops
        self._operations = operations
        self._claims = claims
        self._schedules = schedules
        self._dispatcher = dispatcher
        self._places = dict(places)
        self._limits = limits
        self._patience = patience
        self._folders = folders
        self._leftovers = leftovers  # removes what a body that died left outside its folder
        self._clock = clock
        self._complaints = Complaints(log)
        self._running: dict[str, tuple[Supervision, asyncio.Task[None]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rounds: asyncio.Task[None] | None = None
        self._tidying: dict[str, asyncio.Task[None]] = {}

    # --- life -------------------------------------------------------------------------------------------

    async def recover(self, server: str) -> int:
        """Take back what earlier runs of this server had claimed; return how many.

        Periodic kinds are planned here too, so that whoever asks for the next turn is told from the start.
        """
        await self._hops.write(self._schedules.turn)
        left = await self._hops.read(self._claims.left_by, server)
        return sum([await self._taken_back(self._claims.recover, each) for each in left])

    def start(self) -> None:
        """Begin to run operations."""
        self._loop = asyncio.get_running_loop()
        self._operations.listen(self)
        self._dispatcher.start(self)
        self._rounds = asyncio.create_task(self._keep_time())

    async def stop(self, grace: float) -> None:
        """Start nothing more, and give back what runs within about `grace` seconds."""
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)
            await self._dispatcher.stop()
        tasks: list[asyncio.Task[None]] = []
        for supervision, task in self._running.values():
            supervision.release(min(grace, self._patience.grace))
            tasks.append(task)
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loop = None
        await asyncio.gather(*self._tidying.values(), return_exceptions=True)

    async def now(self, kind: str) -> Operation:
        """Run an operation of a kind at once and return it. Raises Precondition when it did not succeed."""
        queued = await self._hops.write(
            self._operations.enqueue, system_caller(), NewOperation(kind, key=kind)
        )
        claimed = await self._hops.write(self._claims.claim, self.name, queued.id, None)
        if claimed is None:
            raise Precondition(Reason.STATE_INVALID, f"{queued.name} ({kind}) is {queued.state} already.")
        await asyncio.wait({self._run(claimed)})
        ended = await self._hops.read(self._operations.get, system_caller(), queued.id)
        if ended.state is OperationState.SUCCEEDED:
            return ended
        if ended.problem is None:
            raise Precondition(Reason.STATE_INVALID, f"{ended.name} ({kind}) is {ended.state}.")
        why = ended.problem
        raise Precondition(why.reason, why.message, next_step=why.next_step, facts=why.facts)

    async def sweep(self) -> int:
        """Remove files of bodies that nobody needs any more; return of how many that are forgotten.

        The folder of a FAILED one stays for a day, so that a retry by hand goes on where it stopped.
        """
        swept = 0
        for name in await self._hops.io(self._folders.known):
            found = await self._hops.read(self._claims.find, name)
            if found is None:
                await self._hops.io(self._folders.forget, name)
                swept += 1
            elif self._unneeded(found) and name not in self._running:
                await asyncio.wait({self._tidy(found)})
        return swept

    @property
    def running(self) -> frozenset[str]:
        """The ids of the operations that run here."""
        return frozenset(self._running)

    # --- called by the dispatcher -----------------------------------------------------------------------

    async def launch(self, operation: str) -> Launched:
        """Claim one operation by its id and run it."""
        try:
            claimed = await self._hops.write(self._claims.claim, self.name, operation, self._limits)
        except NotBegunError as error:
            await self._refuse(error)
            return Launched.NO
        if claimed is not None:
            self._run(claimed)
            return Launched.YES
        found = await self._hops.read(self._claims.find, operation)
        waits = found is not None and found.state in WAITING_STATES
        return Launched.LATER if waits else Launched.NO

    async def launch_next(self, queue: str) -> bool:
        """Claim what is next in a queue and run it; return whether there was something."""
        try:
            claimed = await self._hops.write(self._claims.next, self.name, queue, self._limits)
        except NotBegunError as error:
            await self._refuse(error)
            return True
        if claimed is not None:
            self._run(claimed)
        return claimed is not None

    # --- called after commits ---------------------------------------------------------------------------

    def changed(self, operation: Operation) -> None:
        """Tell the dispatcher, and the body that is to stop; may be called from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._changed, operation)

    def _changed(self, operation: Operation) -> None:
        self._dispatcher.changed(operation)
        running = self._running.get(operation.id)
        if operation.state is OperationState.CANCELLING and running is not None:
            running[0].cancel()
        if operation.ended:
            self._tidy(operation, keep_folder=operation.state is OperationState.FAILED)

    # --- inside -----------------------------------------------------------------------------------------

    def _unneeded(self, operation: Operation) -> bool:
        ended = operation.finish_time
        return ended is not None and self._clock.now() - ended > KEPT_SECONDS

    def _tidy(self, operation: Operation, *, keep_folder: bool = False) -> "asyncio.Task[None]":
        """Remove what an operation that has ended left; an attempt that begins meanwhile waits for it.

        Its folder goes last: while it is there, `sweep` comes back to what a kill of the server cut short.
        """

        async def tidy() -> None:
            try:
                await self._hops.io(self._leftovers, operation)
            except Exception as error:  # noqa: BLE001 (a later sweep tries again)
                self._complaints.tell("operation.not_tidied", error, f"name={operation.name}")
                return
            if not keep_folder:
                await self._hops.io(self._folders.remove, operation.id)

        tidying = asyncio.create_task(tidy())
        self._tidying[operation.id] = tidying
        tidying.add_done_callback(lambda _: self._tidied(operation.id, tidying))
        return tidying

    def _tidied(self, operation: str, tidying: "asyncio.Task[None]") -> None:
        if self._tidying.get(operation) is tidying:
            del self._tidying[operation]

    def _run(self, operation: Operation) -> "asyncio.Task[None]":
        supervision = Supervision(
            operation, self._claims, self._hops, self._patience, self._clock, self._complaints
        )
        task = asyncio.create_task(self._attempt(operation, supervision))
        self._running[operation.id] = supervision, task
        return task

    async def _attempt(self, operation: Operation, supervision: Supervision) -> None:
        log.info(
            "operation.begun name=%s kind=%s attempt=%d", operation.name, operation.kind, operation.attempt
        )
        try:
            if tidying := self._tidying.get(operation.id):
                await asyncio.wait({tidying})
            body = await self._places[KINDS[operation.kind].place].start(operation)
        except Exception as error:  # noqa: BLE001 (no memory, no disk: the attempt has failed)
            await supervision.fail(error)
        else:
            await supervision.run(body)
        finally:
            del self._running[operation.id]

    async def _keep_time(self) -> None:
        while True:
            try:
                for each in await self._hops.read(self._claims.expired, self.running):
                    await self._taken_back(self._claims.take_back, each)
                await self._hops.write(self._schedules.turn)
            except Exception as error:  # noqa: BLE001 (the next round comes anyway)
                self._complaints.tell("runner.round_failed", error)
            await asyncio.sleep(self._patience.round)

    async def _refuse(self, error: NotBegunError) -> None:
        """End an operation whose begin a feature does not take, so that it holds up no other."""
        log.error("operation.not_begun name=operations/%s", error.operation, exc_info=error)
        found = await self._hops.read(self._claims.find, error.operation)
        if found is not None:
            problem = unheard(found, error.__cause__ or error, self._clock.now())
            await self._hops.write(self._claims.refuse, self.name, found.id, problem)

    async def _taken_back(self, take: Callable[[str, int], Operation], operation: Operation) -> bool:
        """Take a claim back in a write of its own, so that one that cannot be holds up no other.

        One whose feature fails when it hears of that is given up.
        """
        try:
            after = await self._hops.write(take, operation.id, operation.attempt)
        except Exception as error:  # noqa: BLE001 (the next round comes anyway)
            self._complaints.tell("operation.not_taken_back", error, f"name={operation.name}")
            if may_pass(error):
                return False  # another round will do it, or somebody else did
            problem = unheard(operation, error, self._clock.now())
            try:
                after = await self._hops.write(self._claims.give_up, operation.id, operation.attempt, problem)
            except Exception as other:  # noqa: BLE001 (the next round comes anyway)
                self._complaints.tell("operation.not_given_up", other, f"name={operation.name}")
                return False
        log.warning("operation.taken_back name=%s kind=%s state=%s", after.name, after.kind, after.state)
        return True
