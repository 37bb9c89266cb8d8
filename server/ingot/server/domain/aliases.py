"""Aliases: movable names for versions. `latest` is one of them to read, but moves by itself."""

import dataclasses
from collections.abc import Collection, Sequence

from ingot.server.core import journal, names
from ingot.server.core.alias_stores import AliasStore
from ingot.server.core.artifacts import Alias, AliasMove, Artifact, Version
from ingot.server.core.catalog_stores import VersionStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import NotFound, invalid_field
from ingot.server.core.identity import Caller
from ingot.server.core.names import AliasName, ArtifactName, VersionReference
from ingot.server.core.pages import Page, PageTokens, page_size
from ingot.server.domain.access import Access
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.catalog_refusals import approval_required, check_etag, protected
from ingot.server.domain.requests import RequestKey, Requests
from ingot.server.domain.versions import Versions, alias_not_found

_MOST_TOLD = 100  # names, before something is deleted
_LOOKED_AT = 500  # rows at once, to find those that a stranger may hear of


class LatestHistory:
    """Keeps the history of `latest`, which moves by itself: a LatestHook of the catalog."""

    def __init__(self, aliases: AliasStore) -> None:
        self._aliases = aliases

    def latest_moved(self, artifact: Artifact, version: Version, by: str) -> None:
        """Note where `latest` points now."""
        self._note(artifact, version.name.version, by)

    def latest_gone(self, artifact: Artifact, by: str) -> None:
        """Note that `latest` points nowhere now."""
        self._note(artifact, "", by)

    def _note(self, artifact: Artifact, version: str, by: str) -> None:
        before = self._aliases.moves(artifact, names.LATEST, None, 1)
        previous = before[0][1].version if before else ""
        self._aliases.note(artifact, names.LATEST, AliasMove(version, previous, artifact.update_time, by))

    def deleted(self, artifact: Artifact) -> None:
        """Leave the history as it is: who restores the artifact finds it again."""


class Aliases:
    """The rules about aliases; every method runs inside a unit of work."""

    def __init__(
        self,
        catalog: Catalog,
        versions: Versions,
        aliases: AliasStore,
        version_rows: VersionStore,
        requests: Requests,
        tokens: PageTokens,
        access: Access,
        clock: Clock,
    ) -> None:
        self._access = access
        self._catalog = catalog
        self._versions = versions
        self._aliases = aliases
        self._version_rows = version_rows
        self._requests = requests
        self._tokens = tokens
        self._clock = clock

    def names_of(self, artifact: Artifact) -> list[str]:
        """Return the first names by which people refer to an artifact's versions, `latest` left out."""
        rows = self._aliases.page(artifact, "", _MOST_TOLD)
        return [str(each.name) for each in rows if each.name.alias != names.LATEST]

    def set(
        self, caller: Caller, name: AliasName, target: VersionReference, etag: str, key: RequestKey
    ) -> Alias:
        """Point an alias at a ready version of the same artifact, making the alias when needed.

        Raises Invalid (NAME_INVALID, FIELD_INVALID), NotFound (ARTIFACT_NOT_FOUND, VERSION_NOT_FOUND,
        ALIAS_NOT_FOUND), Denied (SCOPE_MISSING), Precondition (STATE_INVALID, APPROVAL_REQUIRED), Conflict
        (ETAG_MISMATCH).
        """
        names.check_alias_id(name.alias, "name")

        def make() -> str:
            artifact = self._catalog.require_write(caller, name.artifact)
            self._put(caller, artifact, name, target, etag)
            return str(name)

        self._requests.run(caller, "SetAlias", key, make)
        artifact = self._catalog.require_write(caller, name.artifact)
        alias = self._aliases.find(artifact, name.alias)
        if alias is None:
            raise alias_not_found(name)
        return self._marked(artifact, [alias])[0]

    def delete(
        self, caller: Caller, name: AliasName, etag: str, key: RequestKey, *, allow_missing: bool
    ) -> None:
        """Remove an alias.

        Raises NotFound unless `allow_missing`, Denied, Conflict (ETAG_MISMATCH), Precondition (PROTECTED).
        """
        names.check_alias_id(name.alias, "name")

        def make() -> str:
            try:
                artifact = self._catalog.require_write(caller, name.artifact)
                alias = self._aliases.find(artifact, name.alias)
                if alias is None:
                    raise alias_not_found(name)
            except NotFound:
                if allow_missing:
                    return ""
                raise
            check_etag(str(name), etag, alias.etag)
            if name.alias in self._catalog.policy(artifact).protected_aliases:
                raise protected(name)
            self._aliases.delete(artifact, name.alias, self._clock.now(), caller.principal)
            return str(name)

        self._requests.run(caller, "DeleteAlias", key, make)

    def page(self, caller: Caller, name: ArtifactName, size: int, token: str) -> Page[Alias]:
        """Return a page of aliases in the order of their ids, `latest` among them once a version is ready.

        Workers are told versions, not aliases: for them there are none.
        Raises NotFound (ARTIFACT_NOT_FOUND), Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        size = page_size(size)
        artifact = self._catalog.require_read(caller, name)
        if caller.is_worker:
            return Page((), "")
        query = f"ListAliases {artifact.uid}"
        key = self._tokens.decode(query, token)
        found = self._listed(caller, artifact, str(key[0]) if key else "", size + 1)
        following = self._tokens.encode(query, (found[size - 1].name.alias,)) if len(found) > size else ""
        return Page(self._marked(artifact, found[:size]), following)

    def moves(self, caller: Caller, name: AliasName, size: int, token: str) -> Page[AliasMove]:
        """Return a page of the moves of an alias, the newest first; also of one that was removed.

        Raises NotFound (ARTIFACT_NOT_FOUND; ALIAS_NOT_FOUND when there never was one), Invalid
        (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        size = page_size(size)
        artifact = self._catalog.require_read(caller, name.artifact)
        query = f"ListAliasMoves {artifact.uid} {name.alias}"
        key = self._tokens.decode(query, token)
        if caller.is_worker:  # it is told versions, not aliases
            raise alias_not_found(name)
        found = self._moved(caller, artifact, name.alias, int(key[0]) if key else None, size + 1)
        if not found and not key:
            raise alias_not_found(name)
        following = self._tokens.encode(query, (found[size - 1][0],)) if len(found) > size else ""
        return Page(tuple(move for _, move in found[:size]), following)

    def _listed(self, caller: Caller, artifact: Artifact, after: str, most: int) -> list[Alias]:
        """Return the next aliases that the caller may hear of.

        Others make no page shorter and end none: a page token can be read, and pages can be counted.
        """
        shown: list[Alias] = []
        place, step = after, self._step(caller, artifact, most)
        while len(shown) < most:
            found = self._aliases.page(artifact, place, step)
            hidden = self._hidden(caller, artifact, [each.version.version for each in found])
            shown += [each for each in found if each.version.version not in hidden]
            if len(found) < step:
                break
            place = found[-1].name.alias
        latest = self._latest(artifact) if after < names.LATEST else None
        if latest is not None and not self._hidden(caller, artifact, [latest.version.version]):
            shown = sorted([*shown, latest], key=lambda alias: alias.name.alias)
        return shown[:most]

    def _moved(
        self, caller: Caller, artifact: Artifact, alias: str, before: int | None, most: int
    ) -> list[tuple[int, AliasMove]]:
        """Return the next moves that the caller may hear of, with their places; see `_listed`."""
        shown: list[tuple[int, AliasMove]] = []
        step = self._step(caller, artifact, most)
        while len(shown) < most:
            found = self._aliases.moves(artifact, alias, before, step)
            named = [each for _, move in found for each in (move.version, move.previous) if each]
            hidden = self._hidden(caller, artifact, named)
            for place, move in found:
                if (move.version or move.previous) not in hidden:
                    known = "" if move.previous in hidden else move.previous
                    shown.append((place, dataclasses.replace(move, previous=known)))
            if len(found) < step:
                break
            before = found[-1][0]
        return shown[:most]

    def _step(self, caller: Caller, artifact: Artifact, most: int) -> int:
        """Return how many rows to look at in one go; many where few of them may be shown."""
        return max(most, _LOOKED_AT) if self._access.is_stranger(caller, artifact) else most

    def _marked(self, artifact: Artifact, aliases: Sequence[Alias]) -> tuple[Alias, ...]:
        """Return aliases of an artifact that say whether they are protected."""
        protected = self._catalog.policy(artifact).protected_aliases
        return tuple(
            dataclasses.replace(each, protected=True) if each.name.alias in protected else each
            for each in aliases
        )

    def _hidden(self, caller: Caller, artifact: Artifact, version_ids: Collection[str]) -> Collection[str]:
        """Return those of the versions that the caller may not hear of: strangers hear of approved ones."""
        if not self._access.is_stranger(caller, artifact):
            return ()
        return set(version_ids) - set(self._version_rows.approved(artifact, version_ids))

    def _put(
        self, caller: Caller, artifact: Artifact, name: AliasName, target: VersionReference, etag: str
    ) -> None:
        of = target if isinstance(target, ArtifactName) else target.artifact
        if str(of).lower() != str(artifact.name).lower():
            raise invalid_field(
                "version",
                f"expected a version of {artifact.name}, got one of {of}",
                next_step="An alias points at a version of its own artifact.",
            )
        version = self._versions.resolve(caller, target)
        if name.alias in self._catalog.policy(artifact).protected_aliases and not version.is_approved:
            raise approval_required(name.alias, str(version.name))
        before = self._aliases.find(artifact, name.alias)
        if etag:
            check_etag(str(name), etag, before.etag if before else "")
        journal.detail(version=version.name, version_before=before.version if before else "")
        self._aliases.put(
            artifact,
            Alias(
                artifact.name.alias(name.alias),
                version.name,
                self._clock.now(),
                caller.principal,
                before.revision + 1 if before else 1,
            ),
        )

    def _latest(self, artifact: Artifact) -> Alias | None:
        """Return `latest` as an alias, moved when its version became ready; None without a version."""
        if not artifact.current_version:
            return None
        version = self._version_rows.find(artifact, artifact.current_version)
        if version is None or version.ready_time is None:
            return None
        return Alias(
            artifact.name.alias(names.LATEST),
            version.name,
            version.ready_time,
            version.creator,
            artifact.version_count,
        )
