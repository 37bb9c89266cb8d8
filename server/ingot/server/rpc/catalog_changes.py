"""CatalogService: what is said about versions changes, and how two of them differ."""

from ingot.server.core import names
from ingot.server.domain.version_changes import VersionChange
from ingot.server.rpc import convert_catalog, pipeline
from ingot.server.rpc import convert_comparing as convert
from ingot.server.rpc.catalog_rules import CatalogCalls, Context, request_key
from ingot.v1 import catalog_pb2 as pb


class ChangeCalls(CatalogCalls):
    """Serves changes and comparisons of versions, and the history of aliases."""

    async def UpdateVersion(
        self, request: pb.UpdateVersionRequest, context: Context
    ) -> pb.UpdateVersionResponse:
        reference = names.version_reference(request.version.name, "version.name")
        version = await self._hops.write(
            self._rules.changes.update,
            pipeline.caller(),
            convert.change_of(request, VersionChange(reference)),
            request_key(request),
            validate_only=request.validate_only,
        )
        return pb.UpdateVersionResponse(version=convert_catalog.version_message(version))

    async def CompareVersions(
        self, request: pb.CompareVersionsRequest, context: Context
    ) -> pb.CompareVersionsResponse:
        found = await self._hops.read(
            self._rules.changes.compare,
            pipeline.caller(),
            names.version_reference(request.base, "base"),
            names.version_reference(request.other, "other"),
            request.page_size,
            request.page_token,
            include_same=request.include_same,
        )
        return convert.comparison_message(found)

    async def ListAliasMoves(
        self, request: pb.ListAliasMovesRequest, context: Context
    ) -> pb.ListAliasMovesResponse:
        name = names.alias_name(request.parent, "parent")
        page = await self._hops.read(
            self._rules.aliases.moves, pipeline.caller(), name, request.page_size, request.page_token
        )
        moves = [convert.move_message(name.artifact, move) for move in page.items]
        return pb.ListAliasMovesResponse(moves=moves, next_page_token=page.next_token)
