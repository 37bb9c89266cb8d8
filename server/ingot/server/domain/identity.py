"""Users and API tokens: who may come in, and what a credential may be used for.

A token reads `ingot_12_<secret>`; the server keeps only its SHA-256. What a call may do is what the token's
scopes and the role of its user both allow. Revoking works from the next call on: `revision` changes with
every committed change, so nothing that was remembered about tokens outlives it.
"""

import dataclasses
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from ingot.server.core import ids, journal, names, texts
from ingot.server.core.catalog_stores import CounterStore, TokenStore, UserStore
from ingot.server.core.clock import Clock
from ingot.server.core.errors import (
    AlreadyExists,
    Denied,
    Reason,
    Unauthenticated,
    invalid_field,
)
from ingot.server.core.identity import SCOPES_OF_ROLE, SYSTEM, ApiToken, Caller, Role, Scope, User
from ingot.server.core.members import Rights, rights_of
from ingot.server.core.pages import Page, PageTokens, page_size
from ingot.server.domain import identity_refusals as refusals
from ingot.server.domain.requests import RequestKey, Requests
from ingot.server.domain.token_uses import TokenUses

ADMINISTRATOR = "admin"  # id of the user made at the first start
LOCAL_ADMINISTRATOR = "administrator of this data folder"
LOCAL_WORKER = "worker beside this server"
NAME_LIMIT = 200
_LONGEST_TTL = 100 * 365 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to be made."""

    id: str
    display_name: str = ""
    role: Role = Role.MEMBER


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to be made: for the caller when `user` is empty, with all scopes of its role without any."""

    user: str = ""
    display_name: str = ""
    scopes: frozenset[Scope] = frozenset()
    ttl: float | None = None  # seconds; None is without end
    for_worker: bool = False


@dataclass(frozen=True, slots=True)
class Me:
    """Who is calling and what the credential may do."""

    user: User
    caller: Caller


class Identity:
    """The rules about users and tokens; every method but the properties runs inside a unit of work.

    `after_commit` registers a call for when the running write is durable (Database.after_commit).
    """

    def __init__(
        self,
        users: UserStore,
        tokens: TokenStore,
        counters: CounterStore,
        requests: Requests,
        pages: PageTokens,
        clock: Clock,
        after_commit: Callable[[Callable[[], None]], None],
    ) -> None:
        self._users = users
        self._tokens = tokens
        self._counters = counters
        self._requests = requests
        self._pages = pages
        self._clock = clock
        self._after_commit = after_commit
        self._revision = 0
        self.uses = TokenUses(tokens)

    @property
    def revision(self) -> int:
        """Return a number that differs after each committed change of a user or a token; for any thread."""
        return self._revision

    def rights_changed(self) -> None:
        """Let the write that runs now, once it is durable, change `revision`: somebody joined or left."""
        self._changed()

    # --- coming in --------------------------------------------------------------------------------------

    def authenticate(self, secret: str) -> Caller:
        """Return who a token belongs to. Raises Unauthenticated (TOKEN_INVALID, TOKEN_EXPIRED)."""
        now = self._clock.now()
        token = self._tokens.by_digest(_digest(secret))
        if token is None or token.revoke_time is not None:
            raise refusals.token_invalid("it is not known here" if token is None else "it was revoked")
        if token.expire_time is not None and token.expire_time <= now:
            raise Unauthenticated(
                Reason.TOKEN_EXPIRED,
                f"The token {token.name} expired.",
                next_step="Sign in with another token, or have a new one made.",
                facts={"token": token.name},
            )
        user = self._require_enabled(token.user)
        if token.role is Role.WORKER and user.role is not Role.ADMIN:
            raise refusals.token_invalid("who made it for a worker is no administrator any more")
        self.uses.note(token.id, now)
        return self._caller(user, token)

    def signed_in(self, user_id: str, name: str, number: int) -> Caller:
        """Return a user as the caller of a login of this name and number, which may do all the user may.

        Raises Unauthenticated (TOKEN_INVALID).
        """
        user = self._require_enabled(user_id)
        whole = ApiToken("", user.id, "", user.role, SCOPES_OF_ROLE[user.role], user.create_time)
        return dataclasses.replace(self._caller(user, whole), token=name, login=number)

    def find(self, user_id: str) -> User:
        """Return a user, whoever asks. Raises NotFound (USER_NOT_FOUND)."""
        user = self._users.find(user_id)
        if user is None:
            raise refusals.user_not_found(user_id)
        return user

    def me(self, caller: Caller) -> Me:
        """Return the user behind the caller, to workers only its name. Raises NotFound (USER_NOT_FOUND)."""
        user = self.find(caller.user)
        if caller.is_worker:
            user = User(user.id, "", "", caller.role, user.create_time)
        return Me(user, caller)

    # --- first start ------------------------------------------------------------------------------------

    def ensure_administrator(self, known: str) -> str | None:
        """Make sure that the owner of the data folder can come in; return the secret if a token was made.

        `known` is what its token file holds, "" without one. A token that still works stays; otherwise the
        user `admin` is made if missing, its earlier local tokens are revoked, and a new one is made.
        """
        if known and self._is_administrator(known):
            return None
        self._ensure_admin_user()
        return self._local_token(LOCAL_ADMINISTRATOR, Role.ADMIN)

    def issue_local_worker_token(self) -> str:
        """Make a token for the worker that the server starts beside itself; the one before ends."""
        self._ensure_admin_user()
        return self._local_token(LOCAL_WORKER, Role.WORKER)

    # --- users ------------------------------------------------------------------------------------------

    def create_user(self, caller: Caller, wanted: NewUser, key: RequestKey) -> User:
        """Make a user with a namespace of the same id; a repetition of the request gives the same user.

        Raises Invalid (NAME_INVALID, FIELD_INVALID), AlreadyExists (NAME_TAKEN), Denied (SCOPE_MISSING).
        """
        refusals.require_admin(caller, "make users")
        names.check_namespace_id(wanted.id)
        if wanted.role is Role.WORKER:
            raise invalid_field(
                "role",
                "expected ADMIN, MEMBER or VIEWER, got WORKER",
                next_step="Workers are no users: make a token with the role of a worker instead.",
            )
        if wanted.role is Role.ADMIN:
            refusals.require_whole(caller, "make administrators")
        display_name = texts.line("display_name", wanted.display_name, NAME_LIMIT)

        def make() -> str:
            journal.about(f"users/{wanted.id}")
            journal.detail(role=wanted.role)
            return self._add_user(NewUser(wanted.id, display_name, wanted.role)).id

        made, _ = self._requests.run(caller, "CreateUser", key, make)
        return self.find(made)

    def list_users(self, caller: Caller, size: int, token: str) -> Page[User]:
        """Return a page of users in the order of their ids. Raises Denied, Invalid (PAGE_TOKEN_INVALID)."""
        refusals.require_admin(caller, "list users")
        size = page_size(size)
        after = self._pages.decode("ListUsers", token)
        users = self._users.page(str(after[0]) if after else "", size + 1)
        more = len(users) > size
        return Page(
            tuple(users[:size]), self._pages.encode("ListUsers", (users[size - 1].id,)) if more else ""
        )

    # --- tokens -----------------------------------------------------------------------------------------

    def create_token(self, caller: Caller, wanted: NewToken) -> tuple[ApiToken, str]:
        """Make a token; return it and its secret, which is kept nowhere.

        What a credential gives on is never more than it has itself, neither in scopes nor in time: without a
        `ttl` the token ends with the caller's own.
        Raises Invalid (FIELD_INVALID), NotFound (USER_NOT_FOUND), Denied (SCOPE_MISSING) for more than the
        caller has, for somebody else's token and for a worker's unless the caller is an administrator.
        """
        user_id = wanted.user or caller.user
        if caller.is_worker:
            raise refusals.not_allowed(caller, "make tokens")
        if wanted.for_worker or user_id != caller.user:
            refusals.require_admin(caller, "make tokens for workers and for other users")
        user = self.find(user_id)
        role = Role.WORKER if wanted.for_worker else user.role
        display_name = texts.line("display_name", wanted.display_name, NAME_LIMIT)
        scopes = _granted(caller, role, wanted.scopes)
        expire_time = _end(caller, wanted.ttl, self._clock.now())
        made = ApiToken("", user.id, display_name, role, scopes, 0.0, expire_time)
        made = dataclasses.replace(made, maker=caller.user, login=caller.login, parent=_token_id(caller))
        token, secret = self._add_token(made)
        journal.about(token.name)
        journal.detail(role=role, scopes=" ".join(sorted(scopes)))
        return token, secret

    def list_tokens(self, caller: Caller, user: str, size: int, token: str) -> Page[ApiToken]:
        """Return a page of a user's tokens in the order of making; the caller's own when `user` is empty.

        Workers are told of no token but the one they come with.
        Raises NotFound (USER_NOT_FOUND) for other users' unless the caller is an administrator.
        """
        size = page_size(size)
        user_id = user or caller.user
        if caller.is_worker:
            own = None if user else self._tokens.find(caller.token.rpartition("/")[2])
            if own is None:
                raise refusals.user_not_found(user_id)
            return Page((self._with_last_use(own),), "")
        if user_id != caller.user and not refusals.is_admin(caller):
            raise refusals.user_not_found(user_id)
        self.find(user_id)
        query = f"ListTokens {user_id}"
        after = self._pages.decode(query, token)
        rows = self._tokens.page(user_id, int(after[0]) if after else 0, size + 1)
        more = len(rows) > size
        items = tuple(self._with_last_use(each) for _, each in rows[:size])
        return Page(items, self._pages.encode(query, (rows[size - 1][0],)) if more else "")

    def revoke_token(self, caller: Caller, user: str, token_id: str) -> ApiToken:
        """Make a token useless from the next call on; revoking it again changes nothing.

        Raises NotFound (TOKEN_NOT_FOUND), also for other users' tokens unless the caller is an administrator.
        """
        token = self._tokens.find(token_id)
        mine = token is not None and token.user == caller.user and not caller.is_worker
        if token is None or token.user != user or not (mine or refusals.is_admin(caller)):
            raise refusals.token_not_found(f"users/{user}/tokens/{token_id}")
        self._revoke(token)
        return self._with_last_use(self._tokens.find(token_id) or token)

    # --- parts ------------------------------------------------------------------------------------------

    def _caller(self, user: User, token: ApiToken) -> Caller:
        return _caller(user, token, rights_of(user.role, self._users.memberships(user.id)))

    def _require_enabled(self, user_id: str) -> User:
        user = self._users.find(user_id)
        if user is None or user.disabled:
            raise refusals.token_invalid("its user may not sign in any more")
        return user

    def _add_user(self, wanted: NewUser) -> User:
        now = self._clock.now()
        user = User(wanted.id, ids.new_uid(now), wanted.display_name, wanted.role, now)
        if not self._users.add(user):
            raise AlreadyExists(
                Reason.NAME_TAKEN,
                f"There is a user or a namespace {wanted.id!r} already.",
                next_step="Choose another id.",
                facts={"user_id": wanted.id},
            )
        self._changed()
        return user

    def _ensure_admin_user(self) -> None:
        if self._users.find(ADMINISTRATOR) is None:
            self._add_user(NewUser(ADMINISTRATOR, "Administrator", Role.ADMIN))

    def _add_token(self, wanted: ApiToken) -> tuple[ApiToken, str]:
        number = self._counters.next("tok")
        secret = f"ingot_{number}_{secrets.token_urlsafe(32)}"
        token = dataclasses.replace(wanted, id=f"tok_{number}", create_time=self._clock.now())
        self._tokens.add(token, _digest(secret))
        return token, secret

    def _local_token(self, display_name: str, role: Role) -> str:
        """Make a token that the server itself hands out; earlier ones of the same purpose end."""
        for token in self._tokens.valid_of(ADMINISTRATOR, display_name):
            self._revoke(token)
        wanted = ApiToken("", ADMINISTRATOR, display_name, role, SCOPES_OF_ROLE[role], 0.0, maker=SYSTEM)
        return self._add_token(wanted)[1]

    def _is_administrator(self, secret: str) -> bool:
        try:
            return self.authenticate(secret).is_admin
        except Unauthenticated:
            return False

    def _revoke(self, token: ApiToken) -> None:
        if self._tokens.revoke(token.id, self._clock.now()):
            self._changed()

    def _changed(self) -> None:
        self._after_commit(self._advance)

    def _advance(self) -> None:
        self._revision += 1

    def _with_last_use(self, token: ApiToken) -> ApiToken:
        """Return the token with a use that is not written down yet."""
        used = self.uses.of(token.id)
        return token if used is None else dataclasses.replace(token, last_use_time=used)


def _caller(user: User, token: ApiToken, rights: Rights) -> Caller:
    worker = token.role is Role.WORKER
    role = Role.WORKER if worker else user.role  # the user's role may have changed since the token was made
    if worker:
        rights = Rights()  # whoever made its token has no part in what it may touch
    return Caller(
        principal=token.name if worker else user.name,
        user=user.id,
        role=role,
        scopes=token.scopes & SCOPES_OF_ROLE[role],
        token=token.name,
        namespace=user.id,
        writes=rights.writes,
        reads=rights.reads,
        owns=rights.owns,
        expire_time=token.expire_time,
        login=token.login,
    )


def _granted(caller: Caller, role: Role, asked: frozenset[Scope]) -> frozenset[Scope]:
    """Return the scopes of a new token: never more than its role has, nor than the caller has itself."""
    # Only workers have the scope worker; making one is what an administrator's scope admin allows.
    possible = SCOPES_OF_ROLE[role] & (caller.scopes | {Scope.WORKER})
    excess = sorted(asked - possible)
    if excess:
        raise Denied(
            Reason.SCOPE_MISSING,
            f"scopes: {', '.join(excess)} cannot be given to this token; expected some of "
            f"{', '.join(sorted(possible))}.",
            next_step="Leave scopes out to give all that is possible.",
            facts={"scopes": ", ".join(excess)},
        )
    return asked or possible


def _end(caller: Caller, ttl: float | None, now: float) -> float | None:
    """Return when a new token ends: never after the caller's own, and with it unless told otherwise."""
    if ttl is None:
        return caller.expire_time
    if not 0 < ttl <= _LONGEST_TTL:
        raise invalid_field("ttl", f"expected above 0 s and at most 100 years, got {ttl:g} s")
    if caller.expire_time is not None and now + ttl > caller.expire_time:
        left = int(max(0.0, caller.expire_time - now))
        raise invalid_field(
            "ttl",
            f"expected at most {left} s, the rest of the time of the token you signed in with, got {ttl:g} s",
            next_step="Leave it out to give all the time that is left, or sign in with a token that lasts "
            "longer.",
        )
    return now + ttl


def _token_id(caller: Caller) -> str:
    """Return the id of the token that a caller comes with; "" for a login."""
    kind, _, token = caller.token.removeprefix(f"users/{caller.user}/").partition("/")
    return token if kind == "tokens" else ""


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
