"""The server's own background work, each turn of it recorded as an operation.

upkeep = Upkeep(hops, operations, clock)
await upkeep.recover()                          # once: ends what an earlier run left unfinished
await upkeep.run("clean", work)                 # work returns what it found or did
"""

import logging
from collections.abc import Awaitable, Callable

from ingot.server.core.artifacts import JsonObject
from ingot.server.core.clock import Clock
from ingot.server.core.errors import IngotError, Problem, Reason
from ingot.server.core.identity import system_caller
from ingot.server.core.operations import NewOperation, Operation
from ingot.server.operation_parts import OperationParts
from ingot.server.rpc.hops import Hops

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[JsonObject]]


class Upkeep:
    """Runs background work on the event loop and keeps its record."""

    def __init__(self, hops: Hops, parts: OperationParts, server_id: str, clock: Clock) -> None:
        self._hops = hops
        self._parts = parts
        self._server = server_id
        self._clock = clock

    async def recover(self) -> int:
        """Give operations that an earlier run of the server left unfinished their end; return how many."""
        return await self._hops.write(self._parts.claims.recover, self._server)

    async def run(self, kind: str, work: Work) -> JsonObject:
        """Do `work` as an operation of this kind and return its result.

        What it raises is stored as the operation's problem and raised on. When the server stops meanwhile the
        operation stays RUNNING; the next start ends it.
        """
        claims = self._parts.claims
        begun = await self._hops.write(self._begin, kind)
        if begun is None:
            return {}
        try:
            result = await work()
        except Exception as error:
            problem = self._problem(kind, error)
            await self._hops.write(claims.fail, begun.id, begun.attempt, problem, retry=False)
            raise
        await self._hops.write(claims.succeed, begun.id, begun.attempt, result)
        log.info("operation.succeeded name=%s kind=%s result=%s", begun.name, kind, dict(result))
        return result

    def _begin(self, kind: str) -> Operation | None:
        queued = self._parts.operations.enqueue(system_caller(), NewOperation(kind))
        return self._parts.claims.claim(self._server, queued.id, self._parts.limits)

    def _problem(self, kind: str, error: Exception) -> Problem:
        now = self._clock.now()
        if isinstance(error, IngotError):
            return error.problem(now)
        text = f"{kind} failed with {type(error).__name__}."
        return Problem(Reason.INTERNAL, text, {"kind": kind}, "The server's log has the whole story.", now)
