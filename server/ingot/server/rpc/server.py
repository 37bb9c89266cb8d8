"""The gRPC server itself: its options, its addresses, the standard services, start and drain.

Health (grpc.health.v1) and reflection (v1 and v1alpha) stand beside our own services and need no credential.
"""

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import _async as health_async
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import _async as reflection_async
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from ingot.server.rpc import methods
from ingot.server.rpc.pipeline import Pipeline
from ingot.server.rpc.tls import Tls

log = logging.getLogger(__name__)

MESSAGE_LIMIT = 4 * 1024 * 1024 + 64 * 1024  # a chunk of 4 MiB and what surrounds it

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 0),  # or a second server would silently share the port
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    # By default about 1,000 calls that arrive at once are the end: the others are cancelled.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    # Who connects and says nothing is let go soon: each connection takes an open file.
    ("grpc.server_handshake_timeout_ms", 20_000),
    # Dead peers are noticed within 80 s; clients may ping every 20 s, also while they only watch.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 20_000),
    # Bulk data: large frames and far lookahead matter on long links.
    ("grpc.http2.max_frame_size", 1024 * 1024),
    ("grpc.http2.lookahead_bytes", 16 * 1024 * 1024),
)
# Between the main process and data processes: what a client sent, and what is said about it.
INNER_OPTIONS = tuple((name, 2 * value if value == MESSAGE_LIMIT else value) for name, value in OPTIONS)

_LAST_WORDS_SECONDS = 1.0  # for answers on their way, and to refuse what comes until connections are closed
_REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"


class AddressError(Exception):
    """An address cannot be served on; the message says why and what to do."""


class GrpcServer:
    """A gRPC server whose every call passes the pipeline. Add servicers to `server`, then start it."""

    def __init__(self, pipeline: Pipeline, *, health: bool, reflection: bool) -> None:
        self._pipeline = pipeline
        self.server = grpc.aio.server(interceptors=[pipeline], options=OPTIONS)
        self._health = health_async.HealthServicer() if health else None
        if self._health is not None:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        if reflection:
            _add_reflection(self.server, health=health)

    async def start(
        self, addresses: Sequence[str], unix_socket: Path, tls: Tls | None = None
    ) -> tuple[str, ...]:
        """Serve on all addresses and the unix socket; return the addresses with their real ports.

        With `tls` all addresses speak TLS; the unix socket, which only the owner of the data folder reaches,
        never does. Raises AddressError.
        """
        bound = tuple(bind(self.server, address, tls) for address in addresses)
        self.server.add_insecure_port(f"unix:{unix_socket}")
        await self.server.start()
        if self._health is not None:
            for service in methods.services():
                await self._health.set(service.full_name, health_pb2.HealthCheckResponse.SERVING)
        return bound

    async def drain(self, grace: float) -> None:
        """Say NOT_SERVING, end watches, let running calls finish for up to `grace` seconds, then stop."""
        if self._health is not None:
            await self._health.enter_graceful_shutdown()
        await self._pipeline.drain(grace)
        await self.server.stop(_LAST_WORDS_SECONDS)


def bind(server: grpc.aio.Server, address: str, tls: Tls | None) -> str:
    """Let a server serve on an address, by TLS with `tls`; return it with its real port.

    Raises AddressError.
    """
    host, _, port = address.rpartition(":")
    _probe(address, host.strip("[]"), int(port))  # again: it may have been taken meanwhile
    try:
        if tls is None:
            real = server.add_insecure_port(address)
        else:
            real = server.add_secure_port(address, tls.credentials())
    except RuntimeError as error:
        raise AddressError(f"{address} cannot be served on: {error}") from error
    return f"{host}:{real}"


def check_addresses(addresses: Sequence[str]) -> None:
    """Refuse addresses that cannot be served on, before anything is made for them. Raises AddressError."""
    for address in addresses:
        host, _, port = address.rpartition(":")
        _probe(address, host.strip("[]"), int(port))


def _add_reflection(server: grpc.aio.Server, *, health: bool) -> None:
    names = [service.full_name for service in methods.services()]
    if health:
        names.append(health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
    alpha = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].full_name
    servicer = reflection_async.ReflectionServicer([*names, alpha])
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    # Version 1 has the same messages under another name, and its clients never ask for the old one.
    info = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handler = grpc.method_handlers_generic_handler(_REFLECTION_V1, {"ServerReflectionInfo": info})
    server.add_generic_rpc_handlers((handler,))


def _probe(address: str, host: str, port: int) -> None:
    """Bind and let go, since the system's error says more than the one of gRPC."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.closing(socket.socket(family, kind, protocol)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        raise AddressError(_why(address, port, error)) from error


def _why(address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} is taken: another program serves on {address}. Stop it, or choose another port "
            "with --listen; port 0 takes any free one."
        )
    if error.errno == errno.EACCES:
        return f"{address} cannot be served on: ports below 1024 need privileges. Choose one above."
    reason = error.strerror or os.strerror(error.errno or 0)
    return f"{address} cannot be served on: {reason}. Give an address of this machine with --listen."
