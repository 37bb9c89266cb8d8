"""Access tokens: JSON Web Tokens that a login is used with for a few minutes.

    {"iss": "ingot", "aud": <server_id>, "sub": "users/ada", "login": 12, "iat": …, "exp": …, "jti": …}

They are signed with HMAC-SHA-256 under a key of this data folder: only the server that made them reads them,
so there is nothing to gain from key pairs. What their header says is never used to choose algorithm or key.
The login they name is looked up with every call, so that ending it works at once.
"""

import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import jwt
from jwt.types import Options

from ingot.server.core.clock import Clock
from ingot.server.core.errors import Reason, Unauthenticated
from ingot.server.core.logins import Login

ISSUER = "ingot"
_ALGORITHM = "HS256"
_CLAIMS = ("iss", "aud", "sub", "login", "iat", "exp", "jti")
_USERS = "users/"
_LENGTH_LIMIT = 2048  # characters; ours have about 300
_MOST = 2**62  # number of a login; the database takes no larger ones
_AHEAD = 60.0  # seconds that a time may lie in the future, for clocks that were set meanwhile


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good access token says."""

    user: str  # id
    login: int
    issue_time: float
    expire_time: float


class AccessTokens:
    """Makes and reads access tokens; times come from our own clock."""

    def __init__(self, key: bytes, server_id: str, seconds: float, clock: Clock) -> None:
        self.seconds = seconds
        self._key = key
        self._server_id = server_id
        self._clock = clock

    def make(self, login: Login) -> str:
        """Return a token for a login, good for `seconds`."""
        now = self._clock.now()
        claims = {
            "iss": ISSUER,
            "aud": self._server_id,
            "sub": f"{_USERS}{login.user}",
            "login": login.number,
            "iat": int(now),
            "exp": math.ceil(now + self.seconds),
            "jti": uuid.uuid4().hex,
        }
        return jwt.encode(claims, self._key, _ALGORITHM)

    def read(self, token: str, *, begun: bool = False) -> Claims:
        """Return what a token says; one that is used since before it expired may have (`begun`).

        Raises Unauthenticated (TOKEN_INVALID, TOKEN_EXPIRED).
        """
        claims = self._verified(token)
        user, login = str(claims["sub"]), claims["login"]
        issued, begins, expires = (_time(claims.get(name, 0)) for name in ("iat", "nbf", "exp"))
        if not isinstance(login, int) or not 0 < login < _MOST or not user.startswith(_USERS):
            raise _invalid("its claims are not of the right kind")
        now = self._clock.now()
        if max(issued, begins) > now + _AHEAD:
            raise _invalid("it is for a time to come")
        if expires <= now and not begun:
            raise Unauthenticated(
                Reason.TOKEN_EXPIRED,
                "The access token expired.",
                next_step="Get the next one with RefreshLogin, or sign in again: ingot login",
            )
        return Claims(user.removeprefix(_USERS), login, issued, expires)

    def _verified(self, token: str) -> Mapping[str, object]:
        """Return the claims of a token that we signed for ourselves."""
        if len(token) > _LENGTH_LIMIT:
            raise _invalid("it is longer than any token of this server")
        options: Options = {
            "require": [*_CLAIMS],
            "strict_aud": True,
            # Times are compared with our own clock, above.
            "verify_exp": False,
            "verify_iat": False,
            "verify_nbf": False,
        }
        try:
            return jwt.decode(
                token, self._key, [_ALGORITHM], options, audience=self._server_id, issuer=ISSUER
            )
        except jwt.InvalidTokenError:
            raise _invalid("this server did not make it") from None


def is_one(secret: str) -> bool:
    """Return whether a credential has the form of an access token; API tokens have no dots."""
    return secret.count(".") == 2


def _time(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid("its claims are not of the right kind")
    return float(value)


def _invalid(why: str) -> Unauthenticated:
    return Unauthenticated(
        Reason.TOKEN_INVALID,
        f"The access token cannot be used: {why}.",
        next_step="Sign in again: ingot login",
    )
