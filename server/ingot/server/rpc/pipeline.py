"""The one interceptor that every call passes, of all four kinds:

    admit (draining?) → authenticate → scope → run the servicer → map errors → log and record

Servicers learn who calls from `caller()`. Whatever they raise ends here: an IngotError becomes its status,
anything else an incident id, with the story in the log. When the server drains, streams that only follow
something are ended at once and told to come back; the rest may finish within the grace period.
"""

import asyncio
import contextlib
import dataclasses
import inspect
import logging
import re
import urllib.parse
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2

from ingot.server.core.clock import Clock
from ingot.server.core.errors import Denied, IngotError, Reason, Unauthenticated, Unavailable
from ingot.server.core.identity import Caller
from ingot.server.core.usage import Activity
from ingot.server.rpc import errors, methods
from ingot.server.rpc.credentials import Credentials
from ingot.server.rpc.methods import Method

log = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"
DECLARED_USER = "x-ingot-user"  # percent-encoded where not ASCII
CLIENT = "x-client"
_CALL_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TEXT_LIMIT = 80

Context = grpc.aio.ServicerContext[Any, Any]
Handler = grpc.RpcMethodHandler[Any, Any]
Behaviour = Callable[[Any, Context], Any]


@dataclasses.dataclass(eq=False, slots=True)
class Call:
    """One call from its first byte to its last."""

    method: Method
    id: str
    time: float
    started: float
    address: str
    declared_user: str
    client: str
    task: "asyncio.Task[Any] | None"
    caller: Caller | None = None
    target: str = ""
    code: str = grpc.StatusCode.OK.name
    drained: bool = False

    def end(self) -> None:
        """Stop it now and tell its client to come back."""
        if self.task is not None and not self.drained:
            self.drained = True
            self.task.cancel()


_current: ContextVar[Call] = ContextVar("ingot_call")


def caller() -> Caller:
    """Return who makes the call that runs now. Raises Unauthenticated on a public call without credential."""
    found = optional_caller()
    if found is None:
        raise _token_missing()
    return found


def optional_caller() -> Caller | None:
    """Return who makes the call that runs now; None on a public call without a good credential."""
    return _current.get().caller


def about(target: str) -> None:
    """Name what the call that runs now is about, where its request does not say it (a made id)."""
    _current.get().target = target


class Pipeline(grpc.aio.ServerInterceptor):
    """Wraps every servicer method; see the module's text."""

    def __init__(
        self,
        credentials: Credentials,
        record: Callable[[Activity], None],
        clock: Clock,
        *,
        unary_seconds: float,
    ) -> None:
        self._credentials = credentials
        self._record = record
        self._clock = clock
        self._unary_seconds = unary_seconds
        self._rules = methods.all_methods()
        self._handlers: dict[str, Handler] = {}
        self._running: set[Call] = set()
        self._draining = False
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def in_flight(self) -> int:
        """Calls that run now, health and reflection left out."""
        return len(self._running)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Return the servicer's method with the pipeline around it; wrapped once and kept."""
        path = handler_call_details.method
        known = self._handlers.get(path)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # gRPC answers UNIMPLEMENTED
        method = self._rules.get(path) or methods.standard_method(path)
        if method is None:
            raise LookupError(f"{path} is served but has no rule in the protos")
        self._handlers[path] = self._wrapped(method, handler)
        return self._handlers[path]

    async def drain(self, grace: float) -> None:
        """Take no new calls, end what only follows, give the rest `grace` seconds, then end it too."""
        self._draining = True
        for call in [call for call in self._running if call.method.follows]:
            call.end()
        for seconds in (grace, 1.0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), seconds)
            for call in list(self._running):
                call.end()

    # --- around one call --------------------------------------------------------------------------------

    def _wrapped(self, method: Method, handler: Handler) -> Handler:
        kinds: dict[tuple[bool, bool], tuple[Callable[..., Handler], Any]] = {
            (False, False): (grpc.unary_unary_rpc_method_handler, handler.unary_unary),
            (False, True): (grpc.unary_stream_rpc_method_handler, handler.unary_stream),
            (True, False): (grpc.stream_unary_rpc_method_handler, handler.stream_unary),
            (True, True): (grpc.stream_stream_rpc_method_handler, handler.stream_stream),
        }
        make, behaviour = kinds[handler.request_streaming, handler.response_streaming]
        if inspect.isasyncgenfunction(behaviour):
            wrapped = self._streaming(method, behaviour)
        else:
            wrapped = self._single(method, behaviour, limited=not handler.request_streaming)
        return make(wrapped, handler.request_deserializer, handler.response_serializer)

    def _single(self, method: Method, behaviour: Behaviour, *, limited: bool) -> Behaviour:
        """Wrap a coroutine method; `limited` gives it a deadline where the client sent none."""
        seconds = self._unary_seconds if limited and not method.standard else None

        async def run(request: Any, context: Context) -> Any:
            async with self._call(method, context) as call:
                try:
                    async with asyncio.timeout(seconds) as limit:
                        return await behaviour(_noted(call, request), context)
                except TimeoutError:
                    if limit.expired():
                        raise _too_long(self._unary_seconds) from None
                    raise

        return run

    def _streaming(self, method: Method, behaviour: Behaviour) -> Behaviour:
        """Wrap a method that yields its replies."""

        async def run(request: Any, context: Context) -> AsyncIterator[Any]:
            async with (
                self._call(method, context) as call,
                contextlib.aclosing(behaviour(_noted(call, request), context)) as replies,
            ):
                async for reply in replies:
                    yield reply

        return run

    @contextlib.asynccontextmanager
    async def _call(self, method: Method, context: Context) -> AsyncIterator[Call]:
        metadata = {
            key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)
        }
        call = self._open(method, context.peer(), metadata)
        _current.set(call)
        context.set_trailing_metadata(((REQUEST_ID, call.id),))
        try:
            await self._admit(call, metadata)
            yield call
        except grpc.aio.AbortError:
            call.code = _name(context.code())
            raise
        except IngotError as error:
            await self._abort(call, context, errors.status_of(error))
        except (asyncio.CancelledError, GeneratorExit):
            if call.drained:
                await self._abort(call, context, errors.status_of(_draining()))
            call.code = grpc.StatusCode.CANCELLED.name
            raise
        except Exception:
            log.exception("rpc.failed method=%s incident=%s", method.short, call.id)
            await self._abort(call, context, errors.incident_status(call.id))
        finally:
            self._close(call)

    def _open(self, method: Method, peer: str, metadata: dict[str, str]) -> Call:
        asked = metadata.get(REQUEST_ID, "")
        call = Call(
            method=method,
            id=asked if _CALL_ID.fullmatch(asked) else uuid.uuid4().hex,
            time=self._clock.now(),
            started=self._clock.monotonic(),
            address=_address(peer),
            declared_user=_clean(urllib.parse.unquote(metadata.get(DECLARED_USER, ""))),
            client=_clean(metadata.get(CLIENT, "")),
            task=asyncio.current_task(),
        )
        if not method.standard or method.follows:
            self._running.add(call)
            self._quiet.clear()
        return call

    async def _admit(self, call: Call, metadata: dict[str, str]) -> None:
        """Refuse while draining, find the caller, check the scopes."""
        if call.method.standard:
            return
        if self._draining:
            raise _draining()
        try:
            found = await self._credentials.caller(_bearer(metadata.get("authorization", "")))
        except Unauthenticated:
            if call.method.public:
                return
            raise
        missing = call.method.scopes - found.scopes
        call.caller = dataclasses.replace(
            found,
            declared_user=call.declared_user,
            address=call.address,
            call_id=call.id,
            client=call.client,
        )
        if missing:
            raise _scope_missing(call.method, missing)

    async def _abort(self, call: Call, context: Context, status: status_pb2.Status) -> None:
        code = next(each for each in grpc.StatusCode if each.value[0] == status.code)
        call.code = code.name
        await context.abort(code, status.message, (*errors.trailing(status), (REQUEST_ID, call.id)))

    def _close(self, call: Call) -> None:
        self._running.discard(call)
        if not self._running:
            self._quiet.set()
        if call.method.standard:
            return
        seconds = self._clock.monotonic() - call.started
        principal = call.caller.principal if call.caller else ""
        log.log(
            logging.DEBUG if call.code == "OK" else logging.INFO,
            "rpc.done method=%s code=%s ms=%.1f target=%s principal=%s address=%s request=%s",
            *(call.method.short, call.code, seconds * 1000, call.target, principal, call.address, call.id),
        )
        self._record(
            Activity(
                time=call.time,
                action=call.method.action,
                method=call.method.short,
                target=call.target,
                principal=principal,
                declared_user=call.declared_user,
                address=call.address,
                code=call.code,
                seconds=seconds,
                call_id=call.id,
            )
        )


def _noted(call: Call, request: Any) -> Any:
    """Return the request, or the stream of requests, after noting what the first of them is about."""
    if isinstance(request, Message):
        call.target = methods.target_of(request)
        return request
    return _noting(call, request)


async def _noting(call: Call, requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for request in requests:
        if not call.target:
            call.target = methods.target_of(request) or "-"
        yield request


def _bearer(header: str) -> str:
    kind, _, secret = header.partition(" ")
    if kind.lower() != "bearer" or not secret:
        raise _token_missing()
    return secret.strip()


def _address(peer: str) -> str:
    """Return the address of a gRPC peer without its port: `127.0.0.1`, `::1`, `local` for a unix socket."""
    kind, _, rest = urllib.parse.unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return "local"
    return rest.rpartition(":")[0].strip("[]")


def _clean(text: str) -> str:
    """Return printable text of bounded length: it goes into logs and tables."""
    return "".join(letter for letter in text.strip() if letter.isprintable())[:_TEXT_LIMIT]


def _name(code: object) -> str:
    return code.name if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN.name


def _token_missing() -> Unauthenticated:
    return Unauthenticated(
        Reason.TOKEN_MISSING,
        "No credential was sent; expected metadata 'authorization: Bearer <token>'.",
        next_step="Sign in; on the server's own machine the token in admin.token of its data folder will do.",
    )


def _scope_missing(method: Method, missing: frozenset[str]) -> Denied:
    wanted = ", ".join(sorted(missing))
    return Denied(
        Reason.SCOPE_MISSING,
        f"{method.name} needs the scope {wanted}, which this credential does not have.",
        next_step="Use a token with that scope, or ask an administrator for one.",
        facts={"method": method.short, "missing": wanted},
    )


def _draining() -> Unavailable:
    return Unavailable(
        Reason.DRAINING,
        "The server is shutting down.",
        next_step="Try again in a moment; watches continue where they stopped.",
        retry_after=1.0,
    )


def _too_long(seconds: float) -> Unavailable:
    return Unavailable(
        Reason.BUSY,
        f"The call took longer than the {seconds:g} seconds that a call without its own deadline has.",
        next_step="Try again; the same request_id makes that safe.",
        retry_after=5.0,
    )
