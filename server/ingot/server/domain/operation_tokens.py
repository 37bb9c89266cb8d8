"""Tokens of operations: how the body of an operation signs in, for one attempt and not a moment longer.

    ingotop_<number>_<attempt>_<signature>

Nothing is stored. The signature shows that this server made the token, and the operation's row whether it is
still good: only while it is RUNNING or CANCELLING in that very attempt. That is the fence: a body whose claim
was lost, or whose operation was cancelled and has ended, can change nothing more, not even in a write that
was already on its way (`Fence`, asked inside the write).

Whoever signs in so acts for the requester, but as a member at most: it reads and writes what its operation is
about and what the requester still may, and has no part in accounts, training or administration.
"""

import hashlib
import hmac
import re

from ingot.server.core import keys
from ingot.server.core.catalog_stores import UserStore
from ingot.server.core.errors import Reason, Unauthenticated
from ingot.server.core.identity import SYSTEM, Caller, Role, Scope, User, user_of
from ingot.server.core.members import Rights, rights_of
from ingot.server.core.operation_stores import OperationStore
from ingot.server.core.operations import CLAIMED_STATES, Operation
from ingot.server.domain import access_tokens
from ingot.server.domain.identity import Identity
from ingot.server.domain.identity_refusals import token_invalid
from ingot.server.domain.logins import Logins

PREFIX = "ingotop_"
SCOPES = frozenset({Scope.CATALOG_READ, Scope.TRANSFER_READ, Scope.TRANSFER_WRITE})
_FORM = re.compile(rf"{PREFIX}([1-9][0-9]{{0,17}})_([1-9][0-9]{{0,8}})_([0-9a-f]{{64}})")


class OperationTokens:
    """Makes and reads the tokens with the secret of the data folder."""

    def __init__(self, secret: bytes) -> None:
        self._key = keys.derived(secret, keys.OPERATION_TOKENS)

    def make(self, operation: Operation) -> str:
        """Return the token for the attempt that an operation is in."""
        number, attempt = operation.number, operation.attempt
        return f"{PREFIX}{number}_{attempt}_{self._signature(number, attempt)}"

    def read(self, token: str) -> tuple[int, int]:
        """Return number and attempt from a token. Raises Unauthenticated (TOKEN_INVALID)."""
        parts = _FORM.fullmatch(token)
        if parts is None:
            raise token_invalid("it is not well formed")
        number, attempt = int(parts[1]), int(parts[2])
        if not hmac.compare_digest(parts[3], self._signature(number, attempt)):
            raise token_invalid("this server did not make it")
        return number, attempt

    def _signature(self, number: int, attempt: int) -> str:
        return hmac.new(self._key, f"{number}_{attempt}".encode(), hashlib.sha256).hexdigest()


class Fence:
    """Says whether an operation's body still has its claim; asked inside the write that it makes."""

    def __init__(self, operations: OperationStore) -> None:
        self._operations = operations

    def require_current(self, caller: Caller) -> None:
        """Refuse a body whose attempt is over; others pass. Raises Unauthenticated (TOKEN_EXPIRED)."""
        if caller.operation:
            self.current(caller.operation.removeprefix("operations/"), caller.attempt)

    def current(self, operation: str, attempt: int) -> Operation:
        """Return an operation (`op_12`) that is in this attempt. Raises Unauthenticated (TOKEN_EXPIRED)."""
        found = self._operations.find(operation)
        if found is None or found.attempt != attempt or found.state not in CLAIMED_STATES:
            raise Unauthenticated(
                Reason.TOKEN_EXPIRED,
                f"Attempt {attempt} of operations/{operation} is over, and its token with it.",
                next_step="Stop; whatever still needs doing is done by the next attempt.",
                facts={"operation": f"operations/{operation}", "attempt": str(attempt)},
            )
        return found


class SignIn:
    """Finds callers by their tokens: people and workers through Identity, bodies by their operation.

    Whoever signed in with a password is found through Logins.
    """

    def __init__(
        self, identity: Identity, logins: Logins, tokens: OperationTokens, fence: Fence, users: UserStore
    ) -> None:
        self._identity = identity
        self._logins = logins
        self._tokens = tokens
        self._fence = fence
        self._users = users

    @property
    def revision(self) -> int:
        """Return a number that differs after each committed change of a user or a token; for any thread."""
        return self._identity.revision

    def authenticate(self, secret: str, *, begun: bool = False) -> Caller:
        """Return who a token belongs to. Raises Unauthenticated (TOKEN_INVALID, TOKEN_EXPIRED).

        For a call that has `begun` with it, the access token of a login may have expired since.
        """
        if access_tokens.is_one(secret):
            return self._logins.authenticate(secret, begun=begun)
        if not secret.startswith(PREFIX):
            return self._identity.authenticate(secret)
        number, attempt = self._tokens.read(secret)
        operation = self._fence.current(f"op_{number}", attempt)
        user = self._requester(operation)
        if user is None or user.role is Role.ADMIN:
            return _caller(operation, user, None)
        return _caller(operation, user, rights_of(user.role, self._users.memberships(user.id)))

    def _requester(self, operation: Operation) -> User | None:
        """Return who asked, None for the server itself."""
        if operation.requester == SYSTEM:
            return None
        user = self._users.find(user_of(operation.requester))
        if user is None or user.disabled:
            raise token_invalid(f"who asked for {operation.name} may not sign in any more")
        return user


def _caller(operation: Operation, user: User | None, rights: Rights | None) -> Caller:
    """Return the caller; `rights` are those of who asked, who may have lost some since, None for all."""
    writes = frozenset({operation.namespace} - {""})
    reads = writes | frozenset(operation.reads)
    if rights is not None:
        writes, reads = writes & rights.writes, reads & rights.reads
    return Caller(
        principal=operation.requester,
        user=user.id if user else operation.namespace or SYSTEM,
        role=Role.MEMBER,
        scopes=SCOPES,
        token=f"{operation.name}/attempts/{operation.attempt}",
        namespace=operation.namespace,
        writes=writes,
        reads=reads,
        operation=operation.name,
        attempt=operation.attempt,
        target=operation.target,
    )
