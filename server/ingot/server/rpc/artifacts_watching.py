"""Watching artifacts: the latest state of all that match, then of each whenever it changes."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from ingot.server.core.clock import Clock
from ingot.server.core.identity import Caller
from ingot.server.core.pages import PageTokens
from ingot.server.domain.catalog_search import TOPIC, Narrowing
from ingot.server.rpc import convert_common as common
from ingot.server.rpc.following import HEARTBEAT_SECONDS
from ingot.server.rpc.tails import Tails
from ingot.v1 import catalog_pb2 as pb
from ingot.v1 import common_pb2

Told = pb.WatchArtifactsResponse


@dataclass(frozen=True, slots=True)
class Place:
    """Where a watch stands, among the numbers that changes have."""

    position: int  # the last change looked at
    start: int  # the last change when the watch began: what matched no more by then was never told


@dataclass(frozen=True, slots=True)
class Looked:
    """Messages with the numbers of their changes; with `more` others follow, after that number."""

    messages: Sequence[tuple[int, Told]]
    more: int | None


Look = Callable[[Place], Awaitable[Looked]]


class ArtifactWatcher:
    """Streams of one server over its artifacts."""

    def __init__(self, tails: Tails, tokens: PageTokens, clock: Clock) -> None:
        self._tails = tails
        self._tokens = tokens
        self._clock = clock

    async def watch(
        self,
        caller: Caller,
        wanted: Narrowing,
        request: pb.WatchArtifactsRequest,
        latest: Callable[[], Awaitable[int]],
        look: Look,
    ) -> AsyncGenerator[Told, None]:
        """Yield the latest state of each match, `synced`, then that of each whenever it changes.

        `latest` gives the number of the last change, `look` what changed after a place. Raises Invalid
        (PAGE_TOKEN_INVALID) for a resume token of another caller or filter, and what `look` raises.
        """
        query = f"WatchArtifacts {caller.principal} {wanted}"
        key = self._tokens.decode(query, request.resume_token, "resume")
        with self._tails.watch(TOPIC) as tail:
            if key:
                place = Place(int(key[0]), int(key[1]))
            else:
                now = await latest()
                place = Place(now if request.changes_only else 0, now)
            synced = False
            while True:
                version = tail.version
                looked = await look(place)
                for position, message in looked.messages:
                    place = replace(place, position=position)
                    yield self._with_token(message, query, place)
                if looked.more is not None:
                    place = replace(place, position=looked.more)
                    continue
                if not synced:
                    yield self._with_token(Told(synced=common_pb2.Synced()), query, place)
                    synced = True
                if not await tail.wait(version, HEARTBEAT_SECONDS):
                    beat = Told(heartbeat=common.heartbeat(0, self._clock.now()))
                    yield self._with_token(beat, query, place)

    def _with_token(self, message: Told, query: str, place: Place) -> Told:
        message.resume_token = self._tokens.encode(query, (place.position, place.start))
        return message
