"""Servers that start fast and are told where to die: `python armed_server.py` forks one for each line read.

Each line is JSON: {"arguments": ["serve", …], "failpoint": ""}. The child is the real `ingot-server` in every
way but that its modules are loaded already; a fail point in the line is armed before it starts. While it runs
it reads further lines itself, and arms what each says. When it has ended the parent writes {"ended": status}.
"""

import contextlib
import json
import os
import sys
import threading
from pathlib import Path

if __name__ == "__main__":  # as a program it finds its modules itself
    root = Path(__file__).parents[2]
    sys.path[:0] = [str(root / part) for part in ("tests", "server", "clients/python", "generated/python")]

from ingot.server import app, cli, logs  # noqa: F401 (the server imports them late; here before the fork)
from ingot.server.core import failpoints


def _line() -> str:
    """Read one line and not a byte more: what follows is for whoever reads next."""
    read = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        read += byte
    return read.decode()


def _arm(stack: contextlib.ExitStack) -> None:
    while line := _line():
        stack.enter_context(failpoints.armed(line))


def _serve(arguments: list[str], failpoint: str) -> int:
    stack = contextlib.ExitStack()
    if failpoint:
        stack.enter_context(failpoints.armed(failpoint))
    threading.Thread(target=_arm, args=(stack,), daemon=True).start()
    return cli.main(arguments)


def main() -> None:
    while line := _line():
        wanted = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(_serve(wanted["arguments"], wanted["failpoint"]))
        _, status = os.waitpid(child, 0)
        os.write(1, json.dumps({"ended": os.waitstatus_to_exitcode(status)}).encode() + b"\n")


if __name__ == "__main__":
    main()
