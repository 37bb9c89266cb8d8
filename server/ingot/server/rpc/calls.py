"""One call on its way through the server: what its metadata says, and the refusals that may await it."""

import asyncio
import contextlib
import dataclasses
import re
import urllib.parse
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import grpc

from ingot.server.core import peers
from ingot.server.core.clock import Clock
from ingot.server.core.errors import (
    Denied,
    IngotError,
    Invalid,
    Precondition,
    Reason,
    Unauthenticated,
    Unavailable,
)
from ingot.server.core.identity import Caller
from ingot.server.core.usage import Activity
from ingot.server.rpc.methods import Method, printable

REQUEST_ID = "x-request-id"  # also sent back, with every answer
DECLARED_USER = "x-ingot-user"  # percent-encoded where not ASCII
CLIENT = "x-client"  # name/version
OLDEST_CLIENT = (0, 1, 0)  # of our own clients

_CALL_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OUR_CLIENT = re.compile(r"ingot-[a-z]+/(\d+)\.(\d+)\.(\d+)")
_TEXT_LIMIT = 80


@dataclasses.dataclass(eq=False, slots=True)
class Call:
    """One call from its first byte to its last."""

    method: Method
    id: str
    time: float  # epoch seconds
    started: float  # of the monotonic clock
    address: str
    declared_user: str
    client: str
    secret: str  # of the bearer token, empty without one
    task: "asyncio.Task[Any] | None"
    caller: Caller | None = None
    target: str = ""
    code: str = grpc.StatusCode.OK.name
    reason: str = ""  # ErrorReason, where it failed
    message: str = ""  # that its client is told then
    ended: IngotError | None = None  # why the server stopped it
    recorded: bool = True  # a flood that is refused is not
    facts: dict[str, str] = dataclasses.field(default_factory=dict)  # what rules tell the audit log
    result: str = ""  # what it makes of its target
    used: str = ""  # private thing of others that an administrator uses
    prepared: bool = False  # it changed rows before its act
    entered: bool = False  # it has its entry in the audit log
    row: int = 0  # of the list of activities, where its act wrote one
    closed: bool = False  # its status was sent
    look_again: Callable[[], Awaitable[Caller]] | None = None  # asks who makes it, now
    # what is given back when it is over
    holdings: contextlib.ExitStack = dataclasses.field(default_factory=contextlib.ExitStack)

    @classmethod
    def begin(cls, method: Method, peer: str, metadata: Mapping[str, str], clock: Clock) -> "Call":
        """Return the call that the current task runs."""
        asked = metadata.get(REQUEST_ID, "")
        return cls(
            method=method,
            id=asked if _CALL_ID.fullmatch(asked) else uuid.uuid4().hex,
            time=clock.now(),
            started=clock.monotonic(),
            address=address_of(peer),
            declared_user=printable(urllib.parse.unquote(metadata.get(DECLARED_USER, "")), _TEXT_LIMIT),
            client=printable(metadata.get(CLIENT, ""), _TEXT_LIMIT),
            secret=_bearer(metadata.get("authorization", "")),
            task=asyncio.current_task(),
        )

    def made_by(self, caller: Caller) -> None:
        """Note who makes it. Raises Denied (SCOPE_MISSING), Precondition (CLIENT_TOO_OLD)."""
        self.caller = dataclasses.replace(
            caller,
            declared_user=self.declared_user,
            address=self.address,
            call_id=self.id,
            client=self.client,
        )
        missing = self.method.scopes - caller.scopes
        if missing:
            raise _scope_missing(self.method, missing)
        version = _OUR_CLIENT.match(self.client)
        if version and tuple(map(int, version.groups())) < OLDEST_CLIENT:
            raise _too_old(self.client)

    def goes_on(self, caller: Caller) -> None:
        """Note again who makes it while it is open; end it when rights were lost since. Raises Denied."""
        try:
            self.require_rights_of(caller)
        except Unavailable as lost:
            self.end(lost)

    def require_rights_of(self, caller: Caller) -> None:
        """Note again who makes it. Raises Unavailable when rights were lost since, and Denied."""
        if self.caller is not None and not caller.covers(self.caller):
            raise _rights_lost(caller)
        self.made_by(caller)

    def end(self, why: IngotError) -> None:
        """Stop it now; its client is told why."""
        if self.task is not None and self.ended is None:
            self.ended = why
            self.task.cancel()

    def activity(self, seconds: float) -> Activity:
        """Return what the record keeps of it; it took so many seconds."""
        return Activity(
            time=self.time,
            action=self.method.action,
            method=self.method.short,
            target=self.target,
            principal=self.caller.principal if self.caller else "",
            declared_user=self.declared_user,
            address=self.address,
            code=self.code,
            seconds=seconds,
            call_id=self.id,
            reason=self.reason,
            row=self.row,
        )


def texts_of(metadata: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    """Return the texts of metadata by their names; what comes twice is joined, as in any HTTP header.

    So of two credentials neither counts: whoever stands between may have looked at the other one.
    """
    found: dict[str, str] = {}
    for key, value in metadata:
        if isinstance(value, str):
            found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def address_of(peer: str) -> str:
    """Return the address of a gRPC peer without its port: `127.0.0.1`, `::1`, `local` for a unix socket."""
    kind, _, rest = urllib.parse.unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return peers.LOCAL
    return rest.rpartition(":")[0].strip("[]")


def is_protected(address: str, security: Mapping[str, object]) -> bool:
    """Return whether nobody between could read a call: it stays on this machine, or comes over TLS.

    `security` is what gRPC tells of the connection (`auth_context`).
    """
    return security.get("transport_security_type") == [b"ssl"] or peers.is_loopback(address)


def tls_required(method: Method) -> Denied:
    """Return the refusal of a call with a secret that others could read."""
    return Denied(
        Reason.TLS_REQUIRED,
        f"{method.name} carries a secret, and this connection is not protected: others could read it. What "
        "was sent should be changed.",
        next_step="Use TLS: https:// and a server with tls_cert; or a tunnel (ssh -L) to this machine.",
        facts={"method": method.short},
    )


def token_missing() -> Unauthenticated:
    """Return the refusal of a call without a credential."""
    return Unauthenticated(
        Reason.TOKEN_MISSING,
        "No credential was sent; expected metadata 'authorization: Bearer <token>'.",
        next_step="Sign in, as with `ingot login`; on the server's own machine the token in admin.token"
        " of its data folder will do.",
    )


def draining() -> Unavailable:
    """Return the refusal of a server that is about to stop."""
    return Unavailable(
        Reason.DRAINING,
        "The server is shutting down.",
        next_step="Try again in a moment; watches continue where they stopped.",
        retry_after=1.0,
    )


def _rights_lost(caller: Caller) -> Unavailable:
    return Unavailable(
        Reason.BUSY,
        f"{caller.principal} has lost rights since this stream was opened.",
        next_step="Ask again: what is yours to see goes on.",
        retry_after=0.1,
    )


def unreadable(method: Method) -> Invalid:
    """Return the refusal of a request that is not a message of its type."""
    return Invalid(
        Reason.FIELD_INVALID,
        f"The request cannot be read: {method.name} got bytes that are not its message, or fields nested "
        "more than about 30 deep.",
        next_step="Send what the protos of this server say; reflection and `buf curl` show them.",
        facts={"method": method.short},
    )


def too_long(seconds: float) -> Unavailable:
    """Return the refusal of a call that has no deadline of its own and exceeded ours."""
    return Unavailable(
        Reason.BUSY,
        f"The call took longer than the {seconds:g} seconds that a call without its own deadline has.",
        next_step="Try again; the same request_id makes that safe.",
        retry_after=5.0,
    )


def _scope_missing(method: Method, missing: frozenset[str]) -> Denied:
    wanted = ", ".join(sorted(missing))
    return Denied(
        Reason.SCOPE_MISSING,
        f"{method.name} needs the scope {wanted}, which this credential does not have.",
        next_step="Use a token with that scope, or ask an administrator for one.",
        facts={"method": method.short, "missing": wanted},
    )


def _too_old(client: str) -> Precondition:
    oldest = ".".join(map(str, OLDEST_CLIENT))
    return Precondition(
        Reason.CLIENT_TOO_OLD,
        f"This server needs clients of version {oldest} or newer, got {client}.",
        next_step="Update the client: pip install --upgrade ingot",
        facts={"client": client, "oldest": oldest},
    )


def _bearer(header: str) -> str:
    kind, _, secret = header.partition(" ")
    return secret.strip() if kind.lower() == "bearer" else ""
