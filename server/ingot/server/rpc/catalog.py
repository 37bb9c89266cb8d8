"""CatalogService: models and datasets, versions and aliases. One mixin per feature; see catalog_rules.py."""

from ingot.server.rpc.catalog_access import AccessCalls
from ingot.server.rpc.catalog_aliases import AliasCalls
from ingot.server.rpc.catalog_approvals import ApprovalCalls
from ingot.server.rpc.catalog_artifacts import ArtifactCalls
from ingot.server.rpc.catalog_changes import ChangeCalls
from ingot.server.rpc.catalog_contents import ContentCalls
from ingot.server.rpc.catalog_lineage import LineageCalls
from ingot.server.rpc.catalog_search import SearchCalls
from ingot.server.rpc.catalog_usage import UsageCalls
from ingot.server.rpc.catalog_versions import VersionCalls


class CatalogServicer(
    SearchCalls,
    ArtifactCalls,
    VersionCalls,
    ChangeCalls,
    ContentCalls,
    AliasCalls,
    UsageCalls,
    AccessCalls,
    ApprovalCalls,
    LineageCalls,
):
    """Serves CatalogService."""
