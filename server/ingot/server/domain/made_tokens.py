"""Tokens by who made them: what people can end when a login was not theirs, and what goes with a role.

Whoever holds an access token for a quarter of an hour can make an API token with it that stays. So every
token remembers its maker and the login that it comes from, also through another token, and the person can end
these with all logins, or with the password. What an administrator made for other users is an administrator's
power over them, and ends with the role. So does what was made with such a token, since nobody knows which of
the two holds it.
"""

from collections.abc import Callable, Sequence

from ingot.server.core import journal
from ingot.server.core.catalog_stores import TokenStore
from ingot.server.core.clock import Clock
from ingot.server.core.identity import ApiToken

_MOST_NAMED = 300  # that a rule returns; more are counted


class MadeTokens:
    """Finds and ends tokens; every method runs inside a unit of work. `changed` follows each change."""

    def __init__(self, tokens: TokenStore, clock: Clock, changed: Callable[[], None]) -> None:
        self._tokens = tokens
        self._clock = clock
        self._changed = changed

    def count(self, user: str) -> int:
        """Return how many tokens of a user are good."""
        return self._tokens.valid_count(user, self._clock.now())

    def in_logins(self, user: str) -> Sequence[ApiToken]:
        """Return what a user made in logins, for whomever, and what is good still."""
        return [each for each in self._unexpired(self._tokens.made_by(user)) if each.login]

    def for_others(self, user: str) -> Sequence[ApiToken]:
        """Return what a user made for other users, and what was made with that, as far as it is good."""
        return self._unexpired(self._tokens.made_for_others(user))

    def end(self, tokens: Sequence[ApiToken]) -> Sequence[str]:
        """Revoke tokens; return their names, which the entry of the write tells, too."""
        now = self._clock.now()
        ended = [each.name for each in tokens if self._tokens.revoke(each.id, now)]
        if ended:
            self._changed()
            journal.each("revoked", ended)
        return ended

    def end_all(self) -> int:
        """Revoke all tokens of everybody; return how many."""
        ended = self._tokens.revoke_all(self._clock.now())
        if ended:
            self._changed()
        return ended

    def good(self) -> Sequence[ApiToken]:
        """Return some tokens that are good, of everybody."""
        return self._tokens.valid(self._clock.now(), _MOST_NAMED)

    def _unexpired(self, tokens: Sequence[ApiToken]) -> Sequence[ApiToken]:
        now = self._clock.now()
        return [each for each in tokens if each.expire_time is None or each.expire_time > now]
