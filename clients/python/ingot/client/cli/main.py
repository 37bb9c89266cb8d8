"""The program `ingot`: told to stop before all is loaded, it says so and leaves; else program.py runs it.

Ctrl-C comes at any moment, also while modules are imported, where an exception would become a traceback. So
this module imports next to nothing, and until the command runs a signal ends the process at once.
"""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

STOPPED = 8
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name and return the exit code."""
    if argv is not None:  # called by a program, whose signals are its own
        from ingot.client.cli import program

        return program.main(argv)
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup, or a shell's `&`
            signal.signal(number, _leave)
    from ingot.content import tuning

    tuning.begin()
    from ingot.client.cli import program

    code = program.main(sys.argv[1:])
    if code == STOPPED:  # Python ends by SIGINT when it once interrupted an import, whoever caught that
        sys.stdout.flush()
        os._exit(code)
    tuning.end()
    return code


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"\nStopped.\n")
    os._exit(STOPPED)


if __name__ == "__main__":
    sys.exit(main())
