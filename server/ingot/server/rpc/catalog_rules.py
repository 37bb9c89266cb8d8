"""What the parts of CatalogService share: the rules they call, and how a repeated request is recognised.

Each feature of the catalog is a mixin of its own file: `class ApprovalCalls(CatalogCalls)` with its methods.
A rule that it needs is a field of CatalogRules, filled in parts/catalog.py; rpc/catalog.py names the mixin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import grpc

from ingot.server.core.artifacts import Artifact
from ingot.server.domain.aliases import Aliases
from ingot.server.domain.approvals import Approvals
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.catalog_search import CatalogSearch
from ingot.server.domain.grants import Grants
from ingot.server.domain.lineage import Lineages
from ingot.server.domain.registrations import Registrations
from ingot.server.domain.requests import RequestKey
from ingot.server.domain.running_imports import RunningImports
from ingot.server.domain.trash import Trash
from ingot.server.domain.trash_listing import TrashListing
from ingot.server.domain.usage import Usage
from ingot.server.domain.usage_reports import UsageReports
from ingot.server.domain.version_changes import VersionChanges
from ingot.server.domain.versions import Versions
from ingot.server.rpc.artifacts_watching import ArtifactWatcher
from ingot.server.rpc.content_reading import Reader
from ingot.server.rpc.hops import Hops
from ingot.v1 import catalog_pb2_grpc

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class LocalFolders(Protocol):
    """Who knows in which folders artifacts are kept readable."""

    def local_paths(self, artifacts: Sequence[Artifact]) -> Mapping[str, str]:
        """Return, by uid, the folder of each artifact that is kept in one. Inside a read."""
        ...


@dataclass(frozen=True, slots=True)
class CatalogRules:
    """The rules behind CatalogService."""

    catalog: Catalog
    versions: Versions
    changes: VersionChanges
    reader: Reader
    aliases: Aliases
    approvals: Approvals
    grants: Grants
    trash: Trash
    trash_listing: TrashListing
    usage: Usage
    usage_reports: UsageReports
    folders: LocalFolders
    registrations: Registrations
    lineages: Lineages
    search: CatalogSearch
    imports: RunningImports
    watcher: ArtifactWatcher


class CatalogCalls(catalog_pb2_grpc.CatalogServiceServicer):
    """Base of the parts of CatalogService."""

    def __init__(self, hops: Hops, rules: CatalogRules) -> None:
        self._hops = hops
        self._rules = rules


def request_key(request: Any) -> RequestKey:
    """Return how a repeated request is recognised; every message with a request id may come."""
    return RequestKey(request.request_id, request.SerializeToString(deterministic=True))
