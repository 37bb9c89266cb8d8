"""Being signed in with a password: an access token for minutes, and the next one in time.

    login = Login(MemoryKeeper(tokens), exchange)      # a Bearer: calls ask it for the token to send

The refresh token is used up by each use, so whoever shares a login must take turns: threads by a lock, and
programs that share a context of config.toml by a lock on a file beside it, under which they look first
whether another one was faster.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from ingot.client import _contexts
from ingot.client._calls import Calls
from ingot.client._channels import Link
from ingot.client._contexts import Context
from ingot.client._errors import NotAllowed, Unauthenticated

if TYPE_CHECKING:
    from ingot.v1 import auth_pb2

_EARLY = 60.0  # seconds before its end that an access token is replaced; at most half its life


@dataclass(frozen=True, slots=True)
class LoginTokens:
    """The tokens of a login; `renew_time` is when to get the next ones, by this machine's clock."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    renew_time: float

    @classmethod
    def of(cls, reply: "auth_pb2.LoginResponse | auth_pb2.RefreshLoginResponse") -> "LoginTokens":
        """Return the tokens of a reply that came just now."""
        life = reply.access_ttl.ToTimedelta().total_seconds()
        return cls(reply.access_token, reply.refresh_token, time.time() + max(life - _EARLY, life / 2))


class Keeper(Protocol):
    """Where the newest tokens of a login are."""

    def taking(self) -> contextlib.AbstractContextManager[LoginTokens]:
        """Return the newest tokens, which nobody else replaces within the with block."""
        ...

    def keep(self, tokens: LoginTokens) -> None:
        """Keep newer ones; inside `taking` only."""
        ...


class MemoryKeeper:
    """Keeps the tokens of a login of this program alone."""

    def __init__(self, tokens: LoginTokens) -> None:
        self._tokens = tokens
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def taking(self) -> Iterator[LoginTokens]:
        """Return the tokens."""
        with self._lock:
            yield self._tokens

    def keep(self, tokens: LoginTokens) -> None:
        """Replace them."""
        self._tokens = tokens


class ContextKeeper:
    """Keeps them in a context of config.toml, which other programs use too."""

    def __init__(self, name: str, environ: Mapping[str, str] = os.environ) -> None:
        self._name = name
        self._environ = environ
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def taking(self) -> Iterator[LoginTokens]:
        """Return what the file holds now. Raises Unauthenticated when the context signed out."""
        with self._lock, _contexts.locked(self._environ):
            yield tokens_of(self._context())

    def keep(self, tokens: LoginTokens) -> None:
        """Write them into the file."""
        contexts = _contexts.load_contexts(self._environ)
        contexts.with_tokens(self._name, tokens.access, tokens.refresh, tokens.renew_time).save()

    def _context(self) -> Context:
        for context in _contexts.load_contexts(self._environ).all:
            if context.name == self._name and context.refresh_token:
                return context
        raise Unauthenticated(
            f"Signed out of {self._name!r} meanwhile.",
            reason="TOKEN_MISSING",
            next_step="Sign in again with: ingot login",
        )


class Login:
    """Has the access token of a login, and gets the next one with `exchange`; safe on several threads."""

    def __init__(self, keeper: Keeper, exchange: Callable[[str], LoginTokens]) -> None:
        self._keeper = keeper
        self._exchange = exchange
        self._tokens: LoginTokens | None = None

    def token(self) -> str:
        """Return an access token that is good for a while. Raises IngotError."""
        known = self._tokens
        if known is None or known.renew_time <= time.time():
            known = self._newer("")
        return known.access

    def renewed(self, refused: str) -> bool:
        """Get another token in place of one that the server refused. Raises IngotError."""
        return self._newer(refused).access != refused

    def _newer(self, refused: str) -> LoginTokens:
        """Return the tokens kept, or the next ones when their time has come or they were refused."""
        with self._keeper.taking() as kept:
            if kept.renew_time <= time.time() or kept.access == refused:
                kept = self._exchange(kept.refresh)
                self._keeper.keep(kept)
            self._tokens = kept
            return kept


def tokens_of(context: Context) -> LoginTokens:
    """Return the tokens of the login that a context keeps."""
    return LoginTokens(context.token, context.refresh_token, context.renew_time)


def exchange_over(link: Link) -> Callable[[str], LoginTokens]:
    """Return what uses a refresh token up at the server of a link and gives the next tokens."""

    def exchange(refresh: str) -> LoginTokens:
        from ingot.v1 import auth_pb2, auth_pb2_grpc

        stub = auth_pb2_grpc.AuthServiceStub(link.channel)
        request = auth_pb2.RefreshLoginRequest(refresh_token=refresh)
        try:
            return LoginTokens.of(Calls(link.endpoint.shown).unary(stub.RefreshLogin, request))
        except NotAllowed as error:
            raise Unauthenticated(
                error.message,
                reason=error.reason,
                next_step="Sign in again with: ingot login",
                request_id=error.request_id,
            ) from error

    return exchange


def sign_in(link: Link, tokens: LoginTokens) -> None:
    """Let the calls of a link carry the tokens of a login that only this program has."""
    link.signed_in.become(Login(MemoryKeeper(tokens), exchange_over(link)))


def sign_in_from(link: Link, context: str) -> None:
    """Let the calls of a link carry the tokens of the login that a context keeps."""
    link.signed_in.become(Login(ContextKeeper(context), exchange_over(link)))


def kept(context: Context, tokens: LoginTokens) -> Context:
    """Return a context that keeps a login."""
    return replace(context, token=tokens.access, refresh_token=tokens.refresh, renew_time=tokens.renew_time)
