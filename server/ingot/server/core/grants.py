"""Grants: single artifacts shown to single people; and the interface to the rows that say so.

Whoever is granted an artifact reads it as a member of its namespace with the role of a reader would, and
nothing else there. Who shall write joins the namespace.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from ingot.server.core.artifacts import Artifact


@dataclass(frozen=True, slots=True)
class Grant:
    """Leave for one user to read one artifact."""

    user: str
    granted_by: str  # principal
    create_time: float


class GrantStore(Protocol):
    """Grants by artifact. They stay with an artifact in the trash and go when it is purged."""

    def has(self, artifact: Artifact, user: str) -> bool:
        """Return whether a user is granted an artifact."""
        ...

    def among(self, artifacts: Sequence[Artifact], user: str) -> Set[str]:
        """Return the uids of those among the artifacts that a user is granted, in one question."""
        ...

    def has_any(self, user: str) -> bool:
        """Return whether a user is granted any artifact."""
        ...

    def of(self, artifact: Artifact) -> Sequence[Grant]:
        """Return all grants of an artifact in the order of their users."""
        ...

    def add(self, artifact: Artifact, grant: Grant) -> bool:
        """Add a grant; False, and nothing changed, when the user has one."""
        ...

    def remove(self, artifact: Artifact, user: str) -> bool:
        """Remove the grant of a user; return whether there was one."""
        ...

    def forget(self, user: str) -> None:
        """Remove all grants of a user."""
        ...
