"""Bodies of operations as real processes, with a test in the place of the server that spawns them.

with running_body(spec(tmp_path, "import", {...})) as body:
    body.wait_for(lambda report: report.progress is not None)
    body.process.send_signal(signal.SIGTERM)
    assert body.end().last.cancelled
"""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from helpers.eventually import eventually
from ingot.server.core.artifacts import JsonObject
from ingot.server.core.body_protocol import REPORTS, BodySpec, Report

PROGRAM = ("-m", "ingot.server.bodies")
_TESTS = Path(__file__).parents[1]


def body_spec(
    folder: Path,
    kind: str,
    params: JsonObject,
    *,
    server: str = "unix:/nowhere",
    token: str = "ingotop_1_1_secret-of-the-attempt",
    secrets: Mapping[str, str] | None = None,
    settings: Mapping[str, str | int | float | bool | tuple[str, ...]] | None = None,
) -> BodySpec:
    """Return the spec of a first attempt; its own folder lies in `folder`."""
    return BodySpec.model_validate(
        {
            "operation": "operations/op_1",
            "attempt": 1,
            "kind": kind,
            "target": "",
            "requester": "users/member",
            "params": dict(params),
            "server": server,
            "token": token,
            "folder": str(folder / "op_1"),
            "log": str(folder / "op_1.log"),
            "secrets": dict(secrets or {}),
            "settings": dict(settings or {}),
        }
    )


@dataclasses.dataclass(frozen=True, slots=True)
class EndedBody:
    """A body that is over: its exit status, what it reported, what it wrote to its log."""

    status: int
    reports: Sequence[Report]
    log: str

    @property
    def last(self) -> Report:
        """The last report."""
        return self.reports[-1]


class RunningBody:
    """A body that runs; its reports are read as they come."""

    def __init__(self, spec: BodySpec, program: Sequence[str], environment: Mapping[str, str]) -> None:
        self._log = Path(spec.log)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._read, write = os.pipe()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(write,),
                env={**os.environ, "PYTHONPATH": str(_TESTS), REPORTS: str(write), **environment},
            )
        os.close(write)
        self.reports: list[Report] = []
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(spec.model_dump_json().encode())
            self.process.stdin.close()
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()

    def wait_for(self, wanted: Callable[[Report], object], *, timeout: float = 100.0) -> Report:
        """Return the first report that is wanted."""

        def found() -> Report | None:
            return next((each for each in list(self.reports) if wanted(each)), None)

        report = eventually(
            found, timeout=timeout, what=f"the wanted report ({self._log.read_text()[-500:]})"
        )
        assert report is not None
        return report

    def end(self, timeout: float = 100.0) -> EndedBody:
        """Wait for its end."""
        status = self.process.wait(timeout)
        self._reader.join(timeout)
        return EndedBody(status, self.reports, self._log.read_text(errors="replace"))

    def leave(self) -> None:
        """Close the reading end, as a server does that was killed."""
        os.close(self._read)
        self._read = -1

    def _collect(self) -> None:
        rest = b""
        while self._read >= 0:
            try:
                data = os.read(self._read, 65536)
            except OSError:
                return
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            self.reports += [Report.model_validate_json(line) for line in lines]


@contextlib.contextmanager
def running_body(
    spec: BodySpec, program: Sequence[str] = PROGRAM, **environment: str
) -> Iterator[RunningBody]:
    """Run a body for the length of a with block; it is killed at the end if it still runs."""
    body = RunningBody(spec, program, environment)
    try:
        yield body
    finally:
        if body.process.poll() is None:
            body.process.send_signal(signal.SIGKILL)
            body.process.wait(100)


def run_body(spec: BodySpec, program: Sequence[str] = PROGRAM, **environment: str) -> EndedBody:
    """Run a body to its end."""
    with running_body(spec, program, **environment) as body:
        return body.end()
