"""What the rules about users and credentials refuse with, and who is an administrator."""

from ingot.server.core.errors import Denied, NotFound, Reason, Unauthenticated
from ingot.server.core.identity import SCOPES_OF_ROLE, Caller, Scope


def is_admin(caller: Caller) -> bool:
    """Return whether a credential may do what administrators may."""
    return caller.is_admin and Scope.ADMIN in caller.scopes


def require_admin(caller: Caller, what: str) -> None:
    """Refuse everybody but administrators. Raises Denied (SCOPE_MISSING)."""
    if not is_admin(caller):
        raise not_allowed(caller, what)


def require_whole(caller: Caller, what: str) -> None:
    """Refuse a credential that is good for less than its user may do, or ends: it must not make itself more.

    Logins are whole: who typed a password is the person. Raises Denied (SCOPE_MISSING).
    """
    if caller.expire_time is not None or not SCOPES_OF_ROLE[caller.role] <= caller.scopes:
        raise Denied(
            Reason.SCOPE_MISSING,
            f"{caller.token} may not {what}: it is good for less than its user may do.",
            next_step="Sign in with a token that has all scopes and no end, or ask an administrator.",
            facts={"token": caller.token},
        )


def not_allowed(caller: Caller, what: str) -> Denied:
    """Return the refusal of what only administrators may."""
    return Denied(
        Reason.SCOPE_MISSING,
        f"{caller.principal} may not {what}; expected an administrator with the scope admin.",
        next_step="Ask an administrator.",
        facts={"role": caller.role.value},
    )


def token_invalid(why: str) -> Unauthenticated:
    """Return the refusal of a credential."""
    return Unauthenticated(
        Reason.TOKEN_INVALID,
        f"The token cannot be used: {why}.",
        next_step="Sign in with a token of this server.",
    )


def user_not_found(user: str) -> NotFound:
    """Return the refusal for a user who is absent, or not the caller's to see."""
    return NotFound(
        Reason.USER_NOT_FOUND,
        f"There is no user {user!r}, or it is not yours to see.",
        next_step="Check the name; administrators can list all users.",
        facts={"user": user},
    )


def token_not_found(name: str) -> NotFound:
    """Return the refusal for a token that is absent, or not the caller's."""
    return NotFound(
        Reason.TOKEN_NOT_FOUND,
        f"There is no token {name}, or it is not yours.",
        next_step="List your tokens to see their names.",
        facts={"token": name},
    )
