"""What is said about a version may change, its content never; and what differs between two versions."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass

from ingot.server.core import comparing, names, texts
from ingot.server.core.artifacts import JsonObject, Version
from ingot.server.core.catalog_stores import VersionStore
from ingot.server.core.clock import Clock
from ingot.server.core.comparing import FileChange, FileTotals, TreeComparer, ValueChange
from ingot.server.core.errors import NotFound, Reason, invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.names import VersionReference
from ingot.server.core.pages import Page, PageTokens, page_size
from ingot.server.core.transfer_stores import TreeStore
from ingot.server.domain import catalog_fields
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.catalog_refusals import changed_meanwhile, check_etag
from ingot.server.domain.requests import RequestKey, Requests
from ingot.server.domain.versions import Versions, version_not_found

SETTABLE = ("changelog", "metadata", "performance_metrics")
# Fields that the server gives, and what its files are: naming one in a mask is an error.
FIXED = frozenset(
    (
        *("name", "uid", "state", "approval", "format", "digest", "file_count", "size_bytes", "new_bytes"),
        *("storage_uri", "origin", "last_validation", "creator", "create_time", "ready_time", "delete_time"),
        *("etag", "aliases", "update_time", "model", "dataset"),
    )
)


@dataclass(frozen=True, slots=True)
class VersionChange:
    """New values for a version: `paths` is the update mask, `populated` the fields that hold a value."""

    reference: VersionReference
    changelog: str = ""
    metadata: JsonObject = dataclasses.field(default_factory=dict)
    performance_metrics: JsonObject = dataclasses.field(default_factory=dict)
    paths: Collection[str] = ()
    populated: Collection[str] = ()
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs; everything but `files` is None or empty on later pages."""

    files: Page[FileChange]
    base: Version | None = None
    other: Version | None = None
    metadata: tuple[ValueChange, ...] = ()
    metrics: tuple[ValueChange, ...] = ()
    totals: FileTotals | None = None


class VersionChanges:
    """The rules; every method runs inside a unit of work."""

    def __init__(
        self,
        catalog: Catalog,
        versions: Versions,
        rows: VersionStore,
        trees: TreeStore,
        comparer: TreeComparer,
        requests: Requests,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._versions = versions
        self._rows = rows
        self._trees = trees
        self._comparer = comparer
        self._requests = requests
        self._tokens = tokens
        self._clock = clock

    def update(
        self, caller: Caller, change: VersionChange, key: RequestKey, *, validate_only: bool
    ) -> Version:
        """Change what the mask names; return the version as it is then.

        Raises NotFound (ARTIFACT_NOT_FOUND, VERSION_NOT_FOUND, ALIAS_NOT_FOUND), Denied (SCOPE_MISSING),
        Invalid (FIELD_INVALID), Conflict (ETAG_MISMATCH).
        """
        if validate_only:
            return self._changed(caller, change)

        def make() -> str:
            changed = self._changed(caller, change)
            if not self._rows.amend(changed):
                raise changed_meanwhile(str(changed.name))
            return str(changed.name)

        found, _ = self._requests.run(caller, "UpdateVersion", key, make)
        name = names.version_name(found)
        artifact = self._catalog.require_write(caller, name.artifact)
        version = self._rows.find(artifact, name.version)
        if version is None:
            raise version_not_found(name)
        return version

    def compare(
        self,
        caller: Caller,
        base: VersionReference,
        other: VersionReference,
        size: int,
        token: str,
        *,
        include_same: bool,
    ) -> Comparison:
        """Return what differs from base to other, with a page of files.

        Raises NotFound (ARTIFACT_NOT_FOUND, VERSION_NOT_FOUND, ALIAS_NOT_FOUND), Precondition (NOT_FETCHED),
        Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID: an alias that moved since is another query).
        """
        size = page_size(size)
        before, after = self._versions.get(caller, base), self._versions.get(caller, other)
        trees = self._tree(before), self._tree(after)
        query = f"CompareVersions {before.uid} {after.uid} {include_same}"
        key = self._tokens.decode(query, token)
        found = self._comparer.files(*trees, str(key[0]) if key else "", size + 1, include_same=include_same)
        more = len(found) > size
        following = self._tokens.encode(query, (found[size - 1].path,)) if more else ""
        files = Page(tuple(found[:size]), following)
        if key:
            return Comparison(files)
        return Comparison(
            files,
            before,
            after,
            comparing.compare(before.metadata, after.metadata),
            comparing.compare(before.performance_metrics, after.performance_metrics),
            self._comparer.totals(*trees),
        )

    def _changed(self, caller: Caller, change: VersionChange) -> Version:
        version = self._versions.get(caller, change.reference)
        self._catalog.require_write(caller, version.name.artifact)
        check_etag(str(version.name), change.etag, version.etag)
        chosen = _chosen(change)
        changelog, metadata, metrics = version.changelog, version.metadata, version.performance_metrics
        if "changelog" in chosen:
            changelog = texts.text("version.changelog", change.changelog, catalog_fields.CHANGELOG_LIMIT)
        if "metadata" in chosen:
            metadata = texts.json_object("version.metadata", change.metadata)
        if "performance_metrics" in chosen:
            metrics = texts.json_object("version.performance_metrics", change.performance_metrics)
        return dataclasses.replace(
            version,
            changelog=changelog,
            metadata=metadata,
            performance_metrics=metrics,
            revision=version.revision + 1,
            update_time=self._clock.now(),
        )

    def _tree(self, version: Version) -> int:
        tree = self._trees.find(version.uid)
        if tree is None:
            raise NotFound(
                Reason.FILE_NOT_FOUND,
                f"The files of {version.name} are gone.",
                next_step="Look which versions there are now.",
                facts={"name": str(version.name)},
            )
        return tree.id


def _chosen(change: VersionChange) -> Collection[str]:
    """Return the fields that change. Raises Invalid (FIELD_INVALID)."""
    if "*" in change.paths:
        if len(change.paths) > 1:
            raise invalid_field("update_mask", "expected '*' alone, got other paths beside it")
        return SETTABLE
    chosen = change.paths or [each for each in SETTABLE if each in change.populated]
    for path in chosen:
        if path in SETTABLE:
            continue
        whole = path.partition(".")[0]
        if whole in FIXED:
            why, next_step = "the server gives it; it cannot be set", f"Name some of {', '.join(SETTABLE)}."
        elif whole in SETTABLE:
            why, next_step = "parts of a field cannot be named", f"Name {whole} as a whole."
        else:
            why, next_step = "there is no such field", f"Expected some of: {', '.join(SETTABLE)}."
        raise invalid_field("update_mask", f"{path[:80]!r}: {why}", next_step=next_step)
    if not chosen:
        raise invalid_field("update_mask", "there is nothing to change", next_step="Name a field.")
    return chosen
