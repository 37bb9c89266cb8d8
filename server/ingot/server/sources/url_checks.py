"""What an import may be told to fetch, as far as the text of its URLs tells: checked before it is queued.

The body looks again at every address that it connects to; here only what is wrong for sure is refused early.
"""

import ipaddress
from dataclasses import dataclass

from ingot.server.sources import addresses, checksums
from ingot.server.sources.addresses import Addresses


@dataclass(frozen=True, slots=True)
class UrlChecks:
    """Implements SourceChecks with the networks that this server allows."""

    allowed: Addresses

    def check_url(self, text: str) -> None:
        """Refuse what the server would not fetch. Raises Invalid, Denied (SOURCE_ADDRESS_REFUSED)."""
        host = addresses.parse(text).host.strip("[]")
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return  # a name; what it stands for is looked up when it is fetched
        self.allowed.check(host, host)

    def shown(self, text: str) -> str:
        """Return a URL as it may be shown and stored: without what may be secret in it."""
        return addresses.shown(text)

    def checksum(self, text: str) -> str:
        """Return a checksum in its one form, "" for none. Raises Invalid (FIELD_INVALID)."""
        algorithm, digits = checksums.parse(text)
        return f"{algorithm}:{digits}" if algorithm else ""
