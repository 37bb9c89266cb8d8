"""CatalogService: who sees an artifact, and whose it is."""

from collections.abc import Sequence

from ingot.server.core import names
from ingot.server.core.artifacts import Visibility
from ingot.server.core.errors import invalid_field
from ingot.server.domain.grants import AccessChange, ArtifactAccess, checked_readers
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import pipeline
from ingot.server.rpc.catalog_rules import CatalogCalls, Context, request_key
from ingot.v1 import catalog_pb2 as pb

_VISIBILITY = "VISIBILITY_"


class AccessCalls(CatalogCalls):
    """Serves access."""

    async def GetAccess(self, request: pb.GetAccessRequest, context: Context) -> pb.GetAccessResponse:
        name = names.artifact_name(request.name)
        found = await self._hops.read(self._rules.grants.get, pipeline.caller(), name)
        return pb.GetAccessResponse(access=_message(found))

    async def SetAccess(self, request: pb.SetAccessRequest, context: Context) -> pb.SetAccessResponse:
        change = AccessChange(
            names.artifact_name(request.name),
            _visibility_of(request.visibility),
            names.user_id(request.owner, "owner") if request.owner else "",
            _users("add_readers", request.add_readers),
            _users("remove_readers", request.remove_readers),
            request.etag,
        )
        found = await self._hops.write(
            self._rules.grants.set,
            pipeline.caller(),
            change,
            request_key(request),
            validate_only=request.validate_only,
        )
        return pb.SetAccessResponse(access=_message(found))


def _users(field: str, names_: Sequence[str]) -> tuple[str, ...]:
    return checked_readers(field, [names.user_id(each, field) for each in names_])


def _visibility_of(value: pb.Visibility.ValueType) -> Visibility | None:
    if value == pb.VISIBILITY_UNSPECIFIED:
        return None
    if value not in pb.Visibility.values():
        raise invalid_field("visibility", f"expected a visibility, got {value}")
    return Visibility(pb.Visibility.Name(value).removeprefix(_VISIBILITY))


def _message(found: ArtifactAccess) -> pb.Access:
    artifact = found.artifact
    return pb.Access(
        name=str(artifact.name),
        visibility=pb.Visibility.Value(_VISIBILITY + artifact.fields.visibility.value),
        owner=artifact.owner,
        readers=[
            pb.Grant(
                user=f"users/{each.user}",
                granted_by=each.granted_by,
                create_time=common.timestamp(each.create_time),
            )
            for each in found.grants
        ],
        etag=artifact.etag,
    )
