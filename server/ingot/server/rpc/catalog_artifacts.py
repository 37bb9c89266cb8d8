"""CatalogService: models and datasets."""

from collections.abc import Callable, Mapping, Sequence

from ingot.server.core import names
from ingot.server.core.artifacts import Artifact, Version
from ingot.server.core.identity import Caller
from ingot.server.core.names import ArtifactName, Kind
from ingot.server.core.registrations import AskedSource
from ingot.server.domain.catalog_asked import ArtifactChange, ArtifactListing, NewArtifact
from ingot.server.domain.requests import RequestKey
from ingot.server.rpc import convert_catalog as convert
from ingot.server.rpc import pipeline
from ingot.server.rpc.catalog_rules import CatalogCalls, Context, request_key
from ingot.v1 import catalog_pb2 as pb


class ArtifactCalls(CatalogCalls):
    """Serves models and datasets."""

    async def CreateArtifact(
        self, request: pb.CreateArtifactRequest, context: Context
    ) -> pb.CreateArtifactResponse:
        wanted = NewArtifact(
            names.namespace_id(request.parent),
            convert.kind_of(request.kind),
            request.artifact_id,
            convert.fields_of(request.artifact),
        )
        message = await self._hops.write(
            self._create, pipeline.caller(), wanted, convert.source_of(request.artifact), request
        )
        pipeline.about(message.name)
        return pb.CreateArtifactResponse(artifact=message)

    async def GetArtifact(self, request: pb.GetArtifactRequest, context: Context) -> pb.GetArtifactResponse:
        name = names.artifact_name(request.name)
        artifact, message = await self._hops.read(self._show, pipeline.caller(), name, request.view)
        self._rules.usage.accessed(pipeline.caller(), artifact.uid)
        return pb.GetArtifactResponse(artifact=message)

    async def ListArtifacts(
        self, request: pb.ListArtifactsRequest, context: Context
    ) -> pb.ListArtifactsResponse:
        wanted = ArtifactListing(
            names.namespace_id(request.parent, any_allowed=True),
            convert.optional_kind_of(request.kind),
            request.filter,
            request.order_by,
            request.page_size,
            request.page_token,
            request.view == pb.ARTIFACT_VIEW_WITH_VERSIONS,
            request.show_deleted,
        )
        return await self._hops.read(self._list, pipeline.caller(), wanted)

    async def UpdateArtifact(
        self, request: pb.UpdateArtifactRequest, context: Context
    ) -> pb.UpdateArtifactResponse:
        name = names.artifact_name(request.artifact.name, "artifact.name")
        change = convert.change_of(request, ArtifactChange(name, convert.fields_of(request.artifact)))
        message = await self._hops.write(
            self._update, pipeline.caller(), change, request_key(request), request.validate_only
        )
        return pb.UpdateArtifactResponse(artifact=message)

    async def DeleteArtifact(
        self, request: pb.DeleteArtifactRequest, context: Context
    ) -> pb.DeleteArtifactResponse:
        return await self._hops.write(
            self._delete, pipeline.caller(), names.artifact_name(request.name), request
        )

    async def RestoreArtifact(
        self, request: pb.RestoreArtifactRequest, context: Context
    ) -> pb.RestoreArtifactResponse:
        name = names.artifact_name(request.name)
        message = await self._hops.write(
            self._restore, pipeline.caller(), name, request.uid, request_key(request)
        )
        return pb.RestoreArtifactResponse(artifact=message)

    async def PurgeArtifact(
        self, request: pb.PurgeArtifactRequest, context: Context
    ) -> pb.PurgeArtifactResponse:
        going = await self._hops.write(
            self._rules.trash.purge,
            pipeline.caller(),
            names.artifact_name(request.name),
            request.uid,
            request_key(request),
            versions_only=request.versions_only,
            validate_only=request.validate_only,
        )
        return pb.PurgeArtifactResponse(
            version_count=going.versions,
            size_bytes=going.size,
            operation=going.operation,
            dependants=going.dependants,
        )

    async def GetCatalogStats(
        self, request: pb.GetCatalogStatsRequest, context: Context
    ) -> pb.GetCatalogStatsResponse:
        kind = convert.kind_of(request.kind)
        return await self._hops.read(self._totals, pipeline.caller(), kind)

    # --- inside one unit of work: a rule, and the counters that its answer shows ---

    def _totals(self, caller: Caller, kind: Kind) -> pb.GetCatalogStatsResponse:
        totals = self._rules.catalog.totals(caller, kind)
        return convert.totals_message(totals, kind, self._rules.imports.count(caller, kind))

    def _create(
        self,
        caller: Caller,
        wanted: NewArtifact,
        source: AskedSource | None,
        request: pb.CreateArtifactRequest,
    ) -> pb.Artifact:
        only_look = request.validate_only
        made = self._rules.catalog.create(caller, wanted, request_key(request), validate_only=only_look)
        if source is not None and only_look:
            self._rules.registrations.checked_source(wanted.kind, source)
        elif source is not None:
            self._rules.registrations.register(caller, made, source)
        return self._message(caller, made)

    def _update(
        self, caller: Caller, change: ArtifactChange, key: RequestKey, validate_only: bool
    ) -> pb.Artifact:
        return self._message(
            caller, self._rules.catalog.update(caller, change, key, validate_only=validate_only)
        )

    def _show(
        self, caller: Caller, name: ArtifactName, view: pb.ArtifactView.ValueType
    ) -> tuple[Artifact, pb.Artifact]:
        artifact = self._rules.catalog.require_read(caller, name)
        return artifact, self._messages(caller, [artifact], view)[0]

    def _list(self, caller: Caller, wanted: ArtifactListing) -> pb.ListArtifactsResponse:
        page, versions = self._rules.catalog.page_with_versions(caller, wanted)
        reply = pb.ListArtifactsResponse(next_page_token=page.next_token)
        self._counted(caller, page.items, versions, reply.artifacts.add)
        return reply

    def _delete(
        self, caller: Caller, name: ArtifactName, request: pb.DeleteArtifactRequest
    ) -> pb.DeleteArtifactResponse:
        gone = self._rules.catalog.delete(
            caller,
            name,
            request_key(request),
            etag=request.etag,
            force=request.force,
            allow_missing=request.allow_missing,
            validate_only=request.validate_only,
        )
        if gone.artifact is None:
            return pb.DeleteArtifactResponse()
        return pb.DeleteArtifactResponse(
            artifact=self._message(caller, gone.artifact),
            version_count=gone.artifact.version_count,
            size_bytes=gone.artifact.version_bytes,
            dependants=gone.dependants,
        )

    def _restore(self, caller: Caller, name: ArtifactName, uid: str, key: RequestKey) -> pb.Artifact:
        return self._message(caller, self._rules.trash.restore_artifact(caller, name, uid, key))

    def _messages(
        self, caller: Caller, artifacts: Sequence[Artifact], view: pb.ArtifactView.ValueType
    ) -> list[pb.Artifact]:
        catalog, versions = self._rules.catalog, dict[str, Sequence[Version]]()
        if view == pb.ARTIFACT_VIEW_WITH_VERSIONS:
            found = catalog.newest_versions(caller, artifacts)
            versions = {each.uid: catalog.fitting(each, found.get(each.uid, ())) for each in artifacts}
        return self._counted(caller, artifacts, versions)

    def _message(self, caller: Caller, artifact: Artifact) -> pb.Artifact:
        return self._counted(caller, [artifact], {})[0]

    def _counted(
        self,
        caller: Caller,
        artifacts: Sequence[Artifact],
        versions: Mapping[str, Sequence[Version]],
        new: Callable[[], pb.Artifact] = pb.Artifact,
    ) -> list[pb.Artifact]:
        """Return artifacts as messages that `new` makes, one after the other."""
        usage = self._rules.usage.shown(caller, artifacts)
        folders = self._rules.folders.local_paths(artifacts)
        registered = self._rules.registrations.of(artifacts)
        messages: list[pb.Artifact] = []
        for each in artifacts:
            messages.append(new())
            convert.show_artifact(
                messages[-1],
                each,
                usage[each.uid],
                versions.get(each.uid, ()),
                local_path=folders.get(each.uid, ""),
                registration=registered.get(each.uid),
            )
        return messages
