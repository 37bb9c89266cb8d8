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
from ingot.server.parts.exports import CatalogFace
from ingot.server.settings.fields import Settings
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
        view = CatalogView(catalog.versions, catalog.artifacts, catalog.access)
        sources = import_sources(settings, folders)
        self.imports = Imports(sources, registered, view, operations, OperationsSql(), requests)


def import_sources(settings: Settings, folders: AllowedFolders) -> ImportSources:
    """Return the checks of what may be fetched from where, as it is set."""
    return ImportSources(UrlChecks(Addresses(parse_networks(settings.import_private_networks))), folders)
