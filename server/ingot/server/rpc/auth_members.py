"""AuthService: namespaces of teams, and the members of all."""

from ingot.server.core.errors import invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.members import Member, MemberRole
from ingot.server.core.names import member_ids, namespace_id
from ingot.server.core.namespaces import Namespace
from ingot.server.domain.requests import RequestKey
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import pipeline
from ingot.server.rpc.auth_namespaces import namespace_message
from ingot.server.rpc.auth_rules import AuthCalls, Context, member_role
from ingot.v1 import auth_pb2


class MemberCalls(AuthCalls):
    """Serves teams and members."""

    async def CreateNamespace(
        self, request: auth_pb2.CreateNamespaceRequest, context: Context
    ) -> auth_pb2.CreateNamespaceResponse:
        caller = pipeline.caller()
        key = RequestKey(request.request_id, request.SerializeToString(deterministic=True))
        found = await self._hops.write(self._create, caller, request.namespace_id, key)
        pipeline.about(found.name)
        message = namespace_message(found, self._rules.namespaces.defaults, MemberRole.OWNER)
        return auth_pb2.CreateNamespaceResponse(namespace=message)

    async def DeleteNamespace(
        self, request: auth_pb2.DeleteNamespaceRequest, context: Context
    ) -> auth_pb2.DeleteNamespaceResponse:
        left = await self._hops.write(
            self._rules.members.delete_namespace,
            pipeline.caller(),
            namespace_id(request.name, "name"),
            validate_only=request.validate_only,
        )
        return auth_pb2.DeleteNamespaceResponse(members=[each.name for each in left])

    async def ListMembers(
        self, request: auth_pb2.ListMembersRequest, context: Context
    ) -> auth_pb2.ListMembersResponse:
        page = await self._hops.read(
            self._rules.members.page,
            pipeline.caller(),
            namespace_id(request.parent),
            request.page_size,
            request.page_token,
        )
        return auth_pb2.ListMembersResponse(members=map(_member, page.items), next_page_token=page.next_token)

    async def SetMember(
        self, request: auth_pb2.SetMemberRequest, context: Context
    ) -> auth_pb2.SetMemberResponse:
        namespace, user = member_ids(request.name)
        role = _role_of(request.role)
        found = await self._hops.write(self._rules.members.set, pipeline.caller(), namespace, user, role)
        return auth_pb2.SetMemberResponse(member=_member(found))

    async def RemoveMember(
        self, request: auth_pb2.RemoveMemberRequest, context: Context
    ) -> auth_pb2.RemoveMemberResponse:
        namespace, user = member_ids(request.name)
        await self._hops.write(self._rules.members.remove, pipeline.caller(), namespace, user)
        return auth_pb2.RemoveMemberResponse()

    def _create(self, caller: Caller, wanted: str, key: RequestKey) -> Namespace:
        self._rules.members.create_namespace(caller, wanted, key)
        return self._rules.namespaces.find(wanted)


def _role_of(value: auth_pb2.MemberRole.ValueType) -> MemberRole:
    if value == auth_pb2.MEMBER_ROLE_UNSPECIFIED or value not in auth_pb2.MemberRole.values():
        raise invalid_field("role", f"expected owner, writer or reader, got {value}")
    return MemberRole(auth_pb2.MemberRole.Name(value).removeprefix("MEMBER_ROLE_"))


def _member(found: Member) -> auth_pb2.Member:
    return auth_pb2.Member(
        name=found.name,
        user=f"users/{found.user}",
        role=member_role(found.role),
        create_time=common.timestamp(found.create_time),
    )
