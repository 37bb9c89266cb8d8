"""The address wall for libraries that bring their own HTTP client, such as that of the Hub.

    httpx2.Client(transport=CheckedTransport(addresses))

Every connection, also each one that a redirect leads to, goes to an address that was checked right before.
Proxies that the environment names are not used: they would look up names themselves.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import httpcore2
import httpx2

from ingot.server.core.errors import NotFound, Unavailable
from ingot.server.sources import addresses as wall
from ingot.server.sources.addresses import Addresses
from ingot.server.sources.connections import CheckedBackend

_FAILURES: dict[type[Exception], type[httpx2.TransportError]] = {
    httpcore2.ConnectTimeout: httpx2.ConnectTimeout,
    httpcore2.ReadTimeout: httpx2.ReadTimeout,
    httpcore2.WriteTimeout: httpx2.WriteTimeout,
    httpcore2.PoolTimeout: httpx2.PoolTimeout,
    httpcore2.ConnectError: httpx2.ConnectError,
    httpcore2.ReadError: httpx2.ReadError,
    httpcore2.WriteError: httpx2.WriteError,
    httpcore2.LocalProtocolError: httpx2.LocalProtocolError,
    httpcore2.RemoteProtocolError: httpx2.RemoteProtocolError,
    httpcore2.UnsupportedProtocol: httpx2.UnsupportedProtocol,
}


class CheckedTransport(httpx2.BaseTransport):
    """Sends requests to allowed addresses only."""

    def __init__(self, addresses: Addresses) -> None:
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpx2.create_ssl_context(), network_backend=CheckedBackend(addresses)
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. Raises TransportError; Denied, Invalid for where it may not go."""
        url = wall.parse(str(request.url))
        assert isinstance(request.stream, httpx2.SyncByteStream)
        asked = httpcore2.Request(
            request.method,
            httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _told():
            answer = self._pool.handle_request(asked)
        return httpx2.Response(
            answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _Body(httpx2.SyncByteStream):
    def __init__(self, answer: httpcore2.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        with _told():
            yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


@contextmanager
def _told() -> Iterator[None]:
    """Turn what the library below raises into what the library above expects."""
    try:
        yield
    except (NotFound, Unavailable) as error:  # a name without address, which is no news of the wall's
        raise httpx2.ConnectError(str(error)) from error
    except tuple(_FAILURES) as error:
        raise _FAILURES[type(error)](str(error)) from error
