"""Models and datasets: what an artifact, a version and an alias are, and what a caller may say about them.

An artifact is the named, mutable thing; a version is its immutable content. `ArtifactFields` are what its
owner says; everything else is counted or given by the server. Times are epoch seconds, sizes bytes.

A version that must pass a validation first is published in steps; readers see it once it is READY:

    STAGED ──BEGIN──▶ VALIDATING ──PASS──▶ READY
      ▲  ▲                │  └───REJECT──▶ REJECTED
      │  └────RELEASE─────┘                    │         (it ended without a verdict, or tries again later)
      └──────────────────AGAIN─────────────────┘
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ingot.server.core import ids, json_values
from ingot.server.core.approval_policies import ApprovalPolicy, ApprovalState
from ingot.server.core.errors import Precondition, Reason
from ingot.server.core.expressions import EVERYTHING, Expression, Term
from ingot.server.core.facts import VersionFacts
from ingot.server.core.names import AliasName, ArtifactName, Kind, VersionName
from ingot.server.core.params import Rules

JsonValue = json_values.JsonValue
JsonObject = json_values.JsonObject


class Visibility(StrEnum):
    """Who may read an artifact besides those who may write it."""

    PRIVATE = "PRIVATE"
    INTERNAL = "INTERNAL"
    PUBLIC = "PUBLIC"


class Lifecycle(StrEnum):
    """What the owner declares about the life of an artifact."""

    ACTIVE = "ACTIVE"
    DEPRECATED = "DEPRECATED"
    ARCHIVED = "ARCHIVED"


class VersionState(StrEnum):
    """State of a version; without a validation policy a commit makes it READY at once."""

    STAGED = "STAGED"
    VALIDATING = "VALIDATING"
    READY = "READY"
    REJECTED = "REJECTED"


class VersionMove(StrEnum):
    """What may happen to a version."""

    BEGIN = "begin"
    PASS = "pass"
    REJECT = "reject"
    RELEASE = "release"
    AGAIN = "again"


_MOVES: dict[tuple[VersionState, VersionMove], VersionState] = {
    (VersionState.STAGED, VersionMove.BEGIN): VersionState.VALIDATING,
    (VersionState.VALIDATING, VersionMove.PASS): VersionState.READY,
    (VersionState.VALIDATING, VersionMove.REJECT): VersionState.REJECTED,
    (VersionState.VALIDATING, VersionMove.RELEASE): VersionState.STAGED,
    (VersionState.REJECTED, VersionMove.AGAIN): VersionState.STAGED,
}


def next_version_state(name: VersionName, state: VersionState, move: VersionMove) -> VersionState:
    """Return the state of a version after `move`. Raises Precondition (STATE_INVALID)."""
    after = _MOVES.get((state, move))
    if after is None:
        raise Precondition(
            Reason.STATE_INVALID,
            f"{name} is {state}; it cannot {move} in that state.",
            facts={"name": str(name), "state": state},
        )
    return after


class ValidationMode(StrEnum):
    """When the versions of an artifact are validated."""

    SERVER = "SERVER"  # as the server is set
    NONE = "NONE"  # only on request
    REQUIRED = "REQUIRED"  # after each commit, before anybody else sees it


@dataclass(frozen=True, slots=True)
class ValidationPolicy:
    """What the versions of an artifact must pass."""

    mode: ValidationMode = ValidationMode.SERVER
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True)
class ArtifactFields:
    """What the owner of an artifact says about it; domain/catalog_fields.py checks and normalises it."""

    display_name: str = ""
    description: str = ""
    card: str = ""
    tags: tuple[str, ...] = ()
    language: str = ""
    license: str = ""
    framework: str = ""
    task_type: str = ""
    model_type: str = ""
    source: str = ""
    requirements: JsonObject = field(default_factory=dict)
    metadata: JsonObject = field(default_factory=dict)
    visibility: Visibility = Visibility.PRIVATE
    lifecycle: Lifecycle = Lifecycle.ACTIVE
    validation: ValidationPolicy = field(default_factory=ValidationPolicy)
    approval: ApprovalPolicy = field(default_factory=ApprovalPolicy)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model or a dataset."""

    name: ArtifactName
    uid: str
    fields: ArtifactFields
    owner: str  # users/{id}
    create_time: float
    update_time: float
    revision: int = 1  # grows with every change
    format: str = ""  # of the current version
    current_version: str = ""  # id of the version that `latest` points at; empty without one
    version_count: int = 0
    size_bytes: int = 0  # of the current version
    version_bytes: int = 0  # logical bytes of all its versions
    stored_bytes: int = 0  # what its versions added to the store
    delete_time: float | None = None
    facts: VersionFacts | None = None  # of the current version, once they were read
    public_mark: str = ""  # of what strangers see of it; empty where they see everything
    public_time: float = field(default=0.0, compare=False)  # when that last changed

    @property
    def etag(self) -> str:
        """Return what changes with every change that is seen, but not when it is merely read.

        Without a revision it is shown to somebody who sees a part of it.
        """
        return ids.etag_of(self.uid, self.revision or self.public_mark)


@dataclass(frozen=True, slots=True)
class Figures:
    """The numbers that an artifact is found, sorted and summed up by: those that everybody sees of it.

    So of a PUBLIC one they are about its approved versions, whoever asks. See Artifact for each.
    """

    size_bytes: int = 0
    version_count: int = 0
    version_bytes: int = 0
    update_time: float = 0.0

    @classmethod
    def of(cls, artifact: Artifact) -> "Figures":
        """Return the numbers that an artifact tells."""
        return cls(artifact.size_bytes, artifact.version_count, artifact.version_bytes, artifact.update_time)


@dataclass(frozen=True, slots=True)
class VersionOrigin:
    """What made a version, as resource names; empty where it does not apply."""

    upload: str = ""
    operation: str = ""
    training_job: str = ""
    hub_commit: str = ""
    dataset_version: str = ""
    base_version: str = ""
    source: str = (
        ""  # where an import read: hf://…, a URL, or a version's name on the server that exported it
    )


@dataclass(frozen=True, slots=True)
class Version:
    """Immutable content of an artifact with what is said about it."""

    name: VersionName
    uid: str
    state: VersionState
    digest: bytes  # 32 bytes: the tree digest
    file_count: int
    size_bytes: int
    new_bytes: int  # that its namespace did not hold before
    format: str
    creator: str  # principal who committed it, a worker's token by its own name
    create_time: float
    ready_time: float | None
    changelog: str = ""
    metadata: JsonObject = field(default_factory=dict)
    performance_metrics: JsonObject = field(default_factory=dict)
    origin: VersionOrigin = field(default_factory=VersionOrigin)
    aliases: tuple[str, ...] = ()  # ids of the aliases that point at it, `latest` among them
    asked_aliases: tuple[str, ...] = ()  # ids of those that move to it once it is READY
    last_validation: str = ""  # operations/{id}
    approval: ApprovalState | None = None  # of its newest approval; None when nobody asked for one
    delete_time: float | None = None  # when it went to the trash
    revision: int = 1  # grows when what is said about it changes
    update_time: float | None = None  # when that was last
    maker: str = ""  # users/{id} for whom a worker trained it; empty where the creator made it
    facts: VersionFacts | None = None  # once they were read from its files

    @property
    def etag(self) -> str:
        """Return what changes when its state changes, or what is said about it."""
        return ids.etag_of(self.uid, self.state, self.delete_time or 0, self.revision, self.approval or "")

    @property
    def is_approved(self) -> bool:
        """Whether strangers may see it."""
        return self.approval is ApprovalState.APPROVED

    @property
    def storage_uri(self) -> str:
        """Return the name of its bytes in the store: content is found by its digest."""
        return f"ingot://trees/{self.digest.hex()}"


@dataclass(frozen=True, slots=True)
class Alias:
    """A movable name for a version."""

    name: AliasName
    version: VersionName
    update_time: float
    updated_by: str  # principal
    revision: int = 1
    protected: bool = False  # only approved versions may have it

    @property
    def etag(self) -> str:
        """Return what changes with every move."""
        return ids.etag_of(self.name, self.version.version, self.revision, self.update_time)


@dataclass(frozen=True, slots=True)
class AliasMove:
    """A move of an alias: ids of versions, empty when it was removed or did not exist before."""

    version: str
    previous: str
    time: float
    moved_by: str  # principal; empty when it moved by itself


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What an upload shall become: a version that does not exist yet."""

    artifact: ArtifactName
    version_id: str = ""  # chosen; else one above the largest leading number
    create: ArtifactFields | None = None  # make the artifact with these when it is missing
    expected_latest: str | None = None  # id or name that `latest` must have at commit; "" means none yet
    changelog: str = ""
    metadata: JsonObject = field(default_factory=dict)
    performance_metrics: JsonObject = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    format: str = ""  # else as found from the files
    training_job: str = ""  # trainingJobs/{job} whose result it is
    attempt: int = 0  # of that job
    source: str = ""  # where an operation of the server read it
    source_commit: str = ""  # commit of the Hub repository it read, or digest of the checksums of URLs


@dataclass(frozen=True, slots=True)
class TreeFacts:
    """What the store knows about the tree that becomes a version."""

    digest: bytes  # 32 bytes
    file_count: int
    size_bytes: int
    new_bytes: int
    format: str  # main format, found from its files


@dataclass(frozen=True, slots=True)
class Scope:
    """Part of the catalog that a list or a statistic covers; unset fields do not narrow it.

    `audience` is a namespace for what is private to it, or EVERYONE for what every signed-in user may read.
    `granted_to` is a user: what is private and shown to it, but for the namespaces `besides`.
    """

    kind: Kind
    namespace: str | None = None
    audience: str | None = None
    deleted: bool = False  # what is in the trash instead; that has no audience
    granted_to: str | None = None
    besides: tuple[str, ...] = ()


EVERYONE = "*"


class ArtifactOrder(StrEnum):
    """What a list of artifacts is sorted by."""

    CREATED = "create_time"
    UPDATED = "update_time"
    NAME = "name"
    SIZE = "size_bytes"
    VERSIONS = "version_count"


@dataclass(frozen=True, slots=True)
class ArtifactQuery:
    """Which artifacts, in which order: any of the scopes, and what a filter asks for."""

    scopes: tuple[Scope, ...]
    where: Expression = EVERYTHING
    order: ArtifactOrder = ArtifactOrder.CREATED
    descending: bool = True


@dataclass(frozen=True, slots=True)
class CatalogTotals:
    """Totals over some artifacts; `terms` are (term, number of artifacts)."""

    artifact_count: int = 0
    version_count: int = 0
    size_bytes: int = 0
    terms: Mapping[Term, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FacetCounts:
    """How many artifacts have which values: by field the most frequent ones with their counts."""

    total: int
    values: Mapping[str, Sequence[tuple[str, int]]]
    more: frozenset[str] = frozenset()  # fields with values that are not among them


@dataclass(frozen=True, slots=True)
class ArtifactChanges:
    """Changed artifacts with the numbers of their changes; of those that are no longer shown only the uid.

    With `more` others follow, after that number.
    """

    items: Sequence[tuple[int, Artifact | str]]
    more: int | None


@dataclass(frozen=True, slots=True)
class Circle:
    """Whose changes somebody hears of even where strangers see none: of namespaces, and by grants.

    `namespaces` is None for who belongs to all of them.
    """

    namespaces: Collection[str] | None = None
    user: str = ""
