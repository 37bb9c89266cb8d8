"""Which addresses the server fetches from: the wall against requests that others forge with it.

    text → parse → an http(s) URL without credentials or odd host
    host → look_up → addresses of one look-up, each of them allowed → connections.py connects to exactly these

Refused are all addresses that are not public: private, loopback, link-local, shared (CGNAT), multicast,
reserved, translated ones that stand for such (IPv4-mapped, NAT64), 6to4 and Teredo, and those under which
clouds tell machines their secrets. `import_private_networks` allows networks; an address of a cloud's secrets
only by itself.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Protocol

import httpx2

from ingot.content.texts import shortened
from ingot.server.core.errors import Denied, FieldProblem, Invalid, NotFound, Reason, Unavailable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 8192  # characters
PORTS = {"http": 80, "https": 443}

# The registries of special addresses of IANA; what the standard library knows of them depends on its version.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        *("::/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:db8::/32", "2002::/16"),
        *("2620:4f:8000::/48", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")  # IPv4-translated, RFC 2765
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # most clouds
        "169.254.170.2",  # containers of AWS
        "169.254.170.23",
        "100.100.100.200",  # Alibaba
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",
        "fd20:ce::254",  # Google
    )
)
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_HOST = re.compile(
    r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?"
)


class Resolver(Protocol):
    """Where names become addresses."""

    def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of `host`, the best first. Raises socket.gaierror."""
        ...


class SystemResolver:
    """The resolver of the machine."""

    def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of `host`, the best first. Raises socket.gaierror."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        return list(dict.fromkeys(str(each[4][0]) for each in found))


def parse(text: str) -> httpx2.URL:
    """Return a URL that may be fetched, as far as its text tells. Raises Invalid, Denied."""
    if len(text) > MAX_URL:
        raise _bad(text, f"it is {len(text)} characters long, at most {MAX_URL} are allowed")
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise _bad(text, str(error)) from error
    if len(str(url)) > MAX_URL:  # letters that are not ASCII are sent as six signs and more
        raise _bad(text, f"it is sent as {len(str(url))} characters, at most {MAX_URL} are allowed")
    if url.scheme not in PORTS:
        raise _bad(text, f"its scheme is {shortened(url.scheme)!r}")
    if url.userinfo:
        raise _bad(text, "it holds credentials; keep them with SetCredential instead")
    if url.port == 0 or (url.port or 1) > 65535:
        raise _bad(text, f"its port is {url.port}")
    host = url.raw_host.decode("ascii")
    if ":" in host:
        _literal(text, host)
    elif not _HOST.fullmatch(host) or len(host) > 253:
        raise _bad(text, f"{shortened(host)!r} is no name of a host")
    elif _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        _literal(text, host)  # else 0x7f.1 and 2130706433 would be 127.0.0.1
    return url


def shown(url: httpx2.URL | str) -> str:
    """Return a URL as it may be shown and stored: its query and its credentials may be secrets."""
    try:
        parsed = httpx2.URL(url).copy_with(query=None, fragment=None, userinfo=b"")
    except httpx2.InvalidURL:
        return "(a text that is no URL)"  # whatever it is, it may be a secret
    return str(parsed)


def named(url: httpx2.URL | str) -> str:
    """Return a URL as messages name it: as it may be shown, and not too long."""
    return shortened(shown(url))


@dataclass(frozen=True, slots=True)
class Addresses:
    """What may be connected to; `networks` are allowed although they are not public.

    `hosts` may have any address: whoever runs the server named them in its settings. Nobody else may.
    """

    networks: tuple[Network, ...] = ()
    resolver: Resolver = field(default_factory=SystemResolver)
    hosts: frozenset[str] = frozenset()

    def look_up(self, host: str, port: int) -> list[str]:
        """Return all addresses of `host`, the best first, once every one of them is allowed.

        Raises Denied (SOURCE_ADDRESS_REFUSED); NotFound when there is no such host; Unavailable when nobody
        can tell.
        """
        try:
            found = self.resolver.resolve(host, port)
        except socket.gaierror as error:
            raise _unknown(host, error) from error
        if not found:
            raise _unknown(host, socket.gaierror(socket.EAI_NONAME, "no address"))
        for text in found if host.lower() not in self.hosts else ():
            self.check(host, text)
        return found

    def check(self, host: str, text: str) -> None:
        """Refuse an address that is not public, unless it is allowed. Raises Denied."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise _refused(host, text, "is no plain IP address") from None
        for each in _meanings(address):
            if each in _METADATA and ipaddress.ip_network(each) not in self.networks:
                raise _refused(host, text, "is where a cloud tells machines their secrets")
            if any(each in network for network in self.networks):
                continue
            if any(each in network for network in _NOT_PUBLIC) or each.is_multicast or not _is_global(each):
                raise _refused(host, text, "is not public")

    def allows_in_the_clear(self, text: str) -> bool:
        """Return whether `text` is an allowed address, not a name, where secrets may go without TLS."""
        try:
            meanings = _meanings(ipaddress.ip_address(text))
        except ValueError:
            return False
        return text in self.hosts or all(
            any(each in network for network in self.networks) for each in meanings
        )


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return networks such as 10.0.0.0/8, or single addresses. Raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts if text)


def _meanings(address: Address) -> tuple[Address, ...]:
    """Return an address and the one that it stands for, if it does."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return (address.ipv4_mapped,)
        if address in _NAT64 or address in _TRANSLATED:
            return address, IPv4Address(int(address) & 0xFFFFFFFF)
    return (address,)


def _is_global(address: Address) -> bool:
    # The standard library counts NAT64 as global or not, by its version; what it stands for decides.
    return address.is_global or (isinstance(address, IPv6Address) and address in _NAT64)


def _literal(text: str, host: str) -> None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise _bad(text, f"{shortened(host)!r} is no plain IP address") from None
    if isinstance(address, IPv6Address) and address.scope_id:
        raise _bad(text, f"{shortened(host)!r} names an interface of this machine")


def _bad(text: str, why: str) -> Invalid:
    url = named(text)
    message = f"The URL {url!r} cannot be fetched: {why}."
    return Invalid(
        Reason.FIELD_INVALID,
        message,
        next_step="Give a URL such as https://example.com/data.jsonl.",
        facts={"url": url},
        fields=(FieldProblem("urls", message),),
    )


def _refused(host: str, address: str, why: str) -> Denied:
    return Denied(
        Reason.SOURCE_ADDRESS_REFUSED,
        f"{host} has the address {address}, which {why}; the server does not fetch from there.",
        next_step="If it is meant, add its network to import_private_networks in the settings of the server.",
        facts={"host": host, "address": address},
    )


def _unknown(host: str, error: socket.gaierror) -> NotFound | Unavailable:
    facts = {"host": host, "cause": "dns"}
    if error.errno == socket.EAI_NONAME:
        return NotFound(
            Reason.SOURCE_NOT_FOUND,
            f"There is no host {host}: the name has no address.",
            next_step="Check the spelling of the URL, and whether the server has a network.",
            facts=facts,
        )
    return Unavailable(
        Reason.SOURCE_UNREACHABLE,
        f"The address of {host} could not be found out: {error.strerror}.",
        next_step="Check the network and the name server of the server, then retry.",
        facts=facts,
    )
