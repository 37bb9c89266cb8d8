"""Where calls come from, as addresses are told and counted."""

import ipaddress

LOCAL = "local"  # the unix socket: who reaches it owns the data folder
_NETWORK_BITS = 64  # of an IPv6 address: whoever has one has all of its network


def is_loopback(address: str) -> bool:
    """Return whether an address, or the unix socket, is of this machine alone."""
    if address == LOCAL:
        return True
    found = ipaddress.ip_address(address.partition("%")[0])
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def network_of(address: str) -> str:
    """Return what is counted as one place: an IPv4 address, or the network of an IPv6 address.

    Counting addresses of IPv6 would give everybody as many counts as they like.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4 or found.ipv4_mapped or found.is_loopback:
        return address
    return str(ipaddress.ip_network((int(found), _NETWORK_BITS), strict=False))
