"""The interfaces through which the rules reach users, tokens and the catalog; each docstring is the contract.

As all stores of rows they are called inside a unit of work, and give and take types of core.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ingot.server.core.artifacts import (
    Artifact,
    ArtifactChanges,
    ArtifactQuery,
    CatalogTotals,
    Circle,
    FacetCounts,
    Figures,
    Scope,
    Version,
    VersionState,
)
from ingot.server.core.expressions import Expression, Term
from ingot.server.core.identity import ApiToken, User
from ingot.server.core.members import Member
from ingot.server.core.names import ArtifactName, VersionName
from ingot.server.core.pages import Key
from ingot.server.core.workers import WorkGrant

T = TypeVar("T")


class CounterStore(Protocol):
    """Numbers for made ids (`model_12`); one counter a word."""

    def next(self, word: str) -> int:
        """Return the next number of `word`, from 1; none is given twice, except after a rollback."""
        ...


class UserStore(Protocol):
    """Users, and the namespace that each of them has under the same id."""

    def find(self, user: str) -> User | None:
        """Return the user with this id."""
        ...

    def add(self, user: User) -> bool:
        """Add a user as owner of a namespace of the same id; False, and nothing added, when it is taken."""
        ...

    def page(self, after: str, size: int) -> Sequence[User]:
        """Return up to `size` users whose ids sort after `after`, in order."""
        ...

    def ensure_namespace(self, namespace: str, now: float) -> bool:
        """Add a namespace of no user unless it is there; return whether it belongs to no user."""
        ...

    def namespace_exists(self, namespace: str) -> bool:
        """Return whether there is a namespace with this id."""
        ...

    def change(self, user: User) -> None:
        """Store display name, role and whether a user is disabled."""
        ...

    def remove(self, user: str) -> None:
        """Drop a user with everything that is only the user's: tokens, credentials, logins, memberships."""
        ...

    def memberships(self, user: str) -> Sequence[Member]:
        """Return the namespaces that a user belongs to, its own among them, in no order."""
        ...


class TokenStore(Protocol):
    """API tokens. Only digests of secrets are stored."""

    def find(self, token: str) -> ApiToken | None:
        """Return the token with this id."""
        ...

    def by_digest(self, digest: bytes) -> ApiToken | None:
        """Return the token whose secret has this SHA-256."""
        ...

    def add(self, token: ApiToken, digest: bytes) -> None:
        """Add a token; its id and digest must be new."""
        ...

    def page(self, user: str, after: int, size: int) -> Sequence[tuple[int, ApiToken]]:
        """Return up to `size` tokens of a user in order of making, each with its position.

        They start after the position `after`; 0 is before the first.
        """
        ...

    def valid_of(self, user: str, display_name: str) -> Sequence[ApiToken]:
        """Return the tokens of a user with this display name that are not revoked."""
        ...

    def made_by(self, user: str) -> Sequence[ApiToken]:
        """Return the tokens that a user made, for whomever, and that were not revoked."""
        ...

    def made_for_others(self, user: str) -> Sequence[ApiToken]:
        """Return the tokens of other users that a user made, or that were made with one of these.

        Also through one that was revoked; without those that were revoked themselves.
        """
        ...

    def valid(self, now: float, size: int) -> Sequence[ApiToken]:
        """Return up to `size` tokens, of anybody, that are neither revoked nor over, by their numbers."""
        ...

    def valid_count(self, user: str, now: float) -> int:
        """Return how many tokens of a user are neither revoked nor over."""
        ...

    def revoke_all(self, now: float) -> int:
        """Revoke every token that is not revoked; return how many."""
        ...

    def revoke(self, token: str, now: float) -> bool:
        """Set the time of revocation unless it has one; return whether this call did."""
        ...

    def used(self, times: Mapping[str, float]) -> None:
        """Set when tokens (by id) were last used; unknown ids are passed over."""
        ...


class AssignmentStore(Protocol):
    """What workers have claimed and still hold the lease of."""

    def held_by(self, principal: str) -> Sequence[WorkGrant]:
        """Return what all workers that registered with this token may touch now; empty without any."""
        ...


# --- catalog ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """Some rows in order, and the key to continue after; None on the last page."""

    items: Sequence[T]
    next_key: Sequence[Key] | None


class ArtifactStore(Protocol):
    """Models and datasets. Those in the trash are found by uid only, and their names are free again.

    Names are unique without regard to case among the ones that are not in the trash.
    """

    def find(self, name: ArtifactName) -> Artifact | None:
        """Return the artifact of this name, in any case of its letters, unless it is in the trash."""
        ...

    def by_uid(self, uid: str) -> Artifact | None:
        """Return an artifact, also from the trash."""
        ...

    def deleted(self, name: ArtifactName) -> Sequence[Artifact]:
        """Return those in the trash that had this name, the one that went last first."""
        ...

    def deleted_before(self, time: float, size: int) -> Sequence[Artifact]:
        """Return up to `size` artifacts that went to the trash before that time, oldest first."""
        ...

    def remove(self, artifact: Artifact) -> None:
        """Drop an artifact in the trash that has no versions and no aliases any more."""
        ...

    def add(self, artifact: Artifact, search_text: str, terms: Collection[Term]) -> bool:
        """Add an artifact and make it findable by its own numbers; False when its name is taken."""
        ...

    def save(
        self, artifact: Artifact, search_text: str, terms: Collection[Term], figures: Figures | None = None
    ) -> bool:
        """Store everything that may change of an artifact and how it is found: by its own numbers, or these.

        Compare-and-set: `artifact.revision` must be one above the stored one; else False, and no change.
        With a delete time it goes to the trash: it is found by uid only.
        """
        ...

    def page(
        self, query: ArtifactQuery, after: Sequence[Key] | None, size: int
    ) -> Rows[tuple[tuple[Key, ...], Artifact]]:
        """Return up to `size` artifacts that the query selects (see ArtifactQuery), each with its key.

        They start after the key `after`; None is before the first. There may be fewer although more follow;
        the next key says where.
        """
        ...

    def totals(self, scopes: Sequence[Scope], fields: Collection[str]) -> CatalogTotals:
        """Count the artifacts in the scopes (which must not overlap), and their terms of these fields.

        Of each field the 200 values that most artifacts have.
        """
        ...

    def facets(
        self, scopes: Sequence[Scope], where: Expression, fields: Sequence[str], size: int
    ) -> FacetCounts:
        """Count the artifacts that an expression holds for, and those with each value of some fields.

        The counts are exact; of each field up to `size` values are told. Of fields in `more` there are
        others, and in many artifacts rare values may be among these although they are frequent in this part.
        """
        ...

    def latest_change(self) -> int:
        """Return the number of the last change of any artifact; 0 before the first."""
        ...

    def changes(
        self, query: ArtifactQuery, after: int, gone_after: int, size: int, circle: Circle
    ) -> ArtifactChanges | None:
        """Return what changed after a number of a change, in order; with 0 all that the query selects.

        Outside the circle that are the changes which strangers see.
        Of what changed after `gone_after` and is not selected by now the uid, if it ever could have been.
        Looks at up to `size` artifacts. None when what was purged since then cannot be told any more.
        """
        ...

    def outdated(self, size: int) -> Sequence[Artifact]:
        """Return up to `size` artifacts that are findable in an older form, or not at all."""
        ...

    def index_again(self, renewed: Sequence[tuple[Artifact, str, Collection[Term], Figures]]) -> None:
        """Make unchanged artifacts findable by text, terms and numbers in the form of today."""
        ...

    def warm(self, fields: Sequence[str]) -> None:
        """Load what filters and facets of these fields need of most artifacts, where it is kept in memory."""
        ...

    def look_for_common_words(self) -> int:
        """Note which words have become so common that they should be learned; may take seconds.

        Return how many there are.
        """
        ...

    def wants_words(self) -> bool:
        """Return whether a search or a look met common words that are not learned yet."""
        ...

    def learn_words(self) -> bool:
        """Make searches for a few common words fast; return whether more of them wait."""
        ...


class VersionStore(Protocol):
    """Versions. An artifact is named by its uid, since names are used again.

    Those in the trash are left out unless it says otherwise; their ids stay taken.
    """

    def find(self, artifact: Artifact, version_id: str) -> Version | None:
        """Return one version of an artifact."""
        ...

    def find_deleted(self, artifact: Artifact, version_id: str) -> Version | None:
        """Return one version of an artifact from the trash."""
        ...

    def deleted_before(self, time: float, size: int) -> Sequence[tuple[Artifact, Version]]:
        """Return up to `size` versions that went to the trash before that time, oldest first."""
        ...

    def set_deleted(self, version: Version, time: float | None) -> None:
        """Put a version into the trash, or take it back out."""
        ...

    def by_validation(self, operation: str) -> tuple[Artifact, Version] | None:
        """Return the version whose last validation is this operation (its name), also from the trash."""
        ...

    def by_upload(self, upload: str) -> tuple[Artifact, Version] | None:
        """Return the version that an upload (its name) became, also from the trash."""
        ...

    def add(self, artifact: Artifact, version: Version) -> bool:
        """Add a version; False, and nothing added, when the artifact has, or had, one with this id."""
        ...

    def save(self, version: Version, expected: VersionState) -> bool:
        """Store state, ready time and last validation if the stored state is `expected`; return whether."""
        ...

    def amend(self, version: Version) -> bool:
        """Store changelog, metadata, metrics and update time, compare-and-set.

        `version.revision` must be one above the stored one; else False, and no change.
        """
        ...

    def remove(self, version: Version) -> None:
        """Drop a version that no alias points at; its id is free again only if it never was READY."""
        ...

    def is_spent(self, artifact: Artifact, version_id: str) -> bool:
        """Return whether a version of the artifact that was READY once had this id and was dropped."""
        ...

    def largest_number(self, artifact: Artifact) -> int:
        """Return the largest leading number (names.leading_number) of its version ids; 0 without any.

        Those that are spent count too.
        """
        ...

    def newest_ready(self, artifact: Artifact) -> tuple[int, Version] | None:
        """Return the READY version that was committed last, with its position."""
        ...

    def position(self, artifact: Artifact, version_id: str) -> int:
        """Return where a version stands in the order of commits; 0 without such a version."""
        ...

    def page(
        self,
        artifact: Artifact,
        after: int | None,
        size: int,
        *,
        ready_only: bool = False,
        approved_only: bool = False,
        deleted: bool | None = False,
    ) -> Sequence[tuple[int, Version]]:
        """Return up to `size` versions, newest first, with their positions; after the position `after`.

        With `deleted` those in the trash instead, with None both.
        """
        ...

    def newest(
        self,
        artifacts: Sequence[Artifact],
        size: int,
        ready_only: Collection[str] = (),
        approved_only: Collection[str] = (),
        untold: Collection[str] = (),
    ) -> Mapping[str, Sequence[Version]]:
        """Return the newest `size` versions of each artifact by its uid, in one query for all.

        Of the artifacts whose uids are in `ready_only`, only READY versions; in `approved_only`, only READY
        ones that are approved; in `untold`, without where they come from and their validation.
        """
        ...

    def approved(self, artifact: Artifact, version_ids: Collection[str]) -> Collection[str]:
        """Return those of the ids whose versions are READY and approved; trash left out."""
        ...

    def approved_bytes(self, artifact: Artifact) -> int:
        """Return the logical bytes of all READY versions of an artifact that are approved; no trash."""
        ...

    def count_approved(self, artifacts: Sequence[Artifact]) -> Mapping[str, int]:
        """Return how many READY versions of each artifact, by its uid, are approved; trash left out."""
        ...

    def made_from(self, version: VersionName, since: float, limit: int) -> Sequence[str]:
        """Return names of versions, trash left out, that were trained on or from this one.

        Those from before `since`, when it was made, mean one that had its name earlier, and are left out.
        """
        ...

    def descendants(self, artifact: ArtifactName, since: float, limit: int) -> Sequence[str]:
        """Return names of versions, trash left out, that were trained on or from versions of an artifact.

        `since` is when that was made, as in `made_from`.
        """
        ...


class DependantStore(Protocol):
    """Who else needs an artifact; asked before it is deleted."""

    def dependants(self, artifact: ArtifactName) -> Sequence[str]:
        """Return names of jobs that are not over and read versions of the artifact or will write it."""
        ...

    def reading(self, version: VersionName) -> Sequence[str]:
        """Return names of jobs that are not over and read this version."""
        ...
