"""Logins: signing in with a password, going on with a refresh token, and ending it.

    known = read(logins.stored, user)                  the hash, None without one
    passwords.matches(known, typed)                    slow, elsewhere (rpc/auth_logins.py)
    caller = read(logins.signing_in, user)             refuses who may not sign in
    issued = write(logins.open, caller, known, better)

A login lasts `days` at most and belongs to one place where somebody signed in. Its refresh token is used up
by each use and replaced. When a used-up one comes again, two have it, and nobody can know which of them is
the person: the login ends. Only shortly after the first use it is answered as before: a reply may have been
lost.

Ending a login, a new password, and changes of the user count from the next call on, through `revision` of
domain/identity.py.
"""

import dataclasses
import logging
import secrets
from dataclasses import dataclass

from ingot.server.core import journal
from ingot.server.core.catalog_stores import CounterStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import (
    Conflict,
    Precondition,
    Reason,
    Unauthenticated,
    invalid_field,
)
from ingot.server.core.identity import Caller, User
from ingot.server.core.logins import Issued, Login, LoginStore
from ingot.server.domain import refresh_tokens
from ingot.server.domain.access_tokens import AccessTokens
from ingot.server.domain.identity import Identity
from ingot.server.domain.identity_refusals import (
    is_admin,
    not_allowed,
    require_whole,
    user_not_found,
)
from ingot.server.domain.made_tokens import MadeTokens
from ingot.server.domain.refresh_tokens import RefreshTokens

log = logging.getLogger(__name__)

REPLY_LOST_SECONDS = 10.0  # how long the refresh token before the present one is answered again
MOST_LOGINS = 100  # of one user at once; the oldest ends for a new one
_WORD = "login"
_NONCE_BYTES = 16
_DAY = 24 * 3600.0
_CLOCKS = 60.0  # seconds that clocks may have been set back


@dataclass(frozen=True, slots=True)
class Tokens:
    """The two kinds of tokens of a login, and how long it lasts at most, in days."""

    access: AccessTokens
    refresh: RefreshTokens
    days: float


@dataclass(frozen=True, slots=True)
class NewPassword:
    """What changing a password needs to know: whose, the hash until now, and whether the old one is asked."""

    user: User
    stored: str | None
    old_needed: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """What somebody ended: logins, API tokens made in logins, and how many of these stay good."""

    logins: int
    tokens: int = 0
    kept_tokens: int = 0


class Logins:
    """The rules about logins and passwords; methods run inside a unit of work."""

    def __init__(
        self,
        store: LoginStore,
        identity: Identity,
        tokens: Tokens,
        made: MadeTokens,
        counters: CounterStore,
        clock: Clock,
    ) -> None:
        self._store = store
        self._identity = identity
        self._tokens = tokens
        self._made = made
        self._counters = counters
        self._clock = clock

    # --- signing in -------------------------------------------------------------------------------------

    def stored(self, user: str) -> str | None:
        """Return the hash of a user's password; None for one without, or without such a user."""
        return self._store.password(user)

    def signing_in(self, user: str) -> Caller:
        """Return a user whose password was right, as the caller. Raises Unauthenticated (TOKEN_INVALID)."""
        return self._identity.signed_in(user, "", 0)

    def open(self, caller: Caller, stored: str | None, better: str = "") -> Issued:
        """Begin a login; `stored` is the hash that was matched, `better` replaces an outdated one.

        Raises Unauthenticated (LOGIN_FAILED) when the password changed meanwhile.
        """
        now = self._clock.now()
        if self._store.password(caller.user) != stored:
            raise login_failed()
        if better:
            self._store.set_password(caller.user, better, now)
        self._store.forget(now - _DAY)
        if self._store.end_all(caller.user, now, newest=MOST_LOGINS - 1):
            self._identity.rights_changed()
        login = Login(
            number=self._counters.next(_WORD),
            user=caller.user,
            nonce=secrets.token_bytes(_NONCE_BYTES),
            generation=1,
            create_time=now,
            refresh_time=now,
            expire_time=now + self._tokens.days * _DAY,
        )
        self._store.add(login)
        journal.about(caller.principal)
        journal.detail(login=login.name)
        return self._issued(login)

    def authenticate(self, token: str, *, begun: bool = False) -> Caller:
        """Return who an access token belongs to; `begun` allows it to have expired since the call began.

        Raises Unauthenticated (TOKEN_INVALID, TOKEN_EXPIRED).
        """
        claims = self._tokens.access.read(token, begun=begun)
        login = self._store.find(claims.login)
        # In a restored database a number may come again that a lost login had.
        if login is None or login.user != claims.user or claims.issue_time < login.create_time - _CLOCKS:
            raise _unusable("it is not known here")
        self._require_open(login)
        return self._identity.signed_in(login.user, login.name, login.number)

    # --- going on ---------------------------------------------------------------------------------------

    def refreshing(self, token: str) -> Caller:
        """Return who goes on with a refresh token; it may be used up.

        Raises Unauthenticated (TOKEN_INVALID, TOKEN_EXPIRED).
        """
        login = self._login_of(token)
        self._require_open(login)
        return self._identity.signed_in(login.user, login.name, login.number)

    def refresh(self, token: str) -> Issued | None:
        """Use a refresh token up, and return the next tokens; None for one that was used up before.

        Raises Unauthenticated (TOKEN_INVALID, TOKEN_EXPIRED).
        """
        now = self._clock.now()
        login = self._login_of(token)
        self._require_open(login)
        generation = self._tokens.refresh.generation(token, login)
        if generation == login.generation and self._store.renew(login, now):
            return self._issued(dataclasses.replace(login, generation=login.generation + 1, refresh_time=now))
        if generation == login.generation - 1 and now - login.refresh_time <= REPLY_LOST_SECONDS:
            return self._issued(login)
        if generation > login.generation:
            raise refresh_tokens.invalid("it is newer than this database, which may be a restored one")
        return None

    def reused(self, caller: Caller, token: str) -> Unauthenticated:
        """End the login of a refresh token that came again after it was used up; return the refusal."""
        login = self._login_of(token)
        self._end(login, self._clock.now())
        journal.about(caller.principal)
        journal.detail(login=login.name, ended="its refresh token was used twice")
        log.warning("login.ended_by_reuse login=%s address=%s", login.name, caller.address)
        return refresh_tokens.invalid(
            "it was used up before, so somebody else may have it; the login was ended"
        )

    # --- ending -----------------------------------------------------------------------------------------

    def logout(self, caller: Caller, *, everywhere: bool, tokens: bool = False) -> Ended:
        """End the login of the caller, or all of its user, with `tokens` also what was made in them.

        Raises Precondition (STATE_INVALID) without a login, Denied (SCOPE_MISSING) for workers, Invalid
        (FIELD_INVALID) for `tokens` of one login.
        """
        if caller.is_worker:
            raise not_allowed(caller, "end logins")
        now = self._clock.now()
        number = _number(caller)
        if everywhere:
            ended = self._store.end_all(caller.user, now)
            if ended:
                self._identity.rights_changed()
            return self._with_tokens(caller.user, ended, revoke=tokens)
        if tokens:
            raise invalid_field("revoke_tokens", "expected everywhere with it: tokens belong to no one login")
        if not number:
            raise Precondition(
                Reason.STATE_INVALID,
                f"{caller.token} is an API token and no login; expected an access token of a login.",
                next_step="Revoke the token, or end all logins of the user with everywhere.",
                facts={"token": caller.token},
            )
        login = self._store.find(number)
        return Ended(int(login is not None and self._end(login, now)))

    # --- passwords --------------------------------------------------------------------------------------

    def changing(self, caller: Caller, user: str) -> NewPassword:
        """Return what changing the password of a user (the caller when empty) needs.

        Raises NotFound (USER_NOT_FOUND), Denied (SCOPE_MISSING).
        """
        if caller.is_worker:
            raise not_allowed(caller, "change passwords")
        user_id = user or caller.user
        if user_id != caller.user and not is_admin(caller):
            raise user_not_found(user_id)
        found = self._identity.find(user_id)
        stored = self._store.password(user_id)
        own = user_id == caller.user
        if not own:
            require_whole(caller, "set the password of another user")
        elif stored is None:
            require_whole(caller, "set a first password")
        return NewPassword(found, stored, own and stored is not None)

    def change(self, caller: Caller, wanted: NewPassword, hashed: str, *, tokens: bool = False) -> Ended:
        """Keep a new hash and end all other logins of the user, with `tokens` also what was made in logins.

        Raises Conflict (ETAG_MISMATCH) when the password changed since `changing`, and what that raises.
        """
        user = wanted.user.id
        if self.changing(caller, user).stored != wanted.stored:
            raise Conflict(
                Reason.ETAG_MISMATCH,
                f"The password of users/{user} was changed at the same moment.",
                next_step="Try again if it is not what was meant.",
                facts={"user": user},
            )
        journal.about(wanted.user.name)
        ended = self.set_password(user, hashed, but=_number(caller) if user == caller.user else 0)
        return self._with_tokens(user, ended, revoke=tokens, but=caller.token)

    def set_password(self, user: str, hashed: str, *, but: int = 0) -> int:
        """Keep a hash and end all logins of the user but one; return how many."""
        now = self._clock.now()
        self._store.set_password(user, hashed, now)
        ended = self._store.end_all(user, now, but=but)
        self._identity.rights_changed()
        return ended

    def end_all(self, user: str) -> int:
        """End all logins of a user; return how many."""
        return self._store.end_all(user, self._clock.now())

    def end_everybodys(self) -> int:
        """End all logins of all users; return how many."""
        ended = self._store.end_everybodys(self._clock.now())
        if ended:
            self._identity.rights_changed()
        return ended

    def count(self, user: str) -> int:
        """Return how many logins of a user have not ended."""
        return self._store.count(user, self._clock.now())

    # --- parts ------------------------------------------------------------------------------------------

    def _with_tokens(self, user: str, logins: int, *, revoke: bool, but: str = "") -> Ended:
        made = [each for each in self._made.in_logins(user) if each.name != but]
        revoked = len(self._made.end(made)) if revoke else 0
        return Ended(logins, revoked, len(made) - revoked)

    def _issued(self, login: Login) -> Issued:
        access = self._tokens.access
        return Issued(access.make(login), access.seconds, self._tokens.refresh.make(login), login)

    def _login_of(self, token: str) -> Login:
        """Return the login a refresh token was made for, of whichever generation."""
        login = self._store.find(self._tokens.refresh.number(token))
        if login is None:
            raise refresh_tokens.invalid("its login is not known here")
        self._tokens.refresh.generation(token, login)
        return login

    def _require_open(self, login: Login) -> None:
        if login.end_time is not None:
            raise _unusable("it has ended")
        if login.expire_time <= self._clock.now():
            raise Unauthenticated(
                Reason.TOKEN_EXPIRED,
                f"The login ran out: one lasts {self._tokens.days:g} days.",
                next_step="Sign in again: ingot login",
            )

    def _end(self, login: Login, now: float) -> bool:
        ended = self._store.end(login.number, now)
        if ended:
            self._identity.rights_changed()
        return ended


def _unusable(why: str) -> Unauthenticated:
    return Unauthenticated(
        Reason.TOKEN_INVALID,
        f"The login cannot be used: {why}.",
        next_step="Sign in again: ingot login",
    )


def login_failed() -> Unauthenticated:
    """Return the one refusal of a login, whatever was wrong with it."""
    return Unauthenticated(
        Reason.LOGIN_FAILED,
        "User or password is wrong.",
        next_step="Type both again. A user without a password signs in with a token, or asks an "
        "administrator for a password.",
    )


def _number(caller: Caller) -> int:
    """Return the number of the login that a caller signed in with, 0 without one."""
    kind, _, number = caller.token.removeprefix(f"{caller.principal}/").partition("/")
    return int(number) if kind == "logins" else 0
