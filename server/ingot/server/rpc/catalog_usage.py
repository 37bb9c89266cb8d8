"""CatalogService: how models and datasets are used."""

from ingot.server.core import names
from ingot.server.core.identity import Caller
from ingot.server.core.usage import UsageReport
from ingot.server.rpc import convert_usage as convert
from ingot.server.rpc import pipeline, usage_storing
from ingot.server.rpc.catalog_rules import CatalogCalls, Context
from ingot.v1 import catalog_pb2 as pb


class UsageCalls(CatalogCalls):
    """Serves usage."""

    async def GetUsage(self, request: pb.GetUsageRequest, context: Context) -> pb.GetUsageResponse:
        await usage_storing.catch_up(self._hops, self._rules.usage)
        return convert.report_message(await self._hops.read(self._usage, pipeline.caller(), request))

    def _usage(self, caller: Caller, request: pb.GetUsageRequest) -> UsageReport:
        reports, days, rows = self._rules.usage_reports, request.days, request.activity_size
        if request.name.count("/") == 1:
            return reports.of_namespace(
                caller, names.namespace_id(request.name, "name"), days=days, rows=rows
            )
        return reports.of_artifact(caller, names.artifact_name(request.name), days=days, rows=rows)
