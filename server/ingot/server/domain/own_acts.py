"""What the server did by itself, for the audit log: what upkeep changed, told in the write that ends it.

Packs and rows go one by one, in many writes; the log would drown in them. So there is one entry for the
whole, with what it changed. What was only read makes none.
"""

from ingot.server.core import journal
from ingot.server.core.artifacts import JsonObject
from ingot.server.core.kinds import KINDS, MAINTENANCE
from ingot.server.core.operations import Operation

# Figures of a result that tell of no change.
_SEEN = frozenset(
    {
        *("seen_packs", "packs", "bytes", "words", "pack_bytes", "database_bytes", "postponed_packs"),
        *("disk_free_before", "disk_free_after", "database_unused_bytes", "next_step", "healthy"),
    }
)


def ended(operation: Operation, result: JsonObject) -> None:
    """Tell of an operation of upkeep that has changed something; runs inside the write that ends it."""
    if KINDS[operation.kind].queue != MAINTENANCE:
        return  # what the others do are calls of their bodies, with entries of their own
    changed = {
        name: str(value)
        for name, value in result.items()
        if name not in _SEEN and isinstance(value, int | str) and value
    }
    if changed:
        told = {"operation": operation.name, "asked_by": operation.requester, **changed}
        journal.act(operation.kind, operation.target or operation.name, **told)
