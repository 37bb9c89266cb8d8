"""The line to the server: reports of a body, one JSON object a line, from any thread.

Secrets never travel: each occurrence in any text is blacked out. What is no UTF-8, as names of files may be,
travels escaped. When nobody reads any more, the server is gone and the process ends at once and quietly: the
attempt is lost, and a later one goes on from the folder.
"""

import os
import threading
from collections.abc import Iterable

from pydantic import JsonValue

from ingot.server.core.body_protocol import Report

SERVER_GONE = 3  # exit status
BLACK = "[secret]"
_SHORTEST = 6  # shorter "secrets" occur in harmless words


class Reports:
    """Writes reports to a file descriptor."""

    def __init__(self, descriptor: int, secrets: Iterable[str] = ()) -> None:
        self._descriptor = descriptor
        self._secrets = sorted({each for each in secrets if len(each) >= _SHORTEST}, key=len, reverse=True)
        self._lock = threading.Lock()

    def send(self, report: Report) -> None:
        """Write one report; ends the process when nobody reads it."""
        safe = Report.model_validate(self._safe(report.model_dump(exclude_defaults=True)))
        line = memoryview(safe.model_dump_json(exclude_defaults=True).encode() + b"\n")
        with self._lock:
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except BrokenPipeError:
                os._exit(SERVER_GONE)  # nothing is worth cleaning up: the folder is made for kills

    def blacked_out(self, text: str) -> str:
        """Return a text without the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, BLACK)
        return text

    def _safe(self, value: JsonValue) -> JsonValue:
        if isinstance(value, str):
            return _unicode(self.blacked_out(value))
        if isinstance(value, list | tuple):
            return [self._safe(each) for each in value]
        if isinstance(value, dict):
            return {_unicode(key): self._safe(each) for key, each in value.items()}
        return value


def _unicode(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
