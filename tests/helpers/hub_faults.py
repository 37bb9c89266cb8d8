"""What can go wrong at a source on the web, on demand: a fault waits for a request and then happens to it."""

import dataclasses
import re
import threading
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong; what is not set stays as it should be."""

    status: int = 0  # answer with this status instead
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)  # added or replaced
    body: bytes = b""  # of the answer with that status
    cut_after: int | None = None  # bytes of the body, then the connection breaks
    stall_after: int | None = None  # bytes of the body, then nothing more comes
    short_by: int = 0  # bytes that the body lacks while all looks well
    flip: int | None = None  # position of a byte that is wrong
    pause: float = 0.0  # seconds before each 64 KiB


class Faults:
    """Faults that wait, each for the next `times` requests that match `where`, a pattern on `METHOD path`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[re.Pattern[str], Fault, int]] = []

    def add(self, where: str, fault: Fault, times: int = 1) -> None:
        """Let a fault wait."""
        with self._lock:
            self._waiting.append((re.compile(where), fault, times))

    def clear(self) -> None:
        """Call all off."""
        with self._lock:
            self._waiting.clear()

    def take(self, request: str) -> Fault | None:
        """Return the fault of a request, which counts as one of its times."""
        with self._lock:
            for index, (where, fault, times) in enumerate(self._waiting):
                if where.search(request):
                    if times > 1:
                        self._waiting[index] = (where, fault, times - 1)
                    else:
                        del self._waiting[index]
                    return fault
        return None
