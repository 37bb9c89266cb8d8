"""The catalog: models and datasets are named, described, found, and put into the trash.

An artifact in the trash keeps its versions and their bytes; its name is free again, and a new artifact of
that name has another uid. What is not the caller's to see is not found.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

from ingot.server.core import ids, journal, names
from ingot.server.core.artifacts import (
    Artifact,
    ArtifactFields,
    ArtifactOrder,
    ArtifactQuery,
    CatalogTotals,
    Figures,
    Scope,
    Version,
)
from ingot.server.core.catalog_stores import ArtifactStore, CounterStore, DependantStore, VersionStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import (
    NotFound,
    Reason,
    invalid_field,
)
from ingot.server.core.exports import LatestHook
from ingot.server.core.identity import Caller
from ingot.server.core.names import ANY_NAMESPACE, ArtifactName, Kind
from ingot.server.core.pages import Page, PageTokens, fit, page_size
from ingot.server.domain import catalog_fields, filters
from ingot.server.domain.access import Access, artifact_not_found
from ingot.server.domain.catalog_asked import ArtifactChange, ArtifactListing, Deletion, NewArtifact
from ingot.server.domain.catalog_refusals import changed_meanwhile, check_etag, in_use, name_taken
from ingot.server.domain.catalog_view import NEWEST_VERSIONS, CatalogView
from ingot.server.domain.requests import RequestKey, Requests

STATISTICS = ("language", "format", "model_type", "framework", "tag")
_MOST_DEPENDANTS = 100
_MOST_WITH_VERSIONS = 50  # artifacts in a page that shows versions too
_MOST_VERSIONS = 100  # in such a page, unless its first artifact has more


class Catalog(CatalogView):
    """The rules about artifacts; every method runs inside a unit of work."""

    def __init__(
        self,
        artifacts: ArtifactStore,
        versions: VersionStore,
        dependants: DependantStore,
        counters: CounterStore,
        requests: Requests,
        access: Access,
        tokens: PageTokens,
        clock: Clock,
    ) -> None:
        super().__init__(versions, access)
        self._artifacts = artifacts
        self._dependants = dependants
        self._counters = counters
        self._requests = requests
        self._tokens = tokens
        self._clock = clock
        self._hooks: list[LatestHook] = []
        self._tells: list[Callable[[], None]] = []
        self._named: list[Callable[[Artifact], Sequence[str]]] = []

    def follow(self, hook: LatestHook) -> None:
        """Tell a feature from now on when `latest` of an artifact moves and when one is deleted."""
        self._hooks.append(hook)

    def tell(self, changed: Callable[[], None]) -> None:
        """Call a function from now on inside each write that changes an artifact."""
        self._tells.append(changed)

    def named_by(self, names: Callable[[Artifact], Sequence[str]]) -> None:
        """Tell from now on, before an artifact is deleted, the names that a feature has for it too."""
        self._named.append(names)

    # --- reading ----------------------------------------------------------------------------------------

    def require_read(self, caller: Caller, name: ArtifactName) -> Artifact:
        """Return an artifact that the caller may read. Raises NotFound (ARTIFACT_NOT_FOUND)."""
        artifact = self._artifacts.find(name)
        if artifact is None:
            raise artifact_not_found(name)
        self._access.require_artifact_read(caller, artifact)
        return self.shown(caller, artifact)

    def require_write(self, caller: Caller, name: ArtifactName) -> Artifact:
        """Return an artifact that the caller may change. Raises NotFound, Denied (SCOPE_MISSING)."""
        artifact = self._artifacts.find(name)
        if artifact is None:
            raise artifact_not_found(name)
        self._access.require_artifact_write(caller, artifact)
        return artifact

    def page(self, caller: Caller, wanted: ArtifactListing) -> Page[Artifact]:
        """Return a page of the artifacts that the caller may see, newest first unless told otherwise.

        Raises Invalid (FILTER_INVALID, FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        return self.page_with_versions(caller, wanted)[0]

    def page_with_versions(
        self, caller: Caller, wanted: ArtifactListing
    ) -> tuple[Page[Artifact], Mapping[str, Sequence[Version]]]:
        """Return a page, and if they are asked for the newest versions of each artifact by its uid."""
        size = page_size(wanted.page_size)
        order, descending = catalog_fields.order_of(wanted.order_by)
        where = filters.parse(wanted.filter, catalog_fields.FILTERABLE)
        query = ArtifactQuery(self._scopes(caller, wanted, order), where, order, descending)
        fingerprint = f"ListArtifacts {query}"
        after = self._tokens.decode(fingerprint, wanted.page_token)
        if wanted.with_versions:
            size = min(size, _MOST_WITH_VERSIONS)
        rows = self._artifacts.page(query, after, size + 1)
        if wanted.with_versions:
            size = min(size, _showing_few([each for _, each in rows.items]))
        seen = self.all_shown(caller, [each for _, each in rows.items])
        shown_ones = seen[:size] if wanted.with_versions else []
        versions = self.newest_versions(caller, shown_ones) if wanted.with_versions else {}

        def weigh(artifact: Artifact) -> int:
            shown = versions.get(artifact.uid, ())
            return catalog_fields.weight_of(artifact) + sum(map(catalog_fields.version_weight_of, shown))

        placed = [(place, each) for (place, _), each in zip(rows.items, seen, strict=True)]
        items, last = fit(placed, size, weigh)
        if items and versions:  # a page has one artifact at least, whatever its versions say
            versions = {**versions, items[0].uid: self.fitting(items[0], versions.get(items[0].uid, ()))}
        place = last or rows.next_key  # a page of the store may have ended early
        return Page(items, self._tokens.encode(fingerprint, place) if place else ""), versions

    def uid_of(self, name: ArtifactName) -> str:
        """Return the identity behind a name that exists, "" when it does not; checks nothing else."""
        artifact = self._artifacts.find(name)
        return artifact.uid if artifact else ""

    def totals(self, caller: Caller, kind: Kind) -> CatalogTotals:
        """Return counts over all artifacts of one kind that the caller may see."""
        return self._artifacts.totals(self._access.scopes(caller, ANY_NAMESPACE, kind), STATISTICS)

    # --- changing ---------------------------------------------------------------------------------------

    def create(
        self, caller: Caller, wanted: NewArtifact, key: RequestKey, *, validate_only: bool
    ) -> Artifact:
        """Make an artifact without versions; a repetition of the request gives the same artifact.

        Raises Invalid (NAME_INVALID, FIELD_INVALID), NotFound (NAMESPACE_NOT_FOUND), AlreadyExists
        (NAME_TAKEN). With `validate_only` nothing is made and a made id is not given.
        """
        if wanted.artifact_id:
            names.check_artifact_id(wanted.artifact_id)
        fields = catalog_fields.checked(wanted.fields)
        self._access.require_write(caller, wanted.namespace)
        now = self._clock.now()

        def make() -> str:
            name = self._new_name(wanted)
            journal.about(str(name))
            return self.add(caller, name, fields, now).uid

        if validate_only:
            name = ArtifactName(wanted.namespace, wanted.kind, wanted.artifact_id or f"{wanted.kind.word}_0")
            if wanted.artifact_id and self._artifacts.find(name):
                raise name_taken(name)
            return _fresh(caller, name, fields, now)
        return self._answer(caller, *self._requests.run(caller, "CreateArtifact", key, make))

    def add(self, caller: Caller, name: ArtifactName, fields: ArtifactFields, now: float) -> Artifact:
        """Store a new artifact whose name and fields are checked. Raises AlreadyExists (NAME_TAKEN)."""
        artifact, listed = self.marked(_fresh(caller, name, fields, now))
        text, terms = catalog_fields.search_text_of(listed), catalog_fields.terms_of(listed)
        if not self._artifacts.add(artifact, text, terms):
            raise name_taken(name)
        journal.result(str(artifact.name))
        self._tell()
        return artifact

    def update(
        self, caller: Caller, change: ArtifactChange, key: RequestKey, *, validate_only: bool
    ) -> Artifact:
        """Change the fields that the mask names; return the artifact as it is then.

        Raises NotFound (ARTIFACT_NOT_FOUND), Denied (SCOPE_MISSING, also for what owners alone decide),
        Invalid (FIELD_INVALID), Conflict (ETAG_MISMATCH), Precondition (APPROVAL_REQUIRED: an alias
        that the policy protects names a version which is not approved).
        """
        if validate_only:
            return self._changed(caller, change)

        def make() -> str:
            changed = self._changed(caller, change)
            journal.detail(fields=", ".join(sorted(change.paths or change.populated)))
            self.tell_decided(self.require_write(caller, change.name).fields, changed.fields)
            return self._save(changed).uid

        return self._answer(caller, *self._requests.run(caller, "UpdateArtifact", key, make))

    def amend(self, artifact: Artifact) -> Artifact:
        """Store what the server itself changed of an artifact; return it as it is then."""
        return self._save(
            dataclasses.replace(artifact, update_time=self._clock.now(), revision=artifact.revision + 1)
        )

    def grown(
        self, artifact: Artifact, version: Version, newest: Version, now: float, by: str = ""
    ) -> Artifact:
        """Count a version that became READY, let `latest` point at the newest, and return the artifact.

        `by` is the principal who made it so; empty for the server itself.
        """
        return self._counted(artifact, version, newest, now, 1, by)

    def shrunk(
        self, artifact: Artifact, version: Version, newest: Version | None, now: float, by: str = ""
    ) -> Artifact:
        """Count a READY version less, let `latest` move to the newest that is left; return the artifact."""
        return self._counted(artifact, version, newest, now, -1, by)

    def delete(
        self,
        caller: Caller,
        name: ArtifactName,
        key: RequestKey,
        *,
        etag: str = "",
        force: bool = False,
        allow_missing: bool = False,
        validate_only: bool = False,
    ) -> Deletion:
        """Put an artifact with its versions into the trash; tell what went and who still names it.

        Raises NotFound unless `allow_missing`, Denied, Conflict (ETAG_MISMATCH), and Precondition (IN_USE)
        without `force` when it has versions or something depends on it.
        """
        if validate_only:
            artifact = self._deletable(caller, name, etag, allow_missing=allow_missing)
            return Deletion(artifact, self._dependants_of(artifact) if artifact else ())

        dependants: tuple[str, ...] = ()

        def make() -> str:
            nonlocal dependants
            artifact = self._deletable(caller, name, etag, allow_missing=allow_missing)
            if artifact is None:
                return ""
            dependants = self._dependants_of(artifact)
            if not force and (self._versions.page(artifact, None, 1) or dependants):
                raise in_use(artifact, dependants)
            now = self._clock.now()
            changed = dataclasses.replace(
                artifact, delete_time=now, update_time=now, revision=artifact.revision + 1
            )
            deleted = self._save(changed)
            for hook in self._hooks:
                hook.deleted(deleted)
            return deleted.uid

        uid, replayed = self._requests.run(caller, "DeleteArtifact", key, make)
        if not uid:
            return Deletion()
        deleted = self._answer(caller, uid, replayed)
        return Deletion(deleted, self._dependants_of(deleted) if replayed else dependants)

    # --- parts ------------------------------------------------------------------------------------------

    def _counted(
        self, artifact: Artifact, version: Version, newest: Version | None, now: float, sign: int, by: str
    ) -> Artifact:
        counted = self._save(
            dataclasses.replace(
                artifact,
                current_version=newest.name.version if newest else "",
                format=newest.format if newest else "",
                facts=newest.facts if newest else None,
                version_count=artifact.version_count + sign,
                size_bytes=newest.size_bytes if newest else 0,
                version_bytes=artifact.version_bytes + sign * version.size_bytes,
                stored_bytes=artifact.stored_bytes + sign * version.new_bytes,
                update_time=now,
                revision=artifact.revision + 1,
            )
        )
        if newest and artifact.delete_time is None and artifact.current_version != newest.name.version:
            for hook in self._hooks:
                hook.latest_moved(counted, newest, by)
        if newest is None and artifact.delete_time is None and artifact.current_version:
            for hook in self._hooks:
                hook.latest_gone(counted, by)
        return counted

    def _scopes(self, caller: Caller, wanted: ArtifactListing, order: ArtifactOrder) -> tuple[Scope, ...]:
        if not wanted.deleted:
            return self._access.scopes(caller, wanted.namespace, wanted.kind)
        if wanted.filter:
            raise invalid_field("filter", "expected none: what is in the trash is not searched")
        if order is ArtifactOrder.NAME:
            raise invalid_field("order_by", "expected a time: what is in the trash has no name any more")
        return self._access.trash(caller, wanted.namespace, wanted.kind)

    def _new_name(self, wanted: NewArtifact) -> ArtifactName:
        """Return the chosen name, or the first made one that nobody chose before."""
        if wanted.artifact_id:
            return ArtifactName(wanted.namespace, wanted.kind, wanted.artifact_id)
        while True:
            made = f"{wanted.kind.word}_{self._counters.next(wanted.kind.word)}"
            name = ArtifactName(wanted.namespace, wanted.kind, made)
            if self._artifacts.find(name) is None:
                return name

    def _changed(self, caller: Caller, change: ArtifactChange) -> Artifact:
        artifact = self.require_write(caller, change.name)
        check_etag(str(artifact.name), change.etag, artifact.etag)
        fields = catalog_fields.masked(artifact.fields, change.fields, change.paths, change.populated)
        self.require_decided(caller, artifact, fields)
        return dataclasses.replace(
            artifact,
            fields=catalog_fields.checked(fields),
            update_time=self._clock.now(),
            revision=artifact.revision + 1,
        )

    def _deletable(
        self, caller: Caller, name: ArtifactName, etag: str, *, allow_missing: bool
    ) -> Artifact | None:
        try:
            artifact = self.require_write(caller, name)
        except NotFound:
            if allow_missing:
                return None
            raise
        check_etag(str(artifact.name), etag, artifact.etag)
        self.require_unprotected(caller, artifact, self.policy(artifact).protected_aliases)
        return artifact

    def _dependants_of(self, artifact: Artifact) -> tuple[str, ...]:
        named = [each for names in self._named for each in names(artifact)]
        jobs = self._dependants.dependants(artifact.name)
        made = self._versions.descendants(artifact.name, artifact.create_time, _MOST_DEPENDANTS)
        return (*named, *jobs, *made)

    def _save(self, artifact: Artifact) -> Artifact:
        artifact, listed = self.marked(artifact)
        text, terms = catalog_fields.search_text_of(listed), catalog_fields.terms_of(listed)
        saved = self._artifacts.save(artifact, text, terms, Figures.of(listed))
        if not saved:
            raise changed_meanwhile(str(artifact.name))
        self._tell()
        return artifact

    def _tell(self) -> None:
        for changed in self._tells:
            changed()

    def _answer(self, caller: Caller, uid: str, replayed: bool) -> Artifact:
        """Return what a request made or changed; who repeats one may have lost the right to see it since."""
        artifact = self._by_uid(uid)
        if replayed:
            self._access.require_artifact_write(caller, artifact)
        return artifact

    def _by_uid(self, uid: str) -> Artifact:
        artifact = self._artifacts.by_uid(uid)
        if artifact is None:
            raise NotFound(
                Reason.ARTIFACT_NOT_FOUND,
                "What this request made or changed is gone since it was carried out.",
                next_step="Look at the list, then send a new request.",
                facts={"uid": uid},
            )
        return artifact


def _showing_few(artifacts: Sequence[Artifact]) -> int:
    """Return how many of the artifacts, one at least, show no more versions than a page may have."""
    shown = itertools.accumulate(min(each.version_count, NEWEST_VERSIONS) for each in artifacts)
    return max(1, sum(total <= _MOST_VERSIONS for total in shown))


def _fresh(caller: Caller, name: ArtifactName, fields: ArtifactFields, now: float) -> Artifact:
    owner = f"users/{caller.user}"
    return Artifact(name, ids.new_uid(now), fields, owner, create_time=now, update_time=now)
