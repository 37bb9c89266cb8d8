"""Channels to one server: one for control calls, and one of its own for each lane of a transfer.

A channel is a TCP connection. Several streams on one connection share its flow-control window and one I/O
thread, so lanes that should be parallel need channels that do not share a connection. Those of large
transfers may go to data processes (`_data_lanes.py`).
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import grpc
import grpc.experimental

from ingot.client._bearers import FixedToken, SignedIn
from ingot.client._connection import Endpoint
from ingot.client._data_lanes import DataTargets
from ingot.client._errors import Invalid

MAX_MESSAGE_BYTES = 8 * 1024 * 1024  # above what a server sends (4 MiB and its framing)

Options = tuple[tuple[str, int], ...]

_OPTIONS: Options = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 10_000),
    ("grpc.http2.lookahead_bytes", 16 * 1024 * 1024),
    ("grpc.http2.max_frame_size", 1024 * 1024),
    ("grpc.use_local_subchannel_pool", 1),
)
# Replies are taken by the thread that wants them instead of going through one more.
_LANE_OPTIONS: Options = ((grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, 1),)
# What a connection may take until the server has spoken: several round trips, and a busy server its time.
# Data processes have the main address beside them, so there nobody waits for long.
_PATIENT: Options = (("grpc.min_reconnect_backoff_ms", 8_000),)
_BRIEF: Options = (("grpc.min_reconnect_backoff_ms", 1_000),)
# A proxy of the environment is for the world outside, never for this machine.
_LOOPBACK_OPTIONS = (*_OPTIONS, ("grpc.enable_http_proxy", 0))


class Link:
    """The channels of one client. `dial` makes a channel from more options; all are closed together.

    `dial_data` makes one to another target of the same server, where there may be such.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        dial: Callable[[Options], grpc.Channel],
        dial_data: Callable[[Options, str], grpc.Channel] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.data = DataTargets(endpoint)
        self.signed_in = SignedIn(FixedToken(endpoint.token))
        self._dial = dial
        self._dial_data = dial_data
        self._lock = threading.Lock()
        self._main: grpc.Channel | None = None
        self._lanes: dict[tuple[int, str], grpc.Channel] = {}

    @property
    def channel(self) -> grpc.Channel:
        """The channel for control calls, opened at its first use."""
        with self._lock:
            if self._main is None:
                self._main = self._dial(_PATIENT)
            return self._main

    def lane(self, index: int) -> grpc.Channel:
        """Return the channel of lane `index` (from 0) of transfers; kept for the next transfer."""
        target = self.data.of(index) if self._dial_data else ""
        with self._lock:
            if (index, target) not in self._lanes:
                data = self._dial_data if target else None
                self._lanes[index, target] = (
                    data((*_LANE_OPTIONS, *_BRIEF), target)
                    if data
                    else self._dial((*_LANE_OPTIONS, *_PATIENT))
                )
            return self._lanes[index, target]

    def close(self) -> None:
        """Close all channels; calls in flight are cancelled."""
        with self._lock:
            channels = [*self._lanes.values(), *([self._main] if self._main else [])]
            self._lanes, self._main = {}, None
        for channel in channels:
            channel.close()

    def __enter__(self) -> "Link":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def link_to(endpoint: Endpoint) -> Link:
    """Return a link to a server; nothing is dialled yet. Raises Invalid for certificates it cannot read."""
    options = _LOOPBACK_OPTIONS if endpoint.is_loopback else _OPTIONS
    if not endpoint.tls:

        def dial_plain(more: Options, target: str = endpoint.target) -> grpc.Channel:
            return grpc.insecure_channel(target, options=(*options, *more))

        return Link(endpoint, dial_plain, dial_plain)
    roots = _content(endpoint.ca_file) if endpoint.ca_file else _system_roots()
    credentials = grpc.ssl_channel_credentials(roots, *_own_pair(endpoint))

    def dial(more: Options, target: str = endpoint.target) -> grpc.Channel:
        return grpc.secure_channel(target, credentials, options=(*options, *more))

    return Link(endpoint, dial, dial)


def _own_pair(endpoint: Endpoint) -> tuple[bytes | None, bytes | None]:
    """Return key and certificate that show who this client is, where the server asks for that."""
    if not endpoint.cert_file and not endpoint.key_file:
        return None, None
    if not endpoint.cert_file or not endpoint.key_file:
        raise Invalid(
            "A client's certificate and its key belong together: expected both, got one.",
            reason="FIELD_INVALID",
            next_step="Name both: cert_file and key_file, or INGOT_CERT_FILE and INGOT_KEY_FILE.",
        )
    return _content(endpoint.key_file), _content(endpoint.cert_file)


def _system_roots() -> bytes | None:
    """Return the authorities that this system trusts, its own ones included; None for those of gRPC."""
    if os.environ.get("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"):
        return None
    import ssl  # only for servers with TLS

    found = ssl.get_default_verify_paths().cafile  # heeds SSL_CERT_FILE
    return _content(found) if found else None


def _content(path: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as failure:
        raise Invalid(
            f"Cannot read a certificate or its key: {failure}.",
            reason="FIELD_INVALID",
            next_step="Check ca_file, cert_file and key_file of the context, or INGOT_CA_FILE, "
            "INGOT_CERT_FILE and INGOT_KEY_FILE.",
        ) from failure
