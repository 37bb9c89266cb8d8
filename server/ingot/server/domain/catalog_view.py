"""What callers see of artifacts: versions that are theirs to see, and to strangers the approved ones only.

A stranger sees a public artifact as if only its approved versions existed: the newest of them is its current
one, and sizes and counts are theirs.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence

from ingot.server.core import journal
from ingot.server.core.alias_stores import AliasPlaces
from ingot.server.core.approval_policies import ApprovalPolicy
from ingot.server.core.artifacts import Artifact, ArtifactFields, Version, VersionOrigin, Visibility
from ingot.server.core.catalog_stores import VersionStore
from ingot.server.core.identity import Caller
from ingot.server.core.pages import LARGEST_WEIGHT, fit
from ingot.server.domain import catalog_fields, validation_policies
from ingot.server.domain.access import Access
from ingot.server.domain.catalog_refusals import not_protectable, protected

NEWEST_VERSIONS = 20  # in the view WITH_VERSIONS
_NO_ORIGIN = VersionOrigin()
_HIDDEN = "hidden"  # mark of what no stranger sees


class CatalogView:
    """The part of the catalog that decides what is shown; methods run inside a unit of work."""

    def __init__(self, versions: VersionStore, access: Access) -> None:
        self._versions = versions
        self._access = access
        self._policies: Callable[[str], ApprovalPolicy] = lambda namespace: ApprovalPolicy()
        self._aliases: AliasPlaces | None = None

    def under(self, policies: Callable[[str], ApprovalPolicy], aliases: AliasPlaces) -> None:
        """Let what approvals need depend on the namespace, too: `policies` tells by its id."""
        self._policies, self._aliases = policies, aliases

    def policy(self, artifact: Artifact) -> ApprovalPolicy:
        """Return what approvals of an artifact's versions need: its own policy with that of its namespace."""
        return self.policy_in(artifact.name.namespace, artifact.fields)

    def policy_in(self, namespace: str, fields: ArtifactFields) -> ApprovalPolicy:
        """Return the policy of an artifact that need not exist yet."""
        return self._policies(namespace) | fields.approval

    def require_unprotected(self, caller: Caller, artifact: Artifact, aliases: Collection[str]) -> None:
        """Refuse that these aliases go with what they name while they are protected, but to owners.

        Raises Precondition (PROTECTED).
        """
        guarded = set(aliases).intersection(self.policy(artifact).protected_aliases)
        for alias in sorted(guarded) if not caller.may_own(artifact.name.namespace) else ():
            if self._aliases and self._aliases.has(artifact, alias):
                raise protected(artifact.name.alias(alias))

    def require_protectable(self, artifact: Artifact, policy: ApprovalPolicy) -> None:
        """Refuse a policy that begins to protect an alias of what is not approved.

        Raises Precondition (APPROVAL_REQUIRED).
        """
        begun = set(policy.protected_aliases).difference(self.policy(artifact).protected_aliases)
        found = self._aliases.unapproved("", begun, artifact) if self._aliases and begun else None
        if found is not None:
            raise not_protectable(*found)

    def require_decided(self, caller: Caller, artifact: Artifact, fields: ArtifactFields) -> None:
        """Refuse new fields that only owners decide on, unless the caller is one.

        That is who sees the artifact, what approvals need, and a validation that lets more pass: whoever
        asks for an approval must not make its evidence easier. Everybody who writes may ask for more.
        Raises Denied (SCOPE_MISSING), Precondition (APPROVAL_REQUIRED).
        """
        before, name = artifact.fields, artifact.name
        if fields.approval != before.approval:
            self._access.require_artifact_owner(caller, artifact, f"what approvals of {name} need")
            self.require_protectable(artifact, fields.approval)
        if fields.visibility is not before.visibility:
            self._access.require_artifact_owner(caller, artifact)
        if looser := validation_policies.loosened(before.validation, fields.validation):
            what = f"that the validation of {name} asks for less ({', '.join(looser)})"
            self._access.require_artifact_owner(caller, artifact, what)

    def tell_decided(self, before: ArtifactFields, fields: ArtifactFields) -> None:
        """Tell the audit log what new fields say of who sees an artifact and what its versions must pass."""
        journal.detail(visibility=fields.visibility, lifecycle=fields.lifecycle)
        if fields.approval != before.approval:
            journal.each("approval", fields.approval.words)
            journal.each("approval_before", before.approval.words)
        if fields.validation != before.validation:
            for fact, policy in (("validation", fields), ("validation_before", before)):
                journal.each(fact, validation_policies.words(policy.validation))

    def shown(self, caller: Caller, artifact: Artifact) -> Artifact:
        """Return an artifact as the caller sees it."""
        return self.all_shown(caller, [artifact])[0]

    def all_shown(self, caller: Caller, artifacts: Sequence[Artifact]) -> list[Artifact]:
        """Return artifacts as the caller sees them."""
        if caller.is_worker:
            return self._held(caller, artifacts)
        strange = self._access.strange(caller, artifacts)
        if not strange:
            return list(artifacts)
        newest = self._versions.newest(strange, 1, approved_only=[each.uid for each in strange])
        counts = self._versions.count_approved(strange)
        seen = {
            each.uid: _public(each, newest.get(each.uid, ()), counts.get(each.uid, 0)) for each in strange
        }
        return [seen.get(each.uid, each) for each in artifacts]

    def listed(self, artifact: Artifact) -> Artifact:
        """Return an artifact as lists find, sort and count it: a public one as everybody sees it.

        What only members see must not be asked for by filters, nor be read off totals.
        """
        if artifact.fields.visibility is not Visibility.PUBLIC or artifact.delete_time is not None:
            return artifact
        if not artifact.version_count:
            return _public(artifact, (), 0)
        newest = self._versions.newest([artifact], 1, approved_only=[artifact.uid])
        count = self._versions.count_approved([artifact]).get(artifact.uid, 0)
        public = _public(artifact, newest.get(artifact.uid, ()), count)
        return dataclasses.replace(public, version_bytes=self._versions.approved_bytes(artifact))

    def marked(self, artifact: Artifact) -> tuple[Artifact, Artifact]:
        """Return an artifact that knows when what strangers see of it changed, and as lists find it."""
        listed = self.listed(artifact)
        mark = _mark_of(listed)
        if not mark or mark != artifact.public_mark:
            artifact = dataclasses.replace(artifact, public_mark=mark, public_time=artifact.update_time)
        if artifact.fields.visibility is Visibility.PUBLIC and artifact.delete_time is None:
            listed = dataclasses.replace(listed, update_time=artifact.public_time)
        return artifact, listed

    def newest_versions(
        self, caller: Caller, artifacts: Sequence[Artifact]
    ) -> Mapping[str, Sequence[Version]]:
        """Return the newest 20 versions of each artifact by its uid; READY ones unless the caller writes it.

        To workers only those they hold.
        """
        if not caller.is_worker:
            return self._newest_to(caller, artifacts)
        found = self._versions.newest(artifacts, NEWEST_VERSIONS)
        held = self._access.held_versions(caller)
        return {
            uid: [self.told(caller, each) for each in versions if each.name in held]
            for uid, versions in found.items()
        }

    def fitting(self, artifact: Artifact, versions: Sequence[Version]) -> Sequence[Version]:
        """Return the first of the versions, one at least, that fit into a message with their artifact."""
        placed = list(enumerate(versions))
        left = LARGEST_WEIGHT - catalog_fields.weight_of(artifact)
        return fit(placed, len(placed), catalog_fields.version_weight_of, left)[0]

    def told(self, caller: Caller, version: Version) -> Version:
        """Return a version as the caller sees it: only members are told where it comes from.

        GetLineage tells everybody as much of that as they may know.
        """
        if caller.is_worker:  # aliases would tell of other versions
            return dataclasses.replace(version, aliases=())
        if caller.may_read(version.name.artifact.namespace):
            return version
        return dataclasses.replace(version, origin=_NO_ORIGIN, last_validation="")

    def _held(self, caller: Caller, artifacts: Sequence[Artifact]) -> list[Artifact]:
        """Return artifacts as a worker sees them: as if there were only the versions that it holds."""
        held = self._access.held_versions(caller)
        return [
            _only(
                artifact,
                [
                    version
                    for name in held
                    if name.artifact == artifact.name
                    and (version := self._versions.find(artifact, name.version))
                ],
            )
            for artifact in artifacts
        ]

    def _newest_to(self, caller: Caller, artifacts: Sequence[Artifact]) -> Mapping[str, Sequence[Version]]:
        hidden = [each.uid for each in artifacts if not caller.may_write(each.name.namespace)]
        strange = [each.uid for each in self._access.strange(caller, artifacts)]
        untold = [each.uid for each in artifacts if not caller.may_read(each.name.namespace)]
        return self._versions.newest(
            artifacts, NEWEST_VERSIONS, ready_only=hidden, approved_only=strange, untold=untold
        )


def _public(artifact: Artifact, newest: Sequence[Version], count: int) -> Artifact:
    """Return an artifact whose newest version is the one given, if any."""
    version = newest[0] if newest else None
    artifact = dataclasses.replace(artifact, update_time=artifact.public_time, revision=0)
    if version is not None and version.name.version == artifact.current_version:
        return dataclasses.replace(artifact, version_count=count, stored_bytes=0)
    return dataclasses.replace(
        artifact,
        current_version=version.name.version if version else "",
        format=version.format if version else "",
        size_bytes=version.size_bytes if version else 0,
        version_count=count,
        stored_bytes=0,
        facts=version.facts if version else None,
    )


def _only(artifact: Artifact, versions: Sequence[Version]) -> Artifact:
    """Return an artifact with the figures of these versions, and without a sign of any other one."""
    newest = max(versions, key=lambda each: (each.create_time, each.uid), default=None)
    time = newest.create_time if newest else artifact.create_time
    return dataclasses.replace(
        _public(artifact, [newest] if newest else [], len(versions)),
        current_version=newest.name.version if newest else "",
        version_bytes=sum(each.size_bytes for each in versions),
        update_time=time,
        public_mark=" ".join(sorted(each.uid for each in versions)),
    )


def _mark_of(listed: Artifact) -> str:
    """Return what differs whenever strangers see something else; empty where they see every change."""
    if listed.delete_time is not None or listed.fields.visibility is Visibility.PRIVATE:
        return _HIDDEN
    if listed.fields.visibility is not Visibility.PUBLIC:
        return ""
    seen = (
        listed.owner,
        listed.fields,
        listed.current_version,
        listed.format,
        listed.version_count,
        listed.size_bytes,
    )
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:32]
