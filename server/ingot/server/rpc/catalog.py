"""CatalogService: models and datasets, their versions and aliases."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import grpc

from ingot.server.core import names
from ingot.server.core.artifacts import Artifact, Version
from ingot.server.core.identity import Caller
from ingot.server.core.names import ArtifactName
from ingot.server.core.pages import Page
from ingot.server.core.registrations import AskedSource
from ingot.server.domain.aliases import Aliases
from ingot.server.domain.catalog import ArtifactChange, ArtifactListing, Catalog, NewArtifact
from ingot.server.domain.registrations import Registrations
from ingot.server.domain.requests import RequestKey
from ingot.server.domain.trash import Trash
from ingot.server.domain.usage import Usage
from ingot.server.domain.versions import Versions
from ingot.server.rpc import convert_catalog as convert
from ingot.server.rpc import pipeline
from ingot.server.rpc.hops import Hops
from ingot.v1 import catalog_pb2 as pb
from ingot.v1 import catalog_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class LocalFolders(Protocol):
    """Who knows in which folders artifacts are kept readable."""

    def local_paths(self, artifacts: Sequence[Artifact]) -> Mapping[str, str]:
        """Return, by uid, the folder of each artifact that is kept in one. Inside a read."""
        ...


class CatalogServicer(catalog_pb2_grpc.CatalogServiceServicer):
    """Serves CatalogService."""

    def __init__(
        self,
        hops: Hops,
        catalog: Catalog,
        versions: Versions,
        aliases: Aliases,
        trash: Trash,
        usage: Usage,
        folders: LocalFolders,
        registrations: Registrations,
    ) -> None:
        self._hops = hops
        self._catalog = catalog
        self._versions = versions
        self._aliases = aliases
        self._trash = trash
        self._usage = usage
        self._folders = folders
        self._registrations = registrations

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
        self._usage.accessed(pipeline.caller(), artifact.uid)
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
        page = await self._hops.read(self._list, pipeline.caller(), wanted, request.view)
        return pb.ListArtifactsResponse(artifacts=page.items, next_page_token=page.next_token)

    async def UpdateArtifact(
        self, request: pb.UpdateArtifactRequest, context: Context
    ) -> pb.UpdateArtifactResponse:
        name = names.artifact_name(request.artifact.name, "artifact.name")
        change = convert.change_of(request, ArtifactChange(name, convert.fields_of(request.artifact)))
        message = await self._hops.write(
            self._update, pipeline.caller(), change, _key(request), request.validate_only
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
        message = await self._hops.write(self._restore, pipeline.caller(), name, request.uid, _key(request))
        return pb.RestoreArtifactResponse(artifact=message)

    async def PurgeArtifact(
        self, request: pb.PurgeArtifactRequest, context: Context
    ) -> pb.PurgeArtifactResponse:
        going = await self._hops.write(
            self._trash.purge,
            pipeline.caller(),
            names.artifact_name(request.name),
            request.uid,
            _key(request),
            versions_only=request.versions_only,
            validate_only=request.validate_only,
        )
        return pb.PurgeArtifactResponse(
            version_count=going.versions, size_bytes=going.size, operation=going.operation
        )

    async def DeleteVersion(
        self, request: pb.DeleteVersionRequest, context: Context
    ) -> pb.DeleteVersionResponse:
        gone = await self._hops.write(
            self._trash.delete_version,
            pipeline.caller(),
            names.version_name(request.name),
            _key(request),
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
        version = await self._hops.write(self._trash.restore_version, pipeline.caller(), name, _key(request))
        return pb.RestoreVersionResponse(version=convert.version_message(version))

    async def GetCatalogStats(
        self, request: pb.GetCatalogStatsRequest, context: Context
    ) -> pb.GetCatalogStatsResponse:
        kind = convert.kind_of(request.kind)
        return convert.totals_message(await self._hops.read(self._catalog.totals, pipeline.caller(), kind))

    async def GetVersion(self, request: pb.GetVersionRequest, context: Context) -> pb.GetVersionResponse:
        reference = names.version_reference(request.name)
        uid, version = await self._hops.read(self._version, pipeline.caller(), reference)
        self._usage.accessed(pipeline.caller(), uid)
        return pb.GetVersionResponse(version=convert.version_message(version))

    async def ListVersions(
        self, request: pb.ListVersionsRequest, context: Context
    ) -> pb.ListVersionsResponse:
        name = names.artifact_name(request.parent, "parent")
        page = await self._hops.read(
            self._versions.page,
            pipeline.caller(),
            name,
            request.page_size,
            request.page_token,
            deleted=request.show_deleted,
        )
        versions = map(convert.version_message, page.items)
        return pb.ListVersionsResponse(versions=versions, next_page_token=page.next_token)

    async def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> pb.SetAliasResponse:
        name = names.alias_name(request.name)
        target = names.version_reference(request.version, "version")
        alias = await self._hops.write(
            self._aliases.set, pipeline.caller(), name, target, request.etag, _key(request)
        )
        return pb.SetAliasResponse(alias=convert.alias_message(alias))

    async def DeleteAlias(self, request: pb.DeleteAliasRequest, context: Context) -> pb.DeleteAliasResponse:
        name = names.alias_name(request.name)
        await self._hops.write(
            self._aliases.delete,
            pipeline.caller(),
            name,
            request.etag,
            _key(request),
            allow_missing=request.allow_missing,
        )
        return pb.DeleteAliasResponse()

    async def ListAliases(self, request: pb.ListAliasesRequest, context: Context) -> pb.ListAliasesResponse:
        name = names.artifact_name(request.parent, "parent")
        page = await self._hops.read(
            self._aliases.page, pipeline.caller(), name, request.page_size, request.page_token
        )
        aliases = map(convert.alias_message, page.items)
        return pb.ListAliasesResponse(aliases=aliases, next_page_token=page.next_token)

    # --- inside one unit of work: a rule, and the counters that its answer shows ---

    def _create(
        self,
        caller: Caller,
        wanted: NewArtifact,
        source: AskedSource | None,
        request: pb.CreateArtifactRequest,
    ) -> pb.Artifact:
        only_look = request.validate_only
        made = self._catalog.create(caller, wanted, _key(request), validate_only=only_look)
        if source is not None and only_look:
            self._registrations.checked_source(wanted.kind, source)
        elif source is not None:
            self._registrations.register(caller, made, source)
        return self._message(made)

    def _update(
        self, caller: Caller, change: ArtifactChange, key: RequestKey, validate_only: bool
    ) -> pb.Artifact:
        return self._message(self._catalog.update(caller, change, key, validate_only=validate_only))

    def _show(
        self, caller: Caller, name: ArtifactName, view: pb.ArtifactView.ValueType
    ) -> tuple[Artifact, pb.Artifact]:
        artifact = self._catalog.require_read(caller, name)
        return artifact, self._messages(caller, [artifact], view)[0]

    def _list(
        self, caller: Caller, wanted: ArtifactListing, view: pb.ArtifactView.ValueType
    ) -> Page[pb.Artifact]:
        page = self._catalog.page(caller, wanted)
        return Page(tuple(self._messages(caller, page.items, view)), page.next_token)

    def _delete(
        self, caller: Caller, name: ArtifactName, request: pb.DeleteArtifactRequest
    ) -> pb.DeleteArtifactResponse:
        gone = self._catalog.delete(
            caller,
            name,
            _key(request),
            etag=request.etag,
            force=request.force,
            allow_missing=request.allow_missing,
            validate_only=request.validate_only,
        )
        if gone.artifact is None:
            return pb.DeleteArtifactResponse()
        return pb.DeleteArtifactResponse(
            artifact=self._message(gone.artifact),
            version_count=gone.artifact.version_count,
            size_bytes=gone.artifact.version_bytes,
            dependants=gone.dependants,
        )

    def _restore(self, caller: Caller, name: ArtifactName, uid: str, key: RequestKey) -> pb.Artifact:
        return self._message(self._trash.restore_artifact(caller, name, uid, key))

    def _version(self, caller: Caller, reference: names.VersionReference) -> tuple[str, Version]:
        version = self._versions.get(caller, reference)
        return self._catalog.uid_of(version.name.artifact), version

    def _messages(
        self, caller: Caller, artifacts: Sequence[Artifact], view: pb.ArtifactView.ValueType
    ) -> list[pb.Artifact]:
        with_versions = view == pb.ARTIFACT_VIEW_WITH_VERSIONS
        versions = self._catalog.newest_versions(caller, artifacts) if with_versions else {}
        return self._counted(artifacts, versions)

    def _message(self, artifact: Artifact) -> pb.Artifact:
        return self._counted([artifact], {})[0]

    def _counted(
        self, artifacts: Sequence[Artifact], versions: Mapping[str, Sequence[Version]]
    ) -> list[pb.Artifact]:
        usage = self._usage.of([each.uid for each in artifacts])
        folders = self._folders.local_paths(artifacts)
        registered = self._registrations.of(artifacts)
        return [
            convert.artifact_message(
                each,
                usage[each.uid],
                versions.get(each.uid, ()),
                local_path=folders.get(each.uid, ""),
                registration=registered.get(each.uid),
            )
            for each in artifacts
        ]


def _key(request: Any) -> RequestKey:
    """Return how a repeated request is recognised; every message with a request id may come."""
    return RequestKey(request.request_id, request.SerializeToString(deterministic=True))
