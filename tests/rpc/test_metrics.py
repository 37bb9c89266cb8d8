"""Metrics for Prometheus: what a scrape shows, with which labels, and what starting may be refused."""

import contextlib
import gzip
import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families

from helpers.eventually import eventually
from helpers.servers import Server, running_server
from ingot.server.rpc import metrics_http
from ingot.server.rpc.call_watchers import FiguresWatcher
from ingot.server.rpc.idle_memory import IdleMemory
from ingot.server.rpc.metrics import Metrics
from ingot.server.rpc.metrics_http import Certificates, MetricsServer
from ingot.server.rpc.server import AddressError
from ingot.server.settings.checks import check
from ingot.server.settings.fields import Settings, SettingsError
from ingot.v1 import catalog_pb2, operations_pb2

METHOD = "CatalogService/GetArtifact"


def _scrape(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=100) as reply:
        return str(reply.read().decode())


def _samples(server: Server) -> dict[tuple[str, str, str], float]:
    """Return values by name, method and code."""
    return {
        (sample.name, sample.labels.get("method", ""), sample.labels.get("code", "")): sample.value
        for family in text_string_to_metric_families(_scrape(server.app.used.metrics_address))
        for sample in family.samples
        if "le" not in sample.labels
    }


@pytest.mark.contract("S1-67")
def test_calls_are_counted_by_method_and_code(tmp_path: Path) -> None:
    with running_server(tmp_path, metrics="127.0.0.1:0") as server:
        sara = server.member("sara")
        for _ in range(3):
            with pytest.raises(grpc.RpcError):
                sara.catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name="namespaces/sara/models/none"))
        sara.catalog.ListArtifacts(catalog_pb2.ListArtifactsRequest(parent="namespaces/sara"))
        found = _samples(server)
        assert found["ingot_calls_total", METHOD, "NOT_FOUND"] == 3
        assert found["ingot_calls_total", "CatalogService/ListArtifacts", "OK"] == 1
        assert found["ingot_call_seconds_count", METHOD, ""] == 3
        assert 0 < found["ingot_call_seconds_sum", METHOD, ""] < 300
        assert found["ingot_calls_running", "", ""] == 0
        assert found["process_resident_memory_bytes", "", ""] > 0
        with pytest.raises(grpc.RpcError):
            server.stubs("ingot_9_wrong").catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name="x"))
        # A call that failed is counted right after its answer has left.
        assert eventually(lambda: _samples(server).get(("ingot_calls_total", METHOD, "UNAUTHENTICATED"))) == 1


def test_labels_are_method_and_code_only_and_name_nobody(tmp_path: Path) -> None:
    with running_server(tmp_path, metrics="127.0.0.1:0") as server:
        stubs = server.stubs(server.token("sara"), x_ingot_user="secretive")
        stubs.catalog.ListArtifacts(catalog_pb2.ListArtifactsRequest(parent="namespaces/sara"))
        text = _scrape(server.app.used.metrics_address)
    labels = set(re.findall(r'[{,](\w+)="', "\n".join(re.findall(r"^ingot_.*", text, re.MULTILINE))))
    assert labels == {"method", "code", "le"}
    assert "sara" not in text
    assert "secretive" not in text


@pytest.mark.contract("S1-66")
def test_rows_and_the_disk_are_shown_too(tmp_path: Path) -> None:
    with running_server(tmp_path, metrics="127.0.0.1:0") as server:
        eventually(lambda: _samples(server)["ingot_disk_total_bytes", "", ""] > 0)
        found = _samples(server)
        assert found["ingot_disk_total_bytes", "", ""] > found["ingot_disk_free_bytes", "", ""] > 0
        assert found["ingot_uploads_active", "", ""] == 0
        kind = operations_pb2.UPKEEP_KIND_VERIFY
        server.admin.operations.StartUpkeep(operations_pb2.StartUpkeepRequest(kind=kind))
        assert "ingot_operations_running" in {name for name, _, _ in found}


def test_without_the_setting_nothing_is_served_or_imported(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        assert server.app.used.metrics_address == ""
        watchers = [type(each) for each in server.app.used.watchers]
        assert watchers == [FiguresWatcher, IdleMemory]  # nothing that counts for scrapers


def test_a_taken_address_is_told_in_one_sentence() -> None:
    first = MetricsServer("127.0.0.1:0", Metrics().registry, None)
    try:
        with pytest.raises(AddressError, match=r"cannot serve metrics: .* --metrics"):
            MetricsServer(first.address, Metrics().registry, None)
    finally:
        first.close()
    with pytest.raises(OSError, match="refused"):
        _scrape(first.address)


@pytest.fixture(name="alone")
def _alone() -> Iterator[MetricsServer]:
    """An address with nothing behind it but a registry."""
    found = MetricsServer("127.0.0.1:0", Metrics().registry, None)
    yield found
    found.close()


def _answers(address: str) -> bool:
    try:
        return "process_resident_memory_bytes" in _scrape(address)
    except OSError:
        return False


def _status(url: str, sent: bytes | None = None) -> int:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, sent, timeout=100)
    with contextlib.closing(refused.value) as answer:
        return answer.code


def _connected(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=100)


def test_there_is_one_page(alone: MetricsServer) -> None:
    for path in ("/", "/metrics/", "/metricsx", "/favicon.ico", "/../metrics"):
        assert _status(f"http://{alone.address}{path}") == 404
    assert _status(f"http://{alone.address}/metrics", b"x") == 501
    assert "process_resident_memory_bytes" in _scrape(alone.address)
    asked = urllib.request.Request(f"http://{alone.address}/metrics", headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(asked, timeout=100) as reply:
        assert b"process_resident_memory_bytes" in gzip.decompress(reply.read())


def test_half_sent_requests_hold_few_threads_and_not_for_long() -> None:
    alone = MetricsServer("127.0.0.1:0", Metrics().registry, None, seconds=1.0)
    with contextlib.ExitStack() as stack:
        stack.callback(alone.close)
        before = set(threading.enumerate())
        waiting = [stack.enter_context(_connected(alone.address)) for _ in range(metrics_http.AT_ONCE + 20)]
        for each in waiting:
            with contextlib.suppress(OSError):  # it was closed already
                each.sendall(b"GET /metrics HTTP/1.0\r\nX: ")
        assert len(set(threading.enumerate()) - before) <= metrics_http.AT_ONCE
        for each in waiting:
            with contextlib.suppress(ConnectionResetError):
                assert each.recv(1) == b""
        eventually(lambda: _answers(alone.address))


def test_with_tls_nobody_holds_the_address_up_and_a_renewed_certificate_is_used(tmp_path: Path) -> None:
    authority, clients = trustme.CA(), trustme.CA()
    files = Certificates(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "clients.pem")
    assert files.client_ca is not None
    clients.cert_pem.write_to_path(str(files.client_ca))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    clients.issue_cert("scraper").configure_cert(context)
    serials: list[object] = []
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            issued = authority.issue_cert("127.0.0.1")
            files.cert.write_bytes(issued.cert_chain_pems[0].bytes())
            files.key.write_bytes(issued.private_key_pem.bytes())
            if not serials:
                served = MetricsServer("127.0.0.1:0", Metrics().registry, files)
                stack.callback(served.close)
                for _ in range(metrics_http.AT_ONCE - 1):  # handshakes that never come
                    stack.enter_context(_connected(served.address))
            with context.wrap_socket(_connected(served.address), server_hostname="127.0.0.1") as raw:
                serials.append(raw.getpeercert()["serialNumber"])  # type: ignore[index]  # it has one
                raw.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                assert b"200 OK" in raw.recv(100)
    assert len(set(serials)) == 2


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"metrics": "9090"}, "expected host:port"),
        ({"metrics": "127.0.0.1:99999"}, "expected host:port"),
        ({"metrics": "0.0.0.0:9090"}, "without encryption"),
        ({"traces": "collector:4317"}, "expected http://host:port"),
        ({"traces": "http://collector:4317/v1"}, "expected http://host:port"),
    ],
)
def test_settings_that_cannot_be_are_refused(wanted: dict[str, str], expected: str) -> None:
    with pytest.raises(SettingsError, match=expected):
        check(Settings(**wanted))  # type: ignore[arg-type]
    check(Settings(metrics="0.0.0.0:9090", insecure=True, traces="https://collector:4317"))
