"""Registered artifacts: declared by a list or by a call, fetched when somebody first reads them.

The import that fetches an artifact is one operation, whoever asks for it: its key is `fetch {uid}`, and
everybody who may read the artifact may follow it. What becomes of it is told by `moved`, inside the write
that moves the operation, so that a registration never says anything else than its import.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence

from ingot.content import digests
from ingot.server.core import params
from ingot.server.core.artifacts import Artifact, ArtifactFields, Version
from ingot.server.core.catalog_stores import ArtifactStore, UserStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import NotFound, Precondition, Reason, invalid_field
from ingot.server.core.identity import Caller, system_caller
from ingot.server.core.names import ArtifactName, Kind, artifact_name
from ingot.server.core.operation_stores import OperationStore
from ingot.server.core.operations import NewOperation, Operation, OperationState
from ingot.server.core.params import HubImport, UrlFile, UrlImport
from ingot.server.core.registrations import (
    AskedSource,
    Declaration,
    FetchState,
    Registration,
    RegistrationStore,
    not_fetched,
)
from ingot.server.domain import trash
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.import_sources import ImportSources
from ingot.server.domain.operations import Operations

KIND = "import"
_HUB_URL = re.compile(r"hf://(datasets/)?([^@\s]+?)(?:@([^@\s]+))?")


class Registrations:
    """Implements RegisteredSources, LatestHook, OperationHook and ReadTargets.

    Methods run inside a write; `of` and `shows` also inside a read.
    """

    def __init__(
        self,
        store: RegistrationStore,
        sources: ImportSources,
        catalog: Catalog,
        artifacts: ArtifactStore,
        users: UserStore,
        operations: Operations,
        rows: OperationStore,
        clock: Clock,
    ) -> None:
        self._store = store
        self._sources = sources
        self._catalog = catalog
        self._artifacts = artifacts
        self._users = users
        self._operations = operations
        self._rows = rows
        self._clock = clock

    # --- registering ------------------------------------------------------------------------------------

    def declare(self, namespace: str, declarations: Sequence[Declaration]) -> int:
        """Register what the lists of the server declare; return how many entries are new or changed.

        What they no longer name stays, but does not come back once it is deleted. Raises Precondition
        (STATE_INVALID) when the namespace is a user's own, and what ImportSources.checked raises.
        """
        now, seen, changed = self._clock.now(), set(), 0
        if declarations and not self._users.ensure_namespace(namespace, now):
            raise Precondition(
                Reason.STATE_INVALID,
                f"sources_namespace: {namespace!r} is the own namespace of users/{namespace}.",
                next_step="Set sources_namespace to an id that no user has.",
                facts={"namespace": namespace},
            )
        for each in declarations:
            name = ArtifactName(namespace, each.kind, each.id)
            artifact = self._artifacts.find(name) or self._catalog.add(
                system_caller(), name, each.fields, now
            )
            seen.add(artifact.uid)
            changed += self._declare(artifact, each)
        for known in self._store.declared():
            if known.artifact_uid not in seen:
                self._put(known, declared=False)
        return changed

    def register(self, caller: Caller, artifact: Artifact, asked: AskedSource) -> None:
        """Register an artifact that the caller may write with a source; a repetition changes nothing.

        Raises Invalid (FIELD_INVALID), Denied (SCOPE_MISSING, SOURCE_ADDRESS_REFUSED).
        """
        self._catalog.require_write(caller, artifact.name)
        source = self.checked_source(artifact.name.kind, asked)
        if self._store.find(artifact.uid) is None:
            made = self._new(artifact, source, asked.checksum, asked.size_bytes)
            self._put(made)

    def checked_source(self, kind: Kind, asked: AskedSource) -> HubImport | UrlImport:
        """Return the source that a URL names. Raises as `register`."""
        if asked.size_bytes < 0:
            raise invalid_field("artifact.fetch.expected_size_bytes", "expected 0 or more")
        hub = _HUB_URL.fullmatch(asked.original_url)
        if hub is None:
            file = UrlFile(urls=(asked.original_url,), checksum=asked.checksum, size_bytes=asked.size_bytes)
            return self._source(UrlImport(files=(file,)))
        if (Kind.DATASET if hub[1] else Kind.MODEL) is not kind:
            raise invalid_field(
                "artifact.fetch.original_url",
                f"expected a {kind.word}, got {asked.original_url}",
                next_step="Datasets of the Hub are hf://datasets/{repository}, models hf://{repository}.",
            )
        if asked.checksum or asked.size_bytes:
            raise invalid_field(
                "artifact.fetch.expected_checksum",
                "expected none for a repository of the Hub, whose files come with their own digests",
                next_step="Leave checksum and size out; name a commit to pin the content.",
            )
        return self._source(
            HubImport(
                repository=hub[2],
                repository_kind="dataset" if hub[1] else "model",
                revision=hub[3] or "",
            )
        )

    # --- fetching ---------------------------------------------------------------------------------------

    def params(self, caller: Caller, artifact: ArtifactName) -> NewOperation:
        """Return the import that fetches an artifact; any reader may ask for the first, owners for others.

        Raises NotFound (ARTIFACT_NOT_FOUND), Precondition (STATE_INVALID) for one that has no source, Denied
        (SCOPE_MISSING) for who may not write one that is here.
        """
        found = self._catalog.require_read(caller, artifact)
        registration = self._store.find(found.uid)
        if registration is None:
            raise Precondition(
                Reason.STATE_INVALID,
                f"{found.name} is not registered with a source; its versions come by upload or by import.",
                next_step="Import from the Hub or from URLs, with this artifact as the target.",
                facts={"name": str(found.name)},
            )
        if registration.downloaded:
            self._catalog.require_write(caller, artifact)
        wanted = params.ImportParams(
            source=registration.source,
            target=params.Target(artifact=str(found.name)),
            registered=True,
            registrar="" if registration.declared else found.owner,
        )
        return NewOperation(
            kind=KIND,
            params=wanted.document(),
            target=str(found.name),
            namespace=found.name.namespace,
            key=f"fetch {found.uid}",
            for_all=True,  # a reader who may write nothing starts it too, and others wait for the same one
        )

    def on_access(self, caller: Caller, artifact: ArtifactName) -> Operation | None:
        """Return the import that fetches what the caller reads, started once; None when it is here by now.

        Raises as `params`, and Precondition (NOT_FETCHED) with what the last import failed with.
        """
        found = self._catalog.require_read(caller, artifact)
        registration = self._store.find(found.uid)
        if registration is None or registration.downloaded:
            return None
        if registration.state is FetchState.FAILED:
            raise not_fetched(registration)
        return self._operations.enqueue(caller, self.params(caller, found.name))

    def moved(self, operation: Operation) -> None:
        """Take note of a change of the import that fetches an artifact."""
        if not _fetches(operation):
            return
        known = self._store.find(operation.key.removeprefix("fetch ").split(" ")[0])
        if known is None or (operation.ended and known.operation != operation.name):
            return
        match operation.state:
            case OperationState.SUCCEEDED:
                result = params.ImportResult.model_validate(operation.result)
                self._fetched(known, result.size_bytes, result.digest)
            case OperationState.FAILED:
                self._put(known, state=FetchState.FAILED, problem=operation.problem)
            case OperationState.CANCELLED:
                state = FetchState.FETCHED if known.downloaded else FetchState.REGISTERED
                self._put(known, state=state, problem=None, progress=float(known.downloaded))
            case _:
                self._put(
                    known,
                    state=FetchState.FETCHING,
                    problem=operation.problem,
                    operation=operation.name,
                    progress=_share(operation),
                )

    # --- looking ----------------------------------------------------------------------------------------

    def of(self, artifacts: Sequence[Artifact]) -> Mapping[str, Registration]:
        """Return the registrations of artifacts by uid, with how far the running imports are."""
        found = self._store.of([each.uid for each in artifacts])
        return {uid: self._live(each) for uid, each in found.items()}

    def shows(self, caller: Caller, operation: Operation) -> bool:
        """Return whether an operation fetches an artifact that the caller may read."""
        if not _fetches(operation):
            return False
        try:
            self._catalog.require_read(caller, artifact_name(operation.target))
        except NotFound:
            return False
        return True

    # --- deleting ---------------------------------------------------------------------------------------

    def latest_moved(self, artifact: Artifact, version: Version, by: str) -> None:
        """Take note of what the last import made and failed with, when it passes a validation after all."""
        known = self._store.find(artifact.uid)
        if known is None or known.state is not FetchState.FAILED:
            return
        if version.origin.operation == known.operation:
            self._fetched(known, version.size_bytes, digests.format_digest(version.digest))

    def latest_gone(self, artifact: Artifact, by: str) -> None:
        """Leave what was fetched as it is: it was, and may be taken out of the trash."""

    def deleted(self, artifact: Artifact) -> None:
        """Queue the removal of the files of a registered artifact; a declared one is listed again at once."""
        known = self._store.find(artifact.uid)
        if known is None:
            return
        self._store.delete(artifact.uid)
        running = self._rows.unfinished(f"fetch {artifact.uid}")
        if running is not None:
            self._operations.cancel(system_caller(), running.id)
        self._operations.enqueue(system_caller(), trash.removal(artifact))
        if known.declared:
            again = self._catalog.add(system_caller(), artifact.name, artifact.fields, self._clock.now())
            made = self._new(again, known.source, known.expected_checksum, known.expected_size)
            self._put(made, declared=True)

    # --- inside -----------------------------------------------------------------------------------------

    def _declare(self, artifact: Artifact, declared: Declaration) -> bool:
        """Store one entry; return whether it was new or other than before."""
        wanted = self._new(artifact, self._source(declared.source), declared.checksum, declared.size_bytes)
        wanted = dataclasses.replace(wanted, declared=True, description=declared.fields.description)
        known = self._store.find(artifact.uid)
        if known is None:
            self._put(wanted)
            self._describe(artifact, declared.fields)
            return True
        changed = dataclasses.replace(
            known,
            name=wanted.name,
            source=wanted.source,
            original_url=wanted.original_url,
            description=wanted.description,
            declared=True,
            expected_checksum=wanted.expected_checksum,
            expected_size=wanted.expected_size,
        )
        if changed == known:
            return False
        if changed.source != known.source and known.state is FetchState.FAILED:
            changed = dataclasses.replace(changed, state=FetchState.REGISTERED, problem=None)
        self._put(changed)
        self._describe(artifact, declared.fields)
        return True

    def _describe(self, artifact: Artifact, fields: ArtifactFields) -> None:
        """Let an artifact say what its entry says."""
        told = dataclasses.replace(
            artifact.fields, display_name=fields.display_name, description=fields.description
        )
        if told != artifact.fields:
            self._catalog.amend(dataclasses.replace(artifact, fields=told))

    def _source(self, source: HubImport | UrlImport) -> HubImport | UrlImport:
        checked = self._sources.checked(source).params
        if isinstance(checked, params.BundleImport):
            raise TypeError("a bundle is no source of an artifact")
        return checked

    def _new(
        self, artifact: Artifact, source: HubImport | UrlImport, checksum: str, size: int
    ) -> Registration:
        original = self._sources.original(source)
        if isinstance(source, HubImport) and source.revision:
            original += f"@{source.revision}"
        return Registration(
            artifact_uid=artifact.uid,
            name=str(artifact.name),
            source=source,
            original_url=original,
            description=artifact.fields.description,
            expected_checksum=checksum,
            expected_size=size,
        )

    def _live(self, known: Registration) -> Registration:
        if known.state is not FetchState.FETCHING:
            return known
        operation = self._rows.find(known.operation.removeprefix("operations/"))
        return dataclasses.replace(known, progress=_share(operation)) if operation else known

    def _fetched(self, known: Registration, size: int, digest: str) -> None:
        self._put(
            known,
            state=FetchState.FETCHED,
            problem=None,
            downloaded=True,
            progress=1.0,
            size=size,
            checksum=digest,
            download_time=self._clock.now(),
        )

    def _put(self, registration: Registration, **changes: object) -> None:
        now = self._clock.now()
        self._store.put(dataclasses.replace(registration, **changes, update_time=now))  # type: ignore[arg-type]  # fields by name


def _fetches(operation: Operation) -> bool:
    """Return whether an operation fetches a registered artifact, and does not only look."""
    asked = operation.params
    return operation.kind == KIND and bool(asked.get("registered")) and not asked.get("check_only")


def _share(operation: Operation) -> float:
    percent = operation.progress.percent if operation.progress else 0.0
    return min(max(percent / 100, 0.0), 1.0)
