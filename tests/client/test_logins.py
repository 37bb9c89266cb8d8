"""Signing in with a password through the SDK: tokens renew themselves, also where programs share a login."""

import pathlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
import trustme

from helpers.servers import Server, running_server
from ingot.client import Client, TlsFiles
from ingot.client import _contexts as contexts
from ingot.client._contexts import Context
from ingot.client._errors import Denied, IngotError, LimitReached, Unauthenticated, Unreachable
from ingot.client._logins import ContextKeeper, Login, LoginTokens, MemoryKeeper, exchange_over, kept
from ingot.client._streams import ChunkSource
from ingot.content import digests
from ingot.v1 import auth_pb2 as pb
from ingot.v1 import catalog_pb2, transfer_pb2

PASSWORD = "correct horse battery"
PACE = threading.Event()  # never set: who waits for it asks fifty times a second, not as often as possible


@pytest.fixture
def environ(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("INGOT_TOKEN", raising=False)
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # Three seconds of life, of which half is used: tokens are renewed all the time.
    with running_server(tmp_path_factory.mktemp("logins"), login_minutes=3 / 60) as running:
        running.token("sara")
        running.admin.auth.ChangePassword(pb.ChangePasswordRequest(name="users/sara", new_password=PASSWORD))
        yield running


def test_a_client_signs_in_and_goes_on_as_long_as_it_likes(server: Server, environ: dict[str, str]) -> None:
    with Client(server.address, "") as client:
        with pytest.raises(Unauthenticated):
            client.auth.me()
        assert client.auth.login("sara", PASSWORD).user.name == "users/sara"
        first = client.auth.me().token
        until = time.monotonic() + 3.5
        tokens = set[str]()
        while not PACE.wait(0.02) and (time.monotonic() < until or len(tokens) < 2):
            assert client.auth.me().principal == "users/sara"
            tokens.add(client._link.signed_in.token())
        assert client.auth.me().token == first  # all of one login
        assert client.with_timeout(50).auth.me().principal == "users/sara"
        assert client.auth.logout().ended_logins == 1
        with pytest.raises(Unauthenticated) as caught:
            client.auth.me()
        assert "ingot login" in caught.value.next_step


def test_programs_that_share_a_login_take_turns(server: Server, environ: dict[str, str]) -> None:
    with Client(server.address, "") as client:
        tokens = LoginTokens.of(client.auth.login("sara", PASSWORD))
    context = kept(Context("home", server.address), tokens)
    contexts.load_contexts().with_context(context).save()
    failures: list[IngotError] = []

    def renewed() -> bool:
        current = contexts.load_contexts().current
        return current is not None and current.token != tokens.access

    def work() -> None:
        try:
            with Client() as client:
                until = time.monotonic() + 3.5
                while not PACE.wait(0.02) and (time.monotonic() < until or not renewed()):
                    assert client.auth.me().principal == "users/sara"
        except IngotError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    now = contexts.load_contexts().current
    assert now is not None
    assert now.token != tokens.access
    assert now.refresh_token != tokens.refresh
    assert contexts.load_contexts().path.stat().st_mode & 0o777 == 0o600
    assert tokens.access not in repr(now) + repr(tokens)


def test_wrong_passwords_and_locks_are_typed(tmp_path: pathlib.Path, environ: dict[str, str]) -> None:
    with running_server(tmp_path) as server, Client(server.address, "") as client:
        for _ in range(5):
            with pytest.raises(Unauthenticated) as wrong:
                client.auth.login("nobody", "wrong password")
            assert wrong.value.reason == "LOGIN_FAILED"
        with pytest.raises(LimitReached) as locked:
            client.auth.login("nobody", "wrong password")
        assert locked.value.reason == "LOGIN_LOCKED"
        assert locked.value.retry_after is not None
        assert 0 < locked.value.retry_after <= 10


def test_a_password_is_never_sent_in_the_clear(environ: dict[str, str]) -> None:
    with Client("http://192.0.2.1:7070", "") as client, pytest.raises(Denied) as caught:
        client.auth.login("sara", PASSWORD)
    assert caught.value.reason == "TLS_REQUIRED"


def test_a_token_that_is_refused_is_replaced_also_for_a_stream(
    server: Server, environ: dict[str, str]
) -> None:
    """As after this machine's clock was set back: the token looks good here, and is over there."""
    (file := server.folder / "words.txt").write_text("some words")
    with Client(server.address, "", namespace="sara") as client:
        client.auth.login("sara", PASSWORD)
        client.push("datasets/words", file)
        tokens = LoginTokens.of(client.auth.login("sara", PASSWORD))
        exchange = exchange_over(client._link)
        for work in (client.auth.me, lambda: b"".join(client.read("datasets/words:words.txt"))):
            tokens = replace(tokens, access="eyJ.over.there", renew_time=time.time() + 1000)
            keeper = MemoryKeeper(tokens)
            client._link.signed_in.become(Login(keeper, exchange))
            assert work()
            with keeper.taking() as tokens:
                assert tokens.access != "eyJ.over.there"


def test_a_token_that_is_refused_is_replaced_also_for_what_a_push_sends(
    server: Server, environ: dict[str, str]
) -> None:
    (file := server.folder / "sent.txt").write_bytes(b"some bytes to send")
    target = transfer_pb2.NewVersion(
        artifact="namespaces/sara/datasets/sent", create=catalog_pb2.Artifact(), version_id="1"
    )
    with Client(server.address, "", namespace="sara") as client:
        client.auth.login("sara", PASSWORD)
        with client.uploads.open(target) as upload:
            tokens = LoginTokens.of(client.auth.login("sara", PASSWORD))
            tokens = replace(tokens, access="eyJ.over.there", renew_time=time.time() + 1000)
            client._link.signed_in.become(Login(MemoryKeeper(tokens), exchange_over(client._link)))
            digest = digests.chunk_digest(file.read_bytes())
            upload._sender.add([ChunkSource(str(file), 0, file.stat().st_size, digest)])
            upload._sender.finish()
            assert client.uploads.get(upload.name).stored_bytes == file.stat().st_size


@dataclass(slots=True)
class Exchange:
    """Gives numbered tokens for the newest refresh token, and refuses any other."""

    seconds: float = 100.0
    used: list[str] = field(default_factory=list)

    def __call__(self, refresh: str) -> LoginTokens:
        if refresh != f"refresh-{len(self.used)}":
            raise Unauthenticated("The login has ended.", reason="TOKEN_INVALID")
        self.used.append(refresh)
        number = len(self.used)
        return LoginTokens(f"access-{number}", f"refresh-{number}", time.time() + self.seconds)


def test_a_token_is_replaced_in_time_and_when_it_is_refused() -> None:
    exchange = Exchange()
    login = Login(MemoryKeeper(LoginTokens("access-0", "refresh-0", time.time() + 100)), exchange)
    assert (login.token(), exchange.used) == ("access-0", [])
    assert login.renewed("access-0")
    assert login.renewed("access-0")  # another thread was faster: nothing is used up
    assert (login.token(), len(exchange.used)) == ("access-1", 1)
    exchange.seconds = -1
    login.renewed("access-1")
    assert login.token() == "access-3"  # what is kept is over already


def test_a_login_that_another_program_renewed_is_read_from_the_file(environ: dict[str, str]) -> None:
    tokens = LoginTokens("access-0", "refresh-0", time.time() - 1)
    contexts.load_contexts().with_context(kept(Context("home", "unix:/x"), tokens)).save()
    exchange = Exchange()
    first, second = (Login(ContextKeeper("home"), exchange) for _ in range(2))
    assert first.token() == second.token() == "access-1"
    assert first.renewed("access-1")
    assert second.renewed("access-1")
    assert second.token() == "access-2"
    assert len(exchange.used) == 2
    contexts.load_contexts().without("home").save()
    with pytest.raises(Unauthenticated, match="Signed out of 'home'"):
        first.renewed("access-2")


def test_tls_with_an_authority_and_a_certificate_of_ones_own(
    tmp_path: pathlib.Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def write(name: str, host: str) -> None:
        issued = authority.issue_cert(host)
        issued.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        (tmp_path / f"{name}.pem").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))

    write("server", "127.0.0.1")
    write("me", "me.example")
    ca, mine = str(tmp_path / "ca.pem"), (str(tmp_path / "me.pem"), str(tmp_path / "me.key"))
    with running_server(
        tmp_path,
        listen=("127.0.0.1:0",),
        tls_cert=tmp_path / "server.pem",
        tls_key=tmp_path / "server.key",
        tls_client_ca=tmp_path / "ca.pem",
    ) as server:
        address, token = f"https://{server.app.addresses[0]}", server.admin_token
        with Client(address, token, tls=TlsFiles(ca, *mine)) as client:
            assert client.auth.me().principal == "users/admin"
        with Client(address, token, tls=TlsFiles(ca), timeout=100) as client, pytest.raises(Unreachable):
            client.auth.me()
        with (
            Client(address, token, timeout=100) as client,
            pytest.raises(Unreachable, match="not from an authority that is trusted here"),
        ):
            client.auth.me()
        monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", ca)  # an authority of the system
        with Client(address, token, tls=TlsFiles("", *mine)) as client:
            assert client.auth.me().principal == "users/admin"
        monkeypatch.delenv("SSL_CERT_FILE")
        monkeypatch.setenv("INGOT_CA_FILE", ca)
        monkeypatch.setenv("INGOT_CERT_FILE", mine[0])
        monkeypatch.setenv("INGOT_KEY_FILE", mine[1])
        with Client(address, token) as client:
            assert client.auth.me().principal == "users/admin"
        contexts.load_contexts().with_context(
            Context("home", address, token, ca_file=ca, cert_file=mine[0], key_file=mine[1])
        ).save()
        for name in ("INGOT_CA_FILE", "INGOT_CERT_FILE", "INGOT_KEY_FILE"):
            monkeypatch.delenv(name)
        with Client() as client:
            assert client.auth.me().principal == "users/admin"
        write("server", "elsewhere.example")
        with (
            Client(timeout=100) as client,
            pytest.raises(Unreachable, match="its certificate is for another name"),
        ):
            client.auth.me()


def test_the_server_on_this_machine_is_found_whatever_it_speaks(
    tmp_path: pathlib.Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingot.server import cli

    data = tmp_path / "data"
    assert cli.main(["certs", "--data", str(data)]) == 0
    monkeypatch.setenv("INGOT_DATA_DIR", str(data))
    certs = data / "certs"
    with running_server(
        tmp_path, listen=("127.0.0.1:0",), tls_cert=certs / "server.pem", tls_key=certs / "server.key"
    ) as server:
        with Client(server.app.addresses[0]) as client:
            assert client.endpoint.tls
            assert client.auth.me().principal == "users/admin"
        with Client() as client:
            assert client.endpoint.target.startswith("unix:")
            assert client.auth.me().principal == "users/admin"
