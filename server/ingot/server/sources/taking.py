"""Taking one file: its bytes, from whichever mirror, into its part, and the checks that make it whole.

    ask for the rest → is it the same version? → append → until the size is reached → size and checksum

Of a part that is there, only the rest is asked for, with If-Range where the server has a name for its
version. An answer of another version, or with all of the file, begins the part again; a second change in one
go is told as SOURCE_CHANGED.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx2

from ingot.server.core.errors import Conflict, DataLoss, Reason, Unavailable
from ingot.server.sources import checksums
from ingot.server.sources.addresses import named
from ingot.server.sources.answers import Answer, facts
from ingot.server.sources.budgets import Budget, WantedFile, mismatch
from ingot.server.sources.connections import Attention
from ingot.server.sources.part_files import PartFile, Version
from ingot.server.sources.rates import Rate
from ingot.server.sources.requests import Requests


@dataclass(frozen=True, slots=True)
class Means:
    """What all files of one body are fetched with."""

    requests: Requests
    budget: Budget
    rate: Rate
    attention: Attention


class Taking:
    """The bytes of one file, from whichever mirror, into its part."""

    def __init__(self, means: Means, wanted: WantedFile, part: PartFile, told: Callable[[int], None]) -> None:
        self._means, self._wanted, self._part, self._told = means, wanted, part, told
        self._changes = 0  # how often the file was another one in the middle
        self._mixed = part.offset > 0  # bytes of several answers
        self.furthest = part.offset

    def take(self, url: str) -> None:
        """Get what is missing from `url`, and check the whole. Raises IngotError."""
        while True:
            self._told(self._part.offset)
            while not self._complete():
                self._ask(url)
            try:
                self._verify(url)
                return
            except DataLoss:
                mixed, self._mixed = self._mixed, False
                self._part.begin(Version())
                if not mixed:
                    raise  # else bytes of another answer may be the wrong ones: once more from this one

    def _complete(self) -> bool:
        return self._part.version.size is not None and self._part.offset == self._part.version.size

    def _ask(self, url: str) -> None:
        """Append one answer to the part, or begin the part again. Raises IngotError."""
        part, headers = self._part, self._resuming(url)
        with self._means.requests.get(url, headers) as (answer, body):
            if headers and answer.status == 416:
                self._past_the_end(answer)
                return
            if answer.status not in (200, 206):
                raise answer.failure()
            answer.check_encoding()
            self._means.budget.check_size(self._wanted, url, answer.whole)
            if headers and self._changed(answer):
                self._changes += 1
                part.begin(Version())
                if self._changes > 1:
                    raise _changed(answer)
                if answer.status == 206:
                    return
            if answer.status == 200:
                self._begin(url, answer)
            elif not headers or answer.range is None or answer.range[0] != part.offset:
                part.begin(Version())
                raise _broken(answer, "range", "sent another part of the file than it was asked for")
            else:
                self._mixed = True
            before = part.offset
            self._append(url, answer, body)
            if not self._complete() and (answer.status == 200 or part.offset == before):
                raise _broken(answer, "cut", f"ended after {part.offset} bytes")

    def _resuming(self, url: str) -> dict[str, str]:
        """Return the headers that ask for the rest; none when it must be all."""
        part, version, piece = self._part, self._part.version, self._wanted.piece
        in_pieces = piece and self._wanted.checksum and (self._wanted.size or 0) - part.offset > piece
        if not part.offset and not in_pieces:
            return {}
        rest = {"Range": f"bytes={part.offset}-{part.offset + piece - 1 if in_pieces else ''}"}
        same_server = _origin(url) == version.asked
        if version.validator and (same_server or (version.validator[0] == '"' and not self._wanted.checksum)):
            return {**rest, "If-Range": version.validator}
        return rest if self._wanted.checksum else {}

    def _changed(self, answer: Answer) -> bool:
        """Return whether the answer is of another version of the file than the part."""
        version = self._part.version
        if version.size is not None and answer.whole not in (None, version.size):
            return True
        if answer.origin != version.origin and self._wanted.checksum:
            return False  # another server has names of its own, and the checksum will tell
        known = bool(answer.validator and version.validator)
        return known and answer.validator != version.validator

    def _begin(self, url: str, answer: Answer) -> None:
        size = answer.whole if answer.whole is not None else self._wanted.size
        version = Version(asked=_origin(url), origin=answer.origin, validator=answer.validator, size=size)
        self._part.begin(version)
        self._mixed = False

    def _past_the_end(self, answer: Answer) -> None:
        """Judge the answer that there is nothing behind the part: it is complete, or of another version."""
        part = self._part
        if answer.whole == part.offset and not self._changed(answer):
            part.version = part.version.model_copy(update={"size": part.offset})
            return
        part.begin(Version())
        raise _broken(answer, "range", "has no such part of the file any more")

    def _append(self, url: str, answer: Answer, body: Iterator[bytes]) -> None:
        part, means = self._part, self._means
        if part.version.size is None and answer.whole is not None:
            part.version = part.version.model_copy(update={"size": answer.whole})
        size = part.version.size
        means.budget.check_disk(part.target.parent, size - part.offset if size is not None else 0)
        means.requests.when_idle(part.idle)
        for data in body:
            if size is not None and part.offset + len(data) > size:
                part.begin(Version())
                raise mismatch(url, f"sends more than the {size} bytes that it should have")
            means.budget.check_limits(self._wanted, part.offset + len(data))
            if part.write(data):
                means.budget.check_disk(part.target.parent, 0)
            means.budget.keep(self._wanted, part.offset, taken=len(data))
            self.furthest = max(self.furthest, part.offset)
            self._told(part.offset)
            if pause := means.rate.reserve(len(data)):
                means.attention.wait(pause)
        if size is None:  # the end of the body is the only one who knows
            part.version = part.version.model_copy(update={"size": part.offset})

    def _verify(self, url: str) -> None:
        algorithm, expected = checksums.parse(self._wanted.checksum)
        if expected and self._part.checksum != expected:
            raise mismatch(url, f"has the {algorithm} {self._part.checksum}, expected {expected}")
        if self._wanted.size is not None and self._part.offset != self._wanted.size:
            raise mismatch(url, f"has {self._part.offset} bytes, expected {self._wanted.size}")


def _origin(url: str) -> str:
    parsed = httpx2.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode('ascii')}"


def _changed(answer: Answer) -> Conflict:
    return Conflict(
        Reason.SOURCE_CHANGED,
        f"{named(answer.url)} changes while it is fetched: it was another file once more.",
        next_step="Retry when it stays the same, or give the checksum of the file that is meant.",
        facts=facts(answer.url, "changed"),
    )


def _broken(answer: Answer, cause: str, what: str) -> Unavailable:
    return Unavailable(
        Reason.SOURCE_UNREACHABLE,
        f"{named(answer.url)} {what}.",
        next_step="Retry; what is safe of it is kept.",
        facts=facts(answer.url, cause),
    )
