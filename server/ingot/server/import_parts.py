"""The parts of imports, wired for app.py and for tests.

parts = ImportParts(settings, catalog, operations, folders, registered, requests)
parts.imports.start(…)               # a door's, inside a write
"""

from ingot.server.core.exports import AllowedFolders
from ingot.server.core.imports import RegisteredSources
from ingot.server.domain.import_sources import ImportSources
from ingot.server.domain.imports import CatalogView, Imports
from ingot.server.domain.operations import Operations
from ingot.server.domain.requests import Requests
from ingot.server.export_parts import CatalogFace
from ingot.server.settings import Settings
from ingot.server.sources.addresses import Addresses, parse_networks
from ingot.server.sources.url_checks import UrlChecks
from ingot.server.storage.operations_sql import OperationsSql


class ImportParts:
    """The rules of imports; bundles may be read below `folders`."""

    def __init__(
        self,
        settings: Settings,
        catalog: CatalogFace,
        operations: Operations,
        folders: AllowedFolders,
        registered: RegisteredSources,
        requests: Requests,
    ) -> None:
        checks = UrlChecks(Addresses(parse_networks(settings.import_private_networks)))
        view = CatalogView(catalog.versions, catalog.artifacts, catalog.access)
        sources = ImportSources(checks, folders)
        self.imports = Imports(sources, registered, view, operations, OperationsSql(), requests)
