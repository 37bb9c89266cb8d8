"""What a body is handed: what to do, where, with which means, and how to tell how far it is.

    def run(work: Work[params.ImportParams]) -> params.ImportResult:
        for file in files:
            work.check()                        # raises Cancelled once somebody asked to stop
            ...
            work.progress(done, total, phase="fetching", unit="bytes", message=file.path)

Progress is cheap: it is kept, and sent at most twice a second with the rate of the last seconds and the time
that is left. All methods may be called from any thread.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from ingot.server.bodies.failures import Cancelled
from ingot.server.bodies.reports import Reports
from ingot.server.core.body_protocol import BodySpec, Report, ReportedLine, ReportedProgress
from ingot.server.core.events import FileProgress
from ingot.server.core.params import Params

if TYPE_CHECKING:  # a body that needs no client does not wait for gRPC
    from ingot.client import Client

P = TypeVar("P", bound=Params)

SettingValue = str | int | float | bool | tuple[str, ...]
SEND_SECONDS = 0.5  # shortest time between two reports of progress
_MOST_FILES = 8
_RATE_SECONDS = 10.0  # the rate is that of the last so many seconds


class Work(Generic[P]):
    """One attempt of one operation, as its body sees it."""

    def __init__(
        self,
        spec: BodySpec,
        params: P,
        reports: Reports,
        stopping: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self.params = params
        self.folder = Path(spec.folder)  # its own; what is left there is there in the next attempt
        self.secrets = spec.secrets  # by host
        self.settings = Settings(spec.settings)
        self._reports = reports
        self._stopping = stopping
        self._clock = clock
        self._lock = threading.Lock()
        self._latest: ReportedProgress | None = None  # not sent yet
        self._phase = ""
        self._past: deque[tuple[float, int]] = deque()  # when how much was done

    @cached_property
    def client(self) -> "Client":
        """A client of the server, signed in with the token of this attempt."""
        from ingot.client import Client

        return Client(self.spec.server, self.spec.token, user="")

    # --- cancelling -------------------------------------------------------------------------------------

    def cancelled(self) -> bool:
        """Return whether somebody asked to stop."""
        return self._stopping.is_set()

    def check(self) -> None:
        """Raise Cancelled when somebody asked to stop."""
        if self._stopping.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Pause; raises Cancelled as soon as somebody asks to stop."""
        if self._stopping.wait(seconds):
            raise Cancelled

    # --- telling ----------------------------------------------------------------------------------------

    def progress(
        self,
        done: int,
        total: int = 0,
        *,
        phase: str,
        unit: str = "bytes",
        message: str = "",
        files: Sequence[FileProgress] = (),
    ) -> None:
        """Tell how far it is; `total` 0 is not known. Raises Cancelled when somebody asked to stop.

        `files` are those that are being worked on right now; at most 8 are told.
        """
        self.check()
        now = self._clock()
        with self._lock:
            if phase != self._phase or (self._past and done < self._past[-1][1]):
                self._phase = phase
                self._past.clear()
            rate = self._rate(now, done)
            self._latest = ReportedProgress(
                phase=phase,
                done=done,
                total=total,
                unit=unit,
                percent=min(100.0, round(100.0 * done / total, 2)) if total else 0.0,
                rate=round(rate, 3),
                eta=round(max(0, total - done) / rate, 1) if rate and total else None,
                message=message,
                files=tuple(files[:_MOST_FILES]),
            )

    def log(self, text: str, level: Literal["debug", "info", "warning", "error"] = "info") -> None:
        """Add a line to the operation's log."""
        self._reports.send(Report(log=ReportedLine(level=level, text=text)))

    def warning(self, text: str) -> None:
        """Add a warning to the operation's log."""
        self.log(text, "warning")

    def flush(self) -> bool:
        """Send progress that was not sent yet; return whether there was any."""
        with self._lock:
            latest, self._latest = self._latest, None
        if latest is not None:
            self._reports.send(Report(progress=latest))
        return latest is not None

    def close(self) -> None:
        """Let go of the client if there is one."""
        if "client" in self.__dict__:
            self.client.close()

    def _rate(self, now: float, done: int) -> float:
        """Return the units a second of the last seconds."""
        past = self._past
        past.append((now, done))
        while len(past) > 2 and past[1][0] <= now - _RATE_SECONDS:
            past.popleft()
        if len(past) > 512:  # reports in quick succession: their ends tell the rate as well
            del past[1]
        seconds = now - past[0][0]
        return (done - past[0][1]) / seconds if seconds > 0 else 0.0


class Settings:
    """Settings of the server that its bodies are told."""

    def __init__(self, values: dict[str, SettingValue]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """Return a text or a path; empty when it is not set."""
        return str(self._values.get(name, ""))

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts; empty when it is not set."""
        value = self._values.get(name, ())
        return value if isinstance(value, tuple) else (str(value),)

    def number(self, name: str) -> float:
        """Return a number; 0 when it is not set."""
        value = self._values.get(name, 0)
        return float(value) if isinstance(value, int | float) else 0.0

    def whole(self, name: str) -> int:
        """Return a whole number; 0 when it is not set."""
        return int(self.number(name))

    def flag(self, name: str) -> bool:
        """Return whether something is switched on."""
        return bool(self._values.get(name, False))
