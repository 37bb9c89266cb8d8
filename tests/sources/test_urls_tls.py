"""https: the certificate is that of the name, whatever address was connected to."""

import gc
import hashlib
import socket
import ssl
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from helpers.eventually import eventually
from helpers.fetching import Names, fetcher
from helpers.url_server import Cut, File, Guarded, Stalled, UrlServer, in_turn, redirect, url_server
from ingot.server.core.errors import Precondition, Reason, Unavailable
from ingot.server.sources.addresses import Addresses
from ingot.server.sources.budgets import WantedFile
from ingot.server.sources.connections import Patience
from ingot.server.sources.hub import Hub

CONTENT = b"protected " * 20_000
NAMES = {"files.example": [["127.0.0.1"]], "other.example": [["127.0.0.1"]]}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[UrlServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("files.example").configure_cert(context)
    with url_server(context) as running:
        yield running


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))


def _fetch(server: UrlServer, target: Path, host: str = "files.example", stall: float = 10.0) -> None:
    with fetcher(
        patience=Patience(stall, 1000), resolver=Names(NAMES), secrets={"files.example": "s3cret"}
    ) as made:
        made.fetch(WantedFile((server.url("/file", host),)), target)


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_the_name_is_trusted_and_a_secret_goes_along(
    server: UrlServer, tmp_path: Path
) -> None:
    server.serve("/file", Guarded("s3cret", File(CONTENT)))
    _fetch(server, tmp_path / "file")
    assert hashlib.sha256((tmp_path / "file").read_bytes()).digest() == hashlib.sha256(CONTENT).digest()


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_name_is_not(server: UrlServer, tmp_path: Path) -> None:
    server.serve("/file", File(CONTENT))
    with pytest.raises(Precondition, match=r"certificate of other.example is not trusted") as error:
        _fetch(server, tmp_path / "file", "other.example")
    assert (error.value.reason, error.value.facts["cause"]) == (Reason.SOURCE_UNREACHABLE, "tls")
    assert server.asked == []


def test_a_certificate_of_an_unknown_authority_is_not(server: UrlServer, tmp_path: Path) -> None:
    server.serve("/file", File(CONTENT))
    with pytest.raises(Precondition, match="is not trusted"):
        _fetch(server, tmp_path / "file")
    assert server.asked == []


def test_a_client_that_left_before_tls_began_leaves_no_socket_open(server: UrlServer) -> None:
    def gone() -> bool:
        try:
            accepted.getpeername()
        except OSError:
            return True
        return False

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = listener.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # with a reset
    with accepted:
        eventually(gone, what="the reset")
        gc.collect()  # what other tests left
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            server.handle(accepted)
            gc.collect()
    told = [str(each.message) for each in warned if each.category is ResourceWarning]
    assert [each for each in told if str(port) in each] == []


def test_a_server_without_tls_is_told(tmp_path: Path) -> None:
    with url_server() as plain, fetcher(resolver=Names(NAMES)) as made:
        url = f"https://files.example:{plain.port}/file"
        with pytest.raises(Unavailable, match="does not speak TLS") as error:
            made.fetch(WantedFile((url,)), tmp_path / "file")
    assert error.value.facts["cause"] == "tls"


@pytest.mark.usefixtures("trusted")
def test_a_redirect_from_https_to_http_is_refused(server: UrlServer, tmp_path: Path) -> None:
    with url_server() as plain:
        server.serve("/file", redirect(plain.serve("/file", File(CONTENT))))
        with pytest.raises(Precondition, match="leads from https to http"):
            _fetch(server, tmp_path / "file")
        assert plain.asked == []


@pytest.mark.usefixtures("trusted")
def test_a_silent_server_is_given_up_behind_tls_too_and_goes_on_where_it_was(
    server: UrlServer, tmp_path: Path
) -> None:
    server.serve(
        "/file",
        in_turn(
            Stalled(CONTENT, '"1"', after=100_000), Cut(CONTENT, '"1"', after=150_000), File(CONTENT, '"1"')
        ),
    )
    _fetch(server, tmp_path / "file", stall=2.0)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [each.start for each in server.asked] == [None, 100_000, 150_000]


@pytest.mark.usefixtures("trusted")
def test_a_hub_that_leads_away_from_tls_is_not_followed(server: UrlServer) -> None:
    hub = Hub(server.url("", "files.example"), addresses=Addresses(resolver=Names(NAMES)))
    server.serve("/api/models/gpt2", redirect(f"http://files.example:{server.port}/api/models/gpt2"))
    with pytest.raises(Precondition, match="nothing protects") as error:
        hub.look_up("gpt2", "model")
    assert (error.value.reason, error.value.facts["cause"]) == (Reason.SOURCE_UNREACHABLE, "redirect")
    assert len(server.asked) == 1
