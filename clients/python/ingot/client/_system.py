"""The server itself: what it is, how it is, what it holds and what was done on it."""

from collections.abc import Iterator, Sequence

from ingot.client import _pages
from ingot.client._calls import Calls
from ingot.client._channels import Link
from ingot.v1 import common_pb2, system_pb2_grpc
from ingot.v1 import system_pb2 as pb


class System:
    """Calls of SystemService."""

    def __init__(self, link: Link, calls: Calls) -> None:
        self._stub = system_pb2_grpc.SystemServiceStub(link.channel)
        self._calls = calls

    def info(self) -> pb.GetServerInfoResponse:
        """Return version, features and identity of the server; needs no credential."""
        return self._calls.unary(self._stub.GetServerInfo, pb.GetServerInfoRequest())

    def health(self) -> pb.GetHealthResponse:
        """Return whether the server is well: the status alone without a credential, all parts with one."""
        return self._calls.unary(self._stub.GetHealth, pb.GetHealthRequest())

    def storage(self) -> pb.GetStorageResponse:
        """Return bytes per area, logical and physical, and the disk."""
        return self._calls.unary(self._stub.GetStorage, pb.GetStorageRequest())

    def dashboard(self, *, days: int = 0, activity_size: int = 0) -> pb.GetDashboardResponse:
        """Return what an administrator wants to see: totals, sizes, requests, queues, problems, times.

        `days` up to today (0: 7) and the length of lists (0: 10) bound the answer.
        """
        request = pb.GetDashboardRequest(days=days, activity_size=activity_size)
        return self._calls.unary(self._stub.GetDashboard, request)

    def settings(self) -> Sequence[pb.SettingValue]:
        """Return every setting of the server, without secrets; for administrators."""
        return self._calls.unary(self._stub.ListSettings, pb.ListSettingsRequest()).settings

    def activity(
        self,
        *,
        target: str = "",
        action: str = "",
        principal: str = "",
        failed_only: bool = False,
        limit: int | None = None,
    ) -> Iterator[common_pb2.Activity]:
        """Yield what was done, newest first: one's own, or everyone's for administrators.

        `target` is a long name; a model, a dataset or a namespace stands for what belongs to it, too.
        """

        def page(size: int, token: str) -> tuple[Sequence[common_pb2.Activity], str]:
            request = pb.ListActivityRequest(
                page_size=size,
                page_token=token,
                target=target,
                action=action,
                principal=principal,
                failed_only=failed_only,
            )
            reply = self._calls.unary(self._stub.ListActivity, request)
            return reply.activities, reply.next_page_token

        return _pages.walk(page, limit)
