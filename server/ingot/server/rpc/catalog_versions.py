"""CatalogService: the versions of artifacts."""

from ingot.server.core import names
from ingot.server.core.artifacts import Version
from ingot.server.core.identity import Caller
from ingot.server.core.names import ArtifactName, Kind
from ingot.server.core.pages import Page
from ingot.server.rpc import convert_catalog as convert
from ingot.server.rpc import pipeline
from ingot.server.rpc.catalog_rules import CatalogCalls, Context, request_key
from ingot.v1 import catalog_pb2 as pb


class VersionCalls(CatalogCalls):
    """Serves versions."""

    async def GetVersion(self, request: pb.GetVersionRequest, context: Context) -> pb.GetVersionResponse:
        reference = names.version_reference(request.name)
        uid, version = await self._hops.read(self._version, pipeline.caller(), reference)
        self._rules.usage.accessed(pipeline.caller(), uid)
        return pb.GetVersionResponse(version=convert.version_message(version))

    async def ListVersions(
        self, request: pb.ListVersionsRequest, context: Context
    ) -> pb.ListVersionsResponse:
        of_all = names.whole_collection(request.parent) if request.show_deleted else None
        if of_all is not None:
            return await self._hops.read(self._trash, pipeline.caller(), of_all, request)
        name = names.artifact_name(request.parent, "parent")
        return await self._hops.read(self._page, pipeline.caller(), name, request)

    async def DeleteVersion(
        self, request: pb.DeleteVersionRequest, context: Context
    ) -> pb.DeleteVersionResponse:
        gone = await self._hops.write(
            self._rules.trash.delete_version,
            pipeline.caller(),
            names.version_name(request.name),
            request_key(request),
            etag=request.etag,
            force=request.force,
            allow_missing=request.allow_missing,
            validate_only=request.validate_only,
        )
        version = convert.version_message(gone.version) if gone.version else None
        return pb.DeleteVersionResponse(version=version, dependants=gone.dependants)

    async def RestoreVersion(
        self, request: pb.RestoreVersionRequest, context: Context
    ) -> pb.RestoreVersionResponse:
        name = names.version_name(request.name)
        version = await self._hops.write(
            self._rules.trash.restore_version, pipeline.caller(), name, request_key(request)
        )
        return pb.RestoreVersionResponse(version=convert.version_message(version))

    async def PurgeVersion(
        self, request: pb.PurgeVersionRequest, context: Context
    ) -> pb.PurgeVersionResponse:
        hop = self._hops.read if request.validate_only else self._hops.write
        going = await hop(
            self._rules.trash.purge_of_version,
            pipeline.caller(),
            names.version_name(request.name),
            request_key(request),
            validate_only=request.validate_only,
        )
        return pb.PurgeVersionResponse(
            size_bytes=going.size, operation=going.operation, dependants=going.dependants
        )

    def _version(self, caller: Caller, reference: names.VersionReference) -> tuple[str, Version]:
        version = self._rules.versions.get(caller, reference)
        return self._rules.catalog.uid_of(version.name.artifact), version

    def _page(
        self, caller: Caller, name: ArtifactName, request: pb.ListVersionsRequest
    ) -> pb.ListVersionsResponse:
        """Return a page as a message; inside a read, which leaves the event loop to others."""
        return _listed(
            self._rules.versions.page(
                caller, name, request.page_size, request.page_token, deleted=request.show_deleted
            )
        )

    def _trash(
        self, caller: Caller, of_all: tuple[str, Kind], request: pb.ListVersionsRequest
    ) -> pb.ListVersionsResponse:
        listing = self._rules.trash_listing
        return _listed(listing.page(caller, *of_all, request.page_size, request.page_token))


def _listed(page: Page[Version]) -> pb.ListVersionsResponse:
    reply = pb.ListVersionsResponse(next_page_token=page.next_token)
    for version in page.items:
        convert.show_version(reply.versions.add(), version)
    return reply
