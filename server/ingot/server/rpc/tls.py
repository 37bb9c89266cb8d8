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
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import serialization

log = logging.getLogger(__name__)

_SOON = timedelta(days=14)
_Stamp = tuple[int, int, int]
Renewals = Callable[[], grpc.ServerCertificateConfiguration | None]


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
        self._loaded = self._with_authority(
            self._with_certificate(_Loaded(b"", b"", None, datetime.now(UTC)))
        )

    @property
    def asks_clients(self) -> bool:
        """Whether clients need a certificate too."""
        return len(self._files) > 2

    def seconds_left(self) -> float:
        """Return how long the certificate is good still; below 0 when it has ended."""
        return (self._newest().expires - datetime.now(UTC)).total_seconds()

    def credentials(self) -> grpc.ServerCredentials:
        """Return what an address is served with."""
        loaded = self._newest()
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(loaded),
            self.renewals(loaded),  # type: ignore[arg-type]  # gRPC takes None for "as before", its stubs forget it
            require_client_authentication=self.asks_clients,
        )

    def renewals(self, given: _Loaded | None = None) -> Renewals:
        """Return what tells one address, for each new connection, whether files are other ones by now.

        It says None while they are not, and not the same once more: what gRPC is given replaces what other
        connections use in that moment, and many handshakes at once would bring the process down. It never
        raises, or gRPC would refuse the connection.
        """
        shown = given or self._newest()

        def renewed() -> grpc.ServerCertificateConfiguration | None:
            nonlocal shown
            newest = self._newest()
            if newest is shown:
                return None
            shown = newest
            return self._configuration(newest)

        return renewed

    def _newest(self) -> _Loaded:
        """Return what the files hold now, or held when they were of use last."""
        with self._lock:
            stamps = self._stamps()
            if stamps != self._seen:
                self._seen = stamps  # one that is no use is told once, and looked at again when it changes
                before = self._loaded
                # Each by itself: who is shut out by another authority stays out, whatever the certificate is.
                for load in (self._with_certificate, self._with_authority):
                    try:
                        self._loaded = load(self._loaded)
                    except TlsError as error:
                        log.error("tls.not_reloaded error=%s", error)
                if self._loaded == before:
                    self._loaded = before  # the very same: nothing is to be replaced
                else:
                    log.info("tls.reloaded expires=%s", self._loaded.expires.isoformat())
            return self._loaded

    def _stamps(self) -> list[_Stamp | None]:
        """Return what differs for files that were written anew; None for one that is not there now."""
        return [_stamp(file) for file in self._files]

    def _with_certificate(self, loaded: _Loaded) -> _Loaded:
        certificate, key = (_bytes_of(file) for file in self._files[:2])
        expires = _checked(self._files[0], certificate, self._files[1], key)
        if expires - datetime.now(UTC) < _SOON:
            log.warning("tls.certificate_ends_soon file=%s expires=%s", self._files[0], expires.isoformat())
        return replace(loaded, certificate=certificate, key=key, expires=expires)

    def _with_authority(self, loaded: _Loaded) -> _Loaded:
        if not self.asks_clients:
            return loaded
        authority = _bytes_of(self._files[2])
        _certificates(self._files[2], authority)
        return replace(loaded, client_ca=authority)

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
    if first.not_valid_before_utc > datetime.now(UTC):
        raise TlsError(
            f"The certificate in {certificate_file} begins on {first.not_valid_before_utc:%Y-%m-%d} and no "
            "client takes it before: look at the clocks of both machines, or use another one until then."
        )
    return first.not_valid_after_utc
