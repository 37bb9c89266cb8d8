"""Fetchers for bodies, as the settings of the server want them."""

import contextlib
import socket
import urllib.parse
from collections.abc import Mapping

from ingot.server.bodies.work import Settings, Work
from ingot.server.core import params
from ingot.server.sources import addresses
from ingot.server.sources.addresses import Addresses, Network, SystemResolver
from ingot.server.sources.budgets import Limits
from ingot.server.sources.connections import Attention, Patience
from ingot.server.sources.hub import Hub
from ingot.server.sources.urls import Fetcher


def new_fetcher(
    work: Work[params.ImportParams],
    attention: Attention,
    secrets: Mapping[str, str],
    networks: tuple[Network, ...] = (),
) -> Fetcher:
    """Return a fetcher that goes to public addresses, to networks of the settings, and to `networks`."""
    settings = work.settings
    return Fetcher(
        Addresses((*_allowed_networks(settings), *networks)),
        attention,
        patience=Patience(
            settings.number("import_stall_seconds"), settings.number("import_min_bytes_per_second")
        ),
        limits=Limits(settings.whole("import_max_file_bytes"), settings.whole("import_max_bytes")),
        rate=work.params.max_bytes_per_second,
        secrets=secrets,
    )


def hub_fetcher(work: Work[params.ImportParams], attention: Attention, hub: Hub) -> Fetcher:
    """Return a fetcher that may also go where the Hub of the settings is."""
    secrets = {hub.host: hub.token} if hub.token else {}
    return new_fetcher(work, attention, secrets, _own_networks(hub.endpoint))


def may_send_token(settings: Settings, endpoint: str) -> bool:
    """Return whether a token may go to the endpoint: by TLS, or to an address in a network of our own."""
    parts = urllib.parse.urlsplit(endpoint)
    allowed = Addresses((*_allowed_networks(settings), *_own_networks(endpoint)))
    return parts.scheme == "https" or allowed.allows_in_the_clear(parts.hostname or "")


def _allowed_networks(settings: Settings) -> tuple[Network, ...]:
    return addresses.parse_networks(settings.texts("import_private_networks"))


def _own_networks(endpoint: str) -> tuple[Network, ...]:
    """Return the addresses of the endpoint: whoever runs the server chose it, also in a private network."""
    parts = urllib.parse.urlsplit(endpoint)
    with contextlib.suppress(socket.gaierror):  # the fetcher tells
        port = parts.port or addresses.PORTS[parts.scheme]
        return addresses.parse_networks(SystemResolver().resolve(parts.hostname or "", port))
    return ()
