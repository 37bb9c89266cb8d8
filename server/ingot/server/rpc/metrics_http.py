"""The HTTP address of metrics: one page, few connections at once, each for a short while.

Whoever opens a connection holds a thread. So there are at most `AT_ONCE`; one more is closed at once, and one
that has not got its page within `SECONDS` is closed as well, however slowly it goes on sending. A scraper
asks again. With TLS the files are read for each connection: a renewed certificate is in use from the next on.
"""

import contextlib
import gzip
import http.server
import ipaddress
import logging
import math
import socket
import socketserver
import ssl
import threading
import time
import urllib.parse
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.registry import CollectorRegistry

from ingot.server.rpc.server import AddressError

log = logging.getLogger(__name__)

AT_ONCE = 16
SECONDS = 10.0
PATH = "/metrics"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files with which the address speaks TLS; with `client_ca` only to clients that have a certificate."""

    cert: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return what a connection is protected with, from the files as they are now."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.cert, self.key)
        if self.client_ca:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class MetricsServer:
    """Serves a registry over HTTP on a thread, until it is closed."""

    def __init__(
        self,
        address: str,
        registry: CollectorRegistry,
        tls: Certificates | None,
        seconds: float = SECONDS,
    ) -> None:
        """Serve on host:port, each connection for so long. Raises AddressError."""
        host, _, port = address.rpartition(":")
        try:
            if tls:
                tls.context()
            family, numbers = _numbers(host.strip("[]"))
            self._server = _Server(family, (numbers, int(port)), registry, tls, seconds)
        except OSError as error:
            raise AddressError(
                f"{address} cannot serve metrics: {error.strerror or error}. Choose another address with "
                "--metrics; port 0 takes any free one."
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="ingot-metrics", daemon=True)
        self._thread.start()
        self.address = f"{host}:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.hang_up(math.inf)
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Accepts connections, counts them, and closes those that take too long."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(
        self,
        family: int,
        address: tuple[str, int],
        registry: CollectorRegistry,
        tls: Certificates | None,
        seconds: float,
    ) -> None:
        self.address_family = family
        self.registry = registry
        self._tls = tls
        self._seconds = seconds
        self._lock = threading.Lock()
        self._open: dict[socket.socket, float] = {}  # when each is to be over
        super().__init__(address, _Page)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Take a connection unless there are many; one that is not taken is closed."""
        with self._lock:
            taken = len(self._open) < AT_ONCE
            if taken:
                self._open[request] = time.monotonic() + self._seconds
        return taken

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer on the thread of the connection; there its handshake may take its time, too."""
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        protected = self._tls.context().wrap_socket(
            request, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
        )
        with self._lock:  # wrapping has taken the socket away from its first object
            self._open[protected] = self._open.pop(request)
        try:
            protected.do_handshake()
            super().finish_request(protected, client_address)
        finally:
            self.shutdown_request(protected)

    def service_actions(self) -> None:
        """Hang up on those whose time is over; called twice a second."""
        self.hang_up(time.monotonic())

    def hang_up(self, now: float) -> None:
        """Hang up on those that should be over by then: their threads come to an end."""
        with self._lock:
            for connection, until in self._open.items():
                if until <= now:
                    with contextlib.suppress(OSError):  # it was faster
                        socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection and close it."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up or speak something else."""
        log.debug("metrics.connection_failed address=%s", client_address)


class _Page(http.server.BaseHTTPRequestHandler):
    """Answers `GET /metrics`, and says of all else that it is not here."""

    server: _Server
    server_version = "ingot"
    sys_version = ""

    def do_GET(self) -> None:
        """Send the page of the registry in the form that is asked for."""
        asked = urllib.parse.urlsplit(self.path)
        if asked.path != PATH:
            self.send_error(HTTPStatus.NOT_FOUND, explain=f"Metrics are at {PATH}.")
            return
        encoder, kind = choose_encoder(self.headers.get("Accept", ""))
        registry = self.server.registry
        names = urllib.parse.parse_qs(asked.query).get("name[]")
        content = encoder(registry.restricted_registry(names) if names else registry)
        headers = {"Content-Type": kind}
        if gzip_accepted(self.headers.get("Accept-Encoding", "")):
            content = gzip.compress(content)
            headers["Content-Encoding"] = "gzip"
        self.send_response(HTTPStatus.OK)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keep requests out of the log."""


def _numbers(host: str) -> tuple[int, str]:
    """Return the family and the numbers of a host. Raises OSError."""
    try:
        known = ipaddress.ip_address(host)
    except ValueError:
        family, *_, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
        return family, str(address[0])
    return (socket.AF_INET6 if known.version == 6 else socket.AF_INET), str(known)
