"""Namespaces of teams, and who belongs to any namespace.

Owners say who belongs to it. What a membership allows is in every caller that is found from then on
(domain/identity.py): whoever is removed sees nothing private of it from the next call on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ingot.server.core import journal, names
from ingot.server.core.catalog_stores import UserStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import AlreadyExists, Denied, Exhausted, NotFound, Precondition, Reason
from ingot.server.core.identity import Caller, Role, Scope
from ingot.server.core.members import Member, MemberRole, MemberStore
from ingot.server.core.pages import Page, PageTokens, page_size
from ingot.server.domain.access import namespace_not_found
from ingot.server.domain.requests import RequestKey, Requests

MOST_MEMBERS = 1000  # of a namespace
MOST_MEMBERSHIPS = 100  # of a user: every list asks for each of them
_MOST_TOLD = 100
_QUERY = "ListMembers"


@dataclass(frozen=True, slots=True)
class MemberStores:
    """The rows that memberships are about."""

    members: MemberStore
    users: UserStore


class Members:
    """The rules about teams and members; every method runs inside a unit of work.

    `changed` is called inside each write that gives or takes rights. `most_owned` is how many namespaces a
    member may own besides its own. `kept` is the namespace of what the server itself declares:
    whoever made it first would own what all others take for the server's, so members cannot.
    """

    def __init__(
        self,
        stores: MemberStores,
        requests: Requests,
        tokens: PageTokens,
        clock: Clock,
        changed: Callable[[], None],
        most_owned: int,
        kept: str = "",
    ) -> None:
        self._members = stores.members
        self._users = stores.users
        self._requests = requests
        self._tokens = tokens
        self._clock = clock
        self._changed = changed
        self._most_owned = most_owned
        self._kept = kept

    # --- namespaces -------------------------------------------------------------------------------------

    def create_namespace(self, caller: Caller, namespace: str, key: RequestKey) -> None:
        """Make a namespace whose first owner is the caller; repeating the request changes nothing.

        Raises Invalid (NAME_INVALID), AlreadyExists (NAME_TAKEN), Exhausted (QUOTA), Denied (SCOPE_MISSING),
        and for a repetition NotFound (NAMESPACE_NOT_FOUND) when the caller has left it since.
        """
        names.check_namespace_id(namespace, "namespace_id")
        if caller.role not in (Role.ADMIN, Role.MEMBER) or caller.operation:
            raise Denied(
                Reason.SCOPE_MISSING,
                f"{caller.principal} may not make namespaces; expected a member or an administrator.",
                next_step="Ask a member to make it and to add you.",
                facts={"role": caller.role.value},
            )
        _require_scope(caller)
        if namespace == self._kept and not caller.is_admin:
            raise AlreadyExists(
                Reason.NAME_TAKEN,
                f"namespaces/{namespace} is kept for what the server's lists of sources declare.",
                next_step="Choose another id.",
                facts={"namespace_id": namespace},
            )

        def make() -> str:
            self._check_room(caller, caller.user, MemberRole.OWNER)
            now = self._clock.now()
            if not self._members.add_namespace(namespace, now):
                raise AlreadyExists(
                    Reason.NAME_TAKEN,
                    f"There is, or was, a user or a namespace {namespace!r}.",
                    next_step="Choose another id; none is ever used again.",
                    facts={"namespace_id": namespace},
                )
            self._members.put(Member(namespace, caller.user, MemberRole.OWNER, now))
            self._changed()
            return namespace

        if self._requests.run(caller, "CreateNamespace", key, make)[1]:
            self._require_read(caller, namespace)
        journal.about(f"namespaces/{namespace}")

    def delete_namespace(self, caller: Caller, namespace: str, *, validate_only: bool) -> Sequence[Member]:
        """Remove a namespace that has nothing in it; return its first members.

        Raises NotFound (NAMESPACE_NOT_FOUND), Denied (SCOPE_MISSING), Precondition (PROTECTED, IN_USE).
        """
        self._require_owner(caller, namespace, "remove")
        if self._users.find(namespace) is not None:
            raise Precondition(
                Reason.PROTECTED,
                f"namespaces/{namespace} is the own one of users/{namespace}.",
                next_step="It goes with its user.",
                facts={"namespace": namespace},
            )
        contents = self._members.contents(namespace)
        if contents:
            raise _not_empty(namespace, contents)
        left = self._members.page(namespace, "", _MOST_TOLD)
        if not validate_only:
            self._members.remove_namespace(namespace, self._clock.now())
            self._changed()
        return left

    # --- members ----------------------------------------------------------------------------------------

    def page(self, caller: Caller, namespace: str, size: int, token: str) -> Page[Member]:
        """Return a page of the members of a namespace that the caller belongs to, by user.

        Raises NotFound (NAMESPACE_NOT_FOUND), Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        self._require_read(caller, namespace)
        size = page_size(size)
        query = f"{_QUERY} {namespace}"
        after = self._tokens.decode(query, token)
        rows = self._members.page(namespace, str(after[0]) if after else "", size + 1)
        more, rows = len(rows) > size, rows[:size]
        return Page(tuple(rows), self._tokens.encode(query, (rows[-1].user,)) if more else "")

    def set(self, caller: Caller, namespace: str, user: str, role: MemberRole) -> Member:
        """Add a user to a namespace, or give a member another role; return the member.

        Raises NotFound (NAMESPACE_NOT_FOUND, USER_NOT_FOUND), Denied (SCOPE_MISSING), Precondition
        (PROTECTED), Exhausted (QUOTA).
        """
        self._require_owner(caller, namespace, "say who belongs to")
        if self._users.find(user) is None:
            raise no_user(user)
        before = self._members.find(namespace, user)
        if before is not None and before.role is role:
            return before
        if before is not None and before.role is MemberRole.OWNER:
            self._check_leaving(namespace, user)
        if before is None and self._members.member_count(namespace) >= MOST_MEMBERS:
            raise _full(f"namespaces/{namespace} has {MOST_MEMBERS} members, the most there can be")
        self._check_room(caller, user, role, joins=before is None)
        member = Member(namespace, user, role, before.create_time if before else self._clock.now())
        self._members.put(member)
        self._changed()
        journal.detail(role=role.value, before=before.role.value if before else None)
        return member

    def remove(self, caller: Caller, namespace: str, user: str) -> None:
        """Remove a member: who owns the namespace any of them, everybody itself.

        Raises NotFound (NAMESPACE_NOT_FOUND), Denied (SCOPE_MISSING), Precondition (PROTECTED).
        """
        if user == caller.user and not caller.is_worker:
            self._require_read(caller, namespace)
        else:
            self._require_owner(caller, namespace, "say who belongs to")
        before = self._members.find(namespace, user)
        if before is None:
            return
        if before.role is MemberRole.OWNER:
            self._check_leaving(namespace, user)
        self._members.remove(namespace, user)
        self._changed()
        journal.detail(before=before.role.value)

    # --- checks -----------------------------------------------------------------------------------------

    def _require_read(self, caller: Caller, namespace: str) -> None:
        if not caller.may_read(namespace) or not self._users.namespace_exists(namespace):
            raise namespace_not_found(namespace)

    def _require_owner(self, caller: Caller, namespace: str, what: str) -> None:
        self._require_read(caller, namespace)
        if not caller.may_own(namespace):
            raise Denied(
                Reason.SCOPE_MISSING,
                f"{caller.principal} may not {what} namespaces/{namespace}; expected one of its owners.",
                next_step=f"`ingot members ls {namespace}` shows its owners; ask one of them.",
                facts={"namespace": namespace},
            )
        _require_scope(caller)

    def _check_leaving(self, namespace: str, user: str) -> None:
        """Refuse that an owner is none any more where one is needed. Raises Precondition (PROTECTED)."""
        if user == namespace:
            why, then = f"it is the own one of users/{user}", "Nobody else can be put in its owner's place."
        elif not self._members.other_owners(namespace, user):
            why, then = f"users/{user} is its last owner who can act", "Make somebody else an owner first."
        else:
            return
        raise Precondition(
            Reason.PROTECTED,
            f"namespaces/{namespace} needs an owner, and {why}.",
            next_step=then,
            facts={"namespace": namespace, "user": user},
        )

    def _check_room(self, caller: Caller, user: str, role: MemberRole, *, joins: bool = True) -> None:
        """Refuse more namespaces of a user than it may have. Raises Exhausted (QUOTA)."""
        if joins and len(self._users.memberships(user)) > MOST_MEMBERSHIPS:
            raise _full(f"users/{user} belongs to {MOST_MEMBERSHIPS} namespaces, the most there can be")
        if role is MemberRole.OWNER and not caller.is_admin:
            owned = self._members.owned_count(user) - 1  # its own does not count
            if owned >= self._most_owned:
                raise _full(f"users/{user} owns {owned} namespaces besides its own, the most a member may")


def _require_scope(caller: Caller) -> None:
    """Refuse a token that changes nothing else: whoever joins could. Raises Denied (SCOPE_MISSING)."""
    if Scope.CATALOG_WRITE not in caller.scopes:
        raise Denied(
            Reason.SCOPE_MISSING,
            f"{caller.token} may not change namespaces; expected the scope {Scope.CATALOG_WRITE}.",
            next_step="Sign in with a token that has it.",
            facts={"scopes": Scope.CATALOG_WRITE.value},
        )


def _not_empty(namespace: str, contents: Mapping[str, int]) -> Precondition:
    told = ", ".join(f"{word} ({count})" for word, count in contents.items())
    return Precondition(
        Reason.IN_USE,
        f"namespaces/{namespace} is not empty: it has {told}.",
        next_step="Delete these, and purge what is in the trash; then remove it.",
        facts={"namespace": namespace, **{word.replace(" ", "_"): str(n) for word, n in contents.items()}},
    )


def no_user(user: str) -> NotFound:
    """Return the error for a user whom somebody wants to let in, and who is absent."""
    return NotFound(
        Reason.USER_NOT_FOUND,
        f"There is no user {user!r}.",
        next_step="Check the id with the person; an administrator makes users.",
        facts={"user": user},
    )


def _full(message: str) -> Exhausted:
    return Exhausted(
        Reason.QUOTA, f"{message}.", next_step="Remove one that is not needed, or ask an administrator."
    )
