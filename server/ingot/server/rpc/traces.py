"""Traces by OpenTelemetry: a span for each call, with one for each hop below it, sent to a collector (OTLP).

A call that comes with `traceparent` goes on with that trace, sampled as its sender decided. Names of methods
and rules, codes and reasons are told; names of people and contents are not. Nothing of this is imported, and
no call does anything for it, unless the setting `traces` names a collector.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import grpc
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ingot.server.core.labels import label_of
from ingot.server.rpc import current
from ingot.server.rpc.calls import Call
from ingot.server.rpc.hops import Hops, UnitsOfWork
from ingot.server.rpc.journaling import Journaling

P = ParamSpec("P")
T = TypeVar("T")

_SEND_SECONDS = 3.0  # for one batch
_END_SECONDS = 3.0  # for what is still to be sent when the server stops
_OURS = frozenset(  # codes that are the server's own fault, as the conventions of OpenTelemetry have it
    {
        grpc.StatusCode.UNKNOWN.name,
        grpc.StatusCode.DEADLINE_EXCEEDED.name,
        grpc.StatusCode.UNIMPLEMENTED.name,
        grpc.StatusCode.INTERNAL.name,
        grpc.StatusCode.UNAVAILABLE.name,
        grpc.StatusCode.DATA_LOSS.name,
    }
)
_NUMBERS = {code.name: code.value[0] for code in grpc.StatusCode}


class Traces:
    """Makes the spans of calls; implements CallWatcher. Lives on the event loop."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("ingot.server")
        self._senders = TraceContextTextMapPropagator()
        self._spans: dict[Call, Span] = {}

    @classmethod
    def to(cls, endpoint: str, version: str, server_id: str) -> "Traces":
        """Return traces that are sent to an OTLP collector, http://host:port or https://host:port."""
        resource = Resource.create(
            {
                "service.name": "ingot-server",
                "service.version": version,
                "service.instance.id": server_id,
            }
        )
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(
            endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=_SEND_SECONDS
        )
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(provider)

    def began(self, call: Call, metadata: Mapping[str, str]) -> None:
        """Begin the span of a call, below the one that its client sent."""
        service, _, method = call.method.path.lstrip("/").partition("/")
        self._spans[call] = self._tracer.start_span(
            f"{service}/{method}",
            context=self._senders.extract(metadata),
            kind=SpanKind.SERVER,
            attributes={
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": method,
                "ingot.request_id": call.id,
            },
        )

    def ended(self, call: Call, seconds: float) -> None:
        """End it with how the call ended."""
        span = self._spans.pop(call, None)
        if span is None:
            return
        span.set_attribute("rpc.grpc.status_code", _NUMBERS.get(call.code, 2))
        if call.reason:
            span.set_attribute("error.type", call.reason)
        if call.code in _OURS:
            span.set_status(StatusCode.ERROR, call.reason or call.code)
        span.end()

    @contextmanager
    def hop(self, kind: str, fn: Callable[..., object]) -> Iterator[None]:
        """Have a span below that of the call that runs now; none in work of the server itself."""
        call = current.optional_call()
        above = self._spans.get(call) if call is not None else None
        if above is None:
            yield
            return
        span = self._tracer.start_span(
            f"{kind} {label_of(fn)}", context=trace.set_span_in_context(above), kind=SpanKind.INTERNAL
        )
        try:
            yield
        finally:
            span.end()

    def close(self) -> None:
        """Send what was not sent yet, for a few seconds at most; may wait."""
        # The library waits up to half a minute for a collector that is away; a daemon may be left behind.
        ending = threading.Thread(target=self._provider.shutdown, name="ingot-traces-end", daemon=True)
        ending.start()
        ending.join(_END_SECONDS)


class TracedHops(Hops):
    """Hops that have spans."""

    def __init__(
        self,
        traces: Traces,
        database: UnitsOfWork,
        journal: Journaling | None = None,
        *,
        read_threads: int = 4,
        io_threads: int = 8,
    ) -> None:
        super().__init__(database, journal, read_threads=read_threads, io_threads=io_threads)
        self.traces = traces

    async def read(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` as Hops does, with a span."""
        with self.traces.hop("read", fn):
            return await super().read(fn, *args, **kwargs)

    async def write(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` as Hops does, with a span."""
        with self.traces.hop("write", fn):
            return await super().write(fn, *args, **kwargs)

    async def prepare(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` as Hops does, with a span."""
        with self.traces.hop("write", fn):
            return await super().prepare(fn, *args, **kwargs)

    async def io(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `fn` as Hops does, with a span."""
        with self.traces.hop("io", fn):
            return await super().io(fn, *args, **kwargs)
