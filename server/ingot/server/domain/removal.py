"""Removal: the versions of a deleted artifact go, one in each write, and then the space they took."""

import dataclasses

from ingot.server.core import upkeep_params
from ingot.server.core.artifacts import Artifact
from ingot.server.core.catalog_stores import AliasStore, ArtifactStore, VersionStore
from ingot.server.core.identity import system_caller
from ingot.server.core.operations import NewOperation, Operation
from ingot.server.core.transfer_stores import TreeStore
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
    ) -> None:
        self._catalog = catalog
        self._artifacts = artifacts
        self._versions = versions
        self._aliases = aliases
        self._trees = trees
        self._operations = operations

    def step(self, operation: Operation) -> bool:
        """Drop the newest version with its aliases and files; return False when none is left."""
        artifact = self._deleted(operation)
        found = self._versions.page(artifact, None, 1) if artifact else ()
        if artifact is None or not found:
            return False
        version = found[0][1]
        for alias in version.aliases:
            self._aliases.delete(artifact, alias)  # `latest` is none of theirs
        tree = self._trees.find(version.uid)
        if tree is not None:
            self._trees.drop(tree.id)
        self._versions.remove(version)
        return True

    def finish(self, operation: Operation) -> None:
        """Note that nothing is left, and queue the collection of the space."""
        artifact = self._deleted(operation)
        if artifact is not None and artifact.version_count:
            self._catalog.amend(
                dataclasses.replace(
                    artifact,
                    current_version="",
                    version_count=0,
                    size_bytes=0,
                    version_bytes=0,
                    stored_bytes=0,
                )
            )
        self._operations.enqueue(system_caller(), NewOperation("collect", key="collect"))

    def _deleted(self, operation: Operation) -> Artifact | None:
        """Return the artifact of an operation, None unless it is in the trash."""
        uid = upkeep_params.RemoveParams.model_validate(operation.params).artifact_uid
        artifact = self._artifacts.by_uid(uid)
        return artifact if artifact and artifact.delete_time is not None else None
