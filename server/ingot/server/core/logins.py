"""Logins: somebody signed in with a password, and the store that remembers it.

A login is a row, so that it can be ended. Its access tokens and refresh tokens name it and are signed, not
stored (domain/access_tokens.py, domain/refresh_tokens.py).
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Login:
    """One login of a user; times are epoch seconds."""

    number: int
    user: str  # id
    nonce: bytes  # 16 random bytes, under which its refresh tokens are signed
    generation: int  # of the refresh token that is good now; the first is 1
    create_time: float
    refresh_time: float  # when that refresh token was made
    expire_time: float  # when it ends at the latest
    end_time: float | None = None  # when somebody ended it

    @property
    def name(self) -> str:
        """Return the name under which calls that it makes are recorded."""
        return f"users/{self.user}/logins/{self.number}"


@dataclass(frozen=True, slots=True)
class Issued:
    """What signing in gives: the two tokens, and how long they are good."""

    access_token: str
    access_seconds: float
    refresh_token: str
    login: Login


class LoginStore(Protocol):
    """Passwords, as hashes, and logins."""

    def password(self, user: str) -> str | None:
        """Return the hash of a user's password, None without one."""
        ...

    def set_password(self, user: str, hashed: str, now: float) -> None:
        """Keep the hash of a user's password instead of an earlier one."""
        ...

    def add(self, login: Login) -> None:
        """Add a login; its number must be new."""
        ...

    def find(self, number: int) -> Login | None:
        """Return the login with this number, whether it has ended or not."""
        ...

    def renew(self, login: Login, now: float) -> bool:
        """Make the next refresh token the good one if `login` still tells the present one; return whether."""
        ...

    def end(self, number: int, now: float) -> bool:
        """Set the time of the end unless it has one; return whether this call did."""
        ...

    def end_all(self, user: str, now: float, *, but: int = 0, newest: int = 0) -> int:
        """End all logins of a user but one and but the `newest` so many; return how many this call ended."""
        ...

    def end_everybodys(self, now: float) -> int:
        """End all logins of all users; return how many this call ended."""
        ...

    def count(self, user: str, now: float) -> int:
        """Return how many logins of a user have not ended."""
        ...

    def forget(self, before: float) -> int:
        """Drop logins that ran out before then; return how many."""
        ...
