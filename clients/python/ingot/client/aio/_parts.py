"""The parts of the async client. Made from _client.py by docs/tools/async_form.py."""

from functools import cached_property
from typing import TYPE_CHECKING

from ingot.client.aio._client import AsyncMethods

if TYPE_CHECKING:
    from ingot.client.aio._approvals import AsyncApprovals
    from ingot.client.aio._audit import AsyncAudit
    from ingot.client.aio._auth import AsyncAuth
    from ingot.client.aio._catalog import AsyncCatalog
    from ingot.client.aio._operations import AsyncOperations
    from ingot.client.aio._system import AsyncSystem
    from ingot.client.aio._training import AsyncTraining
    from ingot.client.aio._trees import AsyncTrees
    from ingot.client.aio._uploads import AsyncUploads
    from ingot.client.aio._versions import AsyncVersions
    from ingot.client.aio._workers import AsyncWorkers


class AsyncParts(AsyncMethods):
    """What one may do, by kind; each part is imported when it is first used."""

    @cached_property
    def auth(self) -> "AsyncAuth":
        """Users and API tokens."""
        from ingot.client.aio._auth import AsyncAuth

        return AsyncAuth(self._running, lambda client: client.auth)

    @cached_property
    def catalog(self) -> "AsyncCatalog":
        """Models and datasets, their versions and aliases."""
        from ingot.client.aio._catalog import AsyncCatalog

        return AsyncCatalog(self._running, lambda client: client.catalog)

    @cached_property
    def versions(self) -> "AsyncVersions":
        """What is said about versions, what is in them, and how two of them differ."""
        from ingot.client.aio._versions import AsyncVersions

        return AsyncVersions(self._running, lambda client: client.versions)

    @cached_property
    def training(self) -> "AsyncTraining":
        """Training jobs, and text from what they made."""
        from ingot.client.aio._training import AsyncTraining

        return AsyncTraining(self._running, lambda client: client.training)

    @cached_property
    def uploads(self) -> "AsyncUploads":
        """Uploads, and the files of any tree."""
        from ingot.client.aio._uploads import AsyncUploads

        return AsyncUploads(self._running, lambda client: client.uploads)

    @cached_property
    def trees(self) -> "AsyncTrees":
        """Trees chunk by chunk, for programs that keep chunks in a form of their own."""
        from ingot.client.aio._trees import AsyncTrees

        return AsyncTrees(self._running, lambda client: client.trees)

    @cached_property
    def workers(self) -> "AsyncWorkers":
        """Machines that train."""
        from ingot.client.aio._workers import AsyncWorkers

        return AsyncWorkers(self._running, lambda client: client.workers)

    @cached_property
    def operations(self) -> "AsyncOperations":
        """Background work of the server."""
        from ingot.client.aio._operations import AsyncOperations

        return AsyncOperations(self._running, lambda client: client.operations)

    @cached_property
    def system(self) -> "AsyncSystem":
        """The server itself."""
        from ingot.client.aio._system import AsyncSystem

        return AsyncSystem(self._running, lambda client: client.system)

    @cached_property
    def audit(self) -> "AsyncAudit":
        """The audit log: who changed what."""
        from ingot.client.aio._audit import AsyncAudit

        return AsyncAudit(self._running, lambda client: client.audit)

    @cached_property
    def approvals(self) -> "AsyncApprovals":
        """Approvals of versions."""
        from ingot.client.aio._approvals import AsyncApprovals

        return AsyncApprovals(self._running, lambda client: client.approvals)
