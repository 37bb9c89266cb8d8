"""What the list of single versions in the trash needs of their store."""

from collections.abc import Collection, Sequence
from typing import Protocol, TypeAlias

from ingot.server.core.artifacts import Version
from ingot.server.core.names import Kind

Place: TypeAlias = tuple[float, int]  # when it went to the trash, and what tells two of one moment apart


class TrashedVersions(Protocol):
    """Versions in the trash whose artifacts are not there themselves."""

    def trashed(
        self, kind: Kind, namespaces: Collection[str] | None, after: Place | None, size: int
    ) -> Sequence[tuple[Place, Version]]:
        """Return up to `size` of them with their places, those that went last first; after a place.

        Of these namespaces, with None of all.
        """
        ...
