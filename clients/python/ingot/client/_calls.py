"""One way to make a call: metadata, a deadline, retries, typed errors.

Every stub method is called through `Calls`. It adds the credential itself, because gRPC refuses call
credentials on plaintext and unix sockets; that a token may travel at all was decided when the connection was
opened (`_connection.py`). An access token of a login that the server refuses is renewed, once a call. Unary
calls have one deadline over all tries, which begins anew where this process was stopped meanwhile (Ctrl-Z).
Streams have none: a watchdog cancels them when nothing came for a while, and whoever reads them resumes.
"""

from __future__ import annotations  # gRPC's callables are generic for type checkers only

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from ingot.client import _retries, _statuses
from ingot.client._bearers import NOBODY, Bearer
from ingot.client._errors import Cancelled, IngotError, NotAllowed, TimedOut, Unreachable
from ingot.client._retries import DEFAULT_RETRY, Retry
from ingot.client._scopes import Scope

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)
T = TypeVar("T")  # replies and requests of bulk methods are no messages (`_bulk.py`)

_ENDED = ("TOKEN_EXPIRED", "TOKEN_INVALID")
DEFAULT_TIMEOUT = 30.0  # seconds
DEFAULT_IDLE = 60.0  # a live stream says something at least every 15 s
_STOPPED = 1.0  # seconds behind its deadline; gRPC ends a call within milliseconds while this process runs


class Contact:
    """Whether the server ever answered on this connection; shared by all calls of one client."""

    __slots__ = ("made",)

    def __init__(self) -> None:
        self.made = False


@dataclass(frozen=True, slots=True)
class Calls:
    """Makes calls to one server; frozen, so that a copy with another timeout is cheap."""

    where: str
    headers: tuple[tuple[str, str], ...] = ()
    bearer: Bearer = NOBODY
    timeout: float = DEFAULT_TIMEOUT
    retry: Retry = DEFAULT_RETRY
    contact: Contact = field(default_factory=Contact)
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    rng: random.Random = field(default_factory=random.Random)
    scope: Scope | None = None  # of who may end these calls from another thread

    def with_timeout(self, seconds: float) -> Calls:
        """Return the same with another deadline for unary calls."""
        return replace(self, timeout=seconds)

    def within(self, scope: Scope) -> Calls:
        """Return the same for calls that end when the scope is stopped; they raise Cancelled."""
        return replace(self, scope=scope, pause=scope.pause)

    def unary(
        self, call: grpc.UnaryUnaryMultiCallable[Q, R], request: Q, *, timeout: float | None = None
    ) -> R:
        """Call a unary method; repeat it when that may help and is safe. Raises IngotError."""
        whole = self.timeout if timeout is None else timeout
        end = self.clock() + whole
        call_id = new_id()
        repeatable = _retries.is_idempotent(request)
        attempt, refused = 1, False
        while True:
            token = self.bearer.token()
            try:
                left = max(end - self.clock(), 0.001)
                reply: R = self._answer(call, request, left, self._metadata(call_id, token))
            except grpc.RpcError as failure:
                error = self.error_of(failure, call_id)
                # A credential is refused before anything is done, so this is safe for every method; once.
                if not refused and error.reason in _ENDED and self.bearer.renewed(token):
                    refused = True
                    continue
                attempt += 1
                worth = error
                if self.clock() > end + _STOPPED:
                    end = self.clock() + whole
                    worth = Unreachable(error.message) if isinstance(error, TimedOut) else error
                pause = self.pause_before(attempt, worth) if repeatable else None
                if pause is None or self.clock() + pause >= end:
                    raise error from failure
                self.pause(pause)
            else:
                self.contact.made = True
                return reply

    def stream(
        self, call: grpc.UnaryStreamMultiCallable[Q, T], request: Q, *, idle: float = DEFAULT_IDLE
    ) -> Iterator[T]:
        """Yield the messages of a server stream once; closing the iterator cancels it. Raises IngotError.

        `idle` seconds without a message raise TimedOut.
        """
        token, begun = self.bearer.token(), False
        try:
            for message in self._stream(call, request, idle, token):
                begun = True
                yield message
        except NotAllowed as error:
            if begun or error.reason not in _ENDED or not self.bearer.renewed(token):
                raise
            yield from self._stream(call, request, idle, self.bearer.token())

    def _stream(
        self, call: grpc.UnaryStreamMultiCallable[Q, T], request: Q, idle: float, token: str
    ) -> Iterator[T]:
        call_id = new_id()
        metadata = self._metadata(call_id, token)
        running = self._begun(lambda: call(request, metadata=metadata))
        with _watched(running.cancel, idle) as watchdog, self._held(running.cancel):
            try:
                for message in running:
                    self.contact.made = True
                    watchdog.pause()
                    yield message
                    watchdog.resume()
            except grpc.RpcError as failure:
                raise self._stream_error(failure, call_id, watchdog) from failure
            finally:
                running.cancel()

    def send(
        self,
        call: grpc.StreamUnaryMultiCallable[T, R],
        requests: Iterator[T],
        *,
        timeout: float | None = None,
    ) -> R:
        """Call a client-streaming method once. Raises IngotError, and what `requests` raises."""
        call_id = new_id()
        source = _Source(requests)
        try:
            reply: R = self._answer(call, source, timeout, self.metadata(call_id))
        except grpc.RpcError as failure:
            if source.failure is not None:
                raise source.failure from failure
            raise self.error_of(failure, call_id) from failure
        self.contact.made = True
        return reply

    def renews(self, error: IngotError) -> bool:
        """Return whether a call was refused for its token alone and may be made again with another one.

        For who cannot be repeated by `unary` and `stream`. Raises IngotError when the login has ended.
        """
        ended = isinstance(error, NotAllowed) and error.reason in _ENDED
        return ended and self.bearer.renewed(self.bearer.token())

    def metadata(self, call_id: str) -> tuple[tuple[str, str], ...]:
        """Return the metadata of one call. Raises IngotError when its credential cannot be renewed."""
        return self._metadata(call_id, self.bearer.token())

    def error_of(self, failure: grpc.RpcError, call_id: str) -> IngotError:
        """Return the typed error for a failed call."""
        error = _statuses.error_of(failure, call_id, self.where)
        if isinstance(error, Unreachable) and self.scope is not None and self.scope.is_stopped:
            return _given_up()  # the connection was closed right behind
        if not _statuses.is_unanswered(error):
            self.contact.made = True
        return error

    def pause_before(self, attempt: int, error: IngotError) -> float | None:
        """Return how long to wait before a try; None when it would not help any more."""
        if self.scope is not None and self.scope.is_stopped:
            return None
        return self.retry.pause_before(attempt, error, contacted=self.contact.made, rng=self.rng)

    def _answer(self, call: Any, request: Any, timeout: float | None, metadata: Any) -> Any:
        """Call a method that answers once; any kind of them, hence Any."""
        if self.scope is None:
            return call(request, timeout=timeout, metadata=metadata)
        running = self._begun(lambda: call.future(request, timeout=timeout, metadata=metadata))
        with self.scope.holding(running.cancel):
            try:
                return running.result()
            except grpc.FutureCancelledError:
                raise _given_up() from None

    def _begun(self, begin: Callable[[], T]) -> T:
        """Begin a call. Raises Cancelled once its scope was stopped: the connection may be closed by now."""
        if self.scope is None:
            return begin()
        try:
            if not self.scope.is_stopped:
                return begin()
        except ValueError:  # what gRPC says of a closed channel
            if not self.scope.is_stopped:
                raise
        raise _given_up()

    def _held(self, cancel: Callable[[], object]) -> AbstractContextManager[None]:
        return nullcontext() if self.scope is None else self.scope.holding(cancel)

    def _metadata(self, call_id: str, token: str) -> tuple[tuple[str, str], ...]:
        own = (("x-request-id", call_id),)
        return (*self.headers, ("authorization", f"Bearer {token}"), *own) if token else (*self.headers, *own)

    def _stream_error(self, failure: grpc.RpcError, call_id: str, watchdog: _Watchdog) -> IngotError:
        if watchdog.fired:
            return TimedOut(
                f"The server at {self.where} sent nothing for {watchdog.seconds:g} s.",
                reason="DEADLINE_EXCEEDED",
                request_id=call_id,
            )
        return self.error_of(failure, call_id)


def _given_up() -> Cancelled:
    return Cancelled("The call was given up by its caller.", reason="CANCELLED")


def new_id() -> str:
    """Return a fresh id for a call or a request."""
    return str(uuid.uuid4())


class _Source(Iterator[T]):
    """Requests of a client stream; remembers what they raised, which gRPC would only report as UNKNOWN."""

    def __init__(self, requests: Iterator[T]) -> None:
        self._requests = requests
        self.failure: Exception | None = None

    def __next__(self) -> T:
        try:
            return next(self._requests)
        except StopIteration:
            raise
        except Exception as failure:
            self.failure = failure
            raise


class _Watchdog:
    """Calls `cancel` when `resume` was not followed by `pause` for some seconds."""

    def __init__(self, cancel: Callable[[], object], seconds: float) -> None:
        self.seconds = seconds
        self.fired = False
        self._cancel = cancel
        self._deadline = time.monotonic() + seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ingot-idle", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Stop counting: the reader works."""
        self._deadline = float("inf")

    def resume(self) -> None:
        """Count again: the next message is awaited."""
        self._deadline = time.monotonic() + self.seconds

    def end(self) -> None:
        """Stop for good."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(min(self.seconds / 4, 5.0)):
            if time.monotonic() > self._deadline:
                self.fired = True
                self._cancel()
                return


@contextmanager
def _watched(cancel: Callable[[], object], seconds: float) -> Iterator[_Watchdog]:
    watchdog = _Watchdog(cancel, seconds)
    try:
        yield watchdog
    finally:
        watchdog.end()
