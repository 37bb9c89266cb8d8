"""Who sees an artifact and whose it is: `ingot access`.

Owners of its namespace decide, and the artifact's own owner. What they change counts from the next call of
whoever it concerns. Changes are told as what to add and what to remove, so that two at once lose nothing.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from ingot.server.core import journal
from ingot.server.core.artifacts import Artifact, Visibility
from ingot.server.core.catalog_stores import UserStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import Exhausted, Reason, invalid_field
from ingot.server.core.grants import Grant, GrantStore
from ingot.server.core.identity import Caller, Role, user_of
from ingot.server.core.members import MemberStore, rights_of
from ingot.server.core.names import ArtifactName
from ingot.server.domain.access import Access
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.catalog_refusals import check_etag
from ingot.server.domain.members import no_user
from ingot.server.domain.requests import RequestKey, Requests

MOST_GRANTS = 1000  # of an artifact
MOST_AT_ONCE = 100  # in one call: the audit log names all of them


@dataclass(frozen=True, slots=True)
class ArtifactAccess:
    """Who sees an artifact, and whose it is."""

    artifact: Artifact
    grants: Sequence[Grant]


@dataclass(frozen=True, slots=True)
class AccessChange:
    """What is to be different; users by id. None and empty leave as it is."""

    name: ArtifactName
    visibility: Visibility | None = None
    owner: str = ""
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    etag: str = ""


@dataclass(frozen=True, slots=True)
class GrantStores:
    """The rows that grants are about."""

    grants: GrantStore
    members: MemberStore
    users: UserStore


class Grants:
    """The rules about who sees an artifact; every method runs inside a unit of work."""

    def __init__(
        self, catalog: Catalog, stores: GrantStores, access: Access, requests: Requests, clock: Clock
    ) -> None:
        self._catalog = catalog
        self._grants = stores.grants
        self._members = stores.members
        self._users = stores.users
        self._access = access
        self._requests = requests
        self._clock = clock

    def get(self, caller: Caller, name: ArtifactName) -> ArtifactAccess:
        """Return who sees an artifact. Raises NotFound (ARTIFACT_NOT_FOUND), Denied (SCOPE_MISSING)."""
        artifact = self._catalog.require_read(caller, name)
        self._access.require_artifact_owner(caller, artifact)
        return ArtifactAccess(artifact, self._grants.of(artifact))

    def set(
        self, caller: Caller, change: AccessChange, key: RequestKey, *, validate_only: bool
    ) -> ArtifactAccess:
        """Change who sees an artifact, or whose it is; return that as it is then.

        Raises NotFound (ARTIFACT_NOT_FOUND, USER_NOT_FOUND), Denied (SCOPE_MISSING), Conflict
        (ETAG_MISMATCH), Invalid (FIELD_INVALID), Exhausted (QUOTA).
        """

        def make() -> str:
            before = self.get(caller, change.name)
            check_etag(str(before.artifact.name), change.etag, before.artifact.etag)
            self._check(before, change)
            if not validate_only:
                self._store(caller, before, change)
            return ""

        if validate_only:
            make()
        elif self._requests.run(caller, "SetAccess", key, make)[1]:
            return self.get(caller, change.name)  # who asks again may have lost the right to know since
        artifact = self._catalog.require_read(caller, change.name)
        return ArtifactAccess(artifact, self._grants.of(artifact))

    # --- parts ------------------------------------------------------------------------------------------

    def _check(self, before: ArtifactAccess, change: AccessChange) -> None:
        both = sorted({*change.add} & {*change.remove})
        if both:
            raise invalid_field("remove_readers", f"expected others than in add_readers, got users/{both[0]}")
        for user in (*change.add, *((change.owner,) if change.owner else ())):
            if self._users.find(user) is None:
                raise no_user(user)
        if change.owner:
            self._check_owner(before.artifact, change.owner)
        after = {each.user for each in before.grants} | {*change.add}
        if len(after - {*change.remove}) > MOST_GRANTS:
            raise Exhausted(
                Reason.QUOTA,
                f"{before.artifact.name} may be shown to at most {MOST_GRANTS} single users.",
                next_step="Let them join its namespace, or make it visible to everybody who is signed in.",
                facts={"name": str(before.artifact.name), "limit": str(MOST_GRANTS)},
            )

    def _check_owner(self, artifact: Artifact, user: str) -> None:
        """Refuse an owner who may not write to the namespace. Raises Invalid (FIELD_INVALID)."""
        found, namespace = self._users.find(user), artifact.name.namespace
        member = self._members.find(namespace, user)
        rights = rights_of(found.role if found else Role.WORKER, (member,) if member else ())
        if namespace not in rights.writes:
            raise invalid_field(
                "owner",
                f"expected a user who may write to namespaces/{namespace}, got users/{user}",
                next_step=f"Let them join first: ingot members set {namespace} {user} writer",
            )

    def _store(self, caller: Caller, before: ArtifactAccess, change: AccessChange) -> None:
        artifact, now = before.artifact, self._clock.now()
        new = [Grant(user, caller.principal, now) for user in change.add]
        added = [each.user for each in new if self._grants.add(artifact, each)]
        removed = [user for user in change.remove if self._grants.remove(artifact, user)]
        fields = dataclasses.replace(
            artifact.fields, visibility=change.visibility or artifact.fields.visibility
        )
        owner = f"users/{change.owner}" if change.owner else artifact.owner
        if added or removed or fields != artifact.fields or owner != artifact.owner:
            self._catalog.amend(dataclasses.replace(artifact, fields=fields, owner=owner))
        journal.detail(
            visibility=fields.visibility.value if fields != artifact.fields else None,
            owner=user_of(owner) if owner != artifact.owner else None,
        )
        journal.each("granted", added)
        journal.each("revoked", removed)


def checked_readers(field: str, users: Sequence[str]) -> tuple[str, ...]:
    """Return users without repetitions. Raises Invalid (FIELD_INVALID) for too many at once."""
    if len(users) > MOST_AT_ONCE:
        raise invalid_field(
            field,
            f"expected at most {MOST_AT_ONCE}, got {len(users)}",
            next_step="Tell them in several calls.",
        )
    return tuple(dict.fromkeys(users))
