"""Namespaces as people see them: what they have, and how much they may."""

from collections.abc import Collection
from dataclasses import dataclass

from ingot.server.core import journal
from ingot.server.core.alias_stores import AliasPlaces
from ingot.server.core.approval_policies import ApprovalPolicy
from ingot.server.core.errors import Denied, Reason, invalid_field
from ingot.server.core.identity import Caller, Scope
from ingot.server.core.members import MemberRole
from ingot.server.core.namespaces import AccountStore, Namespace, Quotas
from ingot.server.core.pages import Page, PageTokens, page_size
from ingot.server.domain.access import namespace_not_found
from ingot.server.domain.catalog_refusals import check_etag, not_protectable

QUOTAS = ("quota_bytes", "physical_quota_bytes")
APPROVAL = "approval"
PATHS = (*QUOTAS, APPROVAL)
_QUERY = "ListNamespaces"
_MOST = 2**62


@dataclass(frozen=True, slots=True)
class NamespaceChange:
    """New quotas of a namespace, None for the server's default, and policy: what `paths` name of them."""

    namespace: str
    size_quota: int | None
    stored_quota: int | None
    approval: ApprovalPolicy
    paths: Collection[str]
    etag: str = ""


class Namespaces:
    """The rules about namespaces; methods run inside a unit of work."""

    def __init__(
        self, accounts: AccountStore, aliases: AliasPlaces, tokens: PageTokens, defaults: Quotas
    ) -> None:
        self.defaults = defaults
        self._accounts = accounts
        self._aliases = aliases
        self._tokens = tokens

    def get(self, caller: Caller, namespace: str) -> Namespace:
        """Return a namespace that the caller belongs to. Raises NotFound (NAMESPACE_NOT_FOUND)."""
        if not caller.may_read(namespace):
            raise namespace_not_found(namespace)
        return self.find(namespace)

    def find(self, namespace: str) -> Namespace:
        """Return a namespace, whoever asks. Raises NotFound (NAMESPACE_NOT_FOUND)."""
        found = self._accounts.find(namespace)
        if found is None:
            raise namespace_not_found(namespace)
        return found

    @staticmethod
    def role_of(caller: Caller, namespace: str) -> MemberRole | None:
        """Return what the caller may do in a namespace by membership; None for one who is no member."""
        if namespace in caller.owns:
            return MemberRole.OWNER
        if namespace in caller.writes:
            return MemberRole.WRITER
        return MemberRole.READER if namespace in caller.reads else None

    def page(self, caller: Caller, size: int, token: str) -> Page[Namespace]:
        """Return a page of the namespaces that the caller belongs to, of all for administrators, by id.

        Raises Invalid (FIELD_INVALID, PAGE_TOKEN_INVALID).
        """
        wanted = page_size(size)
        query = f"{_QUERY} {caller.principal}"
        after = self._tokens.decode(query, token)
        mine = frozenset() if caller.is_worker else caller.reads | caller.writes
        rows = self._accounts.page(
            None if caller.is_admin else mine, str(after[0]) if after else "", wanted + 1
        )
        more, rows = len(rows) > wanted, rows[:wanted]
        return Page(tuple(rows), self._tokens.encode(query, (rows[-1].id,)) if more else "")

    def update(self, caller: Caller, change: NamespaceChange) -> Namespace:
        """Change quotas or policy of a namespace and return it; for administrators. Inside a write.

        One below what is used already stops uploads and nothing else.
        Raises NotFound (NAMESPACE_NOT_FOUND), Denied (SCOPE_MISSING), Invalid (FIELD_INVALID), Conflict
        (ETAG_MISMATCH), Precondition (APPROVAL_REQUIRED: an alias that the policy protects names a version
        which is not approved).
        """
        found = self.get(caller, change.namespace)
        if not caller.is_admin or Scope.ADMIN not in caller.scopes:
            raise Denied(
                Reason.SCOPE_MISSING,
                f"{caller.principal} may not change quotas and policies of namespaces; expected an "
                "administrator with the scope admin.",
                next_step="Ask an administrator.",
                facts={"name": found.name},
            )
        check_etag(found.name, change.etag, found.etag)
        unknown = sorted(set(change.paths) - set(PATHS))
        if unknown or not change.paths:
            raise invalid_field(
                "update_mask", f"expected some of {', '.join(PATHS)}, got {', '.join(unknown) or 'none'}"
            )
        for field, value in zip(QUOTAS, (change.size_quota, change.stored_quota), strict=True):
            if value is not None and not 0 <= value <= _MOST:
                raise invalid_field(f"namespace.{field}", f"expected 0 (no limit) to {_MOST}, got {value}")
        account = found.account
        if APPROVAL in change.paths:
            begun = set(change.approval.protected_aliases).difference(found.approval.protected_aliases)
            unapproved = self._aliases.unapproved(found.id, begun) if begun else None
            if unapproved is not None:
                raise not_protectable(*unapproved)
            self._accounts.require(found.id, change.approval)
        if not set(QUOTAS).isdisjoint(change.paths):
            self._accounts.limit(
                found.id,
                change.size_quota if QUOTAS[0] in change.paths else account.size_quota,
                change.stored_quota if QUOTAS[1] in change.paths else account.stored_quota,
            )
        _tell(found, change)
        return self.get(caller, found.id)


def _tell(before: Namespace, change: NamespaceChange) -> None:
    """Tell the audit log what was changed, with what it was before."""
    journal.detail(fields=", ".join(change.paths))
    quotas = (
        (QUOTAS[0], change.size_quota, before.account.size_quota),
        (QUOTAS[1], change.stored_quota, before.account.stored_quota),
    )
    for field, now, then in quotas:
        if field in change.paths:
            journal.detail(**{field: _quota(now), f"{field}_before": _quota(then)})
    if APPROVAL in change.paths:
        journal.each(APPROVAL, change.approval.words)
        journal.each(f"{APPROVAL}_before", before.approval.words)


def _quota(size: int | None) -> str:
    return "the server's default" if size is None else str(size)
