"""Users as administrators keep them: looking one up, changing and removing one.

The user `admin` belongs to whoever owns the data folder: it stays an administrator, and stays able to sign
in, so that a server never ends up with nobody who may change anything.
"""

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ingot.server.core import journal, texts
from ingot.server.core.catalog_stores import UserStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import Precondition, Reason, invalid_field
from ingot.server.core.identity import Caller, Role, User
from ingot.server.core.members import Member, MemberRole, MemberStore
from ingot.server.domain.catalog_refusals import check_etag
from ingot.server.domain.identity import ADMINISTRATOR, NAME_LIMIT, Identity
from ingot.server.domain.identity_refusals import require_admin, require_whole, user_not_found
from ingot.server.domain.logins import Logins

PATHS = ("display_name", "role", "disabled")


@dataclass(frozen=True, slots=True)
class UserChange:
    """New values of a user: those that `paths` name; role None is not told."""

    user: str
    display_name: str
    role: Role | None
    disabled: bool
    paths: Collection[str]
    etag: str = ""


class Users:
    """The rules about changing users; every method runs inside a unit of work."""

    def __init__(
        self, users: UserStore, members: MemberStore, identity: Identity, logins: Logins, clock: Clock
    ) -> None:
        self._users = users
        self._members = members
        self._identity = identity
        self._logins = logins
        self._clock = clock

    def get(self, caller: Caller, user: str) -> User:
        """Return a user. Raises NotFound (USER_NOT_FOUND), Denied (SCOPE_MISSING)."""
        require_admin(caller, "look users up")
        return self._identity.find(user)

    def update(self, caller: Caller, change: UserChange) -> User:
        """Change what the paths name and return the user; rights change from the next call on.

        Raises NotFound (USER_NOT_FOUND), Denied (SCOPE_MISSING), Invalid (FIELD_INVALID), Conflict
        (ETAG_MISMATCH), Precondition (PROTECTED).
        """
        require_admin(caller, "change users")
        before = self._identity.find(change.user)
        check_etag(before.name, change.etag, before.etag)
        after = _changed(before, change)
        if after.role is Role.ADMIN is not before.role:
            require_whole(caller, "make administrators")
        if before.id == ADMINISTRATOR and (after.role is not Role.ADMIN or after.disabled):
            raise _protected(before, "it stays an administrator who may sign in")
        if after != before:
            self._users.change(after)
            if after.disabled:
                self._logins.end_all(after.id)
            self._identity.rights_changed()
            journal.detail(
                role=after.role.value,
                before=before.role.value if after.role is not before.role else None,
                disabled=after.disabled or None,
            )
        return after

    def delete(
        self, caller: Caller, user: str, etag: str, *, allow_missing: bool, validate_only: bool = False
    ) -> Sequence[Member]:
        """Remove a user with all credentials and the own, empty namespace, whose id stays taken.

        Returns what they belonged to beside it.
        Raises NotFound (USER_NOT_FOUND), Denied (SCOPE_MISSING), Conflict (ETAG_MISMATCH), Precondition
        (PROTECTED, IN_USE).
        """
        require_admin(caller, "remove users")
        found = self._users.find(user)
        if found is None and allow_missing:
            return ()
        if found is None:
            raise user_not_found(user)
        check_etag(found.name, etag, found.etag)
        if found.id == ADMINISTRATOR:
            raise _protected(found, "it cannot be removed")
        if found.id == caller.user:
            raise _protected(found, "nobody removes themselves")
        self._require_unneeded(found)
        left = [each for each in self._users.memberships(found.id) if each.namespace != found.id]
        if validate_only:
            return left
        self._members.remove_namespace(found.id, self._clock.now())
        self._users.remove(found.id)
        self._identity.rights_changed()
        return left

    def _require_unneeded(self, user: User) -> None:
        """Refuse to remove whose namespace holds something, or who is the last owner of a team's."""
        held = [f"{count} {what}" for what, count in self._members.contents(user.id).items()]
        alone = [
            f"namespaces/{each.namespace} as its last owner"
            for each in self._users.memberships(user.id)
            if each.namespace != user.id
            and each.role is MemberRole.OWNER
            and self._members.owner_count(each.namespace) == 1
        ]
        if held or alone:
            raise Precondition(
                Reason.IN_USE,
                f"{user.name} cannot be removed: still there are {', '.join([*held, *alone])}.",
                next_step="Move or purge what the namespace holds, name other owners, or disable the user: "
                "then nobody can sign in as it, and what it made stays.",
                facts={"user": user.name, "held": ", ".join([*held, *alone])},
            )


def _changed(user: User, change: UserChange) -> User:
    unknown = sorted(set(change.paths) - set(PATHS))
    if unknown or not change.paths:
        raise invalid_field(
            "update_mask", f"expected some of {', '.join(PATHS)}, got {', '.join(unknown) or 'none'}"
        )
    if "role" in change.paths and change.role not in (Role.ADMIN, Role.MEMBER, Role.VIEWER):
        got = change.role.value if change.role else "none"
        raise invalid_field("user.role", f"expected ADMIN, MEMBER or VIEWER, got {got}")
    name = texts.line("user.display_name", change.display_name, NAME_LIMIT)
    return dataclasses.replace(
        user,
        display_name=name if "display_name" in change.paths else user.display_name,
        role=change.role if "role" in change.paths and change.role else user.role,
        disabled=change.disabled if "disabled" in change.paths else user.disabled,
    )


def _protected(user: User, why: str) -> Precondition:
    return Precondition(
        Reason.PROTECTED,
        f"{user.name} is protected: {why}.",
        next_step="Make another administrator for daily work, and change that one.",
        facts={"user": user.name},
    )
