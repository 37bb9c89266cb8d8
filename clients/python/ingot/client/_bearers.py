"""Which token the calls of one connection carry, and how it changes while they run.

A token that somebody gave is the same for good. Who signed in with a password has access tokens that live for
minutes; `_logins.py` gets the next one in time.
"""

import threading
from dataclasses import dataclass, field
from typing import Protocol


class Bearer(Protocol):
    """Whoever has the token for the next call; used from several threads."""

    def token(self) -> str:
        """Return the token to send, "" for none. Raises IngotError when it cannot be renewed."""
        ...

    def renewed(self, refused: str) -> bool:
        """Return whether there is another token in place of one that the server refused; get it if possible.

        Raises IngotError when the login has ended.
        """
        ...


@dataclass(frozen=True, slots=True)
class FixedToken:
    """A token that stays as it is."""

    secret: str = field(default="", repr=False)

    def token(self) -> str:
        """Return it."""
        return self.secret

    def renewed(self, refused: str) -> bool:
        """Return False: there is no other."""
        return False


NOBODY = FixedToken()


class SignedIn:
    """Who one is on a connection: changes for all of its calls when one signs in or out."""

    def __init__(self, bearer: Bearer) -> None:
        self._bearer = bearer
        self._lock = threading.Lock()

    def become(self, bearer: Bearer) -> None:
        """Let all calls from now on carry the tokens of another bearer."""
        with self._lock:
            self._bearer = bearer

    def token(self) -> str:
        """Return the token to send, "" for none. Raises IngotError when it cannot be renewed."""
        return self._now().token()

    def renewed(self, refused: str) -> bool:
        """Return whether there is another token in place of one that the server refused."""
        return self._now().renewed(refused)

    def _now(self) -> Bearer:
        with self._lock:
            return self._bearer
