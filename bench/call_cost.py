"""What it costs a small call to be counted, measured and traced.

    .venv/bin/python bench/call_cost.py

One server for each variant, all at once on unix sockets; the same call goes to each of them in turns, so that
a busy machine slows neighbours alike. Figures are microseconds of whole calls, as a client sees them.
"""

import argparse
import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as collector_pb2

from ingot.server import app
from ingot.server.settings.fields import Settings
from ingot.server.storage.data_folder import DataFolder
from ingot.v1 import auth_pb2, auth_pb2_grpc

VARIANTS = ("off", "metrics", "traces, sampled", "traces, not sampled", "off again")
NOT_SAMPLED = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")


@contextlib.contextmanager
def collector() -> Iterator[str]:
    """Take traces and forget them."""

    def export(request: bytes, context: grpc.ServicerContext) -> bytes:
        return collector_pb2.ExportTraceServiceResponse().SerializeToString()

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(export)
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(0)


def settings(folder: Path, variant: str, endpoint: str) -> Settings:
    """Return the settings of one variant."""
    return Settings(
        data_dir=folder,
        listen=(),
        drain_seconds=0,
        calls_per_second=0,
        metrics="127.0.0.1:0" if variant == "metrics" else "",
        traces=endpoint if variant.startswith("traces") else "",
    )


async def main() -> None:
    """Start all servers, call them in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000, help="calls of each variant")
    options = parser.parse_args()
    async with contextlib.AsyncExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ingot-cost-")))
        endpoint = stack.enter_context(collector())
        calls = {}
        for number, variant in enumerate(VARIANTS):
            folder = base / str(number)
            chosen = settings(folder, variant, endpoint)
            server = await stack.enter_async_context(app.running(chosen, DataFolder.hold(folder)))
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"unix:{server.unix_socket}"))
            token = (folder / "admin.token").read_text(encoding="ascii").strip()
            metadata: tuple[tuple[str, str], ...] = (("authorization", f"Bearer {token}"),)
            if variant == "traces, not sampled":
                metadata += (NOT_SAMPLED,)
            calls[variant] = (auth_pb2_grpc.AuthServiceStub(channel).GetMe, metadata)
        spans: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
        for _ in range(options.calls):
            for variant, (call, metadata) in calls.items():
                start = time.perf_counter()
                await call(auth_pb2.GetMeRequest(), metadata=metadata)
                spans[variant].append((time.perf_counter() - start) * 1e6)
        print(f"{'µs':22}{'p10':>8}{'p50':>8}{'p95':>8}")
        for variant, found in spans.items():
            steps = statistics.quantiles(found, n=20)
            print(f"{variant:22}{steps[1]:8.0f}{statistics.median(found):8.0f}{steps[18]:8.0f}")


if __name__ == "__main__":
    asyncio.run(main())
