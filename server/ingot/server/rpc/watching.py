"""Watching a training job: its events (following.py) and its log lines."""

from collections.abc import AsyncGenerator

from ingot.server.core.clock import Clock
from ingot.server.core.events import LogLevel, LogLine
from ingot.server.core.identity import Caller
from ingot.server.domain.training_views import TrainingViews
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import convert_training as convert
from ingot.server.rpc.following import BATCH, HEARTBEAT_SECONDS, Followed, check_count, follow
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.tails import Tails
from ingot.v1 import common_pb2, training_pb2

Watched = training_pb2.WatchTrainingJobResponse


class JobWatcher:
    """Streams of one server over its training jobs."""

    def __init__(self, hops: Hops, views: TrainingViews, tails: Tails, clock: Clock) -> None:
        self._hops = hops
        self._views = views
        self._tails = tails
        self._clock = clock

    def watch(self, caller: Caller, job: str, after: int) -> AsyncGenerator[Watched, None]:
        """Return the stream over a job that `follow` makes. It raises as that does, and NotFound."""

        async def snapshot() -> Watched:
            return Watched(snapshot=convert.job(await self._hops.read(self._views.get, caller, job)))

        followed = Followed(
            topic=f"trainingJobs/{job}",
            snapshot=snapshot,
            page=lambda position, size: self._hops.read(self._views.events, caller, job, position, size),
            event=lambda event: Watched(event=common.event(event)),
            synced=lambda: Watched(synced=common_pb2.Synced()),
            heartbeat=lambda latest: Watched(heartbeat=common.heartbeat(latest, self._clock.now())),
        )
        return follow(self._tails, followed, after)

    async def logs(
        self, caller: Caller, job: str, request: training_pb2.ReadTrainingLogsRequest
    ) -> AsyncGenerator[training_pb2.ReadTrainingLogsResponse, None]:
        """Yield the log lines that are asked for; with `follow` until the job ends.

        Raises Invalid (FIELD_INVALID) for a negative number, NotFound.
        """
        check_count("after", request.after)
        check_count("tail", request.tail)
        level: LogLevel | None = common.level_of(request.min_level)
        rank = request.rank if request.HasField("rank") else None
        with self._tails.watch(f"trainingJobs/{job}") as tail:
            position = request.after
            if request.tail:
                start = await self._hops.read(self._views.log_start, caller, job, request.tail, level, rank)
                position = max(position, start)
            while True:
                version = tail.version
                page = await self._hops.read(self._views.log_lines, caller, job, position, BATCH, level, rank)
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
