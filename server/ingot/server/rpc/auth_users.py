"""AuthService: who calls, and the users there are."""

from ingot.server.core.identity import Role
from ingot.server.core.names import user_id
from ingot.server.domain.identity import NewUser
from ingot.server.domain.requests import RequestKey
from ingot.server.domain.users import UserChange
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import pipeline
from ingot.server.rpc.auth_rules import AuthCalls, Context, role_message, role_of, user_message
from ingot.v1 import auth_pb2


class UserCalls(AuthCalls):
    """Serves users."""

    async def GetMe(self, request: auth_pb2.GetMeRequest, context: Context) -> auth_pb2.GetMeResponse:
        me = await self._hops.read(self._rules.identity.me, pipeline.caller())
        caller = me.caller
        return auth_pb2.GetMeResponse(
            user=user_message(me.user),
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
        return auth_pb2.CreateUserResponse(user=user_message(user))

    async def ListUsers(
        self, request: auth_pb2.ListUsersRequest, context: Context
    ) -> auth_pb2.ListUsersResponse:
        page = await self._hops.read(
            self._rules.identity.list_users, pipeline.caller(), request.page_size, request.page_token
        )
        return auth_pb2.ListUsersResponse(
            users=map(user_message, page.items), next_page_token=page.next_token
        )

    async def GetUser(self, request: auth_pb2.GetUserRequest, context: Context) -> auth_pb2.GetUserResponse:
        found = await self._hops.read(self._rules.users.get, pipeline.caller(), user_id(request.name))
        locks = self._rules.attempts.locks(found.user.id)
        return auth_pb2.GetUserResponse(
            user=user_message(found.user),
            has_password=found.has_password,
            login_count=found.logins,
            token_count=found.tokens,
            locks=[
                auth_pb2.LoginLock(address=each.address, until_time=common.timestamp(each.until))
                for each in locks
            ],
        )

    async def UpdateUser(
        self, request: auth_pb2.UpdateUserRequest, context: Context
    ) -> auth_pb2.UpdateUserResponse:
        changed = await self._hops.write(self._rules.users.update, pipeline.caller(), _change(request))
        return auth_pb2.UpdateUserResponse(
            user=user_message(changed.user),
            ended_tokens=changed.ended_tokens,
            ownerless_namespaces=changed.ownerless,
        )

    async def DeleteUser(
        self, request: auth_pb2.DeleteUserRequest, context: Context
    ) -> auth_pb2.DeleteUserResponse:
        user = user_id(request.name)
        hop = self._hops.read if request.validate_only else self._hops.write
        gone = await hop(
            self._rules.users.delete,
            pipeline.caller(),
            user,
            request.etag,
            allow_missing=request.allow_missing,
            validate_only=request.validate_only,
        )
        return auth_pb2.DeleteUserResponse(
            memberships=[each.name for each in gone.left], ended_tokens=gone.ended_tokens
        )


def _change(request: auth_pb2.UpdateUserRequest) -> UserChange:
    wanted = request.user
    told = {
        "display_name": bool(wanted.display_name),
        "role": wanted.role != auth_pb2.ROLE_UNSPECIFIED,
        "disabled": wanted.disabled,
    }
    return UserChange(
        user=user_id(wanted.name, "user.name"),
        display_name=wanted.display_name,
        role=role_of(wanted.role),
        disabled=wanted.disabled,
        paths=tuple(request.update_mask.paths) or tuple(path for path, there in told.items() if there),
        etag=wanted.etag,
        keep_tokens=request.keep_tokens,
    )
