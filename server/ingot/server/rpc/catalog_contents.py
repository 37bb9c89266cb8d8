"""CatalogService: what is in the files of versions."""

from ingot.server.core import names
from ingot.server.rpc import convert_contents as convert
from ingot.server.rpc import pipeline
from ingot.server.rpc.catalog_rules import CatalogCalls, Context
from ingot.v1 import catalog_pb2 as pb


class ContentCalls(CatalogCalls):
    """Serves summaries and previews."""

    async def GetVersionSummary(
        self, request: pb.GetVersionSummaryRequest, context: Context
    ) -> pb.GetVersionSummaryResponse:
        reference = names.version_reference(request.name)
        most = convert.tensors_of(request.max_tensors)
        found = await self._rules.reader.summary(pipeline.caller(), reference, most)
        return pb.GetVersionSummaryResponse(summary=convert.summary_message(found))

    async def PreviewVersion(
        self, request: pb.PreviewVersionRequest, context: Context
    ) -> pb.PreviewVersionResponse:
        reference = names.version_reference(request.name)
        wanted = convert.wanted_rows_of(request)
        found = await self._rules.reader.preview(pipeline.caller(), reference, request.path, wanted)
        return convert.preview_message(found)
