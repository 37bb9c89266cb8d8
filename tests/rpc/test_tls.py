"""TLS of the addresses: real handshakes, renewed certificates, clients with certificates, and secrets."""

import contextlib
import datetime
import socket
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import trustme

from helpers.eventually import eventually
from helpers.servers import running_server
from helpers.transfers import refused
from ingot.server import certificates
from ingot.server.certificates import Authority, Issued
from ingot.server.rpc import calls, methods
from ingot.server.rpc.tls import Tls, TlsError
from ingot.v1 import auth_pb2, auth_pb2_grpc, system_pb2, system_pb2_grpc

INFO = system_pb2.GetServerInfoRequest()
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> tuple[Path, Path]:
    return written(tmp_path, authority.issue_cert("localhost", "127.0.0.1"))


def written(folder: Path, issued: trustme.LeafCert) -> tuple[Path, Path]:
    certificate, key = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return certificate, key


@contextlib.contextmanager
def dialled(address: str, credentials: grpc.ChannelCredentials | None) -> Iterator[grpc.Channel]:
    """Open a connection of its own, plain without credentials."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    if credentials is None:
        channel = grpc.insecure_channel(address, options=options)
    else:
        channel = grpc.secure_channel(address, credentials, options=options)
    with contextlib.closing(channel):
        yield channel


def trusting(authority: trustme.CA, client: trustme.LeafCert | None = None) -> grpc.ChannelCredentials:
    if client is None:
        return grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    chain = b"".join(each.bytes() for each in client.cert_chain_pems)
    return grpc.ssl_channel_credentials(authority.cert_pem.bytes(), client.private_key_pem.bytes(), chain)


def version(channel: grpc.Channel) -> str:
    return str(system_pb2_grpc.SystemServiceStub(channel).GetServerInfo(INFO, timeout=100).version)


def unreachable(channel: grpc.Channel) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        version(channel)
    assert caught.value.code() is UNAVAILABLE
    return str(caught.value.details())


def test_addresses_speak_tls_and_nothing_else(
    tmp_path: Path, authority: trustme.CA, files: tuple[Path, Path]
) -> None:
    with running_server(tmp_path, listen=("127.0.0.1:0",), tls_cert=files[0], tls_key=files[1]) as server:
        address = server.app.addresses[0]
        with dialled(address, trusting(authority)) as channel:
            assert version(channel)
            stub = auth_pb2_grpc.AuthServiceStub(channel)
            metadata = (("authorization", f"Bearer {server.admin_token}"),)
            assert stub.GetMe(auth_pb2.GetMeRequest(), metadata=metadata).user.name == "users/admin"
        health = server.admin.system.GetHealth(system_pb2.GetHealthRequest())
        told = {part.name: part for part in health.parts}["tls"]
        assert told.status == system_pb2.HEALTH_STATUS_HEALTHY
        with dialled(address, None) as channel:
            unreachable(channel)
        with dialled(address, trusting(trustme.CA())) as channel:
            assert "CERTIFICATE_VERIFY_FAILED" in unreachable(channel)
        assert server.stubs().system.GetServerInfo(INFO).version  # the unix socket stays plain


def test_a_renewed_certificate_is_used_without_a_restart(
    tmp_path: Path, authority: trustme.CA, files: tuple[Path, Path]
) -> None:
    other = trustme.CA(key_type=trustme.KeyType.ECDSA)
    with running_server(tmp_path, listen=("127.0.0.1:0",), tls_cert=files[0], tls_key=files[1]) as server:
        address = server.app.addresses[0]
        with dialled(address, trusting(authority)) as before:
            assert version(before)
            # Half of the renewal, and nonsense, change nothing.
            renewed = other.issue_cert("127.0.0.1")
            files[0].write_bytes(renewed.cert_chain_pems[0].bytes())
            for _ in range(2):
                with dialled(address, trusting(authority)) as channel:
                    assert version(channel)
            files[0].write_text("not a certificate")
            with dialled(address, trusting(authority)) as channel:
                assert version(channel)
            files[0].unlink()
            with dialled(address, trusting(authority)) as channel:
                assert version(channel)
            written(tmp_path, renewed)
            with dialled(address, trusting(other)) as channel:
                assert version(channel)
            with dialled(address, trusting(authority)) as channel:
                unreachable(channel)
            assert version(before)  # connections that are open stay open


def test_clients_need_a_certificate_where_an_authority_is_set(
    tmp_path: Path, authority: trustme.CA, files: tuple[Path, Path]
) -> None:
    clients = trustme.CA(key_type=trustme.KeyType.ECDSA)
    clients.cert_pem.write_to_path(str(tmp_path / "clients.pem"))
    with running_server(
        tmp_path,
        listen=("127.0.0.1:0",),
        tls_cert=files[0],
        tls_key=files[1],
        tls_client_ca=tmp_path / "clients.pem",
    ) as server:
        address = server.app.addresses[0]
        with dialled(address, trusting(authority, clients.issue_cert("worker-1"))) as channel:
            assert version(channel)
            stub = auth_pb2_grpc.AuthServiceStub(channel)
            with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING"):  # a certificate is no credential
                stub.GetMe(auth_pb2.GetMeRequest())
        now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
        for stranger in (
            None,
            authority.issue_cert("worker-1"),
            trustme.CA().issue_cert("worker-1"),
            clients.issue_cert("worker-1", not_after=now - day),
            clients.issue_cert("worker-1", not_before=now + day),
        ):
            with dialled(address, trusting(authority, stranger)) as channel:
                unreachable(channel)


def test_files_that_are_no_use_are_told_at_the_start(
    tmp_path: Path, authority: trustme.CA, files: tuple[Path, Path]
) -> None:
    certificate, key = files
    with pytest.raises(TlsError, match="cannot be read"):
        Tls(tmp_path / "missing.pem", key)
    with pytest.raises(TlsError, match="holds no certificate"):
        Tls(key, key)
    with pytest.raises(TlsError, match="holds no private key"):
        Tls(certificate, certificate)
    with pytest.raises(TlsError, match="holds no certificate"):
        Tls(certificate, key, key)
    (tmp_path / "other").mkdir()
    other = written(tmp_path / "other", authority.issue_cert("localhost"))
    with pytest.raises(TlsError, match="is not the key of the certificate"):
        Tls(certificate, other[1])
    ended = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    old = written(tmp_path / "other", authority.issue_cert("localhost", not_after=ended))
    with pytest.raises(TlsError, match="ended on"):
        Tls(*old)
    begins = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    early = written(tmp_path / "other", authority.issue_cert("localhost", not_before=begins))
    with pytest.raises(TlsError, match="begins on"):
        Tls(*early)


def test_what_did_not_change_replaces_nothing(
    tmp_path: Path, authority: trustme.CA, files: tuple[Path, Path]
) -> None:
    tls = Tls(*files)
    one, other = tls.renewals(), tls.renewals()  # each of an address of its own
    assert [one(), one(), other()] == [None] * 3
    for file in files:
        file.write_bytes(file.read_bytes())  # other times, the same words
    assert one() is None
    written(tmp_path, authority.issue_cert("localhost"))
    assert [one() is None, one() is None] == [False, True]
    assert [other() is None, other() is None] == [False, True]
    files[0].write_text("not a certificate")
    assert [one(), other()] == [None] * 2


def test_a_flood_of_broken_handshakes_leaves_the_server_alive(
    tmp_path: Path, authority: trustme.CA, files: tuple[Path, Path]
) -> None:
    """Given a new certificate with each connection, many at once brought the whole process down."""
    with running_server(tmp_path, listen=("127.0.0.1:0",), tls_cert=files[0], tls_key=files[1]) as server:
        address = server.app.addresses[0]
        host, _, port = address.rpartition(":")
        for sent in (b"", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256))):
            with contextlib.ExitStack() as stack:
                for _ in range(200):
                    raw = stack.enter_context(socket.create_connection((host, int(port)), timeout=100))
                    raw.sendall(sent)
                with dialled(address, trusting(authority)) as channel:
                    assert version(channel)
        with dialled(address, trusting(authority)) as channel:
            assert version(channel)


@pytest.mark.long
@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01\x00"], ids=["nothing", "half a handshake"])
def test_who_connects_and_says_nothing_is_let_go(
    tmp_path: Path, files: tuple[Path, Path], sent: bytes
) -> None:
    with running_server(tmp_path, listen=("127.0.0.1:0",), tls_cert=files[0], tls_key=files[1]) as server:
        host, _, port = server.app.addresses[0].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=200) as raw:
            raw.sendall(sent)
            assert raw.recv(1) == b""


@pytest.mark.parametrize("spoken", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_old_forms_of_tls_are_not_spoken(
    tmp_path: Path, files: tuple[Path, Path], spoken: ssl.TLSVersion
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = spoken
    with running_server(tmp_path, listen=("127.0.0.1:0",), tls_cert=files[0], tls_key=files[1]) as server:
        host, _, port = server.app.addresses[0].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=100) as raw:
            if spoken is ssl.TLSVersion.TLSv1_1:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    context.wrap_socket(raw)
            else:
                with context.wrap_socket(raw) as protected:
                    assert protected.selected_alpn_protocol() == "h2"


def test_certificates_that_are_not_for_clients_let_nobody_in(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    own, others = Authority.of(folder), Authority.of(tmp_path / "others")
    files = certificates.write(folder, "server", own.for_server(["127.0.0.1"], 30))
    trusted = (folder / "ca.pem").read_bytes()
    (folder / "clients.pem").write_bytes(trusted)

    def shown(name: str, issued: Issued) -> grpc.ChannelCredentials:
        certificate, key = certificates.write(folder, name, issued)
        return grpc.ssl_channel_credentials(trusted, key.read_bytes(), certificate.read_bytes())

    good, theirs = (
        shown("good", own.for_client("worker", 30)),
        shown("theirs", others.for_client("worker", 30)),
    )
    wrong = {
        "a server's": shown("another", own.for_server(["127.0.0.1"], 30)),
        "another authority's with the same names": theirs,
    }
    with running_server(
        tmp_path,
        listen=("127.0.0.1:0",),
        tls_cert=files[0],
        tls_key=files[1],
        tls_client_ca=folder / "clients.pem",
    ) as server:
        address = server.app.addresses[0]
        for credentials in wrong.values():
            with dialled(address, credentials) as channel:
                unreachable(channel)
        with dialled(address, good) as channel:
            assert version(channel)
        # Another authority counts from the next connection on, also beside a certificate that is no use.
        files[0].write_text("not a certificate")
        (folder / "clients.pem").write_bytes((tmp_path / "others" / "ca.pem").read_bytes())
        with dialled(address, good) as channel:
            unreachable(channel)
        with dialled(address, theirs) as channel:
            assert version(channel)


def test_health_warns_before_a_certificate_ends(tmp_path: Path, authority: trustme.CA) -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=10)
    files = written(tmp_path, authority.issue_cert("localhost", not_after=soon))
    with running_server(tmp_path, tls_cert=files[0], tls_key=files[1]) as server:
        health = server.admin.system.GetHealth(system_pb2.GetHealthRequest())
        assert health.status == system_pb2.HEALTH_STATUS_DEGRADED
        told = {part.name: part.message for part in health.parts}["tls"]
        assert "ends in 10.0 days" in told
        written(tmp_path, authority.issue_cert("localhost"))

        def healthy() -> bool:  # also of a disk that is busy for a moment
            found = server.admin.system.GetHealth(system_pb2.GetHealthRequest())
            return found.status == system_pb2.HEALTH_STATUS_HEALTHY

        assert eventually(healthy)


def test_which_connections_keep_a_secret() -> None:
    plain, tls = {"transport_security_type": [b"insecure"]}, {"transport_security_type": [b"ssl"]}
    for address in ("local", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
        assert calls.is_protected(address, plain)
    for address in ("10.0.0.1", "192.0.2.7", "2001:db8::1", "fe80::1%eth0", "::ffff:10.0.0.1", "0.0.0.0"):
        assert not calls.is_protected(address, plain)
        assert not calls.is_protected(address, {})
        assert calls.is_protected(address, tls)


def test_the_calls_that_carry_a_secret_say_so() -> None:
    marked = {method.name for method in methods.all_methods().values() if method.carries_secret}
    assert marked == {"Login", "RefreshLogin", "ChangePassword", "CreateToken", "SetCredential"}


def _own_address() -> str:
    """Return an address of this machine that is not loopback; nothing is sent to find it."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


def test_a_password_is_refused_where_others_could_read_it(tmp_path: Path, authority: trustme.CA) -> None:
    host = _own_address()
    files = written(tmp_path, authority.issue_cert(host))
    login = auth_pb2.LoginRequest(username="sara", password="correct horse battery")
    with (
        running_server(tmp_path, listen=(f"{host}:0",), insecure=True) as server,
        dialled(server.app.addresses[0], None) as channel,
    ):
        stub = auth_pb2_grpc.AuthServiceStub(channel)
        metadata = (("authorization", f"Bearer {server.admin_token}"),)
        with refused(grpc.StatusCode.PERMISSION_DENIED, "TLS_REQUIRED"):
            stub.Login(login)
        with refused(grpc.StatusCode.PERMISSION_DENIED, "TLS_REQUIRED"):
            stub.CreateToken(auth_pb2.CreateTokenRequest(), metadata=metadata)
        stub.GetMe(auth_pb2.GetMeRequest(), metadata=metadata)
    with (
        running_server(tmp_path, listen=(f"{host}:0",), tls_cert=files[0], tls_key=files[1]) as server,
        dialled(server.app.addresses[0], trusting(authority)) as channel,
        refused(grpc.StatusCode.UNAUTHENTICATED, "LOGIN_FAILED"),
    ):
        auth_pb2_grpc.AuthServiceStub(channel).Login(login)
