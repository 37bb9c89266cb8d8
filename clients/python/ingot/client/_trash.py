"""What goes to the trash, comes back from it, or goes for good: a part of `client.catalog`."""

import heapq
import itertools
from collections.abc import Iterator, Sequence
from typing import TypeVar

from ingot.client import _pages
from ingot.client._calls import Calls, new_id
from ingot.client._names import Names
from ingot.client._references import KINDS, Reference
from ingot.v1 import catalog_pb2 as pb
from ingot.v1 import catalog_pb2_grpc

_D = TypeVar("_D", pb.DeleteArtifactRequest, pb.DeleteVersionRequest)


class TrashPart:
    """Calls that remove artifacts and versions, or take them back."""

    _stub: catalog_pb2_grpc.CatalogServiceStub
    _calls: Calls
    _names: Names

    def delete(
        self,
        ref: str | Reference,
        *,
        force: bool = False,
        allow_missing: bool = False,
        etag: str = "",
        validate_only: bool = False,
    ) -> pb.DeleteArtifactResponse:
        """Move an artifact to the trash, or only tell what that would remove (`validate_only`)."""
        request = pb.DeleteArtifactRequest(name=self._names.artifact(ref), validate_only=validate_only)
        return self._calls.unary(self._stub.DeleteArtifact, _guarded(request, force, allow_missing, etag))

    def restore(self, ref: str | Reference, *, uid: str = "") -> pb.Artifact:
        """Take an artifact out of the trash: the one with this uid, else the one that went last."""
        request = pb.RestoreArtifactRequest(name=self._names.artifact(ref), uid=uid, request_id=new_id())
        return self._calls.unary(self._stub.RestoreArtifact, request).artifact

    def purge(
        self,
        ref: str | Reference,
        *,
        uid: str = "",
        versions_only: bool = False,
        validate_only: bool = False,
    ) -> pb.PurgeArtifactResponse:
        """Remove an artifact in the trash for good, by the operation that is answered.

        With `versions_only` those versions of a living one that are in the trash; with `validate_only` only
        tell what would go.
        """
        request = pb.PurgeArtifactRequest(
            name=self._names.artifact(ref),
            uid=uid,
            versions_only=versions_only,
            validate_only=validate_only,
            request_id=new_id(),
        )
        return self._calls.unary(self._stub.PurgeArtifact, request)

    def trashed_versions(
        self, kind: str = "", *, namespace: str | None = None, limit: int | None = None
    ) -> Iterator[pb.Version]:
        """Yield the single versions in the trash of the namespaces one may write to, the last ones first.

        `kind` is models, datasets or empty for both. Versions of what is in the trash itself are not among
        them; see `list` with `deleted`.
        """

        def of_kind(name: str) -> Iterator[pb.Version]:
            parent = f"{self._names.parent(namespace)}/{name}/-"

            def page(size: int, token: str) -> tuple[Sequence[pb.Version], str]:
                request = pb.ListVersionsRequest(
                    parent=parent, page_size=size, page_token=token, show_deleted=True
                )
                reply = self._calls.unary(self._stub.ListVersions, request)
                return reply.versions, reply.next_page_token

            return _pages.walk(page, limit)

        of_all = map(of_kind, (kind,) if kind else KINDS)
        found = heapq.merge(*of_all, key=lambda version: -version.delete_time.ToNanoseconds())
        return itertools.islice(found, limit)

    def delete_version(
        self,
        ref: str | Reference,
        *,
        force: bool = False,
        allow_missing: bool = False,
        etag: str = "",
        validate_only: bool = False,
    ) -> pb.DeleteVersionResponse:
        """Move a version to the trash, or only tell what that would remove (`validate_only`)."""
        request = pb.DeleteVersionRequest(name=self._names.version(ref), validate_only=validate_only)
        return self._calls.unary(self._stub.DeleteVersion, _guarded(request, force, allow_missing, etag))

    def restore_version(self, ref: str | Reference) -> pb.Version:
        """Take a version back out of the trash."""
        request = pb.RestoreVersionRequest(name=self._names.version(ref), request_id=new_id())
        return self._calls.unary(self._stub.RestoreVersion, request).version

    def purge_version(self, ref: str | Reference, *, validate_only: bool = False) -> pb.PurgeVersionResponse:
        """Remove a version in the trash for good, by the operation that is answered, or only tell of it."""
        request = pb.PurgeVersionRequest(
            name=self._names.version(ref), validate_only=validate_only, request_id=new_id()
        )
        return self._calls.unary(self._stub.PurgeVersion, request)


def _guarded(request: _D, force: bool, allow_missing: bool, etag: str) -> _D:
    request.force, request.allow_missing, request.etag = force, allow_missing, etag
    request.request_id = new_id()
    return request
