"""The real `ingot-server` as a process: start it, wait until it is ready, stop it, read what it said."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

SERVER = Path(sys.executable).parent / "ingot-server"


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """A process that is over."""

    status: int
    output: str
    errors: str


@dataclasses.dataclass(slots=True)
class ServerProcess:
    """A running server."""

    process: "subprocess.Popen[str]"
    facts: dict[str, object]  # the line of JSON it printed when it was ready
    data: Path

    @property
    def address(self) -> str:
        """The first address, host:port."""
        listen = self.facts["listen"]
        assert isinstance(listen, list)
        return str(listen[0])

    @property
    def admin_token(self) -> str:
        """The administrator's token, from its file."""
        return (self.data / "admin.token").read_text(encoding="ascii").strip()

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 100.0) -> Ended:
        """Send a signal, wait for the end and return what it left."""
        self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=timeout)
        return Ended(self.process.returncode, output, errors)


def run_server(
    *arguments: str, environment: Mapping[str, str] | None = None, timeout: float = 250.0
) -> Ended:
    """Run `ingot-server` to its end."""
    done = subprocess.run(
        [SERVER, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=_environment(environment),
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def server_process(
    data: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[ServerProcess]:
    """Serve from `data` on a free port until the end of the with block."""
    process = subprocess.Popen(
        [SERVER, "serve", "--json", "--data", str(data), "--listen", "127.0.0.1:0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(environment),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(f"the server did not start: {process.communicate(timeout=100)[1]}")
        yield ServerProcess(process, json.loads(line), data)
    finally:
        if process.poll() is None and "--with-worker" in arguments:
            # A worker whose server is killed goes on for a while, and its processes with it.
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=100)
        if process.poll() is None:
            process.kill()
            process.communicate()


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    # How full the disk of the machine is that runs the tests must not decide them.
    return {**os.environ, "INGOT_DISK_PLENTY_BYTES": "0", **(extra or {})}
