"""Registered artifacts: models and datasets whose source is known before their files are here.

REGISTERED ──BEGIN──▶ FETCHING ──ARRIVE──▶ FETCHED ──BEGIN──▶ FETCHING (fetched again)
                         │ └──STOP──▶ REGISTERED, or FETCHED when earlier files are here
                         └──FAIL──▶ FAILED ──BEGIN──▶ FETCHING
and each of them is REGISTERED again when its files are removed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from ingot.server.core.artifacts import ArtifactFields
from ingot.server.core.errors import Precondition, Problem, Reason
from ingot.server.core.names import Kind
from ingot.server.core.params import HubImport, UrlImport


class FetchState(StrEnum):
    """State of the files of a registered artifact."""

    REGISTERED = "REGISTERED"
    FETCHING = "FETCHING"
    FETCHED = "FETCHED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Registration:
    """Where the files of an artifact come from and whether they are here; times in epoch seconds."""

    artifact_uid: str
    name: str  # of the artifact, unique
    source: HubImport | UrlImport
    original_url: str
    description: str = ""
    declared: bool = False  # by the server's own list; it comes back after it was removed
    expected_checksum: str = ""
    expected_size: int = 0
    state: FetchState = FetchState.REGISTERED
    problem: Problem | None = None
    operation: str = ""  # the last import
    progress: float = 0.0  # 0 to 1
    downloaded: bool = False
    size: int = 0  # of what was fetched
    checksum: str = ""
    local_path: str = ""
    update_time: float = 0.0
    download_time: float | None = None


@dataclass(frozen=True, slots=True)
class Declaration:
    """One entry of a list of sources."""

    kind: Kind
    id: str  # of the artifact
    source: HubImport | UrlImport
    fields: ArtifactFields = field(default_factory=ArtifactFields)
    checksum: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class AskedSource:
    """A source that a caller registers an artifact with; the URL may be `hf://[datasets/]name[@revision]`."""

    original_url: str
    checksum: str = ""
    size_bytes: int = 0


class RegistrationStore(Protocol):
    """Registrations, by the uid of their artifact."""

    def find(self, artifact_uid: str) -> Registration | None:
        """Return one."""
        ...

    def of(self, artifact_uids: Sequence[str]) -> Mapping[str, Registration]:
        """Return those that there are, by uid."""
        ...

    def put(self, registration: Registration) -> None:
        """Add or replace one. Its name must not belong to another artifact's."""
        ...

    def delete(self, artifact_uid: str) -> None:
        """Forget one."""
        ...

    def declared(self) -> Sequence[Registration]:
        """Return those that the server's own list declared, by name."""
        ...


def not_fetched(registration: Registration) -> Precondition:
    """Return the error for files that are not here, with what the last import failed with."""
    facts = {"name": registration.name, "original_url": registration.original_url}
    again = f"Run `ingot import {registration.name}`, then try again."
    if registration.problem is not None and registration.state is FetchState.FAILED:
        return Precondition(
            Reason.NOT_FETCHED,
            f"{registration.name} could not be fetched: {registration.problem.message}",
            next_step=f"{registration.problem.next_step} {again}".strip(),
            facts={**facts, "failed_operation": registration.operation},
        )
    return Precondition(
        Reason.NOT_FETCHED,
        f"{registration.name} is registered, but its files are not here.",
        next_step=again,
        facts=facts,
    )


def being_fetched(error: Precondition, operation: str) -> Precondition:
    """Return a NOT_FETCHED error for files that are on their way; `operation` is the name of the import."""
    return Precondition(
        Reason.NOT_FETCHED,
        f"{error.message} They are being fetched.",
        next_step=f"Wait for {operation}, then try again.",
        facts={**error.facts, "operation": operation},
    )
