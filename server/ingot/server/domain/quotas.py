"""How much a namespace may have: asked when an upload begins, when a stream does, and when it commits.

    begin     what the sender declares must fit, or nothing is begun
    stream    what its header declares is reserved until the stream has ended; what it brought is counted then
    manifest  the rows it takes are counted, and looked at, in the transaction that puts it
    commit    counted, and looked at, in the transaction that commits

A stream reserves inside a write, one after the other, so of two that race for the last bytes one passes.
"""

from ingot.server.core.errors import Exhausted, Reason
from ingot.server.core.namespaces import CHUNK_COST, AccountStore, Quotas, Reservation, Reservations

_SIZE = "models, datasets and checkpoints"
_STORED = "different bytes, with the rows about them"


class QuotaRules:
    """The rules about quotas; methods run inside a unit of work, except `release`."""

    def __init__(self, accounts: AccountStore, defaults: Quotas) -> None:
        self._accounts = accounts
        self._defaults = defaults
        self.reserved = Reservations()

    def require_fitting(self, namespace: str, size: int) -> None:
        """Refuse a version or checkpoint of `size` bytes that would not fit. Raises Exhausted (QUOTA)."""
        account = self._accounts.account(namespace)
        _check(namespace, _SIZE, account.size, size, account.limits(self._defaults).size)

    def require_kept(self, namespace: str) -> None:
        """Refuse what was counted in this transaction when it is too much. Raises Exhausted (QUOTA)."""
        self.require_fitting(namespace, 0)

    def require_shared(self, namespace: str, chunks: int, stored: int) -> None:
        """Refuse chunks of `stored` bytes that need not travel. Inside a write. Raises Exhausted (QUOTA)."""
        self._require_stored(namespace, stored + chunks * CHUNK_COST)

    def require_rows(self, namespace: str) -> None:
        """Refuse rows that were counted in this transaction when they are too much. Raises Exhausted."""
        self._require_stored(namespace, 0)

    def reservation(self, namespace: str, chunks: int, size: int) -> Reservation | None:
        """Return the reservation that a stream of so much must make; None where there is no quota."""
        limits = self._accounts.account(namespace).limits(self._defaults)
        overhead = chunks * CHUNK_COST
        return Reservation(namespace, size, overhead) if limits.size or limits.stored else None

    def reserve(self, wanted: Reservation, leased: int) -> None:
        """Take the space of a stream whose upload has `leased` bytes already. Inside a write.

        Without effect when it was released before. Raises Exhausted (QUOTA).
        """
        account = self._accounts.account(wanted.namespace)
        limits, others = account.limits(self._defaults), self.reserved.of(wanted.namespace)
        used = account.taken + others
        _check(wanted.namespace, _STORED, used, wanted.size + wanted.overhead, limits.stored)
        _check(wanted.namespace, _SIZE, account.size + leased + others, wanted.size, limits.size)
        self.reserved.take(wanted)

    def release(self, reservation: Reservation | None) -> None:
        """Let go of the space of a stream, as often as you like; for any thread."""
        if reservation is not None:
            self.reserved.release(reservation)

    def _require_stored(self, namespace: str, more: int) -> None:
        account = self._accounts.account(namespace)
        used = account.taken + self.reserved.of(namespace)
        _check(namespace, _STORED, used, more, account.limits(self._defaults).stored)


def _check(namespace: str, what: str, used: int, more: int, limit: int) -> None:
    if not limit or used + more <= limit:
        return
    raise Exhausted(
        Reason.QUOTA,
        f"namespaces/{namespace} may have {limit} bytes of {what}; {used} are used or being sent, "
        f"{more} more do not fit.",
        next_step="Delete and purge what is not needed, or ask an administrator for more: "
        f"ingot namespaces quota {namespace}.",
        facts={
            "namespace": f"namespaces/{namespace}",
            "used": str(used),
            "limit": str(limit),
            "wanted": str(more),
        },
    )
