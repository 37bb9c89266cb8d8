"""An open upload to be awaited: `async with client.uploads.open("models/tiny") as upload`."""

import os
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from ingot.client._client import Client
from ingot.client._scopes import Scope
from ingot.client.aio._running import Running

if TYPE_CHECKING:
    from ingot.client._open_upload import OpenUpload
    from ingot.client._push import PushResult


class AsyncOpenUpload:
    """As OpenUpload; used in an `async with` block, by one task at a time."""

    def __init__(self, running: Running, open_upload: "Callable[[Client], OpenUpload]") -> None:
        self._running = running
        self._open = open_upload
        self._scope = Scope()
        self._upload: OpenUpload | None = None

    @property
    def name(self) -> str:
        """Name of the upload."""
        return self._opened.name

    @property
    def is_committed(self) -> bool:
        """Whether it became a version or checkpoint before."""
        return self._opened.is_committed

    def files(self) -> dict[str, int]:
        """Bytes of each file that is in it, by path."""
        return self._opened.files()

    async def add(self, files: Mapping[str, str | os.PathLike[str]]) -> None:
        """Send files, by their paths in the tree; a path that was added before is replaced."""
        await self._running.on_thread(lambda: self._opened.add(files), self._scope)

    async def commit(self) -> "PushResult":
        """Make it a version or checkpoint."""
        return await self._running.on_thread(self._opened.commit, self._scope)

    async def __aenter__(self) -> "AsyncOpenUpload":
        def enter() -> "OpenUpload":
            return self._open(self._running.client.within(self._scope)).__enter__()

        self._upload = await self._running.on_thread(enter, self._scope)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        upload = self._opened
        await self._running.on_thread(lambda: upload.__exit__(kind, error, trace), self._scope)

    @property
    def _opened(self) -> "OpenUpload":
        if self._upload is None:
            raise RuntimeError("an upload is opened by `async with`")
        return self._upload
