"""CatalogService: approvals of versions."""

from ingot.server.core import names
from ingot.server.rpc import convert_approvals as convert
from ingot.server.rpc import pipeline
from ingot.server.rpc.catalog_rules import CatalogCalls, Context, request_key
from ingot.v1 import catalog_pb2 as pb


class ApprovalCalls(CatalogCalls):
    """Serves approvals."""

    async def RequestApproval(
        self, request: pb.RequestApprovalRequest, context: Context
    ) -> pb.RequestApprovalResponse:
        reference = names.version_reference(request.version, "version")
        found = await self._hops.write(
            self._rules.approvals.request, pipeline.caller(), reference, request.comment, request_key(request)
        )
        return pb.RequestApprovalResponse(approval=convert.approval_message(found))

    async def DecideApproval(
        self, request: pb.DecideApprovalRequest, context: Context
    ) -> pb.DecideApprovalResponse:
        found = await self._hops.write(
            self._rules.approvals.decide,
            pipeline.caller(),
            request.name,
            request.comment,
            request.etag,
            request_key(request),
            approve=convert.approves(request.decision),
        )
        return pb.DecideApprovalResponse(approval=convert.approval_message(found))

    async def WithdrawApproval(
        self, request: pb.WithdrawApprovalRequest, context: Context
    ) -> pb.WithdrawApprovalResponse:
        found = await self._hops.write(
            self._rules.approvals.withdraw, pipeline.caller(), request.name, request_key(request)
        )
        return pb.WithdrawApprovalResponse(approval=convert.approval_message(found))

    async def GetApproval(self, request: pb.GetApprovalRequest, context: Context) -> pb.GetApprovalResponse:
        found = await self._hops.read(self._rules.approvals.get, pipeline.caller(), request.name)
        return pb.GetApprovalResponse(approval=convert.approval_message(found))

    async def ListApprovals(
        self, request: pb.ListApprovalsRequest, context: Context
    ) -> pb.ListApprovalsResponse:
        page = await self._hops.read(
            self._rules.approvals.page,
            pipeline.caller(),
            convert.parent_of(request.parent),
            convert.state_of(request.state),
            inbox=request.inbox,
            size=request.page_size,
            token=request.page_token,
        )
        approvals = map(convert.approval_message, page.items)
        return pb.ListApprovalsResponse(approvals=approvals, next_page_token=page.next_token)
