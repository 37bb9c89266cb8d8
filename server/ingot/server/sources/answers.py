"""What an answer of an HTTP server means: its size, its range, its version of the file, or why it failed."""

import email.utils
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2

from ingot.server.core.errors import Denied, IngotError, NotFound, Precondition, Reason, Unavailable
from ingot.server.sources.addresses import named

# Numbers of at most 18 digits: the sizes of files, which every database can store.
_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18}|\*)")
_LENGTH = re.compile(r"[0-9]{1,18}")
_LONGEST_WAIT = 24 * 3600.0  # seconds; whoever asks for more is not believed


@dataclass(frozen=True, slots=True)
class Answer:
    """Status line and headers; the names of the headers are in lower case."""

    url: httpx2.URL
    status: int
    headers: Mapping[str, str]

    @property
    def length(self) -> int | None:
        """Bytes that the body has, as far as it is told."""
        text = self.headers.get("content-length", "")
        return int(text) if _LENGTH.fullmatch(text) else None

    @property
    def validator(self) -> str:
        """What names this version of the file: a strong ETag, else the time of its last change."""
        etag = self.headers.get("etag", "")
        if etag.startswith('"'):
            return etag
        return self.headers.get("last-modified", "")

    @property
    def range(self) -> tuple[int, int, int | None] | None:
        """First byte, end (exclusive) and size of the whole file, when the answer is such a part."""
        found = _RANGE.fullmatch(self.headers.get("content-range", "").strip())
        if found is None or found[1] is None:
            return None
        return int(found[1]), int(found[2]) + 1, None if found[3] == "*" else int(found[3])

    @property
    def whole(self) -> int | None:
        """Size of the whole file, as far as it is told."""
        found = _RANGE.fullmatch(self.headers.get("content-range", "").strip())
        if found is not None:
            return None if found[3] == "*" else int(found[3])
        return self.length if self.status == 200 else None

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{self.url.scheme}://{self.url.netloc.decode('ascii')}"

    def check_encoding(self) -> None:
        """Refuse a body that is not the bytes of the file. Raises Precondition."""
        encoding = self.headers.get("content-encoding", "").strip().lower()
        # Servers of old call a .gz file a gzip encoding of its content: there the bytes are the file.
        is_gzip_file = encoding in ("gzip", "x-gzip") and self.url.path.endswith((".gz", ".tgz"))
        if encoding not in ("", "identity") and not is_gzip_file:
            raise Precondition(
                Reason.SOURCE_UNREACHABLE,
                f"{named(self.url)} was sent {encoding}-encoded although its plain bytes were asked for.",
                next_step="Give another address of the file, or the address of a compressed file.",
                facts=facts(self.url, "encoding"),
            )

    def failure(self) -> IngotError:
        """Return the error for a status that is no success."""
        url, about = named(self.url), facts(self.url, f"http_{self.status}")
        match self.status:
            case 401 | 403 | 407 | 451:
                return Denied(
                    Reason.SOURCE_DENIED,
                    f"{url} may not be read (HTTP {self.status}).",
                    next_step="Keep a token for the host with SetCredential, or check that it has access.",
                    facts=about,
                )
            case 404 | 410:
                return NotFound(
                    Reason.SOURCE_NOT_FOUND,
                    f"{url} does not exist (HTTP {self.status}).",
                    next_step="Check the URL.",
                    facts=about,
                )
            case 408 | 425 | 429:
                pass
            case status if status < 500:
                return Precondition(
                    Reason.SOURCE_UNREACHABLE,
                    f"{url} answered with HTTP {status}, which is no file.",
                    next_step="Check the URL.",
                    facts=about,
                )
        return Unavailable(
            Reason.SOURCE_UNREACHABLE,
            f"{url} cannot be read now (HTTP {self.status}).",
            next_step="Retry later.",
            facts=about,
            retry_after=self._retry_after(),
        )

    def _retry_after(self) -> float | None:
        text = self.headers.get("retry-after", "").strip()
        if _LENGTH.fullmatch(text):
            return min(float(text), _LONGEST_WAIT)
        try:
            when = email.utils.parsedate_to_datetime(text).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):  # whatever a date may look like
            return None
        return min(max(0.0, when - time.time()), _LONGEST_WAIT)


def facts(url: httpx2.URL, cause: str) -> dict[str, str]:
    """Return the facts of a failure."""
    return {"url": named(url), "host": url.host, "cause": cause}
