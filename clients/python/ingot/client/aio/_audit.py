"""Audit, to be awaited. Made from _audit.py by docs/tools/async_form.py."""

from collections.abc import AsyncIterator, Callable

from ingot.client._audit import Audit, Verified
from ingot.client.aio._running import AsyncPart
from ingot.v1 import system_pb2 as pb


class AsyncAudit(AsyncPart[Audit]):
    """Calls of SystemService about the audit log; for administrators."""

    def entries(
        self,
        *,
        principal: str = "",
        target: str = "",
        action: str = "",
        oldest_first: bool = False,
        limit: int | None = None,
    ) -> "AsyncIterator[pb.AuditEntry]":
        """Yield entries, newest first unless told otherwise.

        `target` finds what lies below it, too: of `models/tiny` its versions and aliases, of a namespace all
        that it has. References may be as short as anywhere, other things have long names.
        """
        return self._each(
            lambda sdk: sdk.entries(
                principal=principal, target=target, action=action, oldest_first=oldest_first, limit=limit
            )
        )

    async def head(self) -> "pb.AuditHead":
        """Return the newest entry with the server's signature, to be kept elsewhere."""
        return await self._call(lambda sdk: sdk.head())

    async def verify(
        self, head: pb.AuditHead | None = None, *, progress: Callable[[int], None] = lambda checked: None
    ) -> "Verified":
        """Let the server check its log, and whether it leads to a head that was kept."""
        return await self._call(lambda sdk: sdk.verify(head, progress=progress))

    async def export(self, write: Callable[[str], object]) -> "pb.AuditHead":
        """Write the log as lines of JSON that `ingot audit verify FILE` checks; return its signed head."""
        return await self._call(lambda sdk: sdk.export(write))
