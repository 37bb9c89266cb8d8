"""Removal: the versions of a deleted artifact go, one in each write, then their files and the space."""

from ingot.server.core import upkeep_params
from ingot.server.core.alias_stores import AliasStore
from ingot.server.core.artifacts import Artifact, Version, VersionState
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

    def step(self, operation: Operation) -> tuple[int, int] | None:
        """Drop the newest version with its aliases, or some files of one that was dropped; None at the end.

        Returns how many versions went, and the bytes that no other tree of its namespace needs any more.
        Everybody's writes wait for this one, and a version may have a million files.
        """
        asked, artifact = self._chosen(operation)
        left = self._trees.abandoned()
        if left is not None:
            return 0, self._cleared(left, artifact)
        version = self._next(artifact, asked) if artifact else None
        if artifact is None or version is None:
            return None
        for alias in version.aliases:
            self._aliases.delete(artifact, alias, artifact.update_time)  # `latest` is none of theirs
        trash.drop(version, self._versions, self._trees)
        if version.state is VersionState.READY and version.delete_time is None:
            newest = self._versions.newest_ready(artifact)
            self._catalog.shrunk(artifact, version, newest[1] if newest else None, artifact.update_time)
        return 1, 0

    def finish(self, operation: Operation) -> None:
        """Forget the artifact, of which nothing is left, and queue the collection of the space."""
        asked, artifact = self._chosen(operation)
        if artifact is not None and not (asked.versions_only or asked.version):
            self._artifacts.remove(artifact)
        self._operations.enqueue(system_caller(), NewOperation("collect", key="collect"))

    def _cleared(self, tree: int, artifact: Artifact | None) -> int:
        """Forget some files of an abandoned tree, at last the tree; return the bytes that became free."""
        if self._trees.clear_some(tree):
            return 0
        namespace = artifact.name.namespace if artifact else ""
        stored = self._accounts.account(namespace).stored
        self._trees.drop(tree)
        return stored - self._accounts.account(namespace).stored

    def _next(self, artifact: Artifact, asked: upkeep_params.RemoveParams) -> Version | None:
        """Return the next version to drop."""
        if asked.version:
            found = self._versions.find_deleted(artifact, asked.version)
            return found if found is not None and found.uid == asked.version_uid else None
        rows = self._versions.page(artifact, None, 1, deleted=True if asked.versions_only else None)
        return rows[0][1] if rows else None

    def _chosen(self, operation: Operation) -> tuple[upkeep_params.RemoveParams, Artifact | None]:
        """Return what an operation is about; no artifact when it is not in the trash and should be."""
        asked = upkeep_params.RemoveParams.model_validate(operation.params)
        artifact = self._artifacts.by_uid(asked.artifact_uid)
        whole = not (asked.versions_only or asked.version)
        if artifact is not None and whole and artifact.delete_time is None:
            artifact = None
        return asked, artifact
