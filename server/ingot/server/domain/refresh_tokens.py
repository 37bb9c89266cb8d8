"""Refresh tokens: what a login gets its next access token with.

    ingotre_<login>_<generation>_<signature>

Nothing of them is stored but the generation that is good now. The signature, over the random nonce of the
login, shows that this server made the token; whoever reads the rows or a backup can make none, since the key
is elsewhere. Because a used-up token can still be told from a made-up one, only somebody who really had it
can end the login by using it again.
"""

import hashlib
import hmac
import re

from ingot.server.core.errors import Reason, Unauthenticated
from ingot.server.core.logins import Login

PREFIX = "ingotre_"
_FORM = re.compile(rf"{PREFIX}([1-9][0-9]{{0,17}})_([1-9][0-9]{{0,8}})_([0-9a-f]{{64}})")


class RefreshTokens:
    """Makes and reads refresh tokens with a key of the data folder."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, login: Login) -> str:
        """Return the token that is good now; the same one whenever it is asked for."""
        return f"{PREFIX}{login.number}_{login.generation}_{self._signature(login, login.generation)}"

    def number(self, token: str) -> int:
        """Return which login a token claims to be of. Raises Unauthenticated (TOKEN_INVALID)."""
        return int(_parts(token)[1])

    def generation(self, token: str, login: Login) -> int:
        """Return which token of the login it is, of this time or another.

        Raises Unauthenticated (TOKEN_INVALID) for one that was not made for this login.
        """
        parts = _parts(token)
        generation = int(parts[2])
        if not hmac.compare_digest(parts[3], self._signature(login, generation)):
            raise invalid("this server did not make it")
        return generation

    def _signature(self, login: Login, generation: int) -> str:
        told = f"{login.number}_{generation}_{login.nonce.hex()}"
        return hmac.new(self._key, told.encode(), hashlib.sha256).hexdigest()


def invalid(why: str) -> Unauthenticated:
    """Return the refusal of a refresh token."""
    return Unauthenticated(
        Reason.TOKEN_INVALID,
        f"The refresh token cannot be used: {why}.",
        next_step="Sign in again: ingot login",
    )


def _parts(token: str) -> re.Match[str]:
    parts = _FORM.fullmatch(token)
    if parts is None:
        raise invalid("it is not well formed")
    return parts
