"""Approvals, to be awaited. Made from _approvals.py by docs/tools/async_form.py."""

from collections.abc import AsyncIterator

from ingot.client._approvals import Approvals
from ingot.client._references import Reference
from ingot.client.aio._running import AsyncPart
from ingot.v1 import catalog_pb2 as pb


class AsyncApprovals(AsyncPart[Approvals]):
    """Calls of CatalogService about approvals; names may be given as `approvals/approval_3` or `3`."""

    async def request(self, ref: str | Reference, comment: str = "") -> "pb.Approval":
        """Ask for the approval of a version; the one that waits already is returned instead."""
        return await self._call(lambda sdk: sdk.request(ref, comment))

    async def decide(self, name: str, *, approve: bool, comment: str, etag: str = "") -> "pb.Approval":
        """Approve or decline what waits, and say why."""
        return await self._call(lambda sdk: sdk.decide(name, approve=approve, comment=comment, etag=etag))

    async def withdraw(self, name: str) -> "pb.Approval":
        """Take back what waits."""
        return await self._call(lambda sdk: sdk.withdraw(name))

    async def get(self, name: str) -> "pb.Approval":
        """Return one with its evidence and decision."""
        return await self._call(lambda sdk: sdk.get(name))

    def list(
        self, ref: str | Reference = "", *, state: str = "", inbox: bool = False, limit: int | None = None
    ) -> "AsyncIterator[pb.Approval]":
        """Yield what one may see, newest first: of an artifact, or all; `inbox` is what one may decide now.

        `state` is pending, approved, declined or withdrawn.
        """
        return self._each(lambda sdk: sdk.list(ref, state=state, inbox=inbox, limit=limit))

    async def set_policy(
        self, ref: str | Reference, policy: pb.ApprovalPolicy, *, etag: str = ""
    ) -> "pb.Artifact":
        """Set what approvals of an artifact's versions need beyond what the server asks for."""
        return await self._call(lambda sdk: sdk.set_policy(ref, policy, etag=etag))
