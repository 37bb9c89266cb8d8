"""What exports refuse, and in which words."""

import re

from ingot.server.core.errors import Invalid, Precondition, Reason, invalid_field
from ingot.server.core.exports import WantedHub
from ingot.server.core.identity import Caller
from ingot.server.core.operations import Operation

MOST_VERSIONS = 1000  # of one export
_MESSAGE_LIMIT = 2000
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
_BRANCH = re.compile(r"(?!/)(?!.*(//|\.\.|@\{))[A-Za-z0-9._/-]{1,200}(?<!/)(?<!\.)(?<!\.lock)")


def check_hub(wanted: WantedHub) -> None:
    """Refuse a destination on the Hub that cannot be named so. Raises Invalid (FIELD_INVALID)."""
    if not _REPOSITORY.fullmatch(wanted.repository):
        raise invalid_field("hub.repository", f"expected org/name or name, got {wanted.repository[:120]!r}")
    if wanted.branch and not _BRANCH.fullmatch(wanted.branch):
        raise invalid_field("hub.branch", f"expected the name of a branch, got {wanted.branch[:120]!r}")
    if len(wanted.message) > _MESSAGE_LIMIT:
        raise invalid_field(
            "hub.message", f"expected at most {_MESSAGE_LIMIT} characters, got {len(wanted.message)}"
        )


def too_many(count: int) -> Invalid:
    """Return the refusal of more versions than an export takes."""
    return invalid_field(
        "sources",
        f"expected at most {MOST_VERSIONS} versions in one export, got {count} or more",
        next_step="Export fewer artifacts at once, or only versions after a time.",
    )


def taken(folder: str) -> Precondition:
    """Return the refusal of a folder that keeps another artifact."""
    return Precondition(
        Reason.IN_USE,
        f"{folder} keeps another artifact.",
        next_step="Choose another folder, or end the other export first.",
        facts={"path": folder},
    )


def sees(caller: Caller, operation: Operation) -> bool:
    """Return whether an operation that writes to the same place may be named to the caller."""
    return caller.is_admin or operation.requester == caller.principal


def busy(caller: Caller, queued: Operation) -> Precondition:
    """Return the refusal of another export while one writes to the same place."""
    known = sees(caller, queued)
    who = f"{queued.name}, which is {queued.state}," if known else "Another operation"
    return Precondition(
        Reason.IN_USE,
        f"{who} writes there already and was asked for something else.",
        next_step="Wait until it has ended, or cancel it; then ask again.",
        facts={"operation": queued.name} if known else {},
    )
