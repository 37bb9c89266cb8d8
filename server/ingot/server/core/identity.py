"""Who calls: roles, scopes and the caller that every rule gets first.

A caller is made from the credential alone (`rpc/pipeline.py`). The user name a client declares travels beside
it for the record and grants nothing.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a principal is in general."""

    ADMIN = "ADMIN"
    MEMBER = "MEMBER"
    VIEWER = "VIEWER"
    WORKER = "WORKER"


class Scope(StrEnum):
    """What a credential may be used for; each RPC names the scopes it needs."""

    CATALOG_READ = "catalog.read"
    CATALOG_WRITE = "catalog.write"
    TRANSFER_READ = "transfer.read"
    TRANSFER_WRITE = "transfer.write"
    OPERATIONS_RUN = "operations.run"
    TRAINING_RUN = "training.run"
    WORKER = "worker"
    ACCOUNT = "account"
    ADMIN = "admin"


_READS = frozenset({Scope.CATALOG_READ, Scope.TRANSFER_READ, Scope.ACCOUNT})
_MEMBER = _READS | {Scope.CATALOG_WRITE, Scope.TRANSFER_WRITE, Scope.OPERATIONS_RUN, Scope.TRAINING_RUN}

SCOPES_OF_ROLE: dict[Role, frozenset[Scope]] = {
    Role.ADMIN: frozenset(Scope) - {Scope.WORKER},
    Role.MEMBER: _MEMBER,
    Role.VIEWER: _READS,
    Role.WORKER: frozenset(
        {
            Scope.WORKER,
            Scope.CATALOG_READ,
            Scope.TRANSFER_READ,
            Scope.TRANSFER_WRITE,
            Scope.TRAINING_RUN,
            Scope.ACCOUNT,
        }
    ),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes one call, by credential, and what is recorded about it."""

    principal: str  # users/{id}; for a worker's token the token's own name
    user: str  # id of the user behind the credential
    role: Role
    scopes: frozenset[Scope]
    token: str  # name of the credential: users/{user}/tokens/{id}
    namespace: str  # id of the default namespace
    writes: frozenset[str]  # ids of the namespaces it may write to (admins: any)
    reads: frozenset[str]  # ids of the namespaces it may read privately (admins: any)
    owns: frozenset[str] = frozenset()  # ids of the namespaces whose members and access it decides
    expire_time: float | None = None  # when the credential ends, in epoch seconds; None is never
    login: int = 0  # number of the login that it is, or that it was made in; 0 for none
    declared_user: str = ""  # name the client detected; recorded, grants nothing
    address: str = ""  # where the call came from
    call_id: str = ""  # id of this call, in logs and errors
    client: str = ""  # name/version of the client program
    operation: str = ""  # operations/{id} whose body calls, with its own short-lived credential
    attempt: int = 0  # of that operation
    target: str = ""  # resource that operation works on, which it may read in any state

    @property
    def is_admin(self) -> bool:
        """Whether the caller may do everything: a lesser token of an administrator is for its own things."""
        return self.role is Role.ADMIN and Scope.ADMIN in self.scopes

    @property
    def is_worker(self) -> bool:
        """Whether the caller is a worker: it may only do what its assignments need."""
        return self.role is Role.WORKER

    def covers(self, other: "Caller") -> bool:
        """Return whether this caller has all rights by role and membership that another one has."""
        mine, theirs = (self.owns, self.writes, self.reads), (other.owns, other.writes, other.reads)
        return self.role is other.role and all(
            left >= right for left, right in zip(mine, theirs, strict=True)
        )

    def may_write(self, namespace: str) -> bool:
        """Return whether the caller may change what the namespace owns; workers never may by themselves."""
        return not self.is_worker and (self.is_admin or namespace in self.writes)

    def may_own(self, namespace: str) -> bool:
        """Return whether the caller decides who belongs to a namespace and who sees its things."""
        return not self.is_worker and (self.is_admin or namespace in self.owns)

    def may_read(self, namespace: str) -> bool:
        """Return whether the caller sees the private things of a namespace."""
        return not self.is_worker and (self.is_admin or namespace in self.reads or namespace in self.writes)


SYSTEM = "system"  # principal of what the server does by itself


def user_of(principal: str) -> str:
    """Return the id of the user behind a recorded principal; "" for the server itself."""
    parts = principal.split("/")
    return parts[1] if len(parts) >= 2 and parts[0] == "users" else ""


def system_caller() -> Caller:
    """Return the caller of what the server does by itself."""
    return Caller(
        principal="system",
        user="system",
        role=Role.ADMIN,
        scopes=frozenset(Scope),
        token="",
        namespace="",
        writes=frozenset(),
        reads=frozenset(),
        address="local",
    )


@dataclass(frozen=True, slots=True)
class User:
    """A person; owns the namespace of the same id."""

    id: str
    uid: str
    display_name: str
    role: Role
    create_time: float  # epoch seconds
    disabled: bool = False

    @property
    def name(self) -> str:
        """Return the resource name."""
        return f"users/{self.id}"

    @property
    def etag(self) -> str:
        """Return what changes with everything about the user that can change."""
        told = "\n".join((self.uid, self.display_name, self.role, str(self.disabled)))
        return hashlib.sha256(told.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A credential without its secret; times are epoch seconds."""

    id: str  # tok_12
    user: str  # id of the user it belongs to, or who made it for a worker
    display_name: str
    role: Role
    scopes: frozenset[Scope]
    create_time: float
    expire_time: float | None = None
    last_use_time: float | None = None
    revoke_time: float | None = None
    maker: str = ""  # id of who made it, `system` for the server; empty when it is not known
    login: int = 0  # number of the login that it was made in, also through another token; 0 for none
    parent: str = ""  # id of the token that it was made with; empty for a login and for the server

    @property
    def name(self) -> str:
        """Return the resource name."""
        return f"users/{self.user}/tokens/{self.id}"
