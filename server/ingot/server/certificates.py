"""A small certificate authority: one for the servers, workers and people of one place.

    authority = Authority.of(folder)                      the one kept there, else a new one
    write(folder, "server", authority.for_server(["ingot.example", "192.0.2.7"], days=365))
    write(folder, "client-sara", authority.for_client("sara", days=365))

Keys are P-256, files PEM, keys readable by their owner alone. Its certificate goes to whoever connects; its
key signs more and belongs somewhere safe.
"""

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY = "ca"
_AUTHORITY_DAYS = 3650
_BACKDATED = timedelta(hours=1)  # for clocks that run behind


class CertificateError(Exception):
    """A certificate cannot be made; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Authority:
    """Signs certificates."""

    def __init__(self, own: Issued) -> None:
        self._own = own

    @classmethod
    def of(cls, folder: Path) -> "Authority":
        """Return the authority kept in a folder; one is made where there is none. Raises CertificateError."""
        certificate, key = folder / f"{AUTHORITY}.pem", folder / f"{AUTHORITY}.key"
        if not certificate.exists() and not key.exists():
            made = _authority()
            write(folder, AUTHORITY, made)
            return cls(made)
        try:
            private = serialization.load_pem_private_key(key.read_bytes(), None)
            found = x509.load_pem_x509_certificate(certificate.read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise CertificateError(
                f"The authority in {folder} cannot be used: {error}. Bring {certificate.name} and {key.name} "
                "back, or choose an empty folder with --out."
            ) from error
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != found.public_key():
            raise CertificateError(f"{key} is not the key of {certificate}: bring the right one back.")
        return cls(Issued(found, private))

    def for_server(self, hosts: Sequence[str], days: int) -> Issued:
        """Return a certificate for a server that is reached by these names and addresses."""
        names = [_host(host) for host in hosts]
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        return self._signed(hosts[0], days, usage, x509.SubjectAlternativeName(names))

    def for_client(self, name: str, days: int) -> Issued:
        """Return a certificate with which a client called so may connect."""
        return self._signed(name, days, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def _signed(
        self,
        name: str,
        days: int,
        usage: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        own = self._own.certificate
        now = datetime.now(UTC)
        ends = min(now + timedelta(days=days), own.not_valid_after_utc)
        builder = (
            _builder(name, own.subject, key.public_key(), now, ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._own.key.public_key()), critical=False
            )
        )
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        return Issued(builder.sign(self._own.key, hashes.SHA256()), key)


def write(folder: Path, name: str, issued: Issued) -> tuple[Path, Path]:
    """Write certificate and key, replacing earlier ones; return their paths. Raises CertificateError."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _put(key, issued.key.private_bytes(serialization.Encoding.PEM, form, plain), 0o600)
        _put(certificate, issued.certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    except OSError as error:
        raise CertificateError(f"{folder} cannot be written to: {error.strerror}.") from error
    return certificate, key


def _authority() -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ingot authority")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    ends = now + timedelta(days=_AUTHORITY_DAYS)
    builder = (
        _builder("Ingot authority", subject, key.public_key(), now, ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    return Issued(builder.sign(key, hashes.SHA256()), key)


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    if not text or any(each.isspace() or each in "/:,@" for each in text):
        words = f"--host: expected one name or address, without https:// and port, got {text!r}."
        raise CertificateError(words)
    try:
        return x509.DNSName(text)
    except ValueError:
        raise CertificateError(
            f"--host: expected a name in ASCII or an address, got {text!r}. A name in another script is "
            "written in its xn-- form."
        ) from None


def _put(path: Path, content: bytes, mode: int) -> None:
    """Write a file in one step; nobody ever sees half of it, nor a key that others may read."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
