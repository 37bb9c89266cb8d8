"""Requests for files: GET over checked connections, redirects followed by hand.

Each step of a redirect is parsed and its address checked again; a step from https to http is refused. A
secret goes only to the very host that the user named, never after a redirect elsewhere, and never in the
clear except to networks that the settings allow.
"""

import ssl
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager

import httpcore2
import httpx2

from ingot.server.core.errors import IngotError, Precondition, Reason, Unavailable
from ingot.server.sources import addresses as wall
from ingot.server.sources.addresses import Addresses, named
from ingot.server.sources.answers import Answer, facts
from ingot.server.sources.connections import (
    CONNECT_SECONDS,
    Attention,
    CheckedBackend,
    Patience,
    Slow,
    Stalled,
    Watch,
)

MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_FAILURES = (
    httpcore2.NetworkError,
    httpcore2.TimeoutException,
    httpcore2.ProtocolError,
    httpcore2.UnsupportedProtocol,
)


class Requests:
    """Asks for files, one at a time; `secrets` are tokens by host, or by host:port."""

    def __init__(
        self, addresses: Addresses, patience: Patience, attention: Attention, secrets: Mapping[str, str]
    ) -> None:
        self._made_of = addresses, patience, attention, secrets
        self._addresses, self._secrets = addresses, secrets
        self._watch = Watch(patience, attention)
        self._pool = httpcore2.ConnectionPool(
            max_connections=4, keepalive_expiry=15.0, network_backend=CheckedBackend(addresses, self._watch)
        )
        self._timeout = {"connect": CONNECT_SECONDS, "write": patience.stall_seconds}

    def another(self) -> "Requests":
        """Return one for another thread, with connections of its own."""
        return Requests(*self._made_of)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    @contextmanager
    def get(self, text: str, headers: Mapping[str, str]) -> Iterator[tuple[Answer, Iterator[bytes]]]:
        """Ask for a file; gives the answer, after all redirects, and the bytes of its body as they are.

        Raises Invalid, Denied (SOURCE_ADDRESS_REFUSED), NotFound (no such host), Unavailable, Precondition
        (redirects that lead nowhere, certificates); while the body is read Unavailable too.
        """
        url = first = wall.parse(text)
        left = MAX_REDIRECTS
        while True:
            with self._step(url, {**headers, **self._secret(url, first)}) as (answer, response):
                if answer.status not in _REDIRECTS:
                    self._watch.await_body()
                    yield answer, _body(url, response)
                    return
            if not left:
                raise _lost(first, f"leads through more than {MAX_REDIRECTS} redirects")
            url, left = _next(answer, first), left - 1

    def when_idle(self, idle: Callable[[], None]) -> None:
        """Call `idle` now and then while the body that is read brings nothing."""
        self._watch.when_idle(idle)

    @contextmanager
    def _step(
        self, url: httpx2.URL, headers: Mapping[str, str]
    ) -> Iterator[tuple[Answer, httpcore2.Response]]:
        """Ask one server."""
        self._watch.await_answer()
        target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        sent = [
            (b"Host", url.netloc),
            (b"Accept", b"*/*"),
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", b"ingot-server"),
            # An ETag goes back as it came, also where it is no ASCII.
            *((name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()),
        ]
        request = httpcore2.Request(b"GET", target, headers=sent, extensions={"timeout": self._timeout})
        with _told(url):
            response = self._pool.handle_request(request)
        try:
            told = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
            }
            yield Answer(url, response.status, told), response
        finally:
            response.close()

    def _secret(self, url: httpx2.URL, first: httpx2.URL) -> dict[str, str]:
        """Return the header that proves who asks."""
        if (url.scheme, url.netloc) != (first.scheme, first.netloc):
            return {}
        secret = self._secrets.get(url.netloc.decode("ascii")) or self._secrets.get(url.host)
        if not secret or not (url.scheme == "https" or self._addresses.allows_in_the_clear(url.host)):
            return {}
        return {"Authorization": f"Bearer {secret}"}


def _next(answer: Answer, first: httpx2.URL) -> httpx2.URL:
    """Return where a redirect leads. Raises Precondition, Invalid."""
    location = answer.headers.get("location", "")
    if not location:
        raise _lost(first, f"leads to a redirect (HTTP {answer.status}) without a place")
    try:
        joined = answer.url.join(location)
    except httpx2.InvalidURL as error:
        raise _lost(first, f"leads to {location[:200]!r}, which is no URL: {error}") from error
    url = wall.parse(str(joined))
    if answer.url.scheme == "https" and url.scheme == "http":
        raise _lost(first, f"leads from https to {named(url)}, where nothing protects the bytes")
    return url


def _lost(first: httpx2.URL, why: str) -> Precondition:
    return Precondition(
        Reason.SOURCE_UNREACHABLE,
        f"{named(first)} {why}.",
        next_step="Give the address at which the file really is.",
        facts=facts(first, "redirect"),
    )


def _body(url: httpx2.URL, response: httpcore2.Response) -> Generator[bytes, None, None]:
    with _told(url):
        yield from response.iter_stream()


@contextmanager
def _told(url: httpx2.URL) -> Iterator[None]:
    """Turn what the HTTP library raises into our errors."""
    try:
        yield
    except _FAILURES as error:
        raise _failure(url, error) from error


def _failure(url: httpx2.URL, error: Exception) -> IngotError:
    place = f"{url.host}:{url.port or wall.PORTS[url.scheme]}"
    tls = _tls(error)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return Precondition(
            Reason.SOURCE_UNREACHABLE,
            f"The certificate of {url.host} is not trusted: {tls.verify_message}.",
            next_step="Check the host; a private authority is trusted through SSL_CERT_FILE of the server.",
            facts=facts(url, "tls"),
        )
    cause, what, step = "network", f"The connection to {place} broke: {error}.", "Retry later."
    if tls is not None:
        cause, what = "tls", f"{place} does not speak TLS as expected: {tls.reason or tls}."
    elif isinstance(error, httpcore2.ConnectError | httpcore2.ConnectTimeout):
        why = str(error) if isinstance(error, httpcore2.ConnectError) else "nobody answered"
        cause, what = "connect", f"No connection to {place}: {why}."
        step = "Check the URL, the network of the server and firewalls between, then retry."
    elif isinstance(error, Slow):
        cause, what = "slow", f"{url.host} is too slow: {error}."
    elif isinstance(error, Stalled):
        cause, what = "stalled", f"{url.host} went silent: {error}."
    elif isinstance(error, httpcore2.ProtocolError):
        cause, what = "cut", f"{url.host} broke off, or does not speak HTTP: {error}."
    return Unavailable(Reason.SOURCE_UNREACHABLE, what, next_step=step, facts=facts(url, cause))


def _tls(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None
