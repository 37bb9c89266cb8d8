"""Trees, to be awaited. Made from _trees.py by docs/tools/async_form.py."""

import os
from collections.abc import Callable, Sequence

from ingot.client._manifest import Manifest
from ingot.client._names import AnyName
from ingot.client._progress import OnProgress
from ingot.client._push import PushResult
from ingot.client._trees import PlacedFile, Trees
from ingot.client.aio._running import AsyncPart
from ingot.v1 import transfer_pb2 as pb


class AsyncTrees(AsyncPart[Trees]):
    """Manifests and chunks of trees; safe to use from several threads."""

    async def manifest(self, tree: AnyName) -> "Manifest":
        """Return the files of a tree with their chunks; everything that can be computed is checked."""
        return await self._call(lambda sdk: sdk.manifest(tree))

    async def fetch(
        self,
        manifest: Manifest,
        *,
        wanted: Callable[[bytes], bool],
        store: Callable[[bytes, memoryview], None],
        on_progress: OnProgress | None = None,
    ) -> "None":
        """Bring chunks of a tree and hand each, verified, to `store` with its digest.

        `wanted` is asked once for every place of a chunk, in order; `store` is called from several threads.
        """
        return await self._call_told(
            lambda sdk, told: sdk.fetch(manifest, wanted=wanted, store=store, on_progress=told), on_progress
        )

    async def push(
        self,
        target: pb.NewVersion,
        source: str | os.PathLike[str],
        files: Sequence[PlacedFile],
        *,
        locate: Callable[[bytes], int],
        on_progress: OnProgress | None = None,
    ) -> "PushResult":
        """Push files as a new version whose chunks lie in one file, each where `locate` says by its digest.

        Running the same push again sends what is missing. Raises SourceChanged when the file was written to.
        """
        return await self._call_told(
            lambda sdk, told: sdk.push(target, source, files, locate=locate, on_progress=told), on_progress
        )
