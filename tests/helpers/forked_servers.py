"""The real server as a process that starts at once: forked where its modules are loaded already.

    servers = ForkedServers(tmp_path / "errors")
    with servers.serving(data, "pack.renamed") as server:
        …                                       # until it dies there
        assert server.wait() == KILLED
    servers.close()

One at a time; `armed_server.py` is the program that forks them. That the program `ingot-server` starts and
ends as it should is proven elsewhere, with processes.py.
"""

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

KILLED = -signal.SIGKILL
_SERVE = ("--listen", "127.0.0.1:0", "--json")


class ForkedServers:
    """A process that forks servers; what they say on stderr is in the file `errors`."""

    def __init__(self, errors: Path) -> None:
        with errors.open("ab") as out:
            self._parent = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("armed_server.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                bufsize=0,
                start_new_session=True,
                # How full the disk of the machine is that runs the tests must not decide them.
                env={**os.environ, "INGOT_DISK_PLENTY_BYTES": "0"},
            )

    def close(self) -> None:
        """End everything."""
        os.killpg(self._parent.pid, signal.SIGKILL)  # with the server that it forked
        self._parent.communicate()

    def start(self, data: Path, failpoint: str = "", flags: Sequence[str] = ()) -> dict[str, object]:
        """Start a server and return what it says: that it is ready, or {"ended": status}."""
        arguments = ["serve", "--data", str(data), *_SERVE, *flags]
        self._send(json.dumps({"arguments": arguments, "failpoint": failpoint}))
        return self.answer()

    def arm(self, failpoint: str) -> None:
        """Arm a fail point in the server that runs."""
        self._send(failpoint)

    def answer(self, timeout: float = 100.0) -> dict[str, object]:
        """Return the next line: of the server that it is ready, of the parent that it has ended."""
        assert self._parent.stdout is not None
        assert select.select([self._parent.stdout], [], [], timeout)[0], "the server says nothing"
        found: dict[str, object] = json.loads(self._parent.stdout.readline())
        return found

    @contextlib.contextmanager
    def serving(self, data: Path, failpoint: str = "", flags: Sequence[str] = ()) -> Iterator["ForkedServer"]:
        """Serve from `data` on a free port for the length of a with block; it is killed at the end."""
        server = ForkedServer(self.start(data, failpoint, flags), data, self)
        try:
            yield server
        finally:
            if server.status is None:
                server.stop(signal.SIGKILL)

    def _send(self, line: str) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.write(f"{line}\n".encode())


@dataclasses.dataclass(slots=True)
class ForkedServer:
    """A server that runs."""

    facts: dict[str, object]  # the line of JSON it printed when it was ready
    data: Path
    _servers: ForkedServers
    status: int | None = None  # how it ended

    def __post_init__(self) -> None:
        assert self.facts.get("event") == "ready", f"the server did not start: {self.facts}"

    @property
    def address(self) -> str:
        """The address, host:port."""
        listen = self.facts["listen"]
        assert isinstance(listen, list)
        return str(listen[0])

    @property
    def admin_token(self) -> str:
        """The administrator's token, from its file."""
        return (self.data / "admin.token").read_text(encoding="ascii").strip()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(int(str(self.facts["pid"])), number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal, and return how it ended."""
        self.send(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; return how it ended."""
        ended = self._servers.answer()["ended"]
        assert isinstance(ended, int)
        self.status = ended
        return ended
