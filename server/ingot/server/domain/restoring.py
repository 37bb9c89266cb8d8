"""What a restored backup may not bring back: logins that have ended, and tokens that nobody knows to be good.

Rows of another time make good again what was ended since. All logins end, since whoever signed in can do so
again. Tokens are used by programs that cannot, so they stay, and are named; or all of them end, when whoever
restores says so. Both stand in the audit log, in the entry of the restored backup.
"""

from collections.abc import Mapping

from ingot.server.core import journal
from ingot.server.domain.logins import Logins
from ingot.server.domain.made_tokens import MadeTokens

REVOKE_TOKENS = "revoke_tokens"  # fact that a restored backup leaves: end all of them


class Restoring:
    """Settles what a restored backup brought; its method runs inside the write of the entry."""

    def __init__(self, logins: Logins, tokens: MadeTokens) -> None:
        self._logins = logins
        self._tokens = tokens

    def settle(self, restored: Mapping[str, str]) -> dict[str, str]:
        """End what must end and return facts for the entry."""
        ended = self._logins.end_everybodys()
        revoked = self._tokens.end_all() if restored.get(REVOKE_TOKENS) else 0
        good = [each.name for each in self._tokens.good()]
        with journal.taking() as note:
            journal.detail(ended_logins=ended, revoked_tokens=revoked, good_tokens=len(good))
            journal.each("tokens", good)
        return dict(note.facts)
