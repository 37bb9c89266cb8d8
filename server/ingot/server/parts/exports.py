"""The parts of exports, wired for app.py and for tests.

parts = ExportParts(settings, catalog, operations, requests, jobs, credentials, key, clock)
parts.exports.start(…)               # a door's, inside a write
parts.import_folders.find(…)         # where bundles may be read
await parts.begin(hops)              # when the server starts: what the mount point lacks is queued
"""

from pathlib import Path
from typing import Protocol

from ingot.server.core.catalog_stores import ArtifactStore
from ingot.server.core.clock import Clock
from ingot.server.core.training_stores import TrainingStore
from ingot.server.domain.access import Access
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.exports import Exports, ExportShelves, HubTokens
from ingot.server.domain.kept_exports import KeptExports
from ingot.server.domain.operations import Operations
from ingot.server.domain.requests import Requests
from ingot.server.domain.versions import Versions
from ingot.server.rpc.hops import Hops
from ingot.server.settings.fields import Settings
from ingot.server.sources.export_places import ExportSight
from ingot.server.sources.signing import KEY_FILE, SigningKey
from ingot.server.storage.allowed_folders import AllowedFoldersOnDisk, make_mount_point
from ingot.server.storage.data_folder import DataFolderError
from ingot.server.storage.exports_sql import KeptExportsSql
from ingot.server.storage.versions_sql import VersionsSql


class CatalogFace(Protocol):
    """What exports need of the catalog."""

    @property
    def catalog(self) -> Catalog:
        """Return the rules about artifacts."""

    @property
    def versions(self) -> Versions:
        """Return the rules about versions."""

    @property
    def artifacts(self) -> ArtifactStore:
        """Return the rows of artifacts."""

    @property
    def access(self) -> Access:
        """Return who may what."""


class ExportParts:
    """The rules of exports and of what is kept."""

    def __init__(
        self,
        settings: Settings,
        catalog: CatalogFace,
        operations: Operations,
        requests: Requests,
        jobs: TrainingStore,
        tokens: HubTokens,
        signer: str,
        clock: Clock,
    ) -> None:
        folders = AllowedFoldersOnDisk(settings.export_folders, "export_roots")
        self.import_folders = AllowedFoldersOnDisk(settings.import_folders, "import_roots")
        usual = folders.find(str(settings.usual_export_folder), "mount_point")
        rows = KeptExportsSql()
        self._mount = settings.mount
        self.kept = KeptExports(
            rows, catalog.artifacts, operations, catalog.access, clock, usual if settings.mount else None
        )
        catalog.catalog.follow(self.kept)
        operations.on("export", self.kept)
        self.exports = Exports(
            ExportShelves(catalog.artifacts, VersionsSql(), rows, jobs, folders, ExportSight(signer)),
            self.kept,
            catalog.catalog,
            catalog.versions,
            operations,
            requests,
            tokens,
            usual,
        )

    async def begin(self, hops: Hops) -> None:
        """Make the mount point and queue what it lacks, some in each write. Raises DataFolderError."""
        if self._mount is not None:
            await hops.io(make_mount_point, self._mount)
        await hops.write(self.kept.forget_other_mounts)
        after = await hops.write(self.kept.catch_up)
        while after is not None:
            after = await hops.write(self.kept.catch_up, after)


def bundle_key(folder: Path) -> str:
    """Return the public key that signs the bundles of a data folder. Raises DataFolderError."""
    try:
        return SigningKey.of_folder(folder).name
    except (OSError, ValueError) as error:
        raise DataFolderError(
            f"The key {folder / KEY_FILE} that signs bundles cannot be used: {error}. Restore it from a "
            "backup, or move it away: then a new one is made, and servers that trust this one must be told."
        ) from error
