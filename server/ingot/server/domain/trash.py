"""The trash: what was deleted stays for a while, can be taken back out, and goes for good when it is purged.

    artifact   its name is free at once. Back out only while no other one has the name
    version    hidden from everybody but who may write it; its id stays taken, `latest` moves back

What is in the trash keeps its bytes and counts for the quota. Purging an artifact is the operation `remove`;
versions that are in the trash for long go one by one, and a collection gives the space back.
"""

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass

from ingot.server.core import journal, upkeep_params
from ingot.server.core.alias_stores import AliasStore
from ingot.server.core.approvals import ApprovalStore
from ingot.server.core.artifacts import Artifact, Version, VersionState
from ingot.server.core.catalog_stores import ArtifactStore, DependantStore, VersionStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import NotFound, Precondition, Reason
from ingot.server.core.identity import Caller, system_caller
from ingot.server.core.names import LATEST, ArtifactName, VersionName
from ingot.server.core.operation_stores import OperationStore
from ingot.server.core.operations import NewOperation, Operation
from ingot.server.core.transfer_stores import TreeStore
from ingot.server.domain.access import Access, artifact_not_found
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.catalog_refusals import check_etag, name_taken, version_in_use
from ingot.server.domain.operations import Operations
from ingot.server.domain.requests import RequestKey, Requests
from ingot.server.domain.versions import version_not_found

log = logging.getLogger(__name__)

_MOST_DEPENDANTS = 100
_BATCH = 100
_BEING_DECIDED = (VersionState.STAGED, VersionState.VALIDATING)


@dataclass(frozen=True, slots=True)
class GoneVersion:
    """A version that went, or would go, to the trash; without one there was none."""

    version: Version | None = None
    dependants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Purge:
    """What goes for good: logical bytes, and the operation that does it, "" where it was only asked."""

    versions: int
    size: int
    operation: str = ""
    dependants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrashStores:
    """The rows that the trash is about."""

    artifacts: ArtifactStore
    versions: VersionStore
    aliases: AliasStore
    trees: TreeStore
    dependants: DependantStore
    operations: OperationStore
    approvals: ApprovalStore


class Trash:
    """The rules about the trash; every method runs inside a unit of work."""

    def __init__(
        self,
        catalog: Catalog,
        stores: TrashStores,
        access: Access,
        operations: Operations,
        requests: Requests,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._stores = stores
        self._access = access
        self._operations = operations
        self._requests = requests
        self._clock = clock
        self._gone: Callable[[Version], None] = lambda version: None

    def tell_gone(self, gone: Callable[[Version], None]) -> None:
        """Tell a feature from now on, inside the write, of each version that goes to the trash."""
        self._gone = gone

    # --- artifacts --------------------------------------------------------------------------------------

    def restore_artifact(self, caller: Caller, name: ArtifactName, uid: str, key: RequestKey) -> Artifact:
        """Take an artifact out of the trash: the one with this uid, or the one of this name that went last.

        Raises NotFound (ARTIFACT_NOT_FOUND), AlreadyExists (NAME_TAKEN), Precondition (IN_USE: it is being
        purged).
        """

        def make() -> str:
            artifact = self._deleted(caller, name, uid)
            self._require_kept(_removal_key(artifact), str(artifact.name))
            if self._stores.artifacts.find(artifact.name) is not None:
                raise name_taken(artifact.name)
            restored = self._catalog.amend(dataclasses.replace(artifact, delete_time=None))
            self._unname(caller, restored)
            return restored.uid

        found, replayed = self._requests.run(caller, "RestoreArtifact", key, make)
        artifact = self._stores.artifacts.by_uid(found)
        if artifact is None:
            raise artifact_not_found(name)
        if replayed:  # who repeats the request may have lost the right to see it since
            self._access.require_artifact_write(caller, artifact)
        return artifact

    def purge(
        self,
        caller: Caller,
        name: ArtifactName,
        uid: str,
        key: RequestKey,
        *,
        versions_only: bool,
        validate_only: bool,
    ) -> Purge:
        """Enqueue the removal of an artifact in the trash, or of a living one's versions that are there.

        Raises NotFound (ARTIFACT_NOT_FOUND), Denied (SCOPE_MISSING).
        """

        def chosen() -> Artifact:
            if versions_only:
                return self._catalog.require_write(caller, name)
            return self._deleted(caller, name, uid)

        if validate_only:
            return self._going(chosen(), versions_only=versions_only)
        going = Purge(0, 0)  # asked again: the operation tells

        def make() -> str:
            nonlocal going
            artifact = chosen()
            going = self._going(artifact, versions_only=versions_only)
            return self._remove(artifact, versions_only=versions_only).name

        operation, _ = self._requests.run(caller, "PurgeArtifact", key, make)
        return dataclasses.replace(going, operation=operation)

    # --- versions ---------------------------------------------------------------------------------------

    def delete_version(
        self,
        caller: Caller,
        name: VersionName,
        key: RequestKey,
        *,
        etag: str,
        force: bool,
        allow_missing: bool,
        validate_only: bool,
    ) -> GoneVersion:
        """Put a version into the trash; tell what went and who still names it.

        Raises NotFound (ARTIFACT_NOT_FOUND, VERSION_NOT_FOUND) unless `allow_missing`, Denied, Conflict
        (ETAG_MISMATCH), Precondition (STATE_INVALID; IN_USE without `force`).
        """
        dependants: tuple[str, ...] = ()

        def make() -> str:
            nonlocal dependants
            found = self._deletable(caller, name, etag, allow_missing=allow_missing)
            if found is None:
                return ""
            artifact, version = found
            dependants = self._dependants_of(version)
            if validate_only:
                return version.name.version
            if dependants and not force:
                raise version_in_use(version, dependants)
            self._catalog.require_unprotected(caller, artifact, version.aliases)
            for alias in version.aliases:
                self._stores.aliases.delete(artifact, alias, self._clock.now(), caller.principal)
            self._stores.versions.set_deleted(version, self._clock.now())
            self._gone(version)
            if version.state is VersionState.READY:
                newest = self._stores.versions.newest_ready(artifact)
                left = newest[1] if newest else None
                self._catalog.shrunk(artifact, version, left, self._clock.now(), caller.principal)
            log.info("version.deleted name=%s principal=%s", version.name, caller.principal)
            return version.name.version

        done = make() if validate_only else self._requests.run(caller, "DeleteVersion", key, make)[0]
        if not done:
            return GoneVersion()
        artifact = self._catalog.require_write(caller, name.artifact)
        stores = self._stores.versions
        version = stores.find(artifact, done) if validate_only else stores.find_deleted(artifact, done)
        return GoneVersion(version, dependants)

    def restore_version(self, caller: Caller, name: VersionName, key: RequestKey) -> Version:
        """Take a version out of the trash; `latest` moves to it if it is the newest.

        Raises NotFound (ARTIFACT_NOT_FOUND, VERSION_NOT_FOUND), Denied, Precondition (IN_USE).
        """

        def make() -> str:
            artifact = self._catalog.require_write(caller, name.artifact)
            version = self._stores.versions.find_deleted(artifact, name.version)
            if version is None:
                raise version_not_found(name)
            self._require_kept(_removal_key(artifact, versions_only=True), str(name))
            self._require_kept(_removal_key(artifact, version=version), str(name))
            self._stores.versions.set_deleted(version, None)
            if version.state is VersionState.READY:
                newest = self._stores.versions.newest_ready(artifact)
                now_newest = newest[1] if newest else version
                self._catalog.grown(artifact, version, now_newest, self._clock.now(), caller.principal)
            return version.name.version

        version_id, _ = self._requests.run(caller, "RestoreVersion", key, make)
        artifact = self._catalog.require_write(caller, name.artifact)
        version = self._stores.versions.find(artifact, version_id)
        if version is None:
            raise version_not_found(name)
        return version

    def purge_of_version(
        self, caller: Caller, name: VersionName, key: RequestKey, *, validate_only: bool
    ) -> Purge:
        """Enqueue the removal of one version in the trash; its id is never given again.

        Raises NotFound (ARTIFACT_NOT_FOUND, VERSION_NOT_FOUND), Denied (SCOPE_MISSING).
        """
        going = Purge(0, 0)  # asked again: the operation tells

        def make() -> str:
            nonlocal going
            artifact = self._catalog.require_write(caller, name.artifact)
            version = self._stores.versions.find_deleted(artifact, name.version)
            if version is None:
                raise NotFound(
                    Reason.VERSION_NOT_FOUND,
                    f"There is no version {name} in the trash, or it is not yours.",
                    next_step=f"What is in use goes to the trash first: ingot rm {name}",
                    facts={"name": str(name)},
                )
            going = Purge(1, version.size_bytes, dependants=self._needing(version))
            if validate_only:
                return ""
            return self._operations.enqueue(system_caller(), removal(artifact, version=version)).name

        if validate_only:
            make()
            return going
        operation, _ = self._requests.run(caller, "PurgeVersion", key, make)
        return dataclasses.replace(going, operation=operation)

    # --- upkeep -----------------------------------------------------------------------------------------

    def purge_artifacts(self, before: float) -> int:
        """Enqueue the removal of artifacts that went to the trash before that time; return of how many."""
        due = self._stores.artifacts.deleted_before(before, _BATCH)
        for artifact in due:
            removal = self._remove(artifact, versions_only=False)
            journal.act("purge", str(artifact.name), uid=artifact.uid, operation=removal.name)
        return len(due)

    def purge_version(self, before: float) -> bool:
        """Drop one version that went to the trash before that time; return whether there was one.

        Those of an artifact that is in the trash itself go with it.
        """
        for _, version in self._stores.versions.deleted_before(before, 1):
            journal.act("purge", str(version.name), digest=version.digest.hex())
            drop(version, self._stores.versions, self._stores.trees)
            self._operations.enqueue(system_caller(), NewOperation("collect", key="collect"))
            return True
        return False

    # --- parts ------------------------------------------------------------------------------------------

    def _deleted(self, caller: Caller, name: ArtifactName, uid: str) -> Artifact:
        found = [each for each in self._stores.artifacts.deleted(name) if uid in ("", each.uid)]
        if not found or not caller.may_write(name.namespace):
            raise NotFound(
                Reason.ARTIFACT_NOT_FOUND,
                f"There is no {name.kind.word} {name} in the trash, or it is not yours.",
                next_step="List the trash: ingot ls --deleted.",
                facts={"name": str(name)},
            )
        self._access.require_artifact_write(caller, found[0])
        return found[0]

    def _unname(self, caller: Caller, artifact: Artifact) -> None:
        """Remove aliases that a policy came to protect meanwhile, and that name what is not approved."""
        protected = self._catalog.policy(artifact).protected_aliases
        while found := self._stores.aliases.unapproved("", protected, artifact) if protected else None:
            self._stores.aliases.delete(artifact, found[0].alias, self._clock.now(), caller.principal)

    def _going(self, artifact: Artifact, *, versions_only: bool) -> Purge:
        count = size = 0
        dependants: list[str] = []
        after: int | None = None
        while rows := self._stores.versions.page(artifact, after, _BATCH, deleted=versions_only or None):
            after = rows[-1][0]
            count += len(rows)
            size += sum(version.size_bytes for _, version in rows)
            if versions_only and len(dependants) < _MOST_DEPENDANTS:
                dependants += [each for _, version in rows for each in self._needing(version)]
        if not versions_only and self._stores.artifacts.find(artifact.name) is None:
            # Where another one has the name by now, what names its versions may mean those.
            dependants += self._stores.dependants.dependants(artifact.name)
            since = artifact.create_time
            dependants += self._stores.versions.descendants(artifact.name, since, _MOST_DEPENDANTS)
        return Purge(count, size, dependants=tuple(dict.fromkeys(dependants))[:_MOST_DEPENDANTS])

    def _remove(self, artifact: Artifact, *, versions_only: bool) -> Operation:
        return self._operations.enqueue(system_caller(), removal(artifact, versions_only=versions_only))

    def _require_kept(self, key: str, name: str) -> None:
        running = self._stores.operations.unfinished(key)
        if running is not None:
            raise Precondition(
                Reason.IN_USE,
                f"{name} is being purged by {running.name}.",
                next_step="It cannot be taken back any more; push its files again.",
                facts={"name": name, "operation": running.name},
            )

    def _deletable(
        self, caller: Caller, name: VersionName, etag: str, *, allow_missing: bool
    ) -> tuple[Artifact, Version] | None:
        try:
            artifact = self._catalog.require_write(caller, name.artifact)
            version = self._stores.versions.find(artifact, name.version)
            if version is None:
                raise version_not_found(name)
        except NotFound:
            if allow_missing:
                return None
            raise
        check_etag(str(version.name), etag, version.etag)
        if version.state in _BEING_DECIDED:
            raise Precondition(
                Reason.STATE_INVALID,
                f"{version.name} is {version.state}; expected one whose validation is over.",
                next_step=f"Wait for {version.last_validation}, or cancel it and purge its upload.",
                facts={"name": str(version.name), "state": version.state.value},
            )
        return artifact, version

    def _dependants_of(self, version: Version) -> tuple[str, ...]:
        aliases = [str(version.name.artifact.alias(each)) for each in version.aliases if each != LATEST]
        waiting = self._stores.approvals.pending_of(version.uid)
        approvals = [waiting.name] if waiting else []
        return (*aliases, *approvals, *self._needing(version))

    def _needing(self, version: Version) -> tuple[str, ...]:
        """Return unfinished jobs that read a version, and what was made from it."""
        jobs = self._stores.dependants.reading(version.name)
        return (*jobs, *self._stores.versions.made_from(version.name, version.create_time, _MOST_DEPENDANTS))


def removal(
    artifact: Artifact, *, versions_only: bool = False, version: Version | None = None
) -> NewOperation:
    """Return the operation that drops all files of an artifact, or those of versions in the trash."""
    asked = upkeep_params.RemoveParams(
        artifact_uid=artifact.uid,
        versions_only=versions_only,
        version=version.name.version if version else "",
        version_uid=version.uid if version else "",
    )
    return NewOperation(
        kind="remove",
        params=asked.document(),
        target=str(version.name if version else artifact.name),
        namespace=artifact.name.namespace,
        key=_removal_key(artifact, versions_only=versions_only, version=version),
    )


def _removal_key(artifact: Artifact, *, versions_only: bool = False, version: Version | None = None) -> str:
    if version is not None:
        return f"remove version {version.uid}"
    return f"remove versions {artifact.uid}" if versions_only else f"remove {artifact.uid}"


def drop(version: Version, versions: VersionStore, trees: TreeStore) -> None:
    """Remove a version that no alias points at for good, and abandon its files."""
    tree = trees.find(version.uid)
    if tree is not None:
        trees.abandon(tree.id)
    versions.remove(version)
