"""What surrounds every body: from the spec on stdin to the last report.

    read the spec → find the body → run it → result, problem or cancelled

A thread sends what progress there is twice a second and beats when there is none. SIGTERM sets a flag, which
the body meets as Cancelled at its next `work.progress` or `work.check`. The process ends with 0 after every
last report; any other end is a lost body.
"""

import contextlib
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from pydantic import ValidationError

from ingot.server.bodies.failures import BodyFailure, Cancelled, translated
from ingot.server.bodies.reports import Reports
from ingot.server.bodies.work import SEND_SECONDS, Work
from ingot.server.core.body_protocol import BEAT_SECONDS, REPORTS, BodySpec, Report
from ingot.server.core.errors import Reason
from ingot.server.core.kinds import KINDS
from ingot.server.core.params import Params

Body = Callable[[Work[Params]], Params]
FindBody = Callable[[Params, str], Body]  # parameters and kind


def main(find_body: FindBody) -> int:
    """Do the work that stdin describes and return the exit status."""
    stopping = threading.Event()
    _listen(stopping)
    descriptor = int(os.environ[REPORTS])
    os.set_inheritable(descriptor, False)
    spec = BodySpec.model_validate_json(sys.stdin.buffer.read())
    reports = Reports(descriptor, spec.hidden)
    reports.send(Report())
    _log_to_stderr(reports)
    reports.send(_outcome(spec, find_body, reports, stopping))
    return 0


def _listen(stopping: threading.Event) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the server's terminal is the server's affair


def _outcome(spec: BodySpec, find_body: FindBody, reports: Reports, stopping: threading.Event) -> Report:
    """Run the body and return the last report."""
    folder = Path(spec.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # What the client remembers of a push must be there in the next attempt, and go when the folder goes.
        os.environ["INGOT_CACHE_DIR"] = str(folder / "cache")
        wanted = _parsed(spec)
        work = Work(spec, wanted, reports, stopping)
        with contextlib.closing(work), _beating(work, reports):
            result = find_body(wanted, spec.kind)(work)
        return Report(result=result.model_dump(mode="json", exclude_none=True))
    except Cancelled:
        return Report(cancelled=True)
    except Exception as error:  # noqa: BLE001  # the last one who can tell: everything becomes a report
        if stopping.is_set():
            return Report(cancelled=True)  # what broke, broke while it was being stopped
        failure = translated(error, spec.log)
        if failure.reason is Reason.INTERNAL:
            print(reports.blacked_out(traceback.format_exc()), file=sys.stderr, flush=True)  # noqa: T201
        return Report(problem=failure.reported())


def _parsed(spec: BodySpec) -> Params:
    """Return the parameters of the spec's kind. Raises BodyFailure."""
    try:
        return KINDS[spec.kind].params_type.model_validate(spec.params)
    except (KeyError, ValidationError) as error:
        raise BodyFailure(
            Reason.FIELD_INVALID,
            f"The parameters are none of {spec.kind}: {error}",
            next_step="Start it again; a server of another version may have written them.",
            facts={"kind": spec.kind},
        ) from error


@contextlib.contextmanager
def _beating(work: Work[Params], reports: Reports) -> Iterator[None]:
    """Send progress, or a beat when there is none, from a thread for the length of a with block."""
    over = threading.Event()

    def beat() -> None:
        told = time.monotonic()
        while not over.wait(SEND_SECONDS):
            if work.flush():
                told = time.monotonic()
            elif time.monotonic() - told >= BEAT_SECONDS:
                reports.send(Report())
                told = time.monotonic()

    thread = threading.Thread(target=beat, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        work.flush()


class _BlackedOut(logging.Formatter):
    """Writes log lines without secrets."""

    def __init__(self, reports: Reports) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._reports = reports

    def format(self, record: logging.LogRecord) -> str:
        return self._reports.blacked_out(super().format(record))


def _log_to_stderr(reports: Reports) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_BlackedOut(reports))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
