"""CatalogService: the aliases of versions."""

from ingot.server.core import names
from ingot.server.rpc import convert_catalog as convert
from ingot.server.rpc import pipeline
from ingot.server.rpc.catalog_rules import CatalogCalls, Context, request_key
from ingot.v1 import catalog_pb2 as pb


class AliasCalls(CatalogCalls):
    """Serves aliases."""

    async def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> pb.SetAliasResponse:
        name = names.alias_name(request.name)
        target = names.version_reference(request.version, "version")
        alias = await self._hops.write(
            self._rules.aliases.set, pipeline.caller(), name, target, request.etag, request_key(request)
        )
        return pb.SetAliasResponse(alias=convert.alias_message(alias))

    async def DeleteAlias(self, request: pb.DeleteAliasRequest, context: Context) -> pb.DeleteAliasResponse:
        name = names.alias_name(request.name)
        await self._hops.write(
            self._rules.aliases.delete,
            pipeline.caller(),
            name,
            request.etag,
            request_key(request),
            allow_missing=request.allow_missing,
        )
        return pb.DeleteAliasResponse()

    async def ListAliases(self, request: pb.ListAliasesRequest, context: Context) -> pb.ListAliasesResponse:
        name = names.artifact_name(request.parent, "parent")
        page = await self._hops.read(
            self._rules.aliases.page, pipeline.caller(), name, request.page_size, request.page_token
        )
        aliases = map(convert.alias_message, page.items)
        return pb.ListAliasesResponse(aliases=aliases, next_page_token=page.next_token)
