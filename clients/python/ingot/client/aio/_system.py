"""System, to be awaited. Made from _system.py by docs/tools/async_form.py."""

from collections.abc import AsyncIterator, Sequence

from ingot.client._system import System
from ingot.client.aio._running import AsyncPart
from ingot.v1 import common_pb2
from ingot.v1 import system_pb2 as pb


class AsyncSystem(AsyncPart[System]):
    """Calls of SystemService."""

    async def info(self) -> "pb.GetServerInfoResponse":
        """Return version, features and identity of the server; needs no credential."""
        return await self._call(lambda sdk: sdk.info())

    async def health(self) -> "pb.GetHealthResponse":
        """Return whether the server is well: the status alone without a credential, all parts with one."""
        return await self._call(lambda sdk: sdk.health())

    async def storage(self) -> "pb.GetStorageResponse":
        """Return bytes per area, logical and physical, and the disk."""
        return await self._call(lambda sdk: sdk.storage())

    async def dashboard(self, *, days: int = 0, activity_size: int = 0) -> "pb.GetDashboardResponse":
        """Return what an administrator wants to see: totals, sizes, requests, queues, problems, times.

        `days` up to today (0: 7) and the length of lists (0: 10) bound the answer.
        """
        return await self._call(lambda sdk: sdk.dashboard(days=days, activity_size=activity_size))

    async def settings(self) -> "Sequence[pb.SettingValue]":
        """Return every setting of the server, without secrets; for administrators."""
        return await self._call(lambda sdk: sdk.settings())

    def activity(
        self,
        *,
        target: str = "",
        action: str = "",
        principal: str = "",
        failed_only: bool = False,
        limit: int | None = None,
    ) -> "AsyncIterator[common_pb2.Activity]":
        """Yield what was done, newest first: one's own, or everyone's for administrators.

        `target` is a long name; a model, a dataset or a namespace stands for what belongs to it, too.
        """
        return self._each(
            lambda sdk: sdk.activity(
                target=target, action=action, principal=principal, failed_only=failed_only, limit=limit
            )
        )
