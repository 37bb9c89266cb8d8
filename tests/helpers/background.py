"""A whole server whose operations wait until a test moves them, as their body and their runner would.

with waiting_server(tmp_path) as server:
    operation = server.sara.operations.StartImport(…).operation
    move = Mover(server)
    token = move.begin(operation.name)             # claimed, and the token of that attempt
    move.tell(operation.name, "half of it")
    move.succeed(operation.name)
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from helpers.servers import Server, running_server
from ingot.server.core.errors import Problem, Reason
from ingot.server.core.events import LogLevel, LogLine, Progress
from ingot.server.core.operations import Operation, QueueLimits
from ingot.v1 import operations_pb2

pb = operations_pb2
STILL = ("download=0", "validate=0", "export=0", "maintenance=2")
_ANY = QueueLimits(dict.fromkeys(("download", "validate", "export", "maintenance"), 1000))


@contextlib.contextmanager
def waiting_server(folder: Path, **settings: Any) -> Iterator[Server]:
    """Serve with all queues standing still but that of the server's own upkeep."""
    with running_server(folder, operation_queues=STILL, **settings) as server:
        yield server


class Mover:
    """Does to operations what a runner does, through the same rules."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parts = server.app.operations

    def begin(self, name: str) -> str:
        """Claim an operation; return the token of its new attempt."""
        claimed = self._write(self._parts.claims.claim, "one", _id(name), _ANY)
        assert isinstance(claimed, Operation), f"{name} does not wait"
        return self._server.app.people.operation_tokens.make(claimed)

    def tell(self, name: str, *lines: str, attempt: int = 1, done: int = 0, percent: float = 0.0) -> None:
        """Store what its body tells: lines of its log, and how far it is."""
        told = [LogLine(LogLevel.INFO, 0, line) for line in lines]
        progress = Progress(phase="fetching", done=done, total=100, percent=percent) if done else None
        self._write(self._parts.claims.beat, _id(name), attempt, progress, told)

    def succeed(self, name: str, attempt: int = 1, **result: object) -> None:
        """End it with a result."""
        self._write(self._parts.claims.succeed, _id(name), attempt, result)

    def fail(self, name: str, attempt: int = 1, *, retry: bool = False) -> None:
        """End its attempt with a problem."""
        problem = Problem(Reason.SOURCE_UNREACHABLE, "The network is gone.", {"host": "h"}, "Wait.", 1.0)
        self._write(self._parts.claims.fail, _id(name), attempt, problem, retry=retry)

    def stopped(self, name: str, attempt: int = 1) -> None:
        """End it after it was asked to stop."""
        self._write(self._parts.claims.stopped, _id(name), attempt)

    def _write(self, rule: object, *args: object, **more: object) -> object:
        assert callable(rule)
        return self._server.app.database.write(rule, *args, **more).result(100)


def hub_import(repository: str = "google/flan-t5-small", **fields: object) -> pb.StartImportRequest:
    """Return the request for an import from the Hub."""
    hub = pb.HubSource(repository=repository)
    return pb.StartImportRequest(hub=hub, **fields)  # type: ignore[arg-type]  # as the test says


def url_import(
    *urls: str, file: Mapping[str, object] | None = None, **fields: object
) -> pb.StartImportRequest:
    """Return the request for an import of one file from several URLs."""
    one = pb.UrlFile(urls=urls, **(file or {}))  # type: ignore[arg-type]  # as the test says
    return pb.StartImportRequest(urls=pb.UrlSource(files=[one]), **fields)  # type: ignore[arg-type]


def _id(name: str) -> str:
    return name.removeprefix("operations/")
