"""What a bundle says about its artifacts, versions and files: models of its manifest, and their one form.

The manifest is JSON in canonical form (keys sorted, no spaces, UTF-8), so that the same content has the same
bytes. Everything in it that can be computed is computed again: file roots from segments, tree digests from
roots. Values are counted before any is made, because an empty list of three bytes takes a hundred in memory.
Field by field: docs/bundle-format.md.
"""

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from ingot.content import digests, paths
from ingot.content.texts import shortened
from ingot.server.core import names
from ingot.server.core.errors import Invalid, Reason

HexDigest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, Field(pattern=r"^blake3:[0-9a-f]{64}$")]
JsonFields = dict[str, JsonValue]
_MOST_VERSIONS = 10_000
_MOST_FILES = 2_000_000
_BYTES_OF_A_VALUE = 8  # at least, on average; files with short names take 9 or more
_FREE_VALUES = 65_536  # before that counts


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class BundledFile(_Part):
    """A file: its segments by their digests, in order."""

    path: str
    profile: str = Field(pattern=r"^[a-z0-9-]{1,32}$")
    size: int = Field(ge=0, lt=2**63)
    segments: list[HexDigest]


class BundledOrigin(_Part):
    """What made a version, as names on the server that exported it."""

    training_job: str = ""
    hub_commit: str = ""
    dataset_version: str = ""
    base_version: str = ""
    source: str = ""


class BundledVersion(_Part):
    """A version with its files."""

    name: str  # on the server that exported it
    version: str
    digest: Digest
    size: int = Field(ge=0, lt=2**63)
    format: str
    changelog: str
    metadata: JsonFields
    performance_metrics: JsonFields
    aliases: list[str]
    creator: str
    create_time: str  # RFC 3339
    origin: BundledOrigin
    files: list[BundledFile]


class BundledArtifact(_Part):
    """A model or dataset, and its versions in the order in which they were made."""

    name: str  # on the server that exported it
    display_name: str
    description: str
    card: str
    tags: list[str]
    language: str
    license: str
    framework: str
    task_type: str
    model_type: str
    source: str
    requirements: JsonFields
    metadata: JsonFields
    lifecycle: Literal["ACTIVE", "DEPRECATED", "ARCHIVED"]
    versions: list[BundledVersion] = Field(min_length=1, max_length=_MOST_VERSIONS)


class BundledJob(_Part):
    """A training job that made one of the versions."""

    name: str
    dataset_version: str
    dataset_digest: str
    base_version: str
    base_digest: str
    attempt: int
    training_seconds: float
    config: JsonFields
    metrics: JsonFields


class BundleManifest(_Part):
    """All that a bundle says."""

    bundle: Literal[1] = 1  # of the format
    since: str = ""  # RFC 3339; only versions committed after it are here
    artifacts: list[BundledArtifact] = Field(min_length=1, max_length=_MOST_VERSIONS)
    jobs: list[BundledJob] = Field(default_factory=list)

    def encoded(self) -> bytes:
        """Return its canonical form."""
        return canonical(self.model_dump(mode="json"))

    def segments(self) -> dict[str, None]:
        """Return the digests of all segments in the order in which they first occur."""
        return dict.fromkeys(
            segment
            for artifact in self.artifacts
            for version in artifact.versions
            for file in version.files
            for segment in file.segments
        )


def canonical(value: JsonValue) -> bytes:
    """Return JSON values in the one form that bundles have."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8")


def parse_manifest(data: bytes) -> BundleManifest:
    """Return a manifest whose every claim fits the others. Raises Invalid (SOURCE_MISMATCH, BAD_PATH)."""
    if has_too_many_values(data):
        raise damaged(f"its manifest of {len(data)} bytes has more values in it than any honest one")
    try:
        manifest = BundleManifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(each) for each in first["loc"])
        raise damaged(f"its manifest is malformed at {where or 'the top'}: {first['msg']}") from None
    if not _is_canonical(manifest, data):
        raise damaged("its manifest is not in canonical form")
    seen: set[str] = set()
    files = 0
    for artifact in manifest.artifacts:
        names.artifact_name(artifact.name, "artifacts.name")
        for version in artifact.versions:
            full = f"{artifact.name}/versions/{version.version}"
            if version.name != full or full.lower() in seen:
                raise damaged(
                    f"it has the version {shortened(version.name)!r} where {shortened(full)!r} belongs, "
                    "or has it twice"
                )
            names.check_version_id(version.version, "versions.version")
            seen.add(full.lower())
            files += len(version.files)
            _check_files(version)
    if files > _MOST_FILES:
        raise damaged(f"it has {files} files; expected at most {_MOST_FILES}")
    return manifest


def has_too_many_values(data: bytes) -> bool:
    """Return whether a manifest holds more values than readers take."""
    values = sum(data.count(mark) for mark in (b",", b"[", b"{"))  # or some more: texts hold such marks, too
    return values > len(data) // _BYTES_OF_A_VALUE + _FREE_VALUES


def _is_canonical(manifest: BundleManifest, data: bytes) -> bool:
    try:
        return manifest.encoded() == data
    except (ValueError, RecursionError):  # numbers that are none, depths without bottom
        return False


def _check_files(version: BundledVersion) -> None:
    """Refuse paths that may not stand in a tree, and digests that do not follow from each other."""
    try:
        paths.check_tree(file.path for file in version.files)
    except paths.PathError as error:
        raise Invalid(
            Reason.BAD_PATH,
            f"The bundle is refused: {version.name} has a path that may not stand in a tree, {error.rule}.",
            next_step="Get the bundle again from who made it.",
            facts={"path": error.path, "version": version.name},
        ) from None
    rows = [
        (
            file.path,
            file.size,
            digests.file_root(file.profile, file.size, [bytes.fromhex(each) for each in file.segments]),
        )
        for file in version.files
    ]
    computed = digests.format_digest(digests.tree_digest(rows))
    if computed != version.digest or sum(file.size for file in version.files) != version.size:
        raise damaged(f"the files of {version.name} give {computed}; it says {version.digest}")


def damaged(what: str) -> Invalid:
    """Return the error for a bundle that is not what its maker wrote."""
    return Invalid(
        Reason.SOURCE_MISMATCH,
        f"The bundle is refused: {what}.",
        next_step="Copy or export the bundle again; nothing of it was taken.",
    )
