"""The interface to what is remembered of requests; called inside a unit of work."""

from typing import Protocol


class RequestStore(Protocol):
    """Remembers which requests were carried out, so that repeating one is harmless."""

    def find(self, principal: str, method: str, request_id: str) -> tuple[bytes, str] | None:
        """Return digest of the request and name of its result; None when it is not known."""
        ...

    def add(
        self, principal: str, method: str, request_id: str, digest: bytes, result: str, now: float
    ) -> None:
        """Remember a request; the three words before the digest are its key and must not be known yet."""
        ...

    def drop(self, principal: str, method: str, request_id: str) -> None:
        """Drop one request; it may be carried out anew then."""
        ...

    def forget(self, before: float) -> int:
        """Drop what was added before that time; return how many."""
        ...
