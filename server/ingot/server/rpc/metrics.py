"""Figures for Prometheus, on an HTTP address of their own: `GET http://HOST:PORT/metrics` (metrics_http.py).

Calls are counted as they end, with two labels whose values the protos bound: method and code. What rows tell
is looked up from time to time (`show`), so that a scrape reads memory only and can slow nothing down.
"""

from collections.abc import Mapping

import prometheus_client
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.registry import CollectorRegistry

from ingot.server.rpc.calls import Call

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_GAUGES = {
    "write_queue_length": "Writes that wait for the one writer.",
    "write_queue_longest_wait_seconds": "Longest wait for the writer in the last minute or two.",
    "uploads_active": "Uploads that are open.",
    "uploads_failed": "Uploads that failed or expired and are still known.",
    "operations_waiting": "Operations that wait for their turn.",
    "operations_running": "Operations that run.",
    "training_jobs_queued": "Training jobs that wait for a worker.",
    "training_jobs_running": "Training jobs that a worker has.",
    "workers_online": "Workers that were heard from lately.",
    "logical_bytes": "Bytes of all versions and checkpoints, each counted whole.",
    "pack_bytes": "Bytes of the packs on disk.",
    "disk_total_bytes": "Size of the disk below the data folder.",
    "disk_free_bytes": "Free on it.",
}


class Metrics:
    """Counts calls for Prometheus; implements CallWatcher."""

    def __init__(self) -> None:
        # Or there would be a series beside each one, which nobody asks for.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        prometheus_client.GCCollector(registry=self.registry)
        self._calls = Counter("ingot_calls", "Calls that ended.", ("method", "code"), registry=self.registry)
        self._seconds = Histogram(
            "ingot_call_seconds",
            "How long calls took; without streams that only follow something.",
            ("method",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        # Finding the child of a label costs more than counting.
        self._known: dict[tuple[str, str], tuple[Counter, Histogram | None]] = {}
        self._running = Gauge("ingot_calls_running", "Calls that run now.", registry=self.registry)
        self._gauges = {
            name: Gauge(f"ingot_{name}", text, registry=self.registry) for name, text in _GAUGES.items()
        }

    def began(self, call: Call, metadata: Mapping[str, str]) -> None:
        """Count a call that runs."""
        self._running.inc()

    def ended(self, call: Call, seconds: float) -> None:
        """Count how it ended."""
        self._running.dec()
        key = (call.method.path, call.code)
        known = self._known.get(key)
        if known is None:
            method = call.method.short
            times = None if call.method.follows else self._seconds.labels(method)
            known = self._known[key] = (self._calls.labels(method, call.code), times)
        counter, times = known
        counter.inc()
        if times is not None:
            times.observe(seconds)

    def show(self, values: Mapping[str, float]) -> None:
        """Set gauges, by their names without `ingot_`."""
        for name, value in values.items():
            self._gauges[name].set(value)
