"""Files at URLs: fetched with resume, from mirrors in turn, and believed only when size and checksum agree.

    fetch → for each mirror: take what is missing → complete? → size and checksum agree? → rename

A part goes on only with bytes of the same version of the file: the server confirms it (If-Range, 206 with
the range that was asked for, the same validator), or the checksum that the user gave will tell. Failures that
may pass are tried again with growing pauses, as long as the part grows; others end a mirror. What a server
says is never believed against what the user said, and no more is taken than the limits allow.
"""

import copy
import dataclasses
import errno
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ingot.server.core.errors import (
    Conflict,
    DataLoss,
    Denied,
    Exhausted,
    IngotError,
    Invalid,
    NotFound,
    Precondition,
    Reason,
    Unavailable,
)
from ingot.server.sources import checksums
from ingot.server.sources.addresses import Addresses
from ingot.server.sources.budgets import Budget, Limits, WantedFile
from ingot.server.sources.connections import Attention, Patience
from ingot.server.sources.part_files import PartFile
from ingot.server.sources.rates import Rate
from ingot.server.sources.requests import Requests
from ingot.server.sources.taking import Means, Taking

TRIES = 5  # rounds over all mirrors without a new byte
FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds
_LONGEST_TOLD = 120.0  # seconds; who asks for a longer pause ends the attempt
_ENDS_A_MIRROR = (Invalid, Denied, NotFound, Precondition, DataLoss, Conflict)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server told of a file without sending it."""

    size: int | None
    resumable: bool
    validator: str


class Fetcher:
    """Fetches files, one at a time; `secrets` are tokens by host. Close it at the end."""

    def __init__(
        self,
        addresses: Addresses,
        attention: Attention,
        *,
        patience: Patience,
        limits: Limits,
        rate: float = 0.0,
        secrets: Mapping[str, str],
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        """Make one; `rate` in bytes a second and the limits hold for all files together."""
        self.budget = Budget(limits)
        requests = Requests(addresses, patience, attention, secrets)
        self._means = Means(requests, self.budget, Rate(rate), attention)
        self._first_pause = first_pause

    def another(self) -> "Fetcher":
        """Return one for another thread that shares the limits and the rate of this one; close it too."""
        other = copy.copy(self)
        requests = self._means.requests.another()
        other._means = dataclasses.replace(self._means, requests=requests)  # noqa: SLF001  # of its own kind
        return other

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._means.requests.close()

    def look(self, wanted: WantedFile) -> Seen:
        """Ask the mirrors what the file is like, without fetching it. Raises IngotError when none tells."""
        errors: list[IngotError] = []
        for url in wanted.urls:
            try:
                return self._look(url, wanted)
            except (Unavailable, *_ENDS_A_MIRROR) as error:
                errors.append(error)
        raise _summed_up(errors)

    def fetch(self, wanted: WantedFile, target: Path, told: Callable[[int], None] = lambda _: None) -> int:
        """Fetch a file to `target` and return its size; `told` is called with the bytes that are there.

        A part beside the target is continued. Raises IngotError: SOURCE_UNREACHABLE, SOURCE_NOT_FOUND,
        SOURCE_DENIED, SOURCE_ADDRESS_REFUSED, SOURCE_CHANGED, SOURCE_MISMATCH, TOO_LARGE, DISK_LOW.
        """
        algorithm, _ = checksums.parse(wanted.checksum)
        try:
            with PartFile(target, algorithm, self._means.attention.check) as part:
                self._from_mirrors(wanted, Taking(self._means, wanted, part, told))
                part.finish()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise _full(target, error) from error
        self.budget.keep(wanted, part.offset)
        return part.offset

    def _look(self, url: str, wanted: WantedFile) -> Seen:
        with self._means.requests.get(url, {"Range": "bytes=0-0"}) as (answer, _):
            if answer.status == 416 and answer.whole == 0:
                return Seen(0, resumable=True, validator=answer.validator)
            if answer.status not in (200, 206):
                raise answer.failure()
            answer.check_encoding()
            size = answer.whole
            self.budget.check_size(wanted, url, size)
            return Seen(size, answer.status == 206, answer.validator)

    def _from_mirrors(self, wanted: WantedFile, taking: Taking) -> None:
        """Try the mirrors in turn until the file is complete."""
        left = list(wanted.urls)
        ended: list[IngotError] = []
        idle = 0
        while True:
            furthest, passing = taking.furthest, []
            for url in tuple(left):
                try:
                    taking.take(url)
                    return
                except Unavailable as error:
                    passing.append(error)
                except _ENDS_A_MIRROR as error:
                    ended.append(error)
                    left.remove(url)
            if not left:
                raise _summed_up(ended)
            idle = 0 if taking.furthest > furthest else idle + 1
            told = min((error.retry_after or 0.0 for error in passing), default=0.0)
            if idle >= TRIES or told > _LONGEST_TOLD:
                raise _summed_up([*passing, *ended])
            pause = min(self._first_pause * 2 ** max(0, idle - 1), _LONGEST_PAUSE)
            self._means.attention.wait(max(told, pause * random.uniform(0.5, 1.0)))


def _summed_up(errors: Sequence[IngotError]) -> IngotError:
    """Return one error for those of all mirrors: the first one, and what became of the others."""
    first, *others = errors
    if not others:
        return first
    told = "; ".join(str(error) for error in others[:3])
    error = type(first)(
        first.reason,
        f"{first.message} Other addresses failed too: {told}",
        next_step=first.next_step,
        facts={**first.facts, "failures": str(len(errors))},
        retry_after=first.retry_after,
    )
    error.__cause__ = first
    return error


def _full(target: Path, error: OSError) -> Exhausted:
    return Exhausted(
        Reason.DISK_LOW,
        f"The server's disk is full: {error.strerror}.",
        next_step="Free or add disk space on the server, then retry; what was fetched is kept.",
        facts={"file": target.name},
    )
