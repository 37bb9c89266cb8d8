"""What the catalog needs of the rows of aliases."""

from collections.abc import Collection, Sequence
from typing import Protocol

from ingot.server.core.artifacts import Alias, AliasMove, Artifact
from ingot.server.core.names import AliasName, VersionName


class AliasPlaces(Protocol):
    """Where aliases point, for who protects them."""

    def has(self, artifact: Artifact, alias: str) -> bool:
        """Return whether an artifact has an alias."""
        ...

    def unapproved(
        self, namespace: str, aliases: Collection[str], artifact: Artifact | None = None
    ) -> tuple[AliasName, VersionName] | None:
        """Return one of these aliases that names a version which is not approved, if any.

        Of all artifacts in a namespace but those in the trash, or of one.
        """
        ...


class AliasStore(AliasPlaces, Protocol):
    """Aliases that people set. `latest` is not among them: the artifact itself knows its current version."""

    def find(self, artifact: Artifact, alias: str) -> Alias | None:
        """Return one alias of an artifact."""
        ...

    def put(self, artifact: Artifact, alias: Alias) -> None:
        """Make or move an alias, and note the move; its version must be one of the artifact's."""
        ...

    def delete(self, artifact: Artifact, alias: str, now: float, by: str = "") -> bool:
        """Remove an alias, and note who did; return whether it was there."""
        ...

    def note(self, artifact: Artifact, alias: str, move: AliasMove) -> None:
        """Add a move to the history of an alias, which need not be kept here itself."""
        ...

    def moves(
        self, artifact: Artifact, alias: str, before: int | None, size: int
    ) -> Sequence[tuple[int, AliasMove]]:
        """Return up to `size` moves of an alias, the newest first, with their positions; from `before` on."""
        ...

    def page(self, artifact: Artifact, after: str, size: int) -> Sequence[Alias]:
        """Return up to `size` aliases whose ids sort after `after`, in order."""
        ...
