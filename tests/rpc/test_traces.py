"""Traces: a span for each call, below the client's own, and none of it without the setting."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as collector_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as collector_pb2_grpc
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from helpers.eventually import eventually
from helpers.pipelines import bearer, rig, serving
from helpers.servers import running_server
from ingot.server.rpc.traces import TracedHops, Traces
from ingot.server.storage.database import open_database
from ingot.v1 import catalog_pb2, catalog_pb2_grpc

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
REQUEST = catalog_pb2.GetArtifactRequest(name="namespaces/a/models/b")


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traces(exporter: InMemorySpanExporter) -> Iterator[Traces]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    made = Traces(provider)
    yield made
    made.close()


def _spans(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


async def _answer(request: object, context: object) -> catalog_pb2.GetArtifactResponse:
    return catalog_pb2.GetArtifactResponse()


def test_a_call_goes_on_with_the_trace_of_its_client(traces: Traces, exporter: InMemorySpanExporter) -> None:
    with rig(serving(GetArtifact=_answer), watchers=[traces]) as running:
        stub = catalog_pb2_grpc.CatalogServiceStub(running.channel)
        parent = ("traceparent", f"00-{TRACE}-{PARENT}-01")
        stub.GetArtifact(REQUEST, metadata=(*bearer("member", x_request_id="r-7"), parent))
        stub.GetArtifact(REQUEST, metadata=bearer("member"))
        stub.GetArtifact(REQUEST, metadata=(*bearer("member"), ("traceparent", "nonsense")))
    first, second, third = exporter.get_finished_spans()
    assert first.name == "ingot.v1.CatalogService/GetArtifact"
    assert first.kind is SpanKind.SERVER
    assert first.parent is not None
    assert (f"{first.context.trace_id:032x}", f"{first.parent.span_id:016x}") == (TRACE, PARENT)
    assert dict(first.attributes or {}) == {
        "rpc.system": "grpc",
        "rpc.service": "ingot.v1.CatalogService",
        "rpc.method": "GetArtifact",
        "rpc.grpc.status_code": 0,
        "ingot.request_id": "r-7",
    }
    assert second.parent is None
    assert third.parent is None
    assert len({span.context.trace_id for span in (first, second, third)}) == 3


def test_a_client_that_does_not_sample_is_respected(traces: Traces, exporter: InMemorySpanExporter) -> None:
    with rig(serving(GetArtifact=_answer), watchers=[traces]) as running:
        stub = catalog_pb2_grpc.CatalogServiceStub(running.channel)
        parent = ("traceparent", f"00-{TRACE}-{PARENT}-00")
        stub.GetArtifact(REQUEST, metadata=(*bearer("member"), parent))
    assert exporter.get_finished_spans() == ()


def test_failures_have_their_reason_and_only_ours_are_errors(
    traces: Traces, exporter: InMemorySpanExporter
) -> None:
    async def fail(request: object, context: object) -> None:
        raise ValueError("a secret")

    with rig(serving(GetArtifact=fail), watchers=[traces]) as running:
        stub = catalog_pb2_grpc.CatalogServiceStub(running.channel)
        for token in ("member", "expired"):
            with pytest.raises(grpc.RpcError):
                stub.GetArtifact(REQUEST, metadata=bearer(token))
    ours, theirs = exporter.get_finished_spans()
    assert ours.status.status_code is StatusCode.ERROR
    assert (ours.attributes or {})["error.type"] == "INTERNAL"
    assert theirs.status.status_code is StatusCode.UNSET
    assert (theirs.attributes or {})["error.type"] == "TOKEN_EXPIRED"
    assert "a secret" not in ours.to_json()


def test_hops_are_spans_below_their_call(traces: Traces, exporter: InMemorySpanExporter) -> None:
    database = open_database("sqlite:///:memory:")
    hops = TracedHops(traces, database)

    async def answer(request: object, context: object) -> catalog_pb2.GetArtifactResponse:
        await hops.read(_rule)
        await hops.write(_rule)
        await hops.io(_rule)
        return catalog_pb2.GetArtifactResponse()

    with rig(serving(GetArtifact=answer), watchers=[traces]) as running:
        stub = catalog_pb2_grpc.CatalogServiceStub(running.channel)
        stub.GetArtifact(REQUEST, metadata=bearer("member"))
    hops.close()
    database.close()
    found = _spans(exporter)
    assert set(found) == {"read _rule", "write _rule", "io _rule", "ingot.v1.CatalogService/GetArtifact"}
    call = found["ingot.v1.CatalogService/GetArtifact"]
    for name in ("read _rule", "write _rule", "io _rule"):
        parent = found[name].parent
        assert parent is not None
        assert parent.span_id == call.context.span_id


def _rule() -> None:
    """Do nothing."""


class _Collector(collector_pb2_grpc.TraceServiceServicer):
    """Takes traces by OTLP."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.resource: dict[str, str] = {}
        self._lock = threading.Lock()

    def Export(
        self, request: collector_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> collector_pb2.ExportTraceServiceResponse:
        with self._lock:
            for each in request.resource_spans:
                self.resource = {item.key: item.value.string_value for item in each.resource.attributes}
                self.names += [span.name for scope in each.scope_spans for span in scope.spans]
        return collector_pb2.ExportTraceServiceResponse()


def test_the_setting_sends_traces_to_a_collector(tmp_path: Path) -> None:
    collector = _Collector()
    serving_ = grpc.server(futures.ThreadPoolExecutor(2))
    add = collector_pb2_grpc.add_TraceServiceServicer_to_server
    add(collector, serving_)  # type: ignore[no-untyped-call]
    port = serving_.add_insecure_port("127.0.0.1:0")
    serving_.start()
    try:
        with running_server(tmp_path, traces=f"http://127.0.0.1:{port}") as server:
            wanted = catalog_pb2.ListArtifactsRequest(parent="namespaces/sara")
            server.member("sara").catalog.ListArtifacts(wanted)
        eventually(lambda: "ingot.v1.CatalogService/ListArtifacts" in collector.names)
    finally:
        serving_.stop(0)
    assert any(name.startswith("read ") for name in collector.names)
    assert collector.resource["service.name"] == "ingot-server"
    assert collector.resource["service.instance.id"]


def test_a_collector_that_is_away_disturbs_nobody(tmp_path: Path) -> None:
    with running_server(tmp_path, traces="http://127.0.0.1:1") as server:
        wanted = catalog_pb2.ListArtifactsRequest(parent="namespaces/sara")
        server.member("sara").catalog.ListArtifacts(wanted)


def test_without_the_setting_nothing_of_it_is_imported() -> None:
    program = (
        "import sys, ingot.server.app, ingot.server.cli\n"
        "print([n for n in sys.modules if n.split('.')[0] in ('opentelemetry', 'prometheus_client')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
