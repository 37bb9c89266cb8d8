"""Removal: the versions of a deleted artifact go, one in each write, and then the space they took."""

from ingot.server.core import upkeep_params
from ingot.server.core.alias_stores import AliasStore
from ingot.server.core.artifacts import Artifact, VersionState
from ingot.server.core.catalog_stores import ArtifactStore, VersionStore
from ingot.server.core.identity import system_caller
from ingot.server.core.namespaces import AccountStore
from ingot.server.core.operations import NewOperation, Operation
from ingot.server.core.transfer_stores import TreeStore
from ingot.server.domain import trash
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.operations import Operations


class Removal:
    """The steps of `remove`; each runs inside a write and may be repeated."""

    def __init__(
        self,
        catalog: Catalog,
        artifacts: ArtifactStore,
        versions: VersionStore,
        aliases: AliasStore,
        trees: TreeStore,
        operations: Operations,
        accounts: AccountStore,
    ) -> None:
        self._catalog = catalog
        self._artifacts = artifacts
        self._versions = versions
        self._aliases = aliases
        self._trees = trees
        self._operations = operations
        self._accounts = accounts

    def step(self, operation: Operation) -> int | None:
        """Drop the newest version with its aliases and files; None when none is left.

        Returns the bytes that no other tree of its namespace needs any more.
        """
        artifact, versions_only = self._chosen(operation)
        deleted = True if versions_only else None
        found = self._versions.page(artifact, None, 1, deleted=deleted) if artifact else ()
        if artifact is None or not found:
            return None
        version = found[0][1]
        for alias in version.aliases:
            self._aliases.delete(artifact, alias, artifact.update_time)  # `latest` is none of theirs
        stored = self._accounts.account(artifact.name.namespace).stored
        trash.drop(version, self._versions, self._trees)
        if version.state is VersionState.READY and version.delete_time is None:
            newest = self._versions.newest_ready(artifact)
            self._catalog.shrunk(artifact, version, newest[1] if newest else None, artifact.update_time)
        return stored - self._accounts.account(artifact.name.namespace).stored

    def finish(self, operation: Operation) -> None:
        """Forget the artifact, of which nothing is left, and queue the collection of the space."""
        artifact, versions_only = self._chosen(operation)
        if artifact is not None and not versions_only:
            self._artifacts.remove(artifact)
        self._operations.enqueue(system_caller(), NewOperation("collect", key="collect"))

    def _chosen(self, operation: Operation) -> tuple[Artifact | None, bool]:
        """Return the artifact of an operation and whether only its versions in the trash go.

        None when it is not in the trash and should be.
        """
        asked = upkeep_params.RemoveParams.model_validate(operation.params)
        artifact = self._artifacts.by_uid(asked.artifact_uid)
        if artifact is not None and not asked.versions_only and artifact.delete_time is None:
            artifact = None
        return artifact, asked.versions_only
