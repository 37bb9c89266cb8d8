"""AuthService: who calls, and the users there are."""

from ingot.server.core.identity import Role, User
from ingot.server.domain.identity import NewUser
from ingot.server.domain.requests import RequestKey
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import pipeline
from ingot.server.rpc.auth_rules import AuthCalls, Context, role_message, role_of
from ingot.v1 import auth_pb2


class UserCalls(AuthCalls):
    """Serves users."""

    async def GetMe(self, request: auth_pb2.GetMeRequest, context: Context) -> auth_pb2.GetMeResponse:
        me = await self._hops.read(self._rules.identity.me, pipeline.caller())
        caller = me.caller
        return auth_pb2.GetMeResponse(
            user=_user(me.user),
            role=role_message(caller.role),
            scopes=sorted(caller.scopes),
            token=caller.token,
            namespace=f"namespaces/{caller.namespace}",
            principal=caller.principal,
        )

    async def CreateUser(
        self, request: auth_pb2.CreateUserRequest, context: Context
    ) -> auth_pb2.CreateUserResponse:
        wanted = NewUser(request.user_id, request.display_name, role_of(request.role) or Role.MEMBER)
        key = RequestKey(request.request_id, request.SerializeToString(deterministic=True))
        user = await self._hops.write(self._rules.identity.create_user, pipeline.caller(), wanted, key)
        pipeline.about(user.name)
        return auth_pb2.CreateUserResponse(user=_user(user))

    async def ListUsers(
        self, request: auth_pb2.ListUsersRequest, context: Context
    ) -> auth_pb2.ListUsersResponse:
        page = await self._hops.read(
            self._rules.identity.list_users, pipeline.caller(), request.page_size, request.page_token
        )
        return auth_pb2.ListUsersResponse(users=map(_user, page.items), next_page_token=page.next_token)


def _user(user: User) -> auth_pb2.User:
    return auth_pb2.User(
        name=user.name,
        uid=user.uid,
        display_name=user.display_name,
        role=role_message(user.role),
        namespace=f"namespaces/{user.id}",
        create_time=common.timestamp(user.create_time),
        disabled=user.disabled,
    )
