"""Following a training job: replay what there is, say so, then each event as it happens.

A watcher holds nothing but the number it has sent last. Sending waits for the client (flow control), so one
that is slow is simply served later, from the ring or from the database.
"""

from collections.abc import AsyncGenerator

from ingot.server.core.clock import Clock
from ingot.server.core.errors import invalid_field
from ingot.server.core.events import LogLevel, LogLine
from ingot.server.core.identity import Caller
from ingot.server.domain.training_views import LogPage, TrainingViews
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import convert_training as convert
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.tails import Tails
from ingot.v1 import common_pb2, training_pb2

HEARTBEAT_SECONDS = 10.0  # the API promises one at least every 15
_BATCH = 200  # events read at a time; one may have 64 KiB

Watched = training_pb2.WatchTrainingJobResponse


class JobWatcher:
    """Streams of one server over its training jobs."""

    def __init__(self, hops: Hops, views: TrainingViews, tails: Tails, clock: Clock) -> None:
        self._hops = hops
        self._views = views
        self._tails = tails
        self._clock = clock

    async def watch(self, caller: Caller, job: str, after: int) -> AsyncGenerator[Watched, None]:
        """Yield the job, its events after `after`, `synced`, and what comes; end after its final state.

        Raises Invalid (FIELD_INVALID) for a negative `after`, NotFound.
        """
        _check_count("after", after)
        with self._tails.watch(f"trainingJobs/{job}") as tail:
            yield Watched(snapshot=convert.job(await self._hops.read(self._views.get, caller, job)))
            position, synced = after, False
            while True:
                version = tail.version
                events = tail.after(position) if synced else ()
                page: LogPage | None = None
                if not events:
                    page = await self._hops.read(self._views.events, caller, job, position, _BATCH)
                    events = page.events
                for event in events:
                    yield Watched(event=common.event(event))
                    position = event.seq
                if events or page is None:
                    continue
                if not synced:
                    yield Watched(synced=common_pb2.Synced())
                    synced = True
                if page.ended:
                    return
                if not await tail.wait(version, HEARTBEAT_SECONDS):
                    yield Watched(heartbeat=common.heartbeat(page.latest, self._clock.now()))

    async def logs(
        self, caller: Caller, job: str, request: training_pb2.ReadTrainingLogsRequest
    ) -> AsyncGenerator[training_pb2.ReadTrainingLogsResponse, None]:
        """Yield the log lines that are asked for; with `follow` until the job ends.

        Raises Invalid (FIELD_INVALID) for a negative number, NotFound.
        """
        _check_count("after", request.after)
        _check_count("tail", request.tail)
        level: LogLevel | None = common.level_of(request.min_level)
        rank = request.rank if request.HasField("rank") else None
        with self._tails.watch(f"trainingJobs/{job}") as tail:
            position = request.after
            if request.tail:
                start = await self._hops.read(self._views.log_start, caller, job, request.tail, level, rank)
                position = max(position, start)
            while True:
                version = tail.version
                page = await self._hops.read(
                    self._views.log_lines, caller, job, position, _BATCH, level, rank
                )
                for event in page.events:
                    assert isinstance(event.body, LogLine)
                    yield training_pb2.ReadTrainingLogsResponse(
                        seq=event.seq,
                        time=common.timestamp(event.time),
                        line=common.log_line(event.body),
                    )
                position = page.position
                if position < page.latest:
                    continue
                if page.ended or not request.follow:
                    return
                await tail.wait(version, HEARTBEAT_SECONDS)


def _check_count(field: str, value: int) -> None:
    """Raise Invalid (FIELD_INVALID) for a negative number."""
    if value < 0:
        raise invalid_field(field, f"expected 0 or more, got {value}", next_step="Leave it out to see all.")
