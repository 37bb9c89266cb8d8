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
from ingot.server.domain.operations import Operations
from ingot.server.rpc.hops import Hops

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[JsonObject]]


class Upkeep:
    """Runs background work on the event loop and keeps its record."""

    def __init__(self, hops: Hops, operations: Operations, clock: Clock) -> None:
        self._hops = hops
        self._operations = operations
        self._clock = clock

    async def recover(self) -> int:
        """Give operations that an earlier run of the server left unfinished their end; return how many."""
        return await self._hops.write(self._operations.recover)

    async def run(self, kind: str, work: Work) -> JsonObject:
        """Do `work` as an operation of this kind and return its result.

        What it raises is stored as the operation's problem and raised on. When the server stops meanwhile the
        operation stays RUNNING; the next start ends it.
        """
        begun = await self._hops.write(self._operations.begin, system_caller(), kind, {})
        name = begun.name.rpartition("/")[2]
        try:
            result = await work()
        except Exception as error:
            await self._hops.write(self._operations.fail, name, self._problem(kind, error))
            raise
        await self._hops.write(self._operations.succeed, name, result)
        log.info("operation.succeeded name=%s kind=%s result=%s", begun.name, kind, dict(result))
        return result

    def _problem(self, kind: str, error: Exception) -> Problem:
        now = self._clock.now()
        if isinstance(error, IngotError):
            return error.problem(now)
        text = f"{kind} failed with {type(error).__name__}."
        return Problem(Reason.INTERNAL, text, {"kind": kind}, "The server's log has the whole story.", now)
