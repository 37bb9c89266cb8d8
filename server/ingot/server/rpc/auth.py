"""AuthService: users, API tokens and credentials for outside hosts."""

from typing import Any

import grpc

from ingot.server.core.credentials import Credential
from ingot.server.core.errors import invalid_field
from ingot.server.core.identity import ApiToken, Role, Scope, User
from ingot.server.core.names import credential_ids, namespace_id, token_ids, user_id
from ingot.server.core.namespaces import Namespace, Quotas
from ingot.server.domain.credentials import Credentials
from ingot.server.domain.identity import Identity, NewToken, NewUser
from ingot.server.domain.namespaces import PATHS, Namespaces, QuotaChange
from ingot.server.domain.requests import RequestKey
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import pipeline
from ingot.server.rpc.hops import Hops
from ingot.v1 import auth_pb2, auth_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
_ROLE = "ROLE_"


class AuthServicer(auth_pb2_grpc.AuthServiceServicer):
    """Serves AuthService."""

    def __init__(
        self, hops: Hops, identity: Identity, credentials: Credentials, namespaces: Namespaces
    ) -> None:
        self._hops = hops
        self._identity = identity
        self._credentials = credentials
        self._namespaces = namespaces

    async def GetMe(self, request: auth_pb2.GetMeRequest, context: Context) -> auth_pb2.GetMeResponse:
        me = await self._hops.read(self._identity.me, pipeline.caller())
        caller = me.caller
        return auth_pb2.GetMeResponse(
            user=_user(me.user),
            role=_role(caller.role),
            scopes=sorted(caller.scopes),
            token=caller.token,
            namespace=f"namespaces/{caller.namespace}",
            principal=caller.principal,
        )

    async def CreateUser(
        self, request: auth_pb2.CreateUserRequest, context: Context
    ) -> auth_pb2.CreateUserResponse:
        wanted = NewUser(request.user_id, request.display_name, _role_of(request.role) or Role.MEMBER)
        key = RequestKey(request.request_id, request.SerializeToString(deterministic=True))
        user = await self._hops.write(self._identity.create_user, pipeline.caller(), wanted, key)
        pipeline.about(user.name)
        return auth_pb2.CreateUserResponse(user=_user(user))

    async def ListUsers(
        self, request: auth_pb2.ListUsersRequest, context: Context
    ) -> auth_pb2.ListUsersResponse:
        page = await self._hops.read(
            self._identity.list_users, pipeline.caller(), request.page_size, request.page_token
        )
        return auth_pb2.ListUsersResponse(users=map(_user, page.items), next_page_token=page.next_token)

    async def CreateToken(
        self, request: auth_pb2.CreateTokenRequest, context: Context
    ) -> auth_pb2.CreateTokenResponse:
        token, secret = await self._hops.write(
            self._identity.create_token, pipeline.caller(), _wanted(request)
        )
        pipeline.about(token.name)
        return auth_pb2.CreateTokenResponse(token=_token(token), secret=secret)

    async def ListTokens(
        self, request: auth_pb2.ListTokensRequest, context: Context
    ) -> auth_pb2.ListTokensResponse:
        user = user_id(request.parent, "parent") if request.parent else ""
        page = await self._hops.read(
            self._identity.list_tokens, pipeline.caller(), user, request.page_size, request.page_token
        )
        return auth_pb2.ListTokensResponse(tokens=map(_token, page.items), next_page_token=page.next_token)

    async def RevokeToken(
        self, request: auth_pb2.RevokeTokenRequest, context: Context
    ) -> auth_pb2.RevokeTokenResponse:
        user, token_id = token_ids(request.name)
        token = await self._hops.write(self._identity.revoke_token, pipeline.caller(), user, token_id)
        return auth_pb2.RevokeTokenResponse(token=_token(token))

    async def SetCredential(
        self, request: auth_pb2.SetCredentialRequest, context: Context
    ) -> auth_pb2.SetCredentialResponse:
        kept = await self._hops.write(self._credentials.set, pipeline.caller(), request.host, request.secret)
        pipeline.about(kept.name)
        return auth_pb2.SetCredentialResponse(credential=_credential(kept))

    async def ListCredentials(
        self, request: auth_pb2.ListCredentialsRequest, context: Context
    ) -> auth_pb2.ListCredentialsResponse:
        page = await self._hops.read(
            self._credentials.page, pipeline.caller(), request.page_size, request.page_token
        )
        return auth_pb2.ListCredentialsResponse(
            credentials=map(_credential, page.items), next_page_token=page.next_token
        )

    async def DeleteCredential(
        self, request: auth_pb2.DeleteCredentialRequest, context: Context
    ) -> auth_pb2.DeleteCredentialResponse:
        user, host = credential_ids(request.name)
        await self._hops.write(self._credentials.delete, pipeline.caller(), user, host)
        return auth_pb2.DeleteCredentialResponse()

    async def GetNamespace(
        self, request: auth_pb2.GetNamespaceRequest, context: Context
    ) -> auth_pb2.GetNamespaceResponse:
        name = namespace_id(request.name, "name")
        found = await self._hops.read(self._namespaces.get, pipeline.caller(), name)
        return auth_pb2.GetNamespaceResponse(namespace=_namespace(found, self._namespaces.defaults))

    async def ListNamespaces(
        self, request: auth_pb2.ListNamespacesRequest, context: Context
    ) -> auth_pb2.ListNamespacesResponse:
        page = await self._hops.read(
            self._namespaces.page, pipeline.caller(), request.page_size, request.page_token
        )
        found = [_namespace(each, self._namespaces.defaults) for each in page.items]
        return auth_pb2.ListNamespacesResponse(namespaces=found, next_page_token=page.next_token)

    async def UpdateNamespace(
        self, request: auth_pb2.UpdateNamespaceRequest, context: Context
    ) -> auth_pb2.UpdateNamespaceResponse:
        change = _quota_change(request)
        found = await self._hops.write(self._namespaces.update, pipeline.caller(), change)
        return auth_pb2.UpdateNamespaceResponse(namespace=_namespace(found, self._namespaces.defaults))


def _wanted(request: auth_pb2.CreateTokenRequest) -> NewToken:
    role = _role_of(request.role)
    if role not in (None, Role.WORKER):
        raise invalid_field(
            "role",
            f"expected ROLE_WORKER or none, got {auth_pb2.Role.Name(request.role)}",
            next_step="A token has the role of its user; leave it out.",
        )
    return NewToken(
        user=user_id(request.parent, "parent") if request.parent else "",
        display_name=request.display_name,
        scopes=frozenset(_scope_of(word) for word in request.scopes),
        ttl=common.seconds_of(request.ttl) if request.HasField("ttl") else None,
        for_worker=role is Role.WORKER,
    )


def _scope_of(word: str) -> Scope:
    try:
        return Scope(word)
    except ValueError:
        raise invalid_field("scopes", f"expected some of {', '.join(Scope)}, got {word!r}") from None


def _role_of(value: auth_pb2.Role.ValueType) -> Role | None:
    if value == auth_pb2.ROLE_UNSPECIFIED:
        return None
    if value not in auth_pb2.Role.values():
        raise invalid_field("role", f"expected a role, got {value}")
    return Role(auth_pb2.Role.Name(value).removeprefix(_ROLE))


def _role(role: Role) -> auth_pb2.Role.ValueType:
    return auth_pb2.Role.Value(_ROLE + role.value)


def _user(user: User) -> auth_pb2.User:
    return auth_pb2.User(
        name=user.name,
        uid=user.uid,
        display_name=user.display_name,
        role=_role(user.role),
        namespace=f"namespaces/{user.id}",
        create_time=common.timestamp(user.create_time),
        disabled=user.disabled,
    )


def _token(token: ApiToken) -> auth_pb2.ApiToken:
    return auth_pb2.ApiToken(
        name=token.name,
        display_name=token.display_name,
        scopes=sorted(token.scopes),
        role=_role(token.role),
        create_time=common.timestamp(token.create_time),
        expire_time=common.timestamp(token.expire_time),
        last_use_time=common.timestamp(token.last_use_time),
        revoke_time=common.timestamp(token.revoke_time),
    )


def _credential(found: Credential) -> auth_pb2.Credential:
    return auth_pb2.Credential(
        name=found.name,
        create_time=common.timestamp(found.create_time),
        update_time=common.timestamp(found.update_time),
    )


def _quota_change(request: auth_pb2.UpdateNamespaceRequest) -> QuotaChange:
    wanted = request.namespace
    size = wanted.quota_bytes if wanted.HasField("quota_bytes") else None
    stored = wanted.physical_quota_bytes if wanted.HasField("physical_quota_bytes") else None
    populated = [path for path, value in zip(PATHS, (size, stored), strict=True) if value is not None]
    return QuotaChange(
        namespace=namespace_id(wanted.name, "namespace.name"),
        size_quota=size,
        stored_quota=stored,
        paths=tuple(request.update_mask.paths) or tuple(populated),
        etag=wanted.etag,
    )


def _namespace(found: Namespace, defaults: Quotas) -> auth_pb2.Namespace:
    account, limits = found.account, found.account.limits(defaults)
    return auth_pb2.Namespace(
        name=found.name,
        create_time=common.timestamp(found.create_time),
        size_bytes=account.size,
        stored_bytes=account.stored,
        quota_bytes=account.size_quota,
        physical_quota_bytes=account.stored_quota,
        effective_quota_bytes=limits.size,
        effective_physical_quota_bytes=limits.stored,
        etag=found.etag,
    )
