"""Catalog, to be awaited. Made from _catalog.py by docs/tools/async_form.py."""

from collections.abc import AsyncIterator, Sequence

from ingot.client._catalog import Catalog
from ingot.client._references import Reference
from ingot.client._watches import OnBreak
from ingot.client.aio._running import AsyncPart
from ingot.v1 import catalog_pb2 as pb


class AsyncCatalog(AsyncPart[Catalog]):
    """Calls of CatalogService; names may be given in any form of `_references.py`."""

    async def create(
        self, ref: str | Reference, fields: pb.Artifact | None = None, *, validate_only: bool = False
    ) -> "pb.Artifact":
        """Create a model or dataset without versions; `fields` describe it (see `artifact_fields`)."""
        return await self._call(lambda sdk: sdk.create(ref, fields, validate_only=validate_only))

    async def get(self, ref: str | Reference, *, versions: bool = False) -> "pb.Artifact":
        """Return an artifact, on wish with its newest 20 versions."""
        return await self._call(lambda sdk: sdk.get(ref, versions=versions))

    def list(
        self,
        kind: str = "",
        *,
        namespace: str | None = None,
        filter: str = "",
        order_by: str = "",
        versions: bool = False,
        limit: int | None = None,
        deleted: bool = False,
    ) -> "AsyncIterator[pb.Artifact]":
        """Yield what one may see: `kind` is models, datasets or empty for both; newest first by default.

        `filter` joins values, comparisons and words, as in `tag:chat AND size_bytes > 10MB small*`; see
        ListArtifacts. `order_by` is create_time, update_time, name, size_bytes or version_count, and ` desc`.
        With `deleted` what is in the trash of the namespaces one may write to.
        """
        return self._each(
            lambda sdk: sdk.list(
                kind,
                namespace=namespace,
                filter=filter,
                order_by=order_by,
                versions=versions,
                limit=limit,
                deleted=deleted,
            )
        )

    async def facets(
        self,
        kind: str = "",
        *,
        namespace: str | None = None,
        filter: str = "",
        fields: Sequence[str] = (),
        max_values: int = 0,
    ) -> "pb.GetFacetsResponse":
        """Count what one may see and what matches, and of it each value of some fields.

        Without `fields` those that people narrow lists by; 20 values of each unless `max_values` says more.
        """
        return await self._call(
            lambda sdk: sdk.facets(
                kind, namespace=namespace, filter=filter, fields=fields, max_values=max_values
            )
        )

    def watch(
        self,
        kind: str = "",
        *,
        namespace: str | None = None,
        filter: str = "",
        changes_only: bool = False,
        resume_token: str = "",
        on_break: OnBreak | None = None,
    ) -> "AsyncIterator[pb.WatchArtifactsResponse]":
        """Yield the latest state of everything that matches, `synced` once, then each change.

        `gone` is the uid of one that does not match (any more). It does not end by itself. States in between
        may be skipped. Broken connections are resumed with the token of the last message; give that as
        `resume_token` to go on later. With `changes_only` what is there already is left out.
        """
        return self._each(
            lambda sdk: sdk.watch(
                kind,
                namespace=namespace,
                filter=filter,
                changes_only=changes_only,
                resume_token=resume_token,
                on_break=self._on_loop(on_break),
            ),
            apart=True,
        )

    async def update(
        self, ref: str | Reference, fields: pb.Artifact, paths: Sequence[str], *, etag: str = ""
    ) -> "pb.Artifact":
        """Change the fields that `paths` name to their values in `fields`; with `etag` only if unchanged."""
        return await self._call(lambda sdk: sdk.update(ref, fields, paths, etag=etag))

    async def stats(self, kind: str) -> "pb.GetCatalogStatsResponse":
        """Return totals over all models or all datasets that one may see."""
        return await self._call(lambda sdk: sdk.stats(kind))

    async def usage(
        self, ref: str | Reference | None = None, *, days: int = 0, activity_size: int = 0
    ) -> "pb.GetUsageResponse":
        """Return how an artifact was used, or `namespaces/{id}`; without a reference all of one's own.

        `days` up to today (0: 30) and the number of users and calls (0: 10) bound the answer.
        """
        return await self._call(lambda sdk: sdk.usage(ref, days=days, activity_size=activity_size))

    async def version(self, ref: str | Reference) -> "pb.Version":
        """Return one version; an alias, or the artifact for its latest version, is resolved."""
        return await self._call(lambda sdk: sdk.version(ref))

    def versions(
        self, ref: str | Reference, *, limit: int | None = None, deleted: bool = False
    ) -> "AsyncIterator[pb.Version]":
        """Yield the versions of an artifact, newest first; with `deleted` those in the trash."""
        return self._each(lambda sdk: sdk.versions(ref, limit=limit, deleted=deleted))

    async def set_alias(self, ref: str | Reference, alias: str, *, etag: str = "") -> "pb.Alias":
        """Point `alias` at the version that `ref` names; creates the alias when needed."""
        return await self._call(lambda sdk: sdk.set_alias(ref, alias, etag=etag))

    async def delete_alias(
        self, ref: str | Reference, alias: str, *, allow_missing: bool = False, etag: str = ""
    ) -> "None":
        """Remove an alias of an artifact; the version it pointed at stays."""
        return await self._call(
            lambda sdk: sdk.delete_alias(ref, alias, allow_missing=allow_missing, etag=etag)
        )

    def aliases(self, ref: str | Reference, *, limit: int | None = None) -> "AsyncIterator[pb.Alias]":
        """Yield the aliases of an artifact by name; `latest` is among them once a version is ready."""
        return self._each(lambda sdk: sdk.aliases(ref, limit=limit))

    async def access(self, ref: str | Reference) -> "pb.Access":
        """Return who sees an artifact, and whose it is; for its owner and the owners of its namespace."""
        return await self._call(lambda sdk: sdk.access(ref))

    async def set_access(
        self,
        ref: str | Reference,
        *,
        visibility: str = "",
        owner: str = "",
        grant: Sequence[str] = (),
        revoke: Sequence[str] = (),
        etag: str = "",
        validate_only: bool = False,
    ) -> "pb.Access":
        """Change who sees an artifact: `visibility` is private, internal or public.

        `owner` is a member of its namespace who gets it; `grant` and `revoke` are single users who may read
        it from now on, or not any more. What is not given stays.
        """
        return await self._call(
            lambda sdk: sdk.set_access(
                ref,
                visibility=visibility,
                owner=owner,
                grant=grant,
                revoke=revoke,
                etag=etag,
                validate_only=validate_only,
            )
        )

    async def delete(
        self,
        ref: str | Reference,
        *,
        force: bool = False,
        allow_missing: bool = False,
        etag: str = "",
        validate_only: bool = False,
    ) -> "pb.DeleteArtifactResponse":
        """Move an artifact to the trash, or only tell what that would remove (`validate_only`)."""
        return await self._call(
            lambda sdk: sdk.delete(
                ref, force=force, allow_missing=allow_missing, etag=etag, validate_only=validate_only
            )
        )

    async def restore(self, ref: str | Reference, *, uid: str = "") -> "pb.Artifact":
        """Take an artifact out of the trash: the one with this uid, else the one that went last."""
        return await self._call(lambda sdk: sdk.restore(ref, uid=uid))

    async def purge(
        self, ref: str | Reference, *, uid: str = "", versions_only: bool = False, validate_only: bool = False
    ) -> "pb.PurgeArtifactResponse":
        """Remove an artifact in the trash for good, by the operation that is answered.

        With `versions_only` those versions of a living one that are in the trash; with `validate_only` only
        tell what would go.
        """
        return await self._call(
            lambda sdk: sdk.purge(ref, uid=uid, versions_only=versions_only, validate_only=validate_only)
        )

    def trashed_versions(
        self, kind: str = "", *, namespace: str | None = None, limit: int | None = None
    ) -> "AsyncIterator[pb.Version]":
        """Yield the single versions in the trash of the namespaces one may write to, the last ones first.

        `kind` is models, datasets or empty for both. Versions of what is in the trash itself are not among
        them; see `list` with `deleted`.
        """
        return self._each(lambda sdk: sdk.trashed_versions(kind, namespace=namespace, limit=limit))

    async def delete_version(
        self,
        ref: str | Reference,
        *,
        force: bool = False,
        allow_missing: bool = False,
        etag: str = "",
        validate_only: bool = False,
    ) -> "pb.DeleteVersionResponse":
        """Move a version to the trash, or only tell what that would remove (`validate_only`)."""
        return await self._call(
            lambda sdk: sdk.delete_version(
                ref, force=force, allow_missing=allow_missing, etag=etag, validate_only=validate_only
            )
        )

    async def restore_version(self, ref: str | Reference) -> "pb.Version":
        """Take a version back out of the trash."""
        return await self._call(lambda sdk: sdk.restore_version(ref))

    async def purge_version(
        self, ref: str | Reference, *, validate_only: bool = False
    ) -> "pb.PurgeVersionResponse":
        """Remove a version in the trash for good, by the operation that is answered, or only tell of it."""
        return await self._call(lambda sdk: sdk.purge_version(ref, validate_only=validate_only))
