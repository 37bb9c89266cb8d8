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
from ingot.server.domain.made_tokens import MadeTokens

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
    keep_tokens: bool = False  # those that they made for others as an administrator


@dataclass(frozen=True, slots=True)
class Account:
    """A user, and how they can come in at present."""

    user: User
    has_password: bool
    logins: int  # that have not ended
    tokens: int  # that are good


@dataclass(frozen=True, slots=True)
class ChangedUser:
    """A user as it is now, and what the change ended: tokens by name; teams without an owner who can act."""

    user: User
    ended_tokens: tuple[str, ...] = ()
    ownerless: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GoneUser:
    """What a removed user leaves, and tokens for others that end with them, by name."""

    left: tuple[Member, ...] = ()
    ended_tokens: tuple[str, ...] = ()


class Users:
    """The rules about changing users; every method runs inside a unit of work."""

    def __init__(
        self,
        users: UserStore,
        members: MemberStore,
        identity: Identity,
        logins: Logins,
        tokens: MadeTokens,
        clock: Clock,
    ) -> None:
        self._users = users
        self._members = members
        self._identity = identity
        self._logins = logins
        self._tokens = tokens
        self._clock = clock

    def get(self, caller: Caller, user: str) -> Account:
        """Return a user, and how they can come in.

        Raises NotFound (USER_NOT_FOUND), Denied (SCOPE_MISSING).
        """
        require_admin(caller, "look users up")
        found = self._identity.find(user)
        has_password = self._logins.stored(user) is not None
        return Account(found, has_password, self._logins.count(user), self._tokens.count(user))

    def update(self, caller: Caller, change: UserChange) -> ChangedUser:
        """Change what the paths name and return the user; rights change from the next call on.

        Who is no administrator any more, or disabled, loses the tokens made for others. What a team is left
        without is told and not refused: somebody whose password was stolen is disabled at once.

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
        ended: Sequence[str] = ()
        if after != before:
            self._users.change(after)
            if after.disabled:
                self._logins.end_all(after.id)
            if not change.keep_tokens and before.role is Role.ADMIN and _is_lesser(after):
                ended = self._tokens.end(self._tokens.for_others(after.id))
            self._identity.rights_changed()
            journal.detail(
                role=after.role.value,
                before=before.role.value if after.role is not before.role else None,
                disabled=after.disabled or None,
            )
        return ChangedUser(after, tuple(ended), self._ownerless(after))

    def delete(
        self, caller: Caller, user: str, etag: str, *, allow_missing: bool, validate_only: bool = False
    ) -> GoneUser:
        """Remove a user with all credentials and the own, empty namespace, whose id stays taken.

        The tokens that they made for others end with them. Returns what goes beside the user.
        Raises NotFound (USER_NOT_FOUND), Denied (SCOPE_MISSING), Conflict (ETAG_MISMATCH), Precondition
        (PROTECTED, IN_USE).
        """
        require_admin(caller, "remove users")
        found = self._users.find(user)
        if found is None and allow_missing:
            return GoneUser()
        if found is None:
            raise user_not_found(user)
        check_etag(found.name, etag, found.etag)
        if found.id == ADMINISTRATOR:
            raise _protected(found, "it cannot be removed")
        if found.id == caller.user:
            raise _protected(found, "nobody removes themselves")
        self._require_unneeded(found)
        left = [each for each in self._users.memberships(found.id) if each.namespace != found.id]
        made = self._tokens.for_others(found.id)
        gone = GoneUser(tuple(left), tuple(each.name for each in made))
        if validate_only:
            return gone
        self._tokens.end(made)
        self._members.remove_namespace(found.id, self._clock.now())
        self._users.remove(found.id)
        self._identity.rights_changed()
        return gone

    def _ownerless(self, user: User) -> tuple[str, ...]:
        """Return the teams that a user owns and that have no owner who can act."""
        if not user.disabled and user.role is not Role.VIEWER:
            return ()
        return tuple(
            f"namespaces/{each.namespace}"
            for each in self._users.memberships(user.id)
            if each.namespace != user.id
            and each.role is MemberRole.OWNER
            and not self._members.other_owners(each.namespace, user.id)
        )

    def _require_unneeded(self, user: User) -> None:
        """Refuse to remove whose namespace holds something, or who is the last owner of a team's."""
        held = [f"{count} {what}" for what, count in self._members.contents(user.id).items()]
        alone = [
            f"namespaces/{each.namespace} as its last owner"
            for each in self._users.memberships(user.id)
            if each.namespace != user.id
            and each.role is MemberRole.OWNER
            and not self._members.other_owners(each.namespace, user.id)
        ]
        if held or alone:
            raise Precondition(
                Reason.IN_USE,
                f"{user.name} cannot be removed: still there are {', '.join([*held, *alone])}.",
                next_step="Move or purge what the namespace holds, name other owners, or disable the user: "
                "then nobody can sign in as it, and what it made stays.",
                facts={"user": user.name, "held": ", ".join([*held, *alone])},
            )


def _is_lesser(user: User) -> bool:
    """Return whether a user is no administrator who may sign in."""
    return user.disabled or user.role is not Role.ADMIN


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
