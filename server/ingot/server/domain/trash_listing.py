"""The list of single versions in the trash: those of artifacts that are there no matter what."""

from ingot.server.core.artifacts import Version
from ingot.server.core.identity import Caller
from ingot.server.core.names import Kind
from ingot.server.core.pages import Page, PageTokens, fit, page_size
from ingot.server.core.trash_stores import TrashedVersions
from ingot.server.domain import catalog_fields
from ingot.server.domain.access import Access
from ingot.server.domain.catalog import Catalog


class TrashListing:
    """Reads inside a unit of work."""

    def __init__(
        self, versions: TrashedVersions, catalog: Catalog, access: Access, tokens: PageTokens
    ) -> None:
        self._versions = versions
        self._catalog = catalog
        self._access = access
        self._tokens = tokens

    def page(self, caller: Caller, namespace: str, kind: Kind, size: int, token: str) -> Page[Version]:
        """Return a page of versions in the trash, those that went last first.

        Of a namespace (`-` for all) that the caller may write to; else it is empty. Raises Invalid
        (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        size = page_size(size)
        query = f"ListVersions trash {namespace} {kind}"
        after = self._tokens.decode(query, token)
        inside = [scope.namespace for scope in self._access.trash(caller, namespace, kind)]
        if not inside:
            return Page((), "")
        rows = self._versions.trashed(
            kind,
            None if None in inside else [each for each in inside if each is not None],
            (float(after[0]), int(after[1])) if after else None,
            size + 1,
        )
        told = [(place, self._catalog.told(caller, version)) for place, version in rows]
        items, last = fit(told, size, catalog_fields.version_weight_of)
        return Page(items, self._tokens.encode(query, last) if last else "")
