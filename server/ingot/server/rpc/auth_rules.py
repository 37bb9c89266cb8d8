"""What the parts of AuthService share: the rules that they call, and how roles look on the wire.

Each feature is a mixin of its own file: `class TokenCalls(AuthCalls)` with its methods. A rule that it needs
is a field of AuthRules, filled in parts/identity.py; rpc/auth.py names the mixin.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc

from ingot.server.core.errors import invalid_field
from ingot.server.core.identity import Role, User
from ingot.server.core.members import MemberRole
from ingot.server.domain.credentials import Credentials
from ingot.server.domain.identity import Identity
from ingot.server.domain.login_attempts import LoginAttempts
from ingot.server.domain.logins import Logins
from ingot.server.domain.members import Members
from ingot.server.domain.namespaces import Namespaces
from ingot.server.domain.users import Users
from ingot.server.rpc import convert_common as common
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.password_hashing import PasswordHashing
from ingot.v1 import auth_pb2, auth_pb2_grpc

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_ROLE = "ROLE_"


@dataclass(frozen=True, slots=True)
class AuthRules:
    """The rules behind AuthService."""

    identity: Identity
    users: Users
    logins: Logins
    attempts: LoginAttempts
    hashing: PasswordHashing
    credentials: Credentials
    namespaces: Namespaces
    members: Members


class AuthCalls(auth_pb2_grpc.AuthServiceServicer):
    """Base of the parts of AuthService."""

    def __init__(self, hops: Hops, rules: AuthRules) -> None:
        self._hops = hops
        self._rules = rules


def role_of(value: auth_pb2.Role.ValueType) -> Role | None:
    """Return a role from the wire, None when it is not told. Raises Invalid (FIELD_INVALID)."""
    if value == auth_pb2.ROLE_UNSPECIFIED:
        return None
    if value not in auth_pb2.Role.values():
        raise invalid_field("role", f"expected a role, got {value}")
    return Role(auth_pb2.Role.Name(value).removeprefix(_ROLE))


def role_message(role: Role) -> auth_pb2.Role.ValueType:
    """Return a role as the wire has it."""
    return auth_pb2.Role.Value(_ROLE + role.value)


def member_role(role: MemberRole) -> auth_pb2.MemberRole.ValueType:
    """Return what somebody may do in a namespace as the wire has it."""
    return auth_pb2.MemberRole.Value(f"MEMBER_{_ROLE}{role.value}")


def user_message(user: User) -> auth_pb2.User:
    """Return a user as the wire has it."""
    return auth_pb2.User(
        name=user.name,
        uid=user.uid,
        display_name=user.display_name,
        role=role_message(user.role),
        namespace=f"namespaces/{user.id}",
        create_time=common.timestamp(user.create_time),
        disabled=user.disabled,
        etag=user.etag,
    )
