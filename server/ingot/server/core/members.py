"""Who belongs to a namespace, and the interface to the rows that say so.

A namespace has owners, writers and readers. Every person owns the namespace of the same id; a team's was made
by somebody and keeps at least one owner for as long as it exists.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ingot.server.core.identity import Role


class MemberRole(StrEnum):
    """What somebody may do in a namespace; each may do what the ones below it may."""

    OWNER = "OWNER"  # and who belongs to it, and who sees its things
    WRITER = "WRITER"  # and change what it owns
    READER = "READER"  # sees its private things


@dataclass(frozen=True, slots=True)
class Member:
    """One user in one namespace."""

    namespace: str
    user: str
    role: MemberRole
    create_time: float  # when the user joined

    @property
    def name(self) -> str:
        """The resource name."""
        return f"namespaces/{self.namespace}/members/{self.user}"


@dataclass(frozen=True, slots=True)
class Rights:
    """Ids of the namespaces that a user owns, may write to and may read: each a part of the next."""

    owns: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()


def rights_of(role: Role, memberships: Collection[Member]) -> Rights:
    """Return what somebody of a general role may do by membership: viewers only read, workers nothing."""
    if role is Role.WORKER:
        return Rights()
    reads = frozenset(each.namespace for each in memberships)
    if role is Role.VIEWER:
        return Rights(reads=reads)
    owns = frozenset(each.namespace for each in memberships if each.role is MemberRole.OWNER)
    writes = frozenset(each.namespace for each in memberships if each.role is MemberRole.WRITER)
    return Rights(owns, owns | writes, reads)


class MemberStore(Protocol):
    """Namespaces that no user has, and the members of all."""

    def add_namespace(self, namespace: str, now: float) -> bool:
        """Add a namespace; False, and nothing added, when there is or ever was one of this id, or a user."""
        ...

    def remove_namespace(self, namespace: str, now: float) -> None:
        """Take a namespace without things away, with its members; its id is never free again."""
        ...

    def contents(self, namespace: str) -> Mapping[str, int]:
        """Return how many things of each kind (`training jobs`) a namespace has; kinds that it has."""
        ...

    def find(self, namespace: str, user: str) -> Member | None:
        """Return a member."""
        ...

    def page(self, namespace: str, after: str, size: int) -> Sequence[Member]:
        """Return up to `size` members whose users sort after `after`, in order."""
        ...

    def put(self, member: Member) -> None:
        """Add a member, or give it this role; the time it joined stays."""
        ...

    def remove(self, namespace: str, user: str) -> bool:
        """Remove a member; return whether there was one."""
        ...

    def other_owners(self, namespace: str, user: str) -> int:
        """Return how many owners of a namespace but this one can act: they may sign in, and change things."""
        ...

    def owned_count(self, user: str) -> int:
        """Return how many namespaces a user owns."""
        ...

    def member_count(self, namespace: str) -> int:
        """Return how many members a namespace has."""
        ...
