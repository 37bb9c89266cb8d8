"""Which addresses are fetched from: public ones, and those that the settings allow."""

import socket

import pytest

from helpers.fetching import Names
from ingot.server.core.errors import Denied, Invalid, NotFound, Reason, Unavailable
from ingot.server.sources.addresses import Addresses, SystemResolver, parse, parse_networks, shown

PUBLIC = ("93.184.216.34", "8.8.8.8", "2606:4700::1111", "2001:4860:4860::8888", "64:ff9b::808:808")
REFUSED = {
    "this host": "0.0.0.0",
    "private 10": "10.1.2.3",
    "private 172": "172.31.255.255",
    "private 192": "192.168.0.1",
    "shared (CGNAT)": "100.64.0.1",
    "loopback": "127.0.0.1",
    "loopback, other": "127.255.255.254",
    "link-local": "169.254.1.1",
    "metadata": "169.254.169.254",
    "metadata of Azure, public": "168.63.129.16",
    "metadata of Alibaba": "100.100.100.200",
    "protocol assignments": "192.0.0.192",
    "documentation": "192.0.2.1",
    "6to4 relay": "192.88.99.1",
    "benchmarks": "198.18.0.1",
    "multicast": "224.0.0.1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "IPv6 unspecified": "::",
    "IPv6 loopback": "::1",
    "IPv4-mapped loopback": "::ffff:127.0.0.1",
    "IPv4-mapped in hex": "::ffff:7f00:1",
    "IPv4-compatible": "::7f00:1",
    "IPv4-translated": "::ffff:0:7f00:1",
    "NAT64 of loopback": "64:ff9b::7f00:1",
    "NAT64 of metadata": "64:ff9b::a9fe:a9fe",
    "NAT64, local": "64:ff9b:1::1",
    "6to4 of a private address": "2002:a00:1::",
    "Teredo": "2001:0:1::1",
    "unique local": "fd12:3456::1",
    "metadata of AWS": "fd00:ec2::254",
    "IPv6 link-local": "fe80::1",
    "site-local": "fec0::1",
    "IPv6 multicast": "ff02::1",
    "IPv6 documentation": "2001:db8::1",
    "discard": "100::1",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_fetched_from(address: str) -> None:
    addresses = Addresses((), Names({"example.com": [[address]]}))
    assert addresses.look_up("example.com", 443) == [address]


@pytest.mark.parametrize("address", REFUSED.values(), ids=REFUSED.keys())
def test_other_addresses_are_refused_however_they_are_written(address: str) -> None:
    addresses = Addresses((), Names({"innocent.example": [["93.184.216.34", address]]}))
    with pytest.raises(Denied, match="does not fetch from there") as error:
        addresses.look_up("innocent.example", 80)
    assert error.value.reason is Reason.SOURCE_ADDRESS_REFUSED
    assert error.value.facts == {"host": "innocent.example", "address": address}
    assert "import_private_networks" in error.value.next_step


def test_settings_allow_networks_but_no_metadata_by_the_way() -> None:
    addresses = Addresses(parse_networks(["10.0.0.0/8", "169.254.0.0/16", "168.63.129.16", "::1"]))
    for allowed in ("10.1.2.3", "::ffff:10.1.2.3", "169.254.1.1", "168.63.129.16", "::1"):
        addresses.check("host", allowed)
    for refused in ("169.254.169.254", "::ffff:169.254.169.254", "192.168.0.1", "127.0.0.1"):
        with pytest.raises(Denied):
            addresses.check("host", refused)


def test_secrets_go_in_the_clear_only_to_addresses_that_are_allowed() -> None:
    addresses = Addresses(parse_networks(["127.0.0.0/8"]))
    assert addresses.allows_in_the_clear("127.0.0.1")
    assert not addresses.allows_in_the_clear("93.184.216.34")
    assert not addresses.allows_in_the_clear("example.com")


GOOD_URLS = (
    "http://example.com/a",
    "https://example.com:8443/a?b=c#d",
    "HTTPS://EXAMPLE.COM/",
    "http://93.184.216.34/x",
    "http://[2606:4700::1111]/x",
    "https://bücher.example/x",
    "https://my_bucket.s3.example.com/x",
)
BAD_URLS = {
    "no scheme": "example.com/a",
    "file": "file:///etc/passwd",
    "ftp": "ftp://example.com/a",
    "gopher": "gopher://127.0.0.1:6379/_INFO",
    "no host": "http:///a",
    "credentials": "https://user:hunter2@example.com/a",
    "user only": "https://user@example.com/a",
    "decimal": "http://2130706433/",
    "hex": "http://0x7f000001/",
    "hex part": "http://0x7f.0.0.1/",
    "octal": "http://0177.0.0.1/",
    "short": "http://127.1/",
    "short, public": "http://8.8/",
    "full-width digits": "http://１２７.0.0.1/",
    "zone": "http://[fe80::1%25eth0]/",
    "newline": "http://example.com/\r\nHost: evil",
    "backslash": "http://example.com\\@evil.example/",
    "space in the host": "http://exa mple.com/",
    "bad port": "http://example.com:99999/",
    "port 0": "http://example.com:0/",
    "empty label": "http://example..com/",
    "too long": "http://example.com/" + "a" * 9000,
    "too long when sent": "http://example.com/" + "\U0001f4a9" * 6000,
}


@pytest.mark.parametrize("text", GOOD_URLS)
def test_plain_urls_are_taken(text: str) -> None:
    assert parse(text).scheme in ("http", "https")


@pytest.mark.parametrize("text", BAD_URLS.values(), ids=BAD_URLS.keys())
def test_odd_urls_are_refused_without_telling_their_secrets(text: str) -> None:
    with pytest.raises(Invalid, match="cannot be fetched") as error:
        parse(text)
    assert error.value.reason is Reason.FIELD_INVALID
    assert "hunter2" not in error.value.message


def test_what_is_shown_of_a_url_has_no_secrets() -> None:
    assert shown("https://user:pw@example.com:8443/a/b?token=x#y") == "https://example.com:8443/a/b"
    assert "secret" not in shown("http://exa mple/\x00secret")


def test_a_name_without_address_and_a_resolver_without_answer_are_told_apart() -> None:
    with pytest.raises(NotFound, match=r"There is no host nowhere\.example") as missing:
        Addresses((), Names({})).look_up("nowhere.example", 80)
    assert (missing.value.reason, missing.value.facts["cause"]) == (Reason.SOURCE_NOT_FOUND, "dns")

    class Down:
        def resolve(self, host: str, port: int) -> list[str]:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with pytest.raises(Unavailable, match="could not be found out: Temporary") as down:
        Addresses((), Down()).look_up("example.com", 80)
    assert (down.value.reason, down.value.facts["cause"]) == (Reason.SOURCE_UNREACHABLE, "dns")


def test_the_system_resolver_knows_literals_and_this_machine() -> None:
    assert SystemResolver().resolve("127.0.0.1", 80) == ["127.0.0.1"]
    assert set(SystemResolver().resolve("localhost", 80)) <= {"127.0.0.1", "::1"}
