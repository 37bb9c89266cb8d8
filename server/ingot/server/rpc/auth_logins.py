"""AuthService: signing in with a password, going on, signing out, and changing passwords."""

from typing import TypedDict

from google.protobuf import duration_pb2, timestamp_pb2

from ingot.server.core import names
from ingot.server.core.errors import IngotError
from ingot.server.core.logins import Issued
from ingot.server.domain import passwords
from ingot.server.domain.logins import NewPassword, login_failed
from ingot.server.rpc import convert_common as common
from ingot.server.rpc import pipeline
from ingot.server.rpc.auth_rules import AuthCalls, Context, user_message
from ingot.v1 import auth_pb2 as pb

_LONGEST_ID = 64  # more than ids may have, so that a longer one stays nobody's


class LoginCalls(AuthCalls):
    """Serves logins and passwords; what a person typed is told to nobody, in no log and no error."""

    async def Login(self, request: pb.LoginRequest, context: Context) -> pb.LoginResponse:
        logins = self._rules.logins
        user = _typed_user(request.username)
        passwords.check_typed(request.password)
        stored = await self._hops.read(logins.stored, user)
        await self._matched(user, stored, request.password)
        caller = await self._hops.read(logins.signing_in, user)
        pipeline.turned_out(caller)
        outdated = stored is not None and self._rules.hashing.outdated(stored)
        better = await self._rules.hashing.hashed(request.password) if outdated else ""
        issued = await self._hops.write(logins.open, caller, stored, better)
        found = await self._hops.read(self._rules.identity.find, user)
        return pb.LoginResponse(user=user_message(found), **_tokens(issued))

    async def RefreshLogin(
        self, request: pb.RefreshLoginRequest, context: Context
    ) -> pb.RefreshLoginResponse:
        logins = self._rules.logins
        caller = await self._hops.read(logins.refreshing, request.refresh_token)
        pipeline.turned_out(caller)
        issued = await self._hops.keep(logins.refresh, request.refresh_token)
        if issued is None:
            raise await self._hops.write(logins.reused, pipeline.caller(), request.refresh_token)
        return pb.RefreshLoginResponse(**_tokens(issued))

    async def Logout(self, request: pb.LogoutRequest, context: Context) -> pb.LogoutResponse:
        ended = await self._hops.write(
            self._rules.logins.logout,
            pipeline.caller(),
            everywhere=request.everywhere,
            tokens=request.revoke_tokens,
        )
        return pb.LogoutResponse(
            ended_logins=ended.logins, revoked_tokens=ended.tokens, kept_tokens=ended.kept_tokens
        )

    async def ChangePassword(
        self, request: pb.ChangePasswordRequest, context: Context
    ) -> pb.ChangePasswordResponse:
        logins, caller = self._rules.logins, pipeline.caller()
        user = names.user_id(request.name) if request.name else ""
        wanted = await self._hops.read(logins.changing, caller, user)
        passwords.check_new(request.new_password, wanted.user.id)
        if wanted.old_needed:
            await self._old_matched(wanted, request.old_password)
        hashed = await self._rules.hashing.hashed(request.new_password)
        ended = await self._hops.write(logins.change, caller, wanted, hashed, tokens=request.revoke_tokens)
        return pb.ChangePasswordResponse(
            ended_logins=ended.logins, revoked_tokens=ended.tokens, kept_tokens=ended.kept_tokens
        )

    async def _old_matched(self, wanted: NewPassword, password: str) -> None:
        passwords.check_typed(password, "old_password")
        await self._matched(wanted.user.id, wanted.stored, password)

    async def _matched(self, user: str, stored: str | None, password: str) -> None:
        """Refuse a wrong password. Raises Unauthenticated (LOGIN_FAILED), Exhausted (LOGIN_LOCKED, BUSY)."""
        with self._rules.attempts.attempt(user, pipeline.address()) as attempt:
            try:
                right = await self._rules.hashing.matches(stored, password)
            except IngotError:  # too many at once
                attempt.was_not_heard()
                raise
            if not right:
                raise login_failed()
            attempt.succeeded()


def _typed_user(text: str) -> str:
    """Return the id of a user as it was typed; what can be nobody's id fails later like a wrong password."""
    user = text.strip().removeprefix("users/").lower()[:_LONGEST_ID]
    if names.is_namespace_id(user):  # else it may be a password in the wrong line: not for the record
        pipeline.about(f"users/{user}")
    return user


class _Tokens(TypedDict):
    access_token: str
    access_ttl: duration_pb2.Duration | None
    refresh_token: str
    login_expire_time: timestamp_pb2.Timestamp | None


def _tokens(issued: Issued) -> _Tokens:
    return _Tokens(
        access_token=issued.access_token,
        access_ttl=common.duration(issued.access_seconds),
        refresh_token=issued.refresh_token,
        login_expire_time=common.timestamp(issued.login.expire_time),
    )
