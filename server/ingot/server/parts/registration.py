"""The parts of registered artifacts, wired for app.py.

parts = RegistrationParts(settings, catalog, operations, folders, clock)
parts.registrations                                # the sources of ImportParts, and of both servicers
parts.add_to(hops, operations.shelf)               # the body of `remove`
await parts.begin(hops)                            # reads the lists of sources
"""

from pathlib import Path

from ingot.server.core.artifacts import JsonObject
from ingot.server.core.clock import Clock
from ingot.server.core.errors import IngotError, Invalid, Reason
from ingot.server.core.exports import AllowedFolders
from ingot.server.core.registrations import Declaration
from ingot.server.domain import declarations
from ingot.server.domain.operations import Operations
from ingot.server.domain.registrations import KIND, Registrations
from ingot.server.domain.removal import Removal
from ingot.server.parts.exports import CatalogFace
from ingot.server.parts.imports import import_sources
from ingot.server.rpc.hops import Hops
from ingot.server.runner.shelf import ShelfBodies, ShelfWork
from ingot.server.settings.fields import Settings
from ingot.server.storage.accounts_sql import AccountsSql
from ingot.server.storage.aliases_sql import AliasesSql
from ingot.server.storage.data_folder import DataFolderError
from ingot.server.storage.identity_sql import UsersSql
from ingot.server.storage.operations_sql import OperationsSql
from ingot.server.storage.registrations_sql import RegistrationsSql
from ingot.server.storage.trees_sql import TreesSql
from ingot.server.storage.versions_sql import VersionsSql

_CATALOGS = Path(__file__).parents[1] / "catalogs"  # those that come with the server


class RegistrationParts:
    """The rules of registered artifacts, and the removal of their files."""

    def __init__(
        self,
        settings: Settings,
        catalog: CatalogFace,
        operations: Operations,
        folders: AllowedFolders,
        clock: Clock,
    ) -> None:
        self._namespace = settings.sources_namespace
        self._files = tuple(map(_path_of, settings.sources))
        self.registrations = Registrations(
            RegistrationsSql(),
            import_sources(settings, folders),
            catalog.catalog,
            catalog.artifacts,
            UsersSql(),
            operations,
            OperationsSql(),
            clock,
        )
        self._removal = Removal(
            catalog.catalog,
            catalog.artifacts,
            VersionsSql(),
            AliasesSql(),
            TreesSql(),
            operations,
            AccountsSql(),
        )
        catalog.catalog.follow(self.registrations)
        operations.on(KIND, self.registrations)
        operations.show(self.registrations)

    def add_to(self, hops: Hops, shelf: ShelfBodies) -> None:
        """Let `remove` drop the versions of a deleted artifact, one, or some of its files, in each write."""

        async def remove(work: ShelfWork) -> JsonObject:
            removed = released = 0
            while (done := await hops.write(self._removal.step, work.operation)) is not None:
                removed, released = removed + done[0], released + done[1]
                await work.step()
            await hops.write(self._removal.finish, work.operation)
            return {"versions": removed, "released_bytes": released}

        shelf.add("remove", remove)

    async def begin(self, hops: Hops) -> None:
        """Register what the lists of sources declare. Raises DataFolderError for what cannot be used."""
        try:
            found = [entry for file in self._files for entry in await hops.io(_read, file)]
            await hops.write(
                self.registrations.declare, self._namespace, declarations.unique(found, "all lists together")
            )
        except IngotError as error:
            raise DataFolderError(f"{error.message} {error.next_step}".strip()) from error


def _path_of(source: str) -> Path:
    """Return the path of a list; one that is named without a folder or an ending comes with the server."""
    return _CATALOGS / f"{source}.toml" if source.isidentifier() else Path(source).expanduser()


def _read(file: Path) -> list[Declaration]:
    if file.parent == _CATALOGS and not file.exists():
        known = ", ".join(sorted(each.stem for each in _CATALOGS.glob("*.toml")))
        raise Invalid(
            Reason.FIELD_INVALID,
            f"There is no list of sources called {file.stem!r}; those that come with the server: {known}.",
            next_step="Correct the setting `sources`, or write the path of a file.",
        )
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(
            Reason.FIELD_INVALID,
            f"The list of sources {file} cannot be read: {error}.",
            next_step="Correct the setting `sources`.",
        ) from error
    return declarations.parse(text, str(file))
