"""CatalogService: facets and watches."""

import contextlib
from collections.abc import AsyncIterator

from ingot.server.core import names
from ingot.server.core.artifacts import Artifact
from ingot.server.core.identity import Caller
from ingot.server.domain.catalog_search import Narrowing
from ingot.server.rpc import convert_catalog as convert
from ingot.server.rpc import pipeline
from ingot.server.rpc.artifacts_watching import Looked, Place, Told
from ingot.server.rpc.catalog_artifacts import ArtifactCalls
from ingot.server.rpc.catalog_rules import Context
from ingot.v1 import catalog_pb2 as pb

_LOOKED_AT_ONCE = 200


class SearchCalls(ArtifactCalls):
    """Serves what finds artifacts beside lists."""

    async def GetFacets(self, request: pb.GetFacetsRequest, context: Context) -> pb.GetFacetsResponse:
        found = await self._hops.read(
            self._rules.search.facets,
            pipeline.caller(),
            _narrowing(request),
            request.fields,
            request.max_values,
        )
        return convert.facets_message(found)

    async def WatchArtifacts(
        self, request: pb.WatchArtifactsRequest, context: Context
    ) -> AsyncIterator[pb.WatchArtifactsResponse]:
        caller, wanted = pipeline.caller(), _narrowing(request)

        async def look(place: Place) -> Looked:
            return await self._hops.read(self._look, caller, wanted, place)

        async def latest() -> int:
            return await self._hops.read(self._rules.search.latest_change)

        found = self._rules.watcher.watch(caller, wanted, request, latest, look)
        async with contextlib.aclosing(found) as messages:
            async for message in messages:
                yield message

    def _look(self, caller: Caller, wanted: Narrowing, place: Place) -> Looked:
        found = self._rules.search.changes(caller, wanted, place.position, place.start, _LOOKED_AT_ONCE)
        shown = [each for _, each in found.items if isinstance(each, Artifact)]
        told = {message.uid: message for message in self._counted(caller, shown, {})}
        messages = [
            (change, Told(artifact=told[each.uid]) if isinstance(each, Artifact) else Told(gone=each))
            for change, each in found.items
        ]
        return Looked(messages, found.more)


def _narrowing(request: pb.GetFacetsRequest | pb.WatchArtifactsRequest) -> Narrowing:
    return Narrowing(
        names.namespace_id(request.parent, any_allowed=True),
        convert.optional_kind_of(request.kind),
        request.filter,
    )
