"""A fetcher for tests: loopback is allowed, waiting is noted instead of done, names resolve as told."""

import contextlib
import socket
from collections.abc import Iterator, Mapping, Sequence

from ingot.server.sources.addresses import Addresses, Resolver, SystemResolver, parse_networks
from ingot.server.sources.budgets import Limits
from ingot.server.sources.connections import Patience
from ingot.server.sources.urls import Fetcher

LOOPBACK = ("127.0.0.0/8", "::1")
USUAL = Patience(stall_seconds=10, min_bytes_per_second=1000)


class Stop(Exception):
    """Somebody asked to stop."""


class Attentive:
    """Notes how long it was told to wait; asks to stop at the check with number `stop_at`."""

    def __init__(self, stop_at: int = 0) -> None:
        self.waits: list[float] = []
        self.checks = 0
        self._stop_at = stop_at

    def check(self) -> None:
        """Count."""
        self.checks += 1
        if self.checks == self._stop_at:
            raise Stop

    def wait(self, seconds: float) -> None:
        """Note it."""
        self.waits.append(seconds)


class Names:
    """A resolver that answers each question for a name with the next of its answers; the last one stays."""

    def __init__(self, names: Mapping[str, Sequence[Sequence[str]]]) -> None:
        self._answers = {name: list(answers) for name, answers in names.items()}
        self.asked: list[str] = []

    def resolve(self, host: str, port: int) -> list[str]:
        """Return addresses. Raises socket.gaierror."""
        self.asked.append(host)
        answers = self._answers.get(host)
        if answers is None:
            return SystemResolver().resolve(host, port) if _is_literal(host) else _nobody()
        return list(answers.pop(0) if len(answers) > 1 else answers[0])


@contextlib.contextmanager
def fetcher(
    *,
    allowed: Sequence[str] = LOOPBACK,
    attention: Attentive | None = None,
    patience: Patience = USUAL,
    limits: Limits | None = None,
    rate: float = 0.0,
    secrets: Mapping[str, str] | None = None,
    resolver: Resolver | None = None,
) -> Iterator[Fetcher]:
    """Give a fetcher for the length of a with block."""
    addresses = Addresses(parse_networks(allowed), resolver or Names({}))
    with Fetcher(
        addresses,
        attention or Attentive(),
        patience=patience,
        limits=limits or Limits(headroom=0),
        rate=rate,
        secrets=secrets or {},
    ) as made:
        yield made


def _is_literal(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdecimal()


def _nobody() -> list[str]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
