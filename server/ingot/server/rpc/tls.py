"""TLS of the TCP addresses: which certificate the server shows, and which clients must show one.

    tls = Tls(certificate=Path("server.pem"), key=Path("server.key"), client_ca=None)
    grpc_server.add_secure_port(address, tls.credentials())

The files are looked at again for each new connection, so a renewed certificate is in use from the next one
on, without a restart. A renewed one that cannot be used (half written, of another key, expired) is told in
the log and the one before stays in use. With `client_ca`, only clients with a certificate from that authority
get as far as saying a word; who they are still follows from their token.
"""

import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization

log = logging.getLogger(__name__)

_SOON = timedelta(days=14)
_Stamp = tuple[int, int, int]


class TlsError(Exception):
    """Certificate or key cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    certificate: bytes
    key: bytes
    client_ca: bytes | None
    expires: datetime


class Tls:
    """Certificate, key and the authority of clients, from files. Raises TlsError when they are no use."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None = None) -> None:
        self._files = (certificate, key, *((client_ca,) if client_ca else ()))
        self._lock = threading.Lock()  # gRPC asks on threads of its own
        self._seen = self._stamps()
        self._loaded = self._load()

    @property
    def asks_clients(self) -> bool:
        """Whether clients need a certificate too."""
        return len(self._files) > 2

    def seconds_left(self) -> float:
        """Return how long the certificate is good still; below 0 when it has ended."""
        return (self._newest().expires - datetime.now(UTC)).total_seconds()

    def credentials(self) -> grpc.ServerCredentials:
        """Return what an address is served with."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(self._loaded), self._fetched, require_client_authentication=self.asks_clients
        )

    def _fetched(self) -> grpc.ServerCertificateConfiguration:
        """Return what a new connection is begun with; never raises, or gRPC would refuse it."""
        return self._configuration(self._newest())

    def _newest(self) -> _Loaded:
        """Return what the files hold now, or held when they were of use last."""
        with self._lock:
            stamps = self._stamps()
            if stamps != self._seen:
                self._seen = stamps  # one that is no use is told once, and looked at again when it changes
                try:
                    self._loaded = self._load()
                    log.info("tls.reloaded expires=%s", self._loaded.expires.isoformat())
                except TlsError as error:
                    log.error("tls.not_reloaded error=%s", error)
            return self._loaded

    def _stamps(self) -> list[_Stamp | None]:
        """Return what differs for files that were written anew; None for one that is not there now."""
        return [_stamp(file) for file in self._files]

    def _load(self) -> _Loaded:
        certificate, key, *authorities = (_bytes_of(file) for file in self._files)
        expires = _checked(self._files[0], certificate, self._files[1], key)
        if authorities:
            _certificates(self._files[2], authorities[0])
        if expires - datetime.now(UTC) < _SOON:
            log.warning("tls.certificate_ends_soon file=%s expires=%s", self._files[0], expires.isoformat())
        return _Loaded(certificate, key, authorities[0] if authorities else None, expires)

    @staticmethod
    def _configuration(loaded: _Loaded) -> grpc.ServerCertificateConfiguration:
        pair = (loaded.key, loaded.certificate)
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=loaded.client_ca)


def _stamp(file: Path) -> _Stamp | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise TlsError(f"{file} cannot be read: {error.strerror}.") from error


def _certificates(file: Path, data: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise TlsError(
            f"{file} holds no certificate: expected PEM, between lines BEGIN CERTIFICATE and END "
            "CERTIFICATE. Make one with: ingot-server certs"
        ) from error


def _checked(certificate_file: Path, certificate: bytes, key_file: Path, key: bytes) -> datetime:
    """Return when a certificate ends, if it can be served with the key."""
    first = _certificates(certificate_file, certificate)[0]
    try:
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        raise TlsError(f"{key_file} holds no private key without a passphrase in PEM: {error}.") from error
    encoding = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*encoding) != first.public_key().public_bytes(*encoding):
        raise TlsError(f"{key_file} is not the key of the certificate in {certificate_file}.")
    if first.not_valid_after_utc <= datetime.now(UTC):
        raise TlsError(
            f"The certificate in {certificate_file} ended on {first.not_valid_after_utc:%Y-%m-%d}. "
            "Renew it; for one of ingot-server certs, run that again."
        )
    return first.not_valid_after_utc
