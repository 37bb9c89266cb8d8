"""What a caller asks of the catalog, and what a deletion answers."""

from collections.abc import Collection
from dataclasses import dataclass

from ingot.server.core.artifacts import Artifact, ArtifactFields
from ingot.server.core.names import ANY_NAMESPACE, ArtifactName, Kind


@dataclass(frozen=True, slots=True)
class NewArtifact:
    """An artifact to be made; an empty id is made by the server."""

    namespace: str
    kind: Kind
    artifact_id: str
    fields: ArtifactFields


@dataclass(frozen=True, slots=True)
class ArtifactChange:
    """New values for an artifact. See catalog_fields.masked for `paths` and `populated`."""

    name: ArtifactName
    fields: ArtifactFields
    paths: Collection[str] = ()
    populated: Collection[str] = ()
    etag: str = ""


@dataclass(frozen=True, slots=True)
class ArtifactListing:
    """Which artifacts to list; the namespace may be `-` for all that the caller may see."""

    namespace: str = ANY_NAMESPACE
    kind: Kind | None = None
    filter: str = ""
    order_by: str = ""
    page_size: int = 0
    page_token: str = ""
    with_versions: bool = False  # the page leaves room for the newest versions of each
    deleted: bool = False  # what is in the trash instead


@dataclass(frozen=True, slots=True)
class Deletion:
    """What goes, or would go, to the trash; without an artifact there was none."""

    artifact: Artifact | None = None
    dependants: tuple[str, ...] = ()
