"""Kept exports: folders that follow `latest` of an artifact, as operations that are queued with each move.

A folder is written by one operation at a time: those for the same folder share a key. When `latest` moves
while one runs, the next is queued by the end of that one. Where no version is left, the folder is emptied and
goes on to follow. The mount point, where it is set, keeps every
artifact in a folder of its own.
"""

from collections.abc import Sequence
from dataclasses import replace

from ingot.server.core import params
from ingot.server.core.artifacts import Artifact, ArtifactOrder, ArtifactQuery, Version
from ingot.server.core.catalog_stores import ArtifactStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import Precondition, Reason
from ingot.server.core.exports import KeptExport, KeptExportStore, Layout, Place
from ingot.server.core.identity import Caller, system_caller
from ingot.server.core.names import ANY_NAMESPACE, ArtifactName
from ingot.server.core.operations import NewOperation, Operation, OperationState
from ingot.server.core.pages import Key
from ingot.server.domain.access import Access
from ingot.server.domain.operations import Operations

_BATCH = 100  # artifacts in one write


class KeptExports:
    """Implements LatestHook and OperationHook; every method runs inside a write."""

    def __init__(
        self,
        store: KeptExportStore,
        artifacts: ArtifactStore,
        operations: Operations,
        access: Access,
        clock: Clock,
        mount: Place | None,
    ) -> None:
        self._store = store
        self._artifacts = artifacts
        self._operations = operations
        self._access = access
        self._clock = clock
        self._mount = mount

    def keep(self, caller: Caller, artifact: Artifact, place: Place, name: str, layout: Layout) -> bool:
        """Let a folder follow `latest` of an artifact.

        Return False when another artifact has the folder, or one inside or around it.
        """
        folder = f"{place.path}/{name}"
        known = self._store.at(folder)
        if known is not None:
            return known.artifact_uid == artifact.uid
        if self._store.around(folder) is not None:
            return False
        return self._store.add(
            KeptExport(
                artifact_uid=artifact.uid,
                folder=folder,
                root=place.root,
                path=place.path,
                name=name,
                layout=layout,
                requester=caller.principal,
                create_time=self._clock.now(),
            )
        )

    def check_free(self, target: str, *, is_file: bool = False) -> None:
        """Refuse to write inside or around a kept folder, or where the mount point keeps its own.

        Raises Precondition (IN_USE).
        """
        kept = self._store.around(target)
        if kept is not None:
            raise _occupied(target, f"{kept.folder}, which keeps an artifact,")
        mount = self._mount.path if self._mount else ""
        if mount and (target == mount or mount.startswith(f"{target}/")):
            raise _occupied(target, f"the mount point {mount}")
        deep = is_file or target.count("/") > mount.count("/") + 1
        if mount and deep and target.startswith(f"{mount}/"):
            raise _occupied(target, f"the mount point {mount}, where each folder is an artifact,")

    # --- hooks ------------------------------------------------------------------------------------------

    def latest_moved(self, artifact: Artifact, version: Version, by: str) -> None:
        """Queue the export of a new `latest` to each folder that follows it."""
        self._mounted(artifact)
        for kept in self._store.of(artifact.uid):
            self._queue(kept, artifact)

    def latest_gone(self, artifact: Artifact, by: str) -> None:
        """Queue the removal of what lies in the folders; they go on to follow, should a version come."""
        for kept in self._store.of(artifact.uid):
            self._queue(kept, artifact)

    def deleted(self, artifact: Artifact) -> None:
        """Queue the removal of the folders that followed an artifact."""
        for kept in self._store.of(artifact.uid):
            self._store.remove(kept.folder)
            self._queue_removal(kept, artifact)

    def moved(self, operation: Operation) -> None:
        """Note what an export that ended has written, and queue what is due since.

        That is the next version when `latest` has moved, its removal when there is none any more, or what
        follows into a folder that was just removed: its own export may have come too early.
        """
        if not operation.ended:
            return
        asked = params.ExportParams.model_validate(operation.params)
        written = asked.destination
        if not isinstance(written, params.FolderExport):
            return
        if written.remove:
            for name, uid in zip(written.names, written.artifacts, strict=True):
                self._removed(f"{written.path}/{name}", uid, operation)
            return
        rows = zip(written.names, written.artifacts, asked.versions, strict=True)
        for name, uid, version in rows:
            kept = self._store.at(f"{written.path}/{name}")
            if kept is None or kept.artifact_uid != uid:
                continue
            if operation.state is OperationState.SUCCEEDED:
                self._store.exported(kept.folder, version)
                kept = replace(kept, version=version)
            artifact = self._artifacts.by_uid(uid)
            if artifact is not None and version != _latest(artifact):
                self._queue(kept, artifact)

    # --- the mount point --------------------------------------------------------------------------------

    def forget_other_mounts(self) -> int:
        """Stop following into a mount point that is no longer set; return how many. Files stay there."""
        path = self._mount.path if self._mount else ""
        old = [kept for kept in self._store.by_requester(system_caller().principal) if kept.path != path]
        for kept in old:
            self._store.remove(kept.folder)
        return len(old)

    def catch_up(self, after: Sequence[Key] | None = None) -> Sequence[Key] | None:
        """Keep what the mount point lacks; return where to go on, None at the end. Some in each write."""
        if self._mount is None:
            return None
        scopes = self._access.scopes(system_caller(), ANY_NAMESPACE, None)
        query = ArtifactQuery(scopes, order=ArtifactOrder.NAME, descending=False)
        rows = self._artifacts.page(query, after, _BATCH)
        for _, artifact in rows.items:
            self._mounted(artifact)
            for kept in self._store.of(artifact.uid):
                if kept.version != _latest(artifact):
                    self._queue(kept, artifact)
        return rows.next_key

    # --- inside -----------------------------------------------------------------------------------------

    def _removed(self, folder: str, uid: str, operation: Operation) -> None:
        """Note that a folder is empty, and queue what the artifact that has it now lacks there.

        A removal that failed is not tried again by itself: it found what is not its own.
        """
        kept = self._store.at(folder)
        artifact = self._artifacts.by_uid(kept.artifact_uid) if kept else None
        if kept is None or artifact is None:
            return
        if kept.artifact_uid == uid and operation.state is OperationState.SUCCEEDED:
            self._store.exported(folder, "")
            kept = replace(kept, version="")
        if artifact.current_version and kept.version != _latest(artifact):
            self._queue(kept, artifact)

    def _mounted(self, artifact: Artifact) -> None:
        """Keep an artifact in the mount point, under its id or a longer name where that is taken."""
        mount = self._mount
        if mount is None or any(kept.path == mount.path for kept in self._store.of(artifact.uid)):
            return
        named = artifact.name
        for name in (
            named.artifact,
            f"{named.namespace}.{named.artifact}",
            f"{named.namespace}.{named.kind.value}.{named.artifact}",
            f"{named.artifact}.{artifact.uid}",
        ):
            if self.keep(system_caller(), artifact, mount, name, Layout.NAME):
                return

    def _queue(self, kept: KeptExport, artifact: Artifact) -> None:
        """Queue what makes a folder hold `latest`, or nothing where there is none."""
        if artifact.delete_time is not None:
            return
        if not artifact.current_version:
            if kept.version:
                self._queue_removal(kept, artifact)
            return
        asked = params.ExportParams(versions=(_latest(artifact),), destination=_destination(kept))
        queued = folder_operation(asked, artifact.name.namespace, (artifact.name,))
        self._operations.enqueue(_requester(kept), queued)

    def _queue_removal(self, kept: KeptExport, artifact: Artifact) -> None:
        asked = params.ExportParams(versions=(), destination=_destination(kept, remove=True))
        removal = NewOperation(
            kind="export",
            params=asked.document(),
            target=str(artifact.name),
            namespace=artifact.name.namespace,
            key=f"export remove {kept.folder} {artifact.uid}",
        )
        self._operations.enqueue(_requester(kept), removal)


def folder_operation(
    asked: params.ExportParams, namespace: str, artifacts: Sequence[ArtifactName]
) -> NewOperation:
    """Return the operation of a namespace that exports to a folder; its key is what it writes."""
    written = asked.destination
    assert isinstance(written, params.FolderExport)
    folders = sorted(f"{written.path}/{name}" for name in written.names)
    return NewOperation(
        kind="export",
        params=asked.document(),
        target=asked.versions[0] if len(asked.versions) == 1 else "",
        namespace=namespace,
        reads=tuple(dict.fromkeys(name.namespace for name in artifacts)),
        key="export " + "\n".join(folders),
    )


def _occupied(target: str, what: str) -> Precondition:
    return Precondition(
        Reason.IN_USE,
        f"{target} and {what} lie one inside the other.",
        next_step="Export to a folder beside it.",
        facts={"path": target},
    )


def _destination(kept: KeptExport, *, remove: bool = False) -> params.FolderExport:
    return params.FolderExport(
        path=kept.path,
        root=kept.root,
        layout=kept.layout.value,
        names=(kept.name,),
        artifacts=(kept.artifact_uid,),
        remove=remove,
    )


def _requester(kept: KeptExport) -> Caller:
    """Return in whose name a kept export runs: whoever asked for it."""
    caller = system_caller()
    if kept.requester == caller.principal:
        return caller
    user = kept.requester.removeprefix("users/")
    return Caller(
        principal=kept.requester,
        user=user,
        role=caller.role,
        scopes=frozenset(),
        token="",
        namespace=user,
        writes=frozenset(),
        reads=frozenset(),
        address="local",
    )


def _latest(artifact: Artifact) -> str:
    return str(artifact.name.version(artifact.current_version)) if artifact.current_version else ""
