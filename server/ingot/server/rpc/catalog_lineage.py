"""CatalogService: where versions come from, and what comes of them."""

from ingot.content import digests
from ingot.server.core import names
from ingot.server.core.lineage import Lineage, Node
from ingot.server.domain.lineage import JOBS, WantedLineage
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import pipeline
from ingot.server.rpc.catalog_rules import CatalogCalls, Context
from ingot.v1 import catalog_pb2 as pb


class LineageCalls(CatalogCalls):
    """Serves lineage."""

    async def GetLineage(self, request: pb.GetLineageRequest, context: Context) -> pb.GetLineageResponse:
        name = request.name if request.name.startswith(JOBS) else names.version_reference(request.name)
        wanted = WantedLineage(
            name,
            up=request.direction != pb.LINEAGE_DIRECTION_DOWN,
            down=request.direction != pb.LINEAGE_DIRECTION_UP,
            depth=request.depth,
        )
        return _reply(await self._hops.read(self._rules.lineages.of, pipeline.caller(), wanted))


def _reply(found: Lineage) -> pb.GetLineageResponse:
    return pb.GetLineageResponse(
        root=found.nodes[0].id,
        nodes=map(_node, found.nodes),
        edges=[
            pb.LineageEdge(
                source=each.source,
                target=each.target,
                relation=pb.LineageRelation.Value(f"LINEAGE_RELATION_{each.relation}"),
            )
            for each in found.edges
        ],
        truncated=found.truncated,
    )


def _node(node: Node) -> pb.LineageNode:
    return pb.LineageNode(
        id=node.id,
        kind=pb.LineageKind.Value(f"LINEAGE_KIND_{node.kind}"),
        name=node.name,
        digest=digests.format_digest(node.digest) if node.digest else "",
        creator=node.creator,
        create_time=common.timestamp(node.create_time),
        state=node.state,
        gone=node.gone,
        count=node.count,
    )
