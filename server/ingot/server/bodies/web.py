"""Fetchers for bodies, as the settings of the server want them."""

import dataclasses
import urllib.parse
from collections.abc import Mapping

from ingot.server.bodies.work import Settings, Work
from ingot.server.core import params
from ingot.server.sources import addresses
from ingot.server.sources.addresses import Addresses
from ingot.server.sources.budgets import Limits
from ingot.server.sources.connections import Attention, Patience
from ingot.server.sources.hub import Hub
from ingot.server.sources.urls import Fetcher


def new_fetcher(
    work: Work[params.ImportParams],
    attention: Attention,
    secrets: Mapping[str, str],
    allowed: Addresses | None = None,
) -> Fetcher:
    """Return a fetcher that goes to public addresses and to networks of the settings, or as `allowed`."""
    settings = work.settings
    return Fetcher(
        allowed or addresses_of(settings),
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
    return new_fetcher(work, attention, secrets, hub.addresses)


def may_send_token(settings: Settings, endpoint: str) -> bool:
    """Return whether a token may go to the endpoint: by TLS, or to an address in a network of our own."""
    parts = urllib.parse.urlsplit(endpoint)
    host = (parts.hostname or "").lower()
    allowed = dataclasses.replace(addresses_of(settings), hosts=frozenset({host}))
    return parts.scheme == "https" or allowed.allows_in_the_clear(host)


def addresses_of(settings: Settings) -> Addresses:
    """Return where the settings let fetchers go."""
    return Addresses(addresses.parse_networks(settings.texts("import_private_networks")))
