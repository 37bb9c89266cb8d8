"""Watching operations: one with all its events (following.py), or all that match with their latest state."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from ingot.server.core.clock import Clock
from ingot.server.core.identity import Caller
from ingot.server.core.operation_stores import OperationFilter
from ingot.server.core.operations import Operation
from ingot.server.core.pages import PageTokens
from ingot.server.domain.operations import Operations
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import convert_operations as convert
from ingot.server.rpc.following import HEARTBEAT_SECONDS, Followed, follow
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.tails import Tails
from ingot.v1 import common_pb2, operations_pb2

TOPIC = "operations"  # woken with every change of any of them
_BATCH = 100

One = operations_pb2.WatchOperationResponse
Several = operations_pb2.WatchOperationsResponse


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a watch over several stands, among the numbers that changes have."""

    position: int  # the last change handled
    start: int  # the last change when the watch began

    def shown(self, wanted: OperationFilter) -> OperationFilter:
        """Return the filter that leaves out what had ended when the watch began, if that is asked for."""
        return replace(wanted, but_after=self.start) if wanted.active_only else wanted


class OperationWatcher:
    """Streams of one server over its operations."""

    def __init__(
        self, hops: Hops, operations: Operations, tails: Tails, tokens: PageTokens, clock: Clock
    ) -> None:
        self._hops = hops
        self._operations = operations
        self._tails = tails
        self._tokens = tokens
        self._clock = clock

    def one(self, caller: Caller, operation: str, after: int) -> AsyncGenerator[One, None]:
        """Return the stream over an operation that `follow` makes. It raises as that does, and NotFound."""

        async def snapshot() -> One:
            found = await self._hops.read(self._operations.get, caller, operation)
            return One(snapshot=convert.operation(found))

        read = self._hops.read
        followed = Followed(
            topic=f"operations/{operation}",
            snapshot=snapshot,
            page=lambda position, size: read(self._operations.events, caller, operation, position, size),
            event=lambda event: One(event=common.event(event)),
            synced=lambda: One(synced=common_pb2.Synced()),
            heartbeat=lambda latest: One(heartbeat=common.heartbeat(latest, self._clock.now())),
        )
        return follow(self._tails, followed, after)

    async def several(
        self, caller: Caller, wanted: OperationFilter, resume_token: str
    ) -> AsyncGenerator[Several, None]:
        """Yield the latest state of each match, `synced`, then that of each whenever it changes.

        Raises Invalid (PAGE_TOKEN_INVALID) for a resume token of another caller or filter.
        """
        query = f"WatchOperations {caller.principal} {wanted}"
        key = self._tokens.decode(query, resume_token, "resume")
        with self._tails.watch(TOPIC) as tail:
            place = _Place(int(key[0]), int(key[1])) if key else _Place(0, await self._latest())
            synced = False
            while True:
                version = tail.version
                changed = await self._since(caller, place.shown(wanted), place.position)
                for operation in changed:
                    place = replace(place, position=operation.change)
                    yield Several(
                        operation=convert.operation(operation), resume_token=self._token(query, place)
                    )
                if len(changed) == _BATCH:
                    continue
                if not synced:
                    yield Several(synced=common_pb2.Synced(), resume_token=self._token(query, place))
                    synced = True
                if not await tail.wait(version, HEARTBEAT_SECONDS):
                    beat = common.heartbeat(0, self._clock.now())
                    yield Several(heartbeat=beat, resume_token=self._token(query, place))

    async def _latest(self) -> int:
        return await self._hops.read(self._operations.latest_change)

    async def _since(self, caller: Caller, wanted: OperationFilter, position: int) -> Sequence[Operation]:
        return await self._hops.read(self._operations.since, caller, wanted, position, _BATCH)

    def _token(self, query: str, place: _Place) -> str:
        return self._tokens.encode(query, (place.position, place.start))
