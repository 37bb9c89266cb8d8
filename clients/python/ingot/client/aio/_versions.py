"""Versions, to be awaited. Made from _versions.py by docs/tools/async_form.py."""

from collections.abc import AsyncIterator, Mapping

from ingot.client._references import Reference
from ingot.client._versions import Versions
from ingot.client.aio._running import AsyncPart
from ingot.v1 import catalog_pb2 as pb


class AsyncVersions(AsyncPart[Versions]):
    """Calls of CatalogService about versions; names may be given in any form of `_references.py`."""

    async def update(
        self,
        ref: str | Reference,
        *,
        changelog: str | None = None,
        metadata: Mapping[str, object] | None = None,
        metrics: Mapping[str, object] | None = None,
        etag: str = "",
    ) -> "pb.Version":
        """Change what is said about a version: what is not None replaces what was there.

        With `etag` only if nobody changed it since. Its files never change.
        """
        return await self._call(
            lambda sdk: sdk.update(ref, changelog=changelog, metadata=metadata, metrics=metrics, etag=etag)
        )

    async def lineage(
        self, ref: str | Reference, *, up: bool = True, down: bool = True, depth: int = 0
    ) -> "pb.GetLineageResponse":
        """Return where a version, or a training job (`job_12`), comes from and what came of it.

        `depth` are the steps from there, 0 for the usual ones.
        """
        return await self._call(lambda sdk: sdk.lineage(ref, up=up, down=down, depth=depth))

    async def compare(
        self,
        base: str | Reference,
        other: str | Reference,
        *,
        include_same: bool = False,
        limit: int | None = None,
    ) -> "pb.CompareVersionsResponse":
        """Return what differs from `base` to `other`, with at most `limit` files (all when None)."""
        return await self._call(lambda sdk: sdk.compare(base, other, include_same=include_same, limit=limit))

    async def summary(self, ref: str | Reference, *, max_tensors: int = 0) -> "pb.VersionSummary":
        """Return what the files of a version say about it: facts, files, tensors, findings."""
        return await self._call(lambda sdk: sdk.summary(ref, max_tensors=max_tensors))

    async def preview(
        self, ref: str | Reference, *, rows: int = 20, part: str = "first", seed: int = 0
    ) -> "pb.PreviewVersionResponse":
        """Return rows of a data file: `part` is first, last or random; `datasets/chat:train.jsonl` names one.

        The same seed draws the same random rows.
        """
        return await self._call(lambda sdk: sdk.preview(ref, rows=rows, part=part, seed=seed))

    def alias_moves(
        self, ref: str | Reference, alias: str, *, limit: int | None = None
    ) -> "AsyncIterator[pb.AliasMove]":
        """Yield where an alias of an artifact pointed, the newest move first; `latest` has a history too."""
        return self._each(lambda sdk: sdk.alias_moves(ref, alias, limit=limit))
