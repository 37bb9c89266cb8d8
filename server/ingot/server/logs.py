"""Where log events go: the terminal, and a file in the data folder that is rotated.

Events are `area.event name=value …`, one per change of state, never contents or tokens. Anything that looks
like a token of ours is blanked all the same, whoever logged it.
"""

import contextlib
import logging
import logging.handlers
import re
import sys
from pathlib import Path

FILE_BYTES = 10 * 1024 * 1024
FILES_KEPT = 5
_FORM = "%(asctime)s %(levelname)-7s %(name)s %(message)s"
_TOKEN = re.compile(r"\bingot_(\w+?)_[A-Za-z0-9_-]{20,}|(?i:bearer)\s+\S+")


class _Form(logging.Formatter):
    """Formats a record and blanks tokens in the whole of it, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return _TOKEN.sub("[token]", super().format(record))


class _File(logging.handlers.RotatingFileHandler):
    """A file of events. While its disk takes none they are lost to it, and stderr hears of that once."""

    _failing = _failed = False  # before this event, and with it

    def emit(self, record: logging.LogRecord) -> None:
        """Write an event."""
        self._failed = False
        super().emit(record)
        self._failing = self._failed

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # its name in logging
        """Give up what could not be written, so that the next event begins anew."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self._failed = True
        self._drop()
        if not self._failing:
            with contextlib.suppress(OSError, ValueError):  # it may lie on the same disk; who logs must go on
                sys.stderr.write(f"log.not_written path={self.baseFilename} error={error}\n")

    def close(self) -> None:
        """Close the file, whatever its disk says."""
        self._drop()
        super().close()

    def _drop(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def start(folder: Path, level: str) -> list[logging.Handler]:
    """Send events of `level` and above to the terminal and to `folder`/server.log; return both handlers."""
    file = _File(folder / "server.log", maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")
    file.setFormatter(_Form(_FORM))
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(_Form("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    return _started([file, terminal], level)


def start_beside(level: str) -> list[logging.Handler]:
    """Send events of a process beside the server to its stderr, which is a file; return the handler."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Form(_FORM))
    return _started([handler], level)


def _started(handlers: list[logging.Handler], level: str) -> list[logging.Handler]:
    root = logging.getLogger()
    root.setLevel(level.upper())
    for handler in handlers:
        root.addHandler(handler)
    for talkative in ("asyncio", "grpc", "peewee", "playhouse"):  # their lines would bury ours
        logging.getLogger(talkative).setLevel(logging.WARNING)
    return handlers


def stop(handlers: list[logging.Handler]) -> None:
    """Close what `start` opened."""
    for handler in handlers:
        logging.getLogger().removeHandler(handler)
        handler.close()
