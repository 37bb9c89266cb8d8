"""Where a client talks to, and that a token never travels in the clear."""

import json
import os
import pathlib

import pytest

from ingot.client import (
    Context,
    Denied,
    Endpoint,
    Invalid,
    NotFound,
    Unauthenticated,
    Unreachable,
    find_endpoint,
    load_contexts,
)
from ingot.client._connection import parse_address


@pytest.mark.parametrize(
    ("text", "target", "tls"),
    [
        ("localhost:7070", "localhost:7070", False),
        ("127.0.0.1", "127.0.0.1:7070", False),
        ("[::1]:9", "[::1]:9", False),
        ("[::1]", "[::1]:7070", False),
        ("ingot.example", "ingot.example:7070", True),
        ("https://ingot.example/", "ingot.example:443", True),
        ("https://localhost:8443", "localhost:8443", True),
        ("http://ingot.example:80", "ingot.example:80", False),
        ("unix:/run/ingot.sock", "unix:/run/ingot.sock", False),
        ("unix:///run/ingot.sock", "unix:/run/ingot.sock", False),
    ],
)
def test_addresses(text: str, target: str, tls: bool) -> None:
    found = parse_address(text, "here")
    assert (found.target, found.tls) == (target, tls)


@pytest.mark.parametrize(
    "text",
    ["", "ftp://x:1", "host:1/path", "a b", "https://user@host:1", ":::", "::1", ":7070", "h:", "unix:"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="Not a server address"):
        parse_address(text, "here")


@pytest.mark.parametrize("port", ["0", "65536", "99999"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(Invalid, match="from 1 to 65535"):
        parse_address(f"127.0.0.1:{port}", "here")
    assert parse_address("127.0.0.1:65535", "here").target == "127.0.0.1:65535"


@pytest.mark.parametrize("token", ["ingot_a\n", "ingot_a\nb", "ingot a", "ingot_é", "\x1b[31m"])
def test_a_token_that_cannot_travel_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        find_endpoint("127.0.0.1:1", None, {"INGOT_TOKEN": token})
    assert caught.value.reason == "TOKEN_INVALID"
    assert "INGOT_TOKEN" in caught.value.next_step
    assert token not in str(caught.value) + caught.value.next_step


@pytest.mark.parametrize("host", ["ingot.example", "10.0.0.1", "localhost.example", "127.0.0.1.example"])
def test_a_token_never_goes_to_a_plaintext_host_that_is_not_loopback(host: str) -> None:
    with pytest.raises(Denied) as caught:
        find_endpoint(f"http://{host}:7070", "secret", {})
    assert caught.value.reason == "TLS_REQUIRED"
    assert "secret" not in str(caught.value) + caught.value.next_step
    assert find_endpoint(f"http://{host}:7070", None, {}).token == ""
    assert find_endpoint(f"https://{host}:7070", "secret", {}).token == "secret"


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(Endpoint("localhost:1", token="secret"))
    assert "secret" not in repr(Context("home", "localhost:1", token="secret"))


def announce(folder: pathlib.Path, **facts: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.json").write_text(json.dumps({"pid": os.getpid(), **facts}))
    (folder / "admin.token").write_text("local-secret\n")


def environment(folder: pathlib.Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_DATA_HOME": str(folder / "data")}


def test_order_argument_variable_context_local_server(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    where = environment(tmp_path)
    with pytest.raises(Unreachable, match="No Ingot server is known"):
        find_endpoint(None, None, where)
    announce(tmp_path / "data" / "ingot", listen=["127.0.0.1:7001"], socket="")
    local = find_endpoint(None, None, where)
    assert (local.target, local.token) == ("127.0.0.1:7001", "local-secret")
    announce(tmp_path / ".run", listen=["0.0.0.0:7002"])
    assert find_endpoint(None, None, where).target == "127.0.0.1:7002"
    load_contexts(where).with_context(Context("home", "home.example:1", "home-secret", "team")).save()
    home = find_endpoint(None, None, where)
    assert (home.target, home.token, home.namespace, home.tls) == (
        "home.example:1",
        "home-secret",
        "team",
        True,
    )
    where["INGOT_SERVER"] = "localhost:7003"
    assert find_endpoint(None, None, where).target == "localhost:7003"
    assert find_endpoint("localhost:7004", None, where).target == "localhost:7004"
    where["INGOT_TOKEN"] = "other"
    assert find_endpoint(None, None, where).token == "other"
    assert find_endpoint(None, "given", where).token == "given"


def test_a_named_server_gets_the_token_that_is_known_for_it(tmp_path: pathlib.Path) -> None:
    where = environment(tmp_path)
    announce(tmp_path / "data" / "ingot", listen=["127.0.0.1:7001"])
    load_contexts(where).with_context(Context("home", "home.example:1", "home-secret")).save()
    assert find_endpoint("127.0.0.1:7001", None, where).token == "local-secret"
    assert find_endpoint("home.example:1", None, where).token == "home-secret"
    assert find_endpoint("127.0.0.1:7009", None, where).token == ""


def test_a_server_that_is_gone_is_not_found(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    where = environment(tmp_path)
    announce(tmp_path / "data" / "ingot", listen=["127.0.0.1:7001"], pid=2**22 + 1)
    with pytest.raises(Unreachable):
        find_endpoint(None, None, where)


def test_contexts_are_kept_for_their_owner_alone(tmp_path: pathlib.Path) -> None:
    where = environment(tmp_path)
    name = 'my "own" server'
    load_contexts(where).with_context(Context(name, "a.example:1", 'tok"en', "team", "/ca.pem")).save()
    load_contexts(where).with_context(Context("b", "b.example:1")).save()
    found = load_contexts(where)
    assert [each.name for each in found.all] == [name, "b"]
    assert found.all[0] == Context(name, "a.example:1", 'tok"en', "team", "/ca.pem")
    assert found.path.stat().st_mode & 0o777 == 0o600
    assert found.using(name).current == found.all[0]
    assert found.without("b").current is None
    with pytest.raises(NotFound, match=r"known: b, my"):
        found.using("c")


def test_a_broken_file_says_where(tmp_path: pathlib.Path) -> None:
    where = environment(tmp_path)
    path = load_contexts(where).path
    path.parent.mkdir(parents=True)
    for text in ("current = ", '[contexts.home]\ntoken = "x"'):
        path.write_text(text)
        with pytest.raises(Invalid, match=r"config\.toml"):
            load_contexts(where)


def test_an_address_that_a_context_knows_is_protected_as_it_says(tmp_path: pathlib.Path) -> None:
    where = {"XDG_CONFIG_HOME": str(tmp_path)}
    kept = Context("home", "https://localhost:7003", "secret", ca_file="/ca.pem")
    load_contexts(where).with_context(kept).save()
    found = find_endpoint("localhost:7003", None, where)
    assert (found.tls, found.ca_file, found.token) == (True, "/ca.pem", "secret")
