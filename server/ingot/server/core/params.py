"""What operations are asked and what they answer: one model per kind, from which their JSON Schemas are made.

These are stored as JSON in the row of an operation and handed to its body as they are. Sizes are bytes, times
epoch seconds, spans seconds.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ingot.server.core.facts import VersionFacts
from ingot.server.core.json_values import JsonObject


class Params(BaseModel):
    """Base of all of them: immutable, and a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def document(self) -> JsonObject:
        """Return them as JSON values, without what is unset."""
        values: JsonObject = self.model_dump(mode="json", exclude_none=True)
        return values


# --- validation ---------------------------------------------------------------------------------------------


class Rules(Params):
    """Rules of a validation; what is None does not count."""

    max_file_size: int | None = Field(default=None, ge=0, description="Largest size of one file, in bytes.")
    allowed_formats: tuple[str, ...] = Field(
        default=(), description="Formats that may occur; any when empty."
    )
    min_records: int | None = Field(
        default=None, ge=0, description="Fewest records of all data files together."
    )
    max_records: int | None = Field(
        default=None, ge=0, description="Most records of all data files together."
    )
    required_columns: tuple[str, ...] = Field(default=(), description="Columns that every record must have.")
    max_bad_ratio: float | None = Field(
        default=None, ge=0, le=1, description="Share of records that may be bad."
    )
    max_duplicate_ratio: float | None = Field(
        default=None, ge=0, le=1, description="Share of records that may be duplicates."
    )
    min_text_length: int | None = Field(
        default=None, ge=0, description="Shortest text of a record, in characters."
    )
    max_text_length: int | None = Field(
        default=None, ge=0, description="Longest text of a record, in characters."
    )
    allowed_languages: tuple[str, ...] = Field(default=(), description="Languages that most text must be in.")
    allow_unsafe: bool | None = Field(
        default=None, description="Let model files pass that run code when loaded."
    )
    quarantine: bool | None = Field(
        default=None, description="Write bad records aside and make a version of the good ones."
    )


class ValidationParams(Params):
    """Parameters of `validate`; the version is the operation's target."""

    rules: Rules = Rules()
    publish: bool = Field(
        default=True, description="Make a staged or rejected version READY or REJECTED by it."
    )


class Finding(Params):
    """Something a validation found, with its exact place."""

    path: str = Field(description="File in the version.")
    severity: Literal["error", "warning"] = "error"
    reason: str = Field(description="Short code, such as json_syntax, missing_column, unsafe_opcode.")
    message: str = Field(description="What was found and what was expected.")
    row: int | None = Field(default=None, description="Record, from 1; for CSV the header is not counted.")
    byte_offset: int | None = Field(default=None, description="Offset in the file, from 0.")
    column: int | None = Field(
        default=None, description="Character in the line, or field of a CSV row, from 1."
    )


class FileReport(Params):
    """What a validation found out about one file."""

    path: str
    size_bytes: int
    format: str = ""
    validator: str = Field(
        default="", description="Which check was applied; `plain` when the format has none."
    )
    passed: bool = True
    records: int | None = None
    bad_records: int = 0
    duplicates: int = 0
    statistics: dict[str, object] = Field(
        default_factory=dict,
        description="Columns, text lengths, languages, Persian letter variants, digits, sample rows; "
        "tensors, dtypes, parameters, opcodes.",
    )


class ValidationReport(Params):
    """Result of `validate`."""

    passed: bool
    summary: str = Field(description="One sentence for a person.")
    records: int | None = None
    files: tuple[FileReport, ...] = ()
    file_count: int = 0
    findings: tuple[Finding, ...] = Field(default=(), description="The first of them, at most 1000.")
    finding_count: int = 0
    quarantined: int = 0
    version: str = Field(default="", description="Version of the good records, when bad ones were put aside.")
    facts: VersionFacts | None = Field(default=None, description="What the files say about the version.")


# --- import -------------------------------------------------------------------------------------------------


class HubImport(Params):
    """A repository of the Hub."""

    kind: Literal["hub"] = "hub"
    repository: str
    repository_kind: Literal["model", "dataset"] = "model"
    revision: str = Field(default="", description="Branch, tag or commit; the main branch when empty.")
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class UrlFile(Params):
    """One file to fetch."""

    path: str = Field(default="", description="Path in the version; with unpack the folder to unpack into.")
    urls: tuple[str, ...] = Field(
        min_length=1,
        description="Addresses of the same bytes, in order, up to their path: what follows is kept sealed.",
    )
    checksum: str = Field(default="", description="sha256:, sha512:, blake3:, sha1: or md5: and hex.")
    size_bytes: int = Field(default=0, ge=0, description="0 is not known.")
    unpack: bool = False


class UrlImport(Params):
    """Files at URLs."""

    kind: Literal["urls"] = "urls"
    files: tuple[UrlFile, ...] = Field(min_length=1, max_length=10_000)


class BundleImport(Params):
    """A bundle that another server exported."""

    kind: Literal["bundle"] = "bundle"
    path: str
    signer: str = Field(default="", description="ed25519:<hex>; the trusted ones when empty.")
    anyones: bool = Field(
        default=False,
        description="Whether it may hold what others own on this server: an administrator asked.",
    )


Source = Annotated[HubImport | UrlImport | BundleImport, Field(discriminator="kind")]


class Target(Params):
    """The version that an import makes, as NewVersion of the API in JSON."""

    artifact: str = Field(description="namespaces/{n}/models/{id} or …/datasets/{id}.")
    display_name: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    language: str = ""
    license: str = ""
    framework: str = ""
    task_type: str = ""
    model_type: str = ""
    visibility: str = Field(
        default="", description="PRIVATE, INTERNAL or PUBLIC of an artifact that it creates."
    )
    version_id: str = ""
    changelog: str = ""
    aliases: tuple[str, ...] = ()
    metadata: dict[str, object] = Field(default_factory=dict)
    performance_metrics: dict[str, object] = Field(default_factory=dict)


class ImportParams(Params):
    """Parameters of `import`."""

    source: Source
    target: Target
    force: bool = Field(default=False, description="Fetch even when that content is here already.")
    check_only: bool = Field(default=False, description="Only look: exists, size, disk.")
    max_bytes_per_second: int = Field(default=0, ge=0, description="0 is without limit.")
    registered: bool = Field(default=False, description="It fetches a registered artifact.")
    registrar: str = Field(
        default="",
        description="Who registered that artifact, `users/{user}`; empty for the server's own lists.",
    )


class ImportResult(Params):
    """Result of `import`."""

    version: str = Field(default="", description="What it made, or what was here already; empty for a look.")
    versions: tuple[str, ...] = Field(default=(), description="All versions, when a bundle brought several.")
    existed: bool = Field(default=False, description="That content was here already; nothing was fetched.")
    source: str = Field(default="", description="hf://…@commit, the first URL, or the bundle.")
    commit: str = Field(
        default="", description="Commit of the Hub repository, or digest of the checksums of the URLs."
    )
    digest: str = Field(default="", description="Tree digest of the version, blake3:<hex>.")
    file_count: int = 0
    size_bytes: int = 0
    fetched_bytes: int = Field(default=0, description="Bytes that travelled from the source in this attempt.")
    free_bytes: int = Field(default=0, description="Free on the server's disk when it looked.")
    needed_bytes: int = Field(default=0, description="What fetching needs on the server's disk.")


# --- export -------------------------------------------------------------------------------------------------


class FolderExport(Params):
    """A folder on the server."""

    kind: Literal["folder"] = "folder"
    path: str
    layout: Literal["name", "owner_uid"] = "name"
    root: str = Field(description="The allowed folder that the path lies in.")
    names: tuple[str, ...] = Field(
        min_length=1, description="What each version is called below the path, in their order."
    )
    artifacts: tuple[str, ...] = Field(description="The uid of the artifact of each, which its marker names.")
    remove: bool = Field(default=False, description="Remove what was exported there; there are no versions.")


class HubExport(Params):
    """A repository of the Hub."""

    kind: Literal["hub"] = "hub"
    repository: str
    repository_kind: Literal["model", "dataset"] = "model"
    branch: str = ""
    private: bool = False
    message: str = ""
    server_token: bool = Field(
        default=False,
        description="Whether the server's own token may write where its requester has none: an administrator "
        "asked.",
    )


class JobFacts(Params):
    """What a bundle tells of the training job that made a version, as it was when the export was wanted."""

    name: str
    dataset_version: str
    dataset_digest: str
    base_version: str = ""
    base_digest: str = ""
    attempt: int = 0
    training_seconds: float = 0.0
    config: dict[str, object] = Field(default_factory=dict)
    metrics: dict[str, object] = Field(default_factory=dict)


class BundleExport(Params):
    """One signed file."""

    kind: Literal["bundle"] = "bundle"
    path: str
    root: str = Field(description="The allowed folder that the path lies in.")
    since: float | None = Field(default=None, description="Only versions committed after this time.")
    jobs: tuple[JobFacts, ...] = Field(
        default=(), description="Training jobs that made some of the versions."
    )


Destination = Annotated[FolderExport | HubExport | BundleExport, Field(discriminator="kind")]


class ExportParams(Params):
    """Parameters of `export`."""

    versions: tuple[str, ...] = Field(description="Concrete versions; none when something is removed.")
    destination: Destination


class ExportResult(Params):
    """Result of `export`."""

    path: str = Field(default="", description="Folder or file that was written.")
    url: str = Field(default="", description="Commit on the Hub.")
    versions: tuple[str, ...] = ()
    file_count: int = 0
    size_bytes: int = 0
    written_bytes: int = Field(default=0, description="Without what was there already.")
    digest: str = Field(default="", description="BLAKE3 of a bundle, blake3:<hex>.")
    signer: str = Field(default="", description="Public key that signed a bundle, ed25519:<hex>.")
