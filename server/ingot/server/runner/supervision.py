"""One attempt of one operation, from its claim to its end.

Every tick: is it over, silent for too long, late, cancelled, no longer ours? What it told is stored and its
claim extended by the same short write. Spans are measured so that a server which was frozen itself, or a
machine that slept, takes nobody's silence for more than a tick.

    asked to stop (cancel, drain, timeout)   SIGTERM, then SIGKILL when the grace is over
    silent (frozen), or no longer ours       SIGKILL at once

The row decides what an ending means: a body that was late but has its result has succeeded.
"""

import asyncio
import contextlib
import logging
import math
import time
from enum import StrEnum

import pydantic

from ingot.server.core.body_protocol import ReportedProblem
from ingot.server.core.clock import Clock
from ingot.server.core.complaints import Complaints
from ingot.server.core.errors import DataLoss, IngotError, Problem, Reason
from ingot.server.core.events import LogLevel, LogLine
from ingot.server.core.kinds import KINDS
from ingot.server.core.operations import Operation, Standing
from ingot.server.domain.claims import Claims
from ingot.server.runner import reports
from ingot.server.runner.seams import (
    NOTE_SECONDS,
    Body,
    Ending,
    Failed,
    Hops,
    Patience,
    Succeeded,
    Told,
    Vanished,
    may_pass,
    unheard,
)

log = logging.getLogger(__name__)


class Ask(StrEnum):
    """Why a body was asked to stop, or killed."""

    CANCEL = "cancelled"
    RELEASE = "released"
    LATE = "late"
    SILENT = "silent"
    LOST = "lost"


_AT_ONCE = (Ask.SILENT, Ask.LOST)


class Supervision:
    """Watches over one attempt; `run` it once."""

    def __init__(
        self,
        operation: Operation,
        claims: Claims,
        hops: Hops,
        patience: Patience,
        clock: Clock,
        complaints: Complaints,
    ) -> None:
        self.operation = operation
        self._claims = claims
        self._hops = hops
        self._patience = patience
        self._clock = clock
        self._complaints = complaints
        self._asked: Ask | None = None
        self._wanted: Ask | None = None
        self._until = math.inf  # when the server itself must be gone, on the monotonic clock
        self._woken = asyncio.Event()

    def cancel(self) -> None:
        """Stop the body: somebody asked for it."""
        self._want(Ask.CANCEL)

    def release(self, grace: float) -> None:
        """Stop the body within so many seconds: the server stops, and another will go on."""
        self._until = time.monotonic() + grace
        self._want(Ask.RELEASE)

    async def run(self, body: Body) -> None:
        """Watch over a body until it has ended, and store how."""
        over = asyncio.ensure_future(body.ended())
        over.add_done_callback(lambda _: self._woken.set())
        try:
            await self._watch(body, over)
        finally:
            if not over.done():
                body.kill()
        ending = await over
        if self._asked is not Ask.LOST:
            await self._conclude(ending, body.take())

    async def fail(self, error: Exception) -> None:
        """Store that the body could not even be started."""
        log.error("operation.not_started name=%s", self.operation.name, exc_info=error)
        problem = ReportedProblem(
            reason=error.reason.value if isinstance(error, IngotError) else Reason.INTERNAL.value,
            message=f"{self.operation.name} could not be started: {_words(error)}",
            next_step="The server's log has the whole story.",
            retry=not isinstance(error, DataLoss),
        )
        await self._store_failure(problem)

    # --- watching ---------------------------------------------------------------------------------------

    async def _watch(self, body: Body, over: "asyncio.Future[Ending]") -> None:
        began = last = noted = beaten = time.monotonic()
        silent, signs, deadline = 0.0, body.signs(), math.inf
        while not over.done():
            await self._next_look()
            now = time.monotonic()
            silent += min(now - last, 2 * self._patience.tick)
            last = now
            if body.signs() is None or body.signs() != signs:
                silent, signs = 0.0, body.signs()
            if self._wanted is not None and self._asked is None:
                self._asked = self._wanted
            elif silent > self._patience.lease and self._asked not in _AT_ONCE:
                self._asked, deadline = Ask.SILENT, now
            elif now - began > self.operation.timeout and self._asked is None:
                self._asked = Ask.LATE
            if self._asked is not None and deadline == math.inf:
                deadline = now + self._patience.grace
                log.info("operation.stopping name=%s why=%s", self.operation.name, self._asked)
                body.stop()
            if now >= min(deadline, self._until):
                body.kill()
            if now - noted >= NOTE_SECONDS or now - beaten >= self._patience.beat:
                told = body.take()
                noted = now
                if told != Told() or now - beaten >= self._patience.beat:
                    beaten = now
                    if await self._beat(told) is Standing.LOST:
                        self._asked, deadline = Ask.LOST, now
                        body.kill()

    async def _next_look(self) -> None:
        """Wait for the end, for a call from outside, or a tick."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience.tick):
                await self._woken.wait()
        self._woken.clear()

    async def _beat(self, told: Told) -> Standing:
        try:
            standing = await self._hops.write(
                self._claims.beat, self.operation.id, self.operation.attempt, told.progress, told.lines
            )
        except Exception as error:  # noqa: BLE001 (a full disk, say: the body is watched here all the same)
            self._complaints.tell("operation.beat_failed", error, f"name={self.operation.name}")
            return Standing.GO_ON
        if standing is Standing.CANCEL:
            self._want(Ask.CANCEL)
        return standing

    def _want(self, ask: Ask) -> None:
        if self._wanted is None:
            self._wanted = ask
        self._woken.set()

    # --- the end ----------------------------------------------------------------------------------------

    async def _conclude(self, ending: Ending, told: Told) -> None:
        lines = told.lines
        if isinstance(ending, Vanished) and self._asked is None and (output := ending.facts.get("output")):
            lines = (*lines, LogLine(LogLevel.ERROR, 0, output))
        if told.progress is not None or lines:
            await self._beat(Told(told.progress, lines))
        try:
            await self._store(ending)
        except Exception as error:
            if _is_outdated(error):
                log.warning(
                    "operation.outdated name=%s attempt=%d", self.operation.name, self.operation.attempt
                )
                return
            log.exception("operation.not_stored name=%s", self.operation.name)
            await self._store_failure(
                ReportedProblem(
                    reason=error.reason.value if isinstance(error, IngotError) else Reason.INTERNAL.value,
                    message=f"What {self.operation.name} ended with could not be stored: {_words(error)}",
                    next_step="The server's log has the whole story.",
                    retry=not isinstance(error, pydantic.ValidationError),
                )
            )

    async def _store(self, ending: Ending) -> None:
        here, claims = (self.operation.id, self.operation.attempt), self._claims
        if isinstance(ending, Succeeded):
            result = KINDS[self.operation.kind].result_type.model_validate(ending.result).document()
            after = await self._hops.write(claims.succeed, *here, result)
        elif self._asked is Ask.CANCEL:
            after = await self._hops.write(claims.stopped, *here)
        elif self._asked is Ask.RELEASE:
            after = await self._hops.write(claims.release, *here)
        else:
            await self._store_failure(self._failure(ending))
            return
        log.info("operation.ended name=%s kind=%s state=%s", after.name, after.kind, after.state)

    async def _store_failure(self, told: ReportedProblem) -> None:
        told = reports.bounded(told)
        facts = {**told.facts, "operation": self.operation.name, "attempt": str(self.operation.attempt)}
        problem = Problem(Reason(told.reason), told.message, facts, told.next_step, self._clock.now())
        try:
            after = await self._hops.write(
                self._claims.fail,
                self.operation.id,
                self.operation.attempt,
                problem,
                retry=told.retry,
                retry_after=told.retry_after,
            )
        except Exception as error:
            log.exception("operation.failure_not_stored name=%s", self.operation.name)
            if may_pass(error):
                return  # its lease runs out, and then it is taken back
            problem = unheard(self.operation, error, self._clock.now())
            try:
                after = await self._hops.write(
                    self._claims.give_up, self.operation.id, self.operation.attempt, problem
                )
            except Exception:
                log.exception("operation.not_given_up name=%s", self.operation.name)
                return
        log.warning(
            "operation.failed name=%s kind=%s state=%s reason=%s",
            after.name,
            after.kind,
            after.state,
            told.reason,
        )

    def _failure(self, ending: Ending) -> ReportedProblem:
        name, kind = self.operation.name, self.operation.kind
        if self._asked is Ask.LATE:
            return ReportedProblem(
                reason=Reason.TIMED_OUT.value,
                message=f"{name} ({kind}) took longer than the {self.operation.timeout:g} s of an attempt.",
                next_step="Start it with a longer timeout, or find out what it waits for.",
                retry=True,
            )
        if isinstance(ending, Failed):
            return ending.problem
        how, facts = "its body stopped without being asked to", {}
        if self._asked is Ask.SILENT:
            how = f"its body said nothing for {self._patience.lease:g} s and was killed"
        elif isinstance(ending, Vanished):
            how, facts = ending.how, ending.facts
        return ReportedProblem(
            reason=Reason.BODY_LOST.value,
            message=f"{name} ({kind}) was lost in attempt {self.operation.attempt}: {how}.",
            facts=facts,
            next_step=f"Read the log of {name}; retry it when the cause is mended.",
            retry=True,
        )


def _is_outdated(error: Exception) -> bool:
    return isinstance(error, IngotError) and error.reason is Reason.ATTEMPT_OUTDATED


def _words(error: Exception) -> str:
    """Return what may be told of an error: of ours its message, of others what kind it is."""
    if isinstance(error, IngotError):
        return error.message
    if isinstance(error, pydantic.ValidationError):
        return f"the result is not what its kind promises ({error.error_count()} errors)."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}."
    return f"{type(error).__name__}."
