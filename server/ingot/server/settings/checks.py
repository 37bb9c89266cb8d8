"""What settings must be, each for itself and together; loading them ends with this."""

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path

from ingot.server.core.approval_policies import EVIDENCE
from ingot.server.core.errors import Invalid
from ingot.server.core.kinds import MAINTENANCE, QUEUES
from ingot.server.core.names import namespace_id
from ingot.server.core.operations import QueueLimits
from ingot.server.settings.fields import (
    DISPATCHERS,
    LOG_LEVELS,
    QUEUE_LIMITS,
    Settings,
    SettingsError,
)
from ingot.server.settings.serving import STANDARD_ADDRESS, VALIDATIONS

_POSITIVE = (
    "call_seconds",
    "call_burst",
    "public_call_burst",
    "login_minutes",
    "login_days",
    "read_threads",
    "io_threads",
    "activity_days",
    "usage_days",
    "failed_upload_hours",
    "worker_lease_seconds",
    "worker_heartbeat_seconds",
    "import_stall_seconds",
    "events_kept",
    "operation_attempts",
    "operation_timeout_seconds",
)
_NOT_NEGATIVE = (
    "max_dataset_bytes",
    "max_model_bytes",
    "namespace_quota_bytes",
    "namespace_physical_quota_bytes",
    "namespaces_per_member",
    "trash_days",
    "import_max_file_bytes",
    "import_max_bytes",
    "import_min_bytes_per_second",
    "calls_per_second",
    "public_calls_per_second",
    "drain_seconds",
    "training_retries",
    "training_retry_seconds",
    "generation_wait_seconds",
    "operation_quota",
    "operation_retry_seconds",
    "clean_hours",
    "disk_plenty_bytes",
    "collect_hours",
    "collect_grace_seconds",
    "adopted_pack_days",
    "scrub_hours",
    "scrub_days",
    "scrub_bytes_per_second",
    "backup_hours",
    "backup_keep",
)
_SHORTEST_LEASE = 3.0  # of operations, in seconds
_LEAST_MEMORY = 256 * 1024 * 1024
_ALL = 100  # percent
_LAST_PORT = 65535


def check(settings: Settings) -> None:
    """Refuse settings that cannot be. Raises SettingsError."""
    _check_keys(settings.trusted_bundle_keys)
    for name in _POSITIVE:
        if getattr(settings, name) <= 0:
            raise SettingsError(f"{name}: expected more than 0, got {getattr(settings, name)}.")
    for name in _NOT_NEGATIVE:
        if getattr(settings, name) < 0:
            raise SettingsError(f"{name}: expected 0 or more, got {getattr(settings, name):g}.")
    if settings.worker_heartbeat_seconds > settings.worker_lease_seconds / 2:
        raise SettingsError(
            "worker_heartbeat_seconds: expected at most half of worker_lease_seconds "
            f"({settings.worker_lease_seconds:g}), got {settings.worker_heartbeat_seconds:g}."
        )
    for word in settings.approval_evidence:
        if word not in EVIDENCE:
            raise SettingsError(f"approval_evidence: expected some of {', '.join(EVIDENCE)}, got {word!r}.")
    if settings.validation not in VALIDATIONS:
        raise SettingsError(f"validation: expected {' or '.join(VALIDATIONS)}, got {settings.validation!r}.")
    if settings.log_level not in LOG_LEVELS:
        raise SettingsError(
            f"log_level: expected one of {', '.join(LOG_LEVELS)}, got {settings.log_level!r}."
        )
    _check_operations(settings)
    _check_disk(settings)
    _check_sources(settings)
    if not settings.listen:
        raise SettingsError(f"listen: expected at least one address such as {STANDARD_ADDRESS}, got none.")
    _check_tls(settings)
    _check_seen(settings, plain_allowed=settings.insecure or settings.has_tls)
    _check_addresses("listen", settings.listen, plain_allowed=settings.insecure or settings.has_tls)
    _check_addresses("data_listen", settings.data_listen, plain_allowed=settings.insecure or settings.has_tls)


def _check_operations(settings: Settings) -> None:
    if settings.operation_dispatcher not in DISPATCHERS:
        expected = " or ".join(DISPATCHERS)
        raise SettingsError(
            f"operation_dispatcher: expected {expected}, got {settings.operation_dispatcher!r}."
        )
    if settings.operation_lease_seconds < _SHORTEST_LEASE:
        raise SettingsError(
            f"operation_lease_seconds: expected at least {_SHORTEST_LEASE:g}, because bodies report each "
            f"second, got {settings.operation_lease_seconds:g}."
        )
    if 0 != settings.body_memory_bytes < _LEAST_MEMORY:
        raise SettingsError(
            f"body_memory_bytes: expected 0 or at least {_LEAST_MEMORY}, because it is for a whole process, "
            f"got {settings.body_memory_bytes}."
        )
    queue_limits(settings.operation_queues)


def queue_limits(queues: Sequence[str]) -> QueueLimits:
    """Return how many operations of each queue run at once; one that is not named keeps its default.

    Raises SettingsError.
    """
    limits = {}
    for text in (*QUEUE_LIMITS, *queues):
        queue, _, number = text.partition("=")
        if queue not in QUEUES or not number.isdecimal():
            raise SettingsError(
                f"operation_queues: expected queue=number with one of the queues {', '.join(QUEUES)}, "
                f"got {text!r}."
            )
        if queue == MAINTENANCE and int(number) == 0:
            raise SettingsError(
                "operation_queues: expected maintenance=1 or more, got maintenance=0: the server needs that "
                "queue to keep itself in order."
            )
        limits[queue] = int(number)
    return QueueLimits(limits)


def is_loopback(address: str) -> bool:
    """Return whether host:port is reached from this machine only."""
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_disk(settings: Settings) -> None:
    marks = (settings.disk_warn_percent, settings.disk_upload_percent, settings.disk_stream_percent)
    if not 0 < marks[0] <= marks[1] <= marks[2] <= _ALL:
        raise SettingsError(
            "disk_warn_percent, disk_upload_percent, disk_stream_percent: expected more than 0, at most 100, "
            f"none below the one before it, got {', '.join(f'{mark:g}' for mark in marks)}."
        )


def _check_sources(settings: Settings) -> None:
    try:
        namespace_id(f"namespaces/{settings.sources_namespace}")
    except Invalid:
        raise SettingsError(
            "sources_namespace: expected small letters, digits and '-', at most 39, got "
            f"{settings.sources_namespace!r}."
        ) from None
    for text in settings.import_private_networks:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise SettingsError(
                f"import_private_networks: expected a network such as 10.0.0.0/8, got {text!r}: {error}."
            ) from None
    if not settings.hub_endpoint.startswith(("https://", "http://")):
        raise SettingsError(
            f"hub_endpoint: expected an address as https://huggingface.co, got {settings.hub_endpoint!r}."
        )


def _check_seen(settings: Settings, *, plain_allowed: bool) -> None:
    if settings.metrics:
        host, _, port = settings.metrics.rpartition(":")
        if not host or not port.isdecimal() or int(port) > _LAST_PORT:
            raise SettingsError(
                f"metrics: expected host:port such as 127.0.0.1:9090, got {settings.metrics!r}."
            )
        if not plain_allowed and not is_loopback(settings.metrics):
            raise SettingsError(
                f"metrics: {settings.metrics} can be reached from other machines, and would be read without "
                "encryption. Set --tls-cert and --tls-key, take 127.0.0.1, or add --insecure if the network "
                "is trusted."
            )
    if settings.traces and not re.fullmatch(r"https?://[^/\s]+", settings.traces):
        raise SettingsError(
            f"traces: expected http://host:port or https://host:port of a collector, got {settings.traces!r}."
        )


def _check_tls(settings: Settings) -> None:
    if (settings.tls_cert == Path()) != (settings.tls_key == Path()):
        raise SettingsError("tls_cert, tls_key: expected both, or none of them, got one.")
    if settings.tls_client_ca != Path() and not settings.has_tls:
        raise SettingsError("tls_client_ca: expected with tls_cert and tls_key only, got without them.")


def _check_keys(keys: tuple[str, ...]) -> None:
    for key in keys:
        if not re.fullmatch(r"ed25519:[0-9a-fA-F]{64}", key):
            raise SettingsError(f"trusted_bundle_keys: expected ed25519: and 64 hex digits, got {key!r}.")


def _check_addresses(name: str, addresses: Sequence[str], *, plain_allowed: bool) -> None:
    for address in addresses:
        _check_address(name, address, plain_allowed=plain_allowed)


def _check_address(name: str, address: str, *, plain_allowed: bool) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"{name}: expected host:port such as {STANDARD_ADDRESS}, got {address!r}.")
    if not plain_allowed and not is_loopback(address):
        raise SettingsError(
            f"{name}: {address} can be reached from other machines, and without a certificate tokens and "
            "data would travel in the clear. Set --tls-cert and --tls-key (ingot-server certs makes them), "
            "listen on 127.0.0.1 and forward the port through ssh, or add --insecure if the network is "
            "trusted."
        )
