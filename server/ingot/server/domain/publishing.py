"""Publishing: a version that must pass a validation first, from its commit to READY.

    commit           the version is STAGED, its validation is enqueued, all in the write of the commit
    it runs          VALIDATING
    its report       passed: READY, and `latest` and the aliases asked for move; else REJECTED. In the write
                     that ends the operation, so that nobody sees the one without the other
    no verdict       STAGED again: the operation failed, was cancelled, or waits for its next attempt

`latest` is the newest READY version in the order of commits, whichever passed first. The upload that brought
the version follows along, so that people see its stage and the reason.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Collection

from ingot.server.core import journal, params
from ingot.server.core.alias_stores import AliasStore
from ingot.server.core.artifacts import (
    Alias,
    Artifact,
    ArtifactFields,
    ValidationMode,
    Version,
    VersionMove,
    VersionState,
    next_version_state,
)
from ingot.server.core.catalog_stores import VersionStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import NotFound, Problem, Reason
from ingot.server.core.facts import FactsStore
from ingot.server.core.identity import Caller, system_caller
from ingot.server.core.names import UploadName
from ingot.server.core.operations import NewOperation, Operation, OperationOptions, OperationState
from ingot.server.core.transfer_stores import TreeStore, UploadStore
from ingot.server.core.uploads import UploadState
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.operations import Operations

log = logging.getLogger(__name__)

VALIDATE = "validate"


class Publishing:
    """The rules about versions on their way to READY; every method runs inside a write.

    It hears of all validations: `operations.on(VALIDATE, publishing)`.
    """

    def __init__(
        self,
        catalog: Catalog,
        versions: VersionStore,
        aliases: AliasStore,
        uploads: UploadStore,
        trees: TreeStore,
        operations: Operations,
        facts: FactsStore,
        clock: Clock,
        *,
        required: bool,
    ) -> None:
        """`required` is what counts for artifacts without a policy of their own."""
        self._catalog = catalog
        self._versions = versions
        self._aliases = aliases
        self._uploads = uploads
        self._trees = trees
        self._operations = operations
        self._facts = facts
        self._clock = clock
        self._required = required
        self._gone: Callable[[Version], None] = lambda version: None

    def tell_gone(self, gone: Callable[[Version], None]) -> None:
        """Tell a feature from now on, inside the write, of each version that is rejected."""
        self._gone = gone

    def requires(self, fields: ArtifactFields) -> bool:
        """Return whether the versions of an artifact must pass a validation before others see them."""
        mode = fields.validation.mode
        return self._required if mode is ValidationMode.SERVER else mode is ValidationMode.REQUIRED

    def stage(self, caller: Caller, artifact: Artifact, version: Version) -> Version:
        """Enqueue the validation of a version that is about to be added; return the version that names it."""
        operation = self._enqueue(
            caller, artifact, version, artifact.fields.validation.rules, OperationOptions()
        )
        return dataclasses.replace(version, last_validation=operation.name)

    def publish(self, artifact: Artifact, version: Version, aliases: Collection[str]) -> Artifact:
        """Count a version that has just become READY, move `latest` and these aliases; return the artifact.

        Its files are soon looked at for facts, unless its validation has told them.

        An alias stays where it is when it was moved to a version committed later, or by somebody since.
        """
        self._facts.want(version.uid)
        found = self._versions.newest_ready(artifact)
        newest = found[1] if found else version
        artifact = self._catalog.grown(artifact, version, newest, self._clock.now(), version.creator)
        for alias in aliases:
            name = artifact.name.alias(alias)
            if self._may_move(artifact, alias, version):
                self._aliases.put(artifact, Alias(name, version.name, self._clock.now(), version.creator))
        return artifact

    def validate(
        self,
        caller: Caller,
        artifact: Artifact,
        version: Version,
        rules: params.Rules,
        options: OperationOptions,
        *,
        publish: bool,
    ) -> Operation:
        """Enqueue a validation of a version that exists; return the unfinished one with these rules, if any.

        With `publish` its report decides about a version that is not READY, and the version names it. One
        with other rules then has no say any more and is cancelled: the newest wish counts.
        """
        if not publish:
            return self._enqueue(caller, artifact, version, rules, options, publish=False)
        before = version.last_validation
        operation = self._enqueue(caller, artifact, version, rules, options)
        if operation.name == before:
            return operation
        if version.state is VersionState.REJECTED:
            self._move(version, VersionMove.AGAIN, last_validation=operation.name)
        elif version.state is VersionState.VALIDATING:
            self._move(version, VersionMove.RELEASE, last_validation=operation.name)
        else:
            self._versions.save(dataclasses.replace(version, last_validation=operation.name), version.state)
            self._tell_upload(version, None)
        if version.state is not VersionState.READY:
            self._cancel(before)
        return operation

    def moved(self, operation: Operation) -> None:
        """Take note of a change of a validation: it begins, ends, or waits again."""
        found = self._versions.by_validation(operation.name)
        if found is None:
            return
        artifact, version = found
        if operation.state is OperationState.SUCCEEDED:
            report = params.ValidationReport.model_validate(operation.result)
            if report.facts is not None:
                self._facts.put(version.uid, report.facts)
        if version.state is VersionState.READY:
            return
        match operation.state:
            case OperationState.RUNNING:
                self._move(version, VersionMove.BEGIN)
            case OperationState.SUCCEEDED:
                self._conclude(artifact, version, operation)
            case OperationState.QUEUED | OperationState.RETRYING:
                self._release(version, None)
            case OperationState.FAILED | OperationState.CANCELLED:
                self._release(version, operation.problem or _cancelled(version, operation, self._clock.now()))
            case OperationState.CANCELLING:
                pass  # it is VALIDATING until the body has stopped

    def retry(self, caller: Caller, upload: UploadName) -> None:
        """Validate the version that an upload brought again, with the rules that count now.

        Raises NotFound (ARTIFACT_NOT_FOUND) when it was deleted, or is not the caller's to write.
        """
        found = self._versions.by_upload(str(upload))
        gone = found is None or found[0].delete_time or found[1].delete_time
        if found is None or gone or not caller.may_write(found[0].name.namespace):
            raise NotFound(
                Reason.ARTIFACT_NOT_FOUND,
                f"What {upload} became is gone, or it is not yours.",
                next_step="Push it again.",
                facts={"upload": str(upload)},
            )
        artifact, version = found
        rules = artifact.fields.validation.rules
        self.validate(caller, artifact, version, rules, OperationOptions(), publish=True)

    def discard(self, upload: UploadName) -> None:
        """Drop the version that an upload brought unless it is READY, and abandon its files."""
        found = self._versions.by_upload(str(upload))
        if found is None or found[1].state is VersionState.READY:
            return
        version = found[1]
        tree = self._trees.find(version.uid)
        if tree is not None:
            self._trees.abandon(tree.id)
        self._versions.remove(version)
        log.info("version.discarded name=%s state=%s", version.name, version.state)

    # --- inside -----------------------------------------------------------------------------------------

    def _enqueue(
        self,
        caller: Caller,
        artifact: Artifact,
        version: Version,
        rules: params.Rules,
        options: OperationOptions,
        *,
        publish: bool = True,
    ) -> Operation:
        namespace = artifact.name.namespace
        readable = caller.may_read(namespace)
        asked = params.ValidationParams(rules=rules, publish=publish).document()
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        return self._operations.enqueue(
            caller,
            NewOperation(
                kind=VALIDATE,
                params=asked,
                target=str(version.name),
                namespace=namespace if publish else "",
                reads=(namespace,) if readable and not publish else (),
                key=f"validate/{version.uid}/{digest}" + ("" if publish else f"/{caller.principal}"),
                options=options,
            ),
        )

    def _cancel(self, operation: str) -> None:
        """Cancel an operation, by its name, unless it has ended."""
        system, name = system_caller(), operation.rpartition("/")[2]
        try:
            found = self._operations.get(system, name)
        except NotFound:  # it ended so long ago that it was forgotten
            return
        if not found.ended:
            self._operations.cancel(system, name)

    def _conclude(self, artifact: Artifact, version: Version, operation: Operation) -> None:
        report = params.ValidationReport.model_validate(operation.result)
        if not report.passed:
            journal.act("reject", str(version.name), operation=operation.name, asked_by=operation.requester)
            problem = _rejected(version, operation, report, self._clock.now())
            self._gone(self._move(version, VersionMove.REJECT, problem))
            return
        ready = self._move(version, VersionMove.PASS, ready_time=self._clock.now())
        self.publish(artifact, ready, version.asked_aliases)
        aliases = ", ".join(f"@{each}" for each in version.asked_aliases)
        told = {"operation": operation.name, "asked_by": operation.requester, "asked_aliases": aliases}
        journal.act("publish", str(version.name), **told)

    def _release(self, version: Version, problem: Problem | None) -> None:
        if version.state is VersionState.VALIDATING:
            self._move(version, VersionMove.RELEASE, problem)
        else:
            self._tell_upload(version, problem)

    def _move(
        self,
        version: Version,
        move: VersionMove,
        problem: Problem | None = None,
        *,
        ready_time: float | None = None,
        last_validation: str = "",
    ) -> Version:
        state = next_version_state(version.name, version.state, move)
        moved = dataclasses.replace(
            version,
            state=state,
            ready_time=ready_time,
            last_validation=last_validation or version.last_validation,
        )
        self._versions.save(moved, version.state)
        self._tell_upload(moved, problem)
        log.info("version.%s name=%s validation=%s", state.lower(), moved.name, moved.last_validation)
        return moved

    def _tell_upload(self, version: Version, problem: Problem | None) -> None:
        """Let the upload that brought a version show its state, and why it does not go on."""
        name = version.origin.upload.rpartition("/")[2]
        upload = self._uploads.find(UploadName(name)) if name else None
        if upload is None or upload.state is not UploadState.COMMITTED:
            return
        changed = dataclasses.replace(
            upload, version_state=version.state, problem=problem, update_time=self._clock.now()
        )
        self._uploads.save(changed, UploadState.COMMITTED)

    def _may_move(self, artifact: Artifact, alias: str, version: Version) -> bool:
        if alias in self._catalog.policy(artifact).protected_aliases and not version.is_approved:
            return False
        before = self._aliases.find(artifact, alias)
        if before is None or before.version == version.name:
            return True
        position = self._versions.position
        if position(artifact, before.version.version) > position(artifact, version.name.version):
            return False
        shown = self._versions.find(artifact, before.version.version)
        by_itself = shown is not None and before.update_time == shown.ready_time
        return by_itself or before.update_time <= version.create_time


def _rejected(version: Version, operation: Operation, report: params.ValidationReport, now: float) -> Problem:
    facts = {"version": str(version.name), "operation": operation.name, "findings": str(report.finding_count)}
    first = next(iter(report.findings), None)
    if first is not None:
        facts |= {"path": first.path, "finding": first.reason}
    return Problem(
        Reason.VALIDATION_FAILED,
        f"{version.name} did not pass its validation: {report.summary}",
        facts,
        f"{operation.name} has the whole report. Push it corrected, or change the rules and retry.",
        now,
    )


def _cancelled(version: Version, operation: Operation, now: float) -> Problem:
    return Problem(
        Reason.VALIDATION_FAILED,
        f"The validation of {version.name} was cancelled before it was done.",
        {"version": str(version.name), "operation": operation.name},
        "Retry the upload to validate it again.",
        now,
    )
