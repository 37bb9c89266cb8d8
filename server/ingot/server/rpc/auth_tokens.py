"""AuthService: API tokens, and credentials for outside hosts."""

from ingot.server.core.credentials import Credential
from ingot.server.core.errors import invalid_field
from ingot.server.core.identity import SYSTEM, ApiToken, Role, Scope
from ingot.server.core.names import credential_ids, token_ids, user_id
from ingot.server.domain.identity import NewToken
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import pipeline
from ingot.server.rpc.auth_rules import AuthCalls, Context, role_message, role_of
from ingot.v1 import auth_pb2


class TokenCalls(AuthCalls):
    """Serves tokens and credentials."""

    async def CreateToken(
        self, request: auth_pb2.CreateTokenRequest, context: Context
    ) -> auth_pb2.CreateTokenResponse:
        token, secret = await self._hops.write(
            self._rules.identity.create_token, pipeline.caller(), _wanted(request)
        )
        pipeline.about(token.name)
        return auth_pb2.CreateTokenResponse(token=_token(token), secret=secret)

    async def ListTokens(
        self, request: auth_pb2.ListTokensRequest, context: Context
    ) -> auth_pb2.ListTokensResponse:
        user = user_id(request.parent, "parent") if request.parent else ""
        page = await self._hops.read(
            self._rules.identity.list_tokens, pipeline.caller(), user, request.page_size, request.page_token
        )
        return auth_pb2.ListTokensResponse(tokens=map(_token, page.items), next_page_token=page.next_token)

    async def RevokeToken(
        self, request: auth_pb2.RevokeTokenRequest, context: Context
    ) -> auth_pb2.RevokeTokenResponse:
        user, token_id = token_ids(request.name)
        token = await self._hops.write(self._rules.identity.revoke_token, pipeline.caller(), user, token_id)
        return auth_pb2.RevokeTokenResponse(token=_token(token))

    async def SetCredential(
        self, request: auth_pb2.SetCredentialRequest, context: Context
    ) -> auth_pb2.SetCredentialResponse:
        kept = await self._hops.write(
            self._rules.credentials.set, pipeline.caller(), request.host, request.secret
        )
        pipeline.about(kept.name)
        return auth_pb2.SetCredentialResponse(credential=_credential(kept))

    async def ListCredentials(
        self, request: auth_pb2.ListCredentialsRequest, context: Context
    ) -> auth_pb2.ListCredentialsResponse:
        page = await self._hops.read(
            self._rules.credentials.page, pipeline.caller(), request.page_size, request.page_token
        )
        return auth_pb2.ListCredentialsResponse(
            credentials=map(_credential, page.items), next_page_token=page.next_token
        )

    async def DeleteCredential(
        self, request: auth_pb2.DeleteCredentialRequest, context: Context
    ) -> auth_pb2.DeleteCredentialResponse:
        user, host = credential_ids(request.name)
        await self._hops.write(self._rules.credentials.delete, pipeline.caller(), user, host)
        return auth_pb2.DeleteCredentialResponse()


def _wanted(request: auth_pb2.CreateTokenRequest) -> NewToken:
    role = role_of(request.role)
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


def _token(token: ApiToken) -> auth_pb2.ApiToken:
    return auth_pb2.ApiToken(
        name=token.name,
        display_name=token.display_name,
        scopes=sorted(token.scopes),
        role=role_message(token.role),
        create_time=common.timestamp(token.create_time),
        expire_time=common.timestamp(token.expire_time),
        last_use_time=common.timestamp(token.last_use_time),
        revoke_time=common.timestamp(token.revoke_time),
        creator=f"users/{token.maker}" if token.maker not in ("", SYSTEM) else token.maker,
        from_login=bool(token.login),
    )


def _credential(found: Credential) -> auth_pb2.Credential:
    return auth_pb2.Credential(
        name=found.name,
        create_time=common.timestamp(found.create_time),
        update_time=common.timestamp(found.update_time),
    )
