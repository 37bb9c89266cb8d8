"""Searching the catalog: facets, the feed of changes, and upkeep of what artifacts are found by.

Lists are in catalog.py. Every method runs inside a unit of work.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ingot.server.core.artifacts import (
    Artifact,
    ArtifactChanges,
    ArtifactQuery,
    Circle,
    FacetCounts,
    Figures,
)
from ingot.server.core.catalog_stores import ArtifactStore
from ingot.server.core.errors import OutOfRange, Reason, invalid_field
from ingot.server.core.expressions import Term
from ingot.server.core.identity import Caller, system_caller, user_of
from ingot.server.core.names import ANY_NAMESPACE, Kind
from ingot.server.domain import catalog_fields, filters
from ingot.server.domain.access import Access
from ingot.server.domain.catalog import Catalog
from ingot.server.domain.catalog_asked import ArtifactListing

TOPIC = "artifacts"  # woken with every change of any of them
DEFAULT_VALUES = 20
MOST_VALUES = 200
# Counted when no field is named: what people narrow a list by.
USUAL = ("tag", "task_type", "framework", "model_type", "language", "license", "format")
_RENEWED_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Which artifacts are meant; the namespace may be `-` for all that the caller may see."""

    namespace: str = ANY_NAMESPACE
    kind: Kind | None = None
    filter: str = ""


class CatalogSearch:
    """The rules about finding artifacts."""

    def __init__(self, artifacts: ArtifactStore, catalog: Catalog, access: Access) -> None:
        self._artifacts = artifacts
        self._catalog = catalog
        self._access = access

    def facets(self, caller: Caller, wanted: Narrowing, fields: Sequence[str], size: int) -> FacetCounts:
        """Return how many artifacts match, and how many of them have each value of the fields.

        No fields mean the usual ones, size 0 means 20 values of each. Raises Invalid (FIELD_INVALID,
        FILTER_INVALID).
        """
        if size < 0:
            raise invalid_field("max_values", f"expected 0 or more, got {size}")
        for field in fields:
            if field not in catalog_fields.FACETS:
                expected = ", ".join(sorted(catalog_fields.FACETS))
                raise invalid_field("fields", f"expected some of {expected}, got {field[:80]!r}")
        query = self._query(caller, wanted)
        asked = tuple(dict.fromkeys(fields)) or USUAL
        return self._artifacts.facets(
            query.scopes, query.where, asked, min(size, MOST_VALUES) or DEFAULT_VALUES
        )

    def latest_change(self) -> int:
        """Return the number of the last change of any artifact."""
        return self._artifacts.latest_change()

    def changes(
        self, caller: Caller, wanted: Narrowing, after: int, gone_after: int, size: int
    ) -> ArtifactChanges:
        """Return what changed after a number; of what does not match (any more) the uid, after `gone_after`.

        Raises Invalid (FILTER_INVALID), OutOfRange (RESUME_TOKEN_EXPIRED) when it cannot be told any more.
        """
        circle = Circle(None if caller.is_admin else caller.reads, user_of(caller.principal))
        found = self._artifacts.changes(self._query(caller, wanted), after, gone_after, size, circle)
        if found is None:
            raise OutOfRange(
                Reason.RESUME_TOKEN_EXPIRED,
                "Artifacts were purged since this watch ended, and which ones is not known any more.",
                next_step="List the artifacts again, and watch without a resume token.",
            )
        shown = {
            each.uid: each
            for each in self._catalog.all_shown(
                caller, [each for _, each in found.items if isinstance(each, Artifact)]
            )
        }
        items = [(at, shown[each.uid] if isinstance(each, Artifact) else each) for at, each in found.items]
        return ArtifactChanges(items, found.more)

    def warm(self) -> None:
        """Look at the newest artifacts and count them, so that the first caller need not wait for a start."""
        caller = system_caller()
        self._catalog.page(caller, ArtifactListing())
        self.facets(caller, Narrowing(), (), 0)
        for kind in Kind:
            self._catalog.totals(caller, kind)
        self._artifacts.warm(USUAL)

    # --- upkeep -----------------------------------------------------------------------------------------

    def renew(self) -> int:
        """Make the next artifacts findable in the form of today; return how many, 0 when all are."""
        outdated = self._artifacts.outdated(_RENEWED_AT_ONCE)
        self._artifacts.index_again([self._found_by(each) for each in outdated])
        return len(outdated)

    def look_for_common_words(self) -> int:
        """Look which words have become so common that searches for them should be prepared; how many."""
        return self._artifacts.look_for_common_words()

    def wants_words(self) -> bool:
        """Return whether there are such words."""
        return self._artifacts.wants_words()

    def learn_words(self) -> bool:
        """Prepare searches for a few of them; return whether more of them wait."""
        return self._artifacts.learn_words()

    def _found_by(self, artifact: Artifact) -> tuple[Artifact, str, Collection[Term], Figures]:
        artifact, listed = self._catalog.marked(artifact)
        text, terms = catalog_fields.search_text_of(listed), catalog_fields.terms_of(listed)
        return artifact, text, terms, Figures.of(listed)

    def _query(self, caller: Caller, wanted: Narrowing) -> ArtifactQuery:
        scopes = self._access.scopes(caller, wanted.namespace, wanted.kind)
        return ArtifactQuery(scopes, filters.parse(wanted.filter, catalog_fields.FILTERABLE))
