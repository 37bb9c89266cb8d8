"""Versions: what an upload becomes, and how a reference is pinned to one of them.

`check_target` refuses early, when an upload begins; `commit` decides, inside the transaction that ends the
upload. In between somebody else may have been faster, so commit checks everything again.
"""

import dataclasses

from ingot.content import digests
from ingot.server.core import ids, journal, names, texts
from ingot.server.core.alias_stores import AliasStore
from ingot.server.core.artifacts import (
    Artifact,
    ArtifactFields,
    NewVersion,
    TreeFacts,
    Version,
    VersionOrigin,
    VersionState,
)
from ingot.server.core.catalog_stores import ArtifactStore, VersionStore
from ingot.server.core.errors import AlreadyExists, Conflict, NotFound, Precondition, Reason, invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.names import AliasName, ArtifactName, VersionName, VersionReference
from ingot.server.core.pages import Page, PageTokens, fit, page_size
from ingot.server.core.registrations import RegistrationStore, not_fetched
from ingot.server.domain import catalog_fields
from ingot.server.domain.access import Access, artifact_not_found
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.catalog_refusals import approval_required
from ingot.server.domain.publishing import Publishing

SOURCE_LIMIT, COMMIT_LIMIT = 2000, 100  # characters

# What is said of a model that a training here makes, until its owner says more: no other kind is trained.
_TRAINED = ArtifactFields(
    framework="pytorch", task_type="text-generation", model_type="llm", source="training"
)


class Versions:
    """The rules about versions; every method runs inside a unit of work."""

    def __init__(
        self,
        catalog: Catalog,
        artifacts: ArtifactStore,
        versions: VersionStore,
        aliases: AliasStore,
        publishing: Publishing,
        access: Access,
        tokens: PageTokens,
        registrations: RegistrationStore,
    ) -> None:
        self._catalog = catalog
        self._artifacts = artifacts
        self._versions = versions
        self._aliases = aliases
        self._publishing = publishing
        self._access = access
        self._tokens = tokens
        self._registrations = registrations

    # --- writing ----------------------------------------------------------------------------------------

    def check_target(self, caller: Caller, target: NewVersion) -> NewVersion:
        """Refuse what could never be committed; return the target with ids and fields in their one form.

        Raises Invalid (NAME_INVALID, FIELD_INVALID), NotFound (NAMESPACE_NOT_FOUND, ARTIFACT_NOT_FOUND,
        TRAINING_JOB_NOT_FOUND), Denied (SCOPE_MISSING), AlreadyExists (NAME_TAKEN), Conflict
        (VERSION_CONFLICT).
        """
        target = self._normalised(target)
        _check_source(caller, target)
        self._access.require_version_write(caller, target.artifact, target.training_job)
        if target.training_job:
            _check_result(target)
        artifact = self._artifacts.find(target.artifact)
        if artifact is None and target.create is None:
            raise artifact_not_found(target.artifact)
        self._check_free(artifact, target)
        fields = (artifact.fields if artifact else target.create) or ArtifactFields()
        policy = self._catalog.policy_in(target.artifact.namespace, fields)
        for alias in target.aliases:
            if alias in policy.protected_aliases:
                raise approval_required(alias, f"the next version of {target.artifact}")
        return target

    def commit(
        self, caller: Caller, target: NewVersion, tree: TreeFacts, origin: VersionOrigin, now: float
    ) -> Version:
        """Make the version that `target` asks for out of a stored tree, and return it.

        Makes the artifact first when it is missing and `target.create` is set. The version is READY at once,
        `latest` moves to it, and so do the aliases asked for; or it is STAGED and its validation enqueued,
        when the artifact requires one. `now` in epoch seconds.
        Raises as check_target. Call it inside a write; nothing remains of it when that fails.
        """
        target = self.check_target(caller, target)
        person = self._access.person(caller, target.training_job)
        artifact = self._artifacts.find(target.artifact)
        if artifact is None:
            made = _TRAINED if target.training_job else target.create or ArtifactFields()
            artifact = self._catalog.add(person, target.artifact, made, now)
        version_id = target.version_id or str(self._versions.largest_number(artifact) + 1)
        staged = self._publishing.requires(artifact.fields)
        version = Version(
            name=artifact.name.version(version_id),
            uid=ids.new_uid(now),
            state=VersionState.STAGED if staged else VersionState.READY,
            digest=tree.digest,
            file_count=tree.file_count,
            size_bytes=tree.size_bytes,
            new_bytes=tree.new_bytes,
            format=target.format or tree.format,
            creator=caller.principal,
            maker=person.principal if caller.is_worker else "",
            create_time=now,
            ready_time=None if staged else now,
            changelog=target.changelog,
            metadata=target.metadata,
            performance_metrics=target.performance_metrics,
            origin=origin,
            asked_aliases=target.aliases if staged else (),
        )
        if staged:
            version = self._publishing.stage(person, artifact, version)
        if not self._versions.add(artifact, version):
            raise _version_taken(version.name)
        journal.result(str(version.name))
        journal.detail(
            digest=digests.format_digest(version.digest), upload=origin.upload, state=version.state
        )
        if staged:
            return version
        self._publishing.publish(artifact, version, target.aliases)
        return dataclasses.replace(version, aliases=tuple(sorted((*target.aliases, names.LATEST))))

    # --- reading ----------------------------------------------------------------------------------------

    def resolve(self, caller: Caller, reference: VersionReference) -> Version:
        """Return the concrete version that a version, an alias or a bare artifact (its latest) names.

        Raises NotFound (ARTIFACT_NOT_FOUND, VERSION_NOT_FOUND, ALIAS_NOT_FOUND), also for what is not the
        caller's to see; Precondition (STATE_INVALID) while the version is not ready, and (NOT_FETCHED) where
        the files of a registered artifact are not here.
        """
        version = self.get(caller, reference)
        if version.state is not VersionState.READY:
            raise not_ready(version)
        return version

    def get(self, caller: Caller, reference: VersionReference) -> Version:
        """Return a version; only READY ones unless the caller writes them. Raises NotFound as `resolve`."""
        name = reference if isinstance(reference, ArtifactName) else reference.artifact
        artifact = self._artifacts.find(name)
        if artifact is None:
            raise artifact_not_found(name)
        self._access.require_artifact_read(caller, artifact)  # before anything about its versions is told
        artifact = self._catalog.shown(caller, artifact)
        version_id = self._pinned(caller, artifact, reference)
        self._access.require_version_read(caller, artifact, artifact.name.version(version_id))
        version = self._versions.find(artifact, version_id)
        if version is None or not self._access.sees(caller, artifact, version):
            if isinstance(reference, AliasName):  # nor that the alias is there, nor where it points
                raise alias_not_found(reference)
            raise version_not_found(artifact.name.version(version_id))
        return self._catalog.told(caller, version)

    def page(
        self, caller: Caller, name: ArtifactName, size: int, token: str, *, deleted: bool = False
    ) -> Page[Version]:
        """Return a page of the versions of an artifact, newest first; READY ones unless the caller writes it.

        To workers only those they hold. With `deleted` those in the trash, to who may write the artifact.
        Raises NotFound (ARTIFACT_NOT_FOUND), Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        size = page_size(size)
        if deleted:
            artifact = self._catalog.require_write(caller, name)
        else:
            artifact = self._catalog.require_read(caller, name)
        if caller.is_worker:
            return Page(self._held(caller, artifact), "")
        query = f"ListVersions {artifact.uid} {deleted}"
        after = self._tokens.decode(query, token)
        rows = self._versions.page(
            artifact,
            int(after[0]) if after else None,
            size + 1,
            ready_only=not caller.may_write(artifact.name.namespace),
            approved_only=self._access.is_stranger(caller, artifact),
            deleted=deleted,
        )
        told = [(place, self._catalog.told(caller, version)) for place, version in rows]
        items, last = fit(told, size, catalog_fields.version_weight_of)
        return Page(items, self._tokens.encode(query, (last,)) if last else "")

    # --- checks -----------------------------------------------------------------------------------------

    def _normalised(self, target: NewVersion) -> NewVersion:
        return dataclasses.replace(
            target,
            version_id=names.check_version_id(target.version_id) if target.version_id else "",
            create=None if target.create is None else catalog_fields.checked(target.create, "create."),
            expected_latest=_bare_id(target.expected_latest),
            changelog=texts.text("changelog", target.changelog, catalog_fields.CHANGELOG_LIMIT),
            metadata=texts.json_object("metadata", target.metadata),
            performance_metrics=texts.json_object("performance_metrics", target.performance_metrics),
            aliases=tuple(dict.fromkeys(names.check_alias_id(each, "aliases") for each in target.aliases)),
            format=texts.word("format", target.format),
            source=texts.line("source", target.source, SOURCE_LIMIT),
            source_commit=texts.line("source_commit", target.source_commit, COMMIT_LIMIT),
        )

    def _check_free(self, artifact: Artifact | None, target: NewVersion) -> None:
        """Refuse a version id that is taken and a `latest` that is not the expected one."""
        current = artifact.current_version if artifact else ""
        if target.expected_latest is not None and target.expected_latest != current:
            raise Conflict(
                Reason.VERSION_CONFLICT,
                f"{target.artifact}: expected latest to be {target.expected_latest or 'no version yet'}, "
                f"found {current or 'no version yet'}; somebody else committed first.",
                next_step="Look at the new version, then upload again on top of it.",
                facts={"expected": target.expected_latest, "found": current},
            )
        if artifact and target.version_id:
            taken = self._versions.find(artifact, target.version_id)
            if taken or self._versions.find_deleted(artifact, target.version_id):
                raise _version_taken(artifact.name.version(target.version_id))
            if self._versions.is_spent(artifact, target.version_id):
                raise _version_spent(artifact.name.version(target.version_id))

    def _held(self, caller: Caller, artifact: Artifact) -> tuple[Version, ...]:
        """Return the versions of an artifact that a worker's assignments name, newest first: a handful."""
        held = [name for name in self._access.held_versions(caller) if name.artifact == artifact.name]
        found = [
            self._catalog.told(caller, version)
            for name in held
            if (version := self._versions.find(artifact, name.version))
        ]
        return tuple(sorted(found, key=lambda each: (each.create_time, each.name.version), reverse=True))

    def _pinned(self, caller: Caller, artifact: Artifact, reference: VersionReference) -> str:
        """Return the id of the version that the reference means now."""
        if isinstance(reference, VersionName):
            return reference.version
        if caller.is_worker:  # it is told concrete versions; which others have names is not its business
            raise artifact_not_found(artifact.name)
        if isinstance(reference, AliasName) and reference.alias != names.LATEST:
            alias = self._aliases.find(artifact, reference.alias)
            if alias is None:
                raise alias_not_found(reference)
            return alias.version.version
        if not artifact.current_version:
            registration = self._registrations.find(artifact.uid)
            if registration is not None and not registration.downloaded:
                raise not_fetched(registration)
            raise NotFound(
                Reason.VERSION_NOT_FOUND,
                f"{artifact.name} has no ready version yet, or none that you may see.",
                next_step="Upload one; strangers see those of a public one that are approved.",
                facts={"name": str(artifact.name)},
            )
        return artifact.current_version


def version_not_found(name: VersionName) -> NotFound:
    """Return the error for a version that is absent."""
    return NotFound(
        Reason.VERSION_NOT_FOUND,
        f"{name.artifact} has no version {name.version!r}.",
        next_step="List its versions to see which there are.",
        facts={"name": str(name)},
    )


def alias_not_found(name: AliasName) -> NotFound:
    """Return the error for an alias that is absent."""
    return NotFound(
        Reason.ALIAS_NOT_FOUND,
        f"{name.artifact} has no alias {name.alias!r}.",
        next_step="List its aliases to see which there are.",
        facts={"name": str(name)},
    )


def not_ready(version: Version) -> Precondition:
    """Return the error for a version that cannot be used yet, or any more."""
    return Precondition(
        Reason.STATE_INVALID,
        f"{version.name} is {version.state}; expected READY.",
        next_step="Wait for its validation, or use another version.",
        facts={"name": str(version.name), "state": version.state.value},
    )


def _check_source(caller: Caller, target: NewVersion) -> None:
    """Refuse a source that nobody read: lineage is written by the server. Raises Invalid (FIELD_INVALID)."""
    for field, told in (("source", target.source), ("source_commit", target.source_commit)):
        if told and not caller.operation:
            raise invalid_field(
                f"target.version.{field}",
                "expected nothing: only an operation of the server may tell where it read",
                next_step="Leave it out, or keep it in `metadata`.",
            )


def _check_result(target: NewVersion) -> None:
    """Refuse what the owner of a model decides, and not the worker that commits a job's result.

    Raises Invalid (FIELD_INVALID).
    """
    told = {
        "version_id": bool(target.version_id),
        "expected_latest": target.expected_latest is not None,
        "aliases": bool(target.aliases),
        "create": target.create is not None and target.create != ArtifactFields(source=target.create.source),
    }
    for field, given in told.items():
        if given:
            raise invalid_field(
                f"target.version.{field}",
                f"expected nothing in the result of {target.training_job}: its owner decides this",
                next_step="Leave it out; whoever owns the model sets it afterwards.",
            )


def _version_taken(name: VersionName) -> AlreadyExists:
    return AlreadyExists(
        Reason.NAME_TAKEN,
        f"{name} exists already, be it in the trash; the content of a version never changes.",
        next_step="Choose another version id, or leave it out to get the next number.",
        facts={"name": str(name)},
    )


def _version_spent(name: VersionName) -> AlreadyExists:
    return AlreadyExists(
        Reason.NAME_TAKEN,
        f"{name} was purged; the name of a version never means other content again.",
        next_step="Choose another version id, or leave it out to get the next number.",
        facts={"name": str(name)},
    )


def _bare_id(expected: str | None) -> str | None:
    """Return the id in an expected version given as an id or as a name; None and empty as they are."""
    if not expected:
        return expected
    if "/" not in expected:
        return names.check_version_id(expected, "expected_latest")
    reference = names.version_reference(expected, "expected_latest")
    if not isinstance(reference, VersionName):
        raise invalid_field("expected_latest", f"expected a version, got {expected!r}")
    return reference.version
