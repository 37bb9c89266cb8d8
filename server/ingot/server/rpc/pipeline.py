"""The one interceptor that every call passes, of all four kinds:

    admit (draining?) → authenticate → rate → scope → readable? → run the servicer → map errors → record

Servicers learn who calls from `caller()`. Whatever they raise ends here: an IngotError becomes its status,
anything else an incident id, with the story in the log. When the server drains, streams that only follow
something are ended at once and told to come back; the rest may finish within the grace period.

A stream may stay open for days, so the credentials of all open streams are looked at again every few seconds;
one whose token was revoked or expired ends as a new call with that token would, and so does one whose caller
has left a namespace: its client asks again, and is told what it may see now.
"""

import asyncio
import contextlib
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2

from ingot.server.core.clock import Clock
from ingot.server.core.errors import Denied, Exhausted, IngotError, Reason, Unauthenticated
from ingot.server.core.identity import Caller
from ingot.server.core.usage import Activity
from ingot.server.rpc import calls, current, errors, methods
from ingot.server.rpc.call_rates import Allowance, CallRates
from ingot.server.rpc.call_watchers import CallWatcher
from ingot.server.rpc.calls import Call
from ingot.server.rpc.credentials import Credentials
from ingot.server.rpc.data_messages import PEER
from ingot.server.rpc.methods import Method
from ingot.server.rpc.strangers import Strangers

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Behaviour = Callable[[Any, Context], Any]

RECHECK_SECONDS = 10.0  # the API promises a heartbeat, and with it a good credential, at least every 15
_GUESSES = frozenset((Reason.LOGIN_FAILED.value, Reason.LOGIN_LOCKED.value))
_ORDINARY = (grpc.StatusCode.OK.name, grpc.StatusCode.CANCELLED.name)  # a watch ends when its client goes


def caller() -> Caller:
    """Return who makes the call that runs now. Raises Unauthenticated on a public call without credential."""
    found = optional_caller()
    if found is None:
        raise calls.token_missing()
    return found


def optional_caller() -> Caller | None:
    """Return who makes the call that runs now; None on a public call without a good credential."""
    return current.call().caller


def turned_out(found: Caller) -> None:
    """Note who makes the public call that runs now, once its request has shown it."""
    current.call().made_by(found)


def address() -> str:
    """Return where the call that runs now came from."""
    return current.call().address


def about(target: str) -> None:
    """Name what the call that runs now is about, where its request does not say it (a made id)."""
    current.call().target = target


def ender() -> Callable[[IngotError], None]:
    """Return what ends the call that runs now, from anywhere on the loop; its client is told why."""
    return current.call().end


async def require_credential() -> None:
    """Refuse to go on with the call that runs now when its credential is not good any more.

    For what a long stream does in the end. Raises Unauthenticated, Denied, Unavailable.
    """
    call = current.call()
    if call.look_again is not None:
        call.require_rights_of(await call.look_again())


def hold(holding: contextlib.AbstractContextManager[None]) -> None:
    """Enter what lasts until the call that runs now is over, its status sent. Raises what that raises."""
    current.call().holdings.enter_context(holding)


class _Unreadable:
    """Stands for a request that is not a message of its type."""


class Pipeline(grpc.aio.ServerInterceptor):
    """Wraps every servicer method; see the module's text."""

    def __init__(
        self,
        credentials: Credentials,
        record: Callable[[Activity], None],
        clock: Clock,
        *,
        unary_seconds: float,
        recheck_seconds: float = RECHECK_SECONDS,
        rates: CallRates | None = None,
        ended: Callable[[Call], None] = lambda call: None,
        watchers: Sequence[CallWatcher] = (),
    ) -> None:
        """`ended` hears of every call that is over, before it is recorded; `watchers` of really every one."""
        self._watchers = tuple(watchers)
        self._credentials = credentials
        self._record = record
        self._ended = ended
        self._clock = clock
        self._unary_seconds = unary_seconds
        self._recheck_seconds = recheck_seconds
        self._rechecking: asyncio.Task[None] | None = None
        self._strangers = Strangers()
        self._rates = rates or CallRates(Allowance(), Allowance())
        self._rules = {**methods.all_methods(), **methods.relayed_methods()}
        self._handlers: dict[str, Handler] = {}
        self._running: set[Call] = set()
        self._standing: set[Call] = set()  # of the standard services, which outlast the others
        self._draining = False
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def draining(self) -> bool:
        """Whether the server takes no more calls."""
        return self._draining

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Awaitable[Handler | None]"],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Return the servicer's method with the pipeline around it; wrapped once and kept."""
        path = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # gRPC answers UNIMPLEMENTED
        known = self._handlers.get(path)  # only now: what one server serves another one may not
        if known is not None:
            return known
        method = self._rules.get(path) or methods.standard_method(path)
        if method is None:
            raise LookupError(f"{path} is served but has no rule in the protos")
        self._handlers[path] = self._wrapped(method, handler)
        return self._handlers[path]

    async def drain(self, grace: float) -> None:
        """Take no new calls, end what only follows, give the rest `grace` seconds, then end it too."""
        self._draining = True
        for call in [call for call in self._running if call.method.follows]:
            call.end(calls.draining())
        for seconds in (grace, 1.0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), seconds)
            for call in list(self._running):
                call.end(calls.draining())
        for call in list(self._standing):
            call.end(calls.draining())
        if self._rechecking is not None:
            self._rechecking.cancel()
        self._strangers.report()

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
        return make(wrapped, _forgiving(handler.request_deserializer), handler.response_serializer)

    def _single(self, method: Method, behaviour: Behaviour, *, limited: bool) -> Behaviour:
        """Wrap a coroutine method; `limited` gives it a deadline where the client sent none."""
        seconds = self._unary_seconds if limited and not method.standard else None

        async def run(request: Any, context: Context) -> Any:
            async with self._call(method, context, request) as call:
                try:
                    async with asyncio.timeout(seconds) as limit:
                        return await behaviour(_noted(call, request), context)
                except TimeoutError:
                    if limit.expired():
                        raise calls.too_long(self._unary_seconds) from None
                    raise

        return run

    def _streaming(self, method: Method, behaviour: Behaviour) -> Behaviour:
        """Wrap a method that yields its replies."""

        async def run(request: Any, context: Context) -> AsyncIterator[Any]:
            async with (
                self._call(method, context, request) as call,
                contextlib.aclosing(behaviour(_noted(call, request), context)) as replies,
            ):
                async for reply in replies:
                    yield reply

        return run

    @contextlib.asynccontextmanager
    async def _call(self, method: Method, context: Context, request: Any) -> AsyncIterator[Call]:
        metadata = calls.texts_of(context.invocation_metadata() or ())
        peer = metadata.get(PEER, "") if method.relayed else context.peer()
        call = Call.begin(method, peer, metadata, self._clock)
        self._open(call, metadata)
        if isinstance(request, Message):
            call.target = methods.target_of(request)
        current.enter(call)
        context.set_trailing_metadata(((calls.REQUEST_ID, call.id),))
        try:
            await self._admit(call, context)
            if isinstance(request, _Unreadable):
                raise calls.unreadable(method)
            log.debug("rpc.begun method=%s request=%s", method.short, call.id)
            yield call
        except grpc.aio.AbortError:
            call.code = getattr(context.code(), "name", grpc.StatusCode.UNKNOWN.name)
            raise
        except IngotError as error:
            await self._refuse(call, context, error)
        except asyncio.CancelledError:
            if call.ended is not None:
                await self._refuse(call, context, call.ended)
            call.code = grpc.StatusCode.CANCELLED.name
            raise
        except GeneratorExit:  # a reply stood still: gRPC let go of the stream, nobody above hears more of it
            call.code = grpc.StatusCode.CANCELLED.name
            if call.ended is not None:
                with contextlib.suppress(grpc.aio.AbortError, grpc.aio.InternalError):
                    await self._refuse(call, context, call.ended)
            raise
        except Exception:
            log.exception("rpc.failed method=%s incident=%s", method.short, call.id)
            call.reason = Reason.INTERNAL.value
            await self._abort(call, context, errors.incident_status(call.id))
        finally:
            self._close(call)

    def _open(self, call: Call, metadata: Mapping[str, str]) -> None:
        if call.method.standard:
            self._standing.add(call)
            return
        self._running.add(call)
        self._quiet.clear()
        for watcher in self._watchers:
            watcher.began(call, metadata)

    async def _admit(self, call: Call, context: Context) -> None:
        """Refuse while draining, and where others listen; find the caller, count the call, check scopes."""
        if call.method.standard:
            self._count(call, None)
            return
        if self._draining:
            raise calls.draining()
        if call.method.carries_secret and not calls.is_protected(call.address, context.auth_context()):
            raise calls.tls_required(call.method)
        try:
            caller = await self._authenticated(call)
            self._count(call, caller)
            call.made_by(caller)
            call.look_again = functools.partial(self._credentials.caller, call.secret, begun=True)
            if call.method.streams and (self._rechecking is None or self._rechecking.done()):
                self._rechecking = asyncio.create_task(self._recheck())
        except Unauthenticated:
            if not call.method.public:
                raise

    async def _authenticated(self, call: Call) -> Caller:
        """Return who makes a call; without a good credential it counts as a stranger's."""
        try:
            if not call.secret:
                raise calls.token_missing()
            return await self._credentials.caller(call.secret)
        except Unauthenticated:
            self._count(call, None)
            raise

    def _count(self, call: Call, caller: Caller | None) -> None:
        """Raise Exhausted (RATE_LIMITED) when there are too many; such a call is not recorded."""
        now = self._clock.monotonic()
        try:
            if caller is None:
                self._rates.take_stranger(call.address, now)
            else:
                self._rates.take(caller.principal, now)
        except Exhausted:
            call.recorded = False
            raise

    async def _recheck(self) -> None:
        """Look at the credentials of open streams again and again, until there are none."""
        while streams := [call for call in self._running if call.method.streams and call.caller]:
            for call in streams:
                try:
                    call.goes_on(await self._credentials.caller(call.secret, begun=True))
                except (Unauthenticated, Denied) as error:
                    call.end(error)
                except Exception:  # the database, say; the next round asks again
                    log.exception("rpc.recheck_failed request=%s", call.id)
            await asyncio.sleep(self._recheck_seconds)

    async def _refuse(self, call: Call, context: Context, error: IngotError) -> None:
        call.reason = error.reason.value
        await self._abort(call, context, errors.status_of(error))

    async def _abort(self, call: Call, context: Context, status: status_pb2.Status) -> None:
        call.message = status.message
        code = next(each for each in grpc.StatusCode if each.value[0] == status.code)
        call.code = code.name
        await context.abort(code, status.message, (*errors.trailing(status), (calls.REQUEST_ID, call.id)))

    def _close(self, call: Call) -> None:
        call.holdings.close()
        self._standing.discard(call)
        self._running.discard(call)
        if not self._running:
            self._quiet.set()
        if call.method.standard:
            return
        seconds = self._clock.monotonic() - call.started
        for watcher in self._watchers:
            watcher.ended(call, seconds)
        call.closed = True
        if not call.recorded:
            return
        guess, now = call.reason in _GUESSES, self._clock.now()
        if not (call.caller or call.row) and not self._strangers.keep(call.address, now, guess=guess):
            return
        self._ended(call)
        activity = call.activity(seconds)
        log.log(
            logging.DEBUG if call.code in _ORDINARY else logging.INFO,
            "rpc.done method=%s code=%s ms=%.1f target=%s principal=%s address=%s request=%s",
            activity.method,
            activity.code,
            activity.seconds * 1000,
            activity.target,
            activity.principal,
            activity.address,
            activity.call_id,
        )
        self._record(activity)


def _forgiving(parse: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """Return a parser that never raises: gRPC would log the story and answer UNKNOWN before any check."""

    def read(message: bytes) -> Any:
        if parse is None:
            return message
        try:
            return parse(message)
        except Exception:  # noqa: BLE001 (protobuf's own, of bad UTF-8, of the recursion limit)
            return _Unreadable()

    return read


def _noted(call: Call, request: Any) -> Any:
    """Return the request; of a stream, one that notes on its way what the first message is about."""
    return request if isinstance(request, Message) else _noting(call, request)


async def _noting(call: Call, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        if isinstance(request, _Unreadable):
            raise calls.unreadable(call.method)
        if not call.target:  # bulk data is no Message
            call.target = (isinstance(request, Message) and methods.target_of(request)) or "-"
        yield request
