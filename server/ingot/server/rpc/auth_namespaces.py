"""AuthService: namespaces."""

from ingot.server.core.identity import Caller
from ingot.server.core.members import MemberRole
from ingot.server.core.names import namespace_id
from ingot.server.core.namespaces import Namespace, Quotas
from ingot.server.domain.namespaces import APPROVAL, QUOTAS, NamespaceChange
from ingot.server.rpc import convert_approvals, pipeline
from ingot.server.rpc import convert_common as common
from ingot.server.rpc.auth_rules import AuthCalls, Context, member_role
from ingot.v1 import auth_pb2


class NamespaceCalls(AuthCalls):
    """Serves namespaces."""

    async def GetNamespace(
        self, request: auth_pb2.GetNamespaceRequest, context: Context
    ) -> auth_pb2.GetNamespaceResponse:
        name = namespace_id(request.name, "name")
        caller = pipeline.caller()
        found = await self._hops.read(self._rules.namespaces.get, caller, name)
        return auth_pb2.GetNamespaceResponse(namespace=self._message(caller, found))

    async def ListNamespaces(
        self, request: auth_pb2.ListNamespacesRequest, context: Context
    ) -> auth_pb2.ListNamespacesResponse:
        caller = pipeline.caller()
        page = await self._hops.read(
            self._rules.namespaces.page, caller, request.page_size, request.page_token
        )
        found = [self._message(caller, each) for each in page.items]
        return auth_pb2.ListNamespacesResponse(namespaces=found, next_page_token=page.next_token)

    async def UpdateNamespace(
        self, request: auth_pb2.UpdateNamespaceRequest, context: Context
    ) -> auth_pb2.UpdateNamespaceResponse:
        change = _change(request)
        caller = pipeline.caller()
        found = await self._hops.write(self._rules.namespaces.update, caller, change)
        return auth_pb2.UpdateNamespaceResponse(namespace=self._message(caller, found))

    def _message(self, caller: Caller, found: Namespace) -> auth_pb2.Namespace:
        role = self._rules.namespaces.role_of(caller, found.id)
        return namespace_message(found, self._rules.namespaces.defaults, role)


def _change(request: auth_pb2.UpdateNamespaceRequest) -> NamespaceChange:
    wanted = request.namespace
    size = wanted.quota_bytes if wanted.HasField("quota_bytes") else None
    stored = wanted.physical_quota_bytes if wanted.HasField("physical_quota_bytes") else None
    populated = [path for path, value in zip(QUOTAS, (size, stored), strict=True) if value is not None]
    if wanted.HasField("approval"):
        populated.append(APPROVAL)
    return NamespaceChange(
        namespace=namespace_id(wanted.name, "namespace.name"),
        size_quota=size,
        stored_quota=stored,
        approval=convert_approvals.policy_of(wanted.approval, "namespace.approval"),
        paths=tuple(request.update_mask.paths) or tuple(populated),
        etag=wanted.etag,
    )


def namespace_message(found: Namespace, defaults: Quotas, role: MemberRole | None) -> auth_pb2.Namespace:
    """Return a namespace as somebody of a role in it sees it; None is an administrator from outside."""
    account, limits = found.account, found.account.limits(defaults)
    return auth_pb2.Namespace(
        name=found.name,
        create_time=common.timestamp(found.create_time),
        size_bytes=account.size,
        stored_bytes=account.stored,
        overhead_bytes=account.overhead,
        quota_bytes=account.size_quota,
        physical_quota_bytes=account.stored_quota,
        effective_quota_bytes=limits.size,
        effective_physical_quota_bytes=limits.stored,
        etag=found.etag,
        approval=convert_approvals.policy_message(found.approval),
        role=member_role(role) if role else auth_pb2.MEMBER_ROLE_UNSPECIFIED,
    )
