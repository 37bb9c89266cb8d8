"""Imports: what may be asked for. What a body is told stands in params.py."""

from dataclasses import dataclass, field
from typing import Protocol

from ingot.server.core.artifacts import ArtifactFields
from ingot.server.core.identity import Caller
from ingot.server.core.json_values import JsonObject
from ingot.server.core.names import ArtifactName, Kind
from ingot.server.core.operations import NewOperation, OperationOptions
from ingot.server.core.params import BundleImport, HubImport, UrlImport


@dataclass(frozen=True, slots=True)
class WantedTarget:
    """The version that an import shall make; without an artifact its name is derived from the source."""

    artifact: ArtifactName | None = None
    kind: Kind | None = None  # of a derived artifact, where the source does not tell it
    create: ArtifactFields | None = None  # of an artifact that is missing
    version_id: str = ""
    changelog: str = ""
    aliases: tuple[str, ...] = ()
    metadata: JsonObject = field(default_factory=dict)
    performance_metrics: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WantedImport:
    """An import that somebody asks for; the name of an artifact stands for its registered source."""

    source: HubImport | UrlImport | BundleImport | ArtifactName
    target: WantedTarget = WantedTarget()
    force: bool = False
    check_only: bool = False
    max_bytes_per_second: int = 0
    options: OperationOptions = field(default_factory=OperationOptions)


class RegisteredSources(Protocol):
    """Artifacts that are registered with their source."""

    def params(self, caller: Caller, artifact: ArtifactName) -> NewOperation:
        """Return the import that fetches a registered artifact.

        Raises NotFound (ARTIFACT_NOT_FOUND), Precondition (STATE_INVALID) for one that has no source.
        """
        ...


class SourceChecks(Protocol):
    """What the text of a source tells about it, without asking anybody."""

    def check_url(self, text: str) -> None:
        """Refuse what the server would not fetch. Raises Invalid, Denied (SOURCE_ADDRESS_REFUSED)."""
        ...

    def shown(self, text: str) -> str:
        """Return a URL as it may be shown and stored: without what may be secret in it."""
        ...

    def checksum(self, text: str) -> str:
        """Return a checksum in its one form, "" for none. Raises Invalid (FIELD_INVALID)."""
        ...
