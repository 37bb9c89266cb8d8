"""Watching an upload: its events, as following.py follows a log."""

from collections.abc import AsyncGenerator

from ingot.server.core.clock import Clock
from ingot.server.core.identity import Caller
from ingot.server.core.names import UploadName
from ingot.server.domain.upload_views import UploadViews
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import convert_transfer as convert
from ingot.server.rpc.following import Followed, follow
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.tails import Tails
from ingot.v1 import common_pb2, transfer_pb2

Watched = transfer_pb2.WatchUploadResponse


class UploadWatcher:
    """Streams of one server over its uploads."""

    def __init__(self, hops: Hops, views: UploadViews, tails: Tails, clock: Clock) -> None:
        self._hops = hops
        self._views = views
        self._tails = tails
        self._clock = clock

    def watch(self, caller: Caller, name: UploadName, after: int) -> AsyncGenerator[Watched, None]:
        """Return the stream over an upload that `follow` makes. It raises as that does, and NotFound."""
        read = self._hops.read

        async def snapshot() -> Watched:
            return Watched(snapshot=convert.upload(await read(self._views.get, caller, name)))

        followed = Followed(
            topic=str(name),
            snapshot=snapshot,
            page=lambda position, size: read(self._views.events, caller, name, position, size),
            event=lambda event: Watched(event=common.event(event)),
            synced=lambda: Watched(synced=common_pb2.Synced()),
            heartbeat=lambda latest: Watched(heartbeat=common.heartbeat(latest, self._clock.now())),
        )
        return follow(self._tails, followed, after)
