"""A whole server inside the test process, on a unix socket, with typed stubs for each kind of caller.

    with running_server(tmp_path) as server:
        server.admin.catalog.GetArtifact(…)           # sync stubs that send the administrator's token
        server.member("sara").transfer.BeginUpload(…)
        server.worker().workers.ClaimWork(…)
        server.address, server.token("sara")          # for the SDK and the command line

Everything is real: the same composition root as `ingot-server serve`, SQLite in `tmp_path`, gRPC on a socket.
Only the event loop is shared by all tests of the process (see loops.py).
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc

from helpers import channels, loops, schema
from ingot.server import app as composition
from ingot.server.app import App
from ingot.server.core.clock import Clock, SystemClock
from ingot.server.core.identity import Role, system_caller
from ingot.server.domain.identity import NewToken, NewUser
from ingot.server.domain.requests import RequestKey
from ingot.server.settings.fields import Settings
from ingot.server.storage.data_folder import DataFolder
from ingot.v1 import (
    auth_pb2_grpc,
    catalog_pb2_grpc,
    operations_pb2_grpc,
    system_pb2_grpc,
    training_pb2_grpc,
    transfer_pb2_grpc,
    workers_pb2_grpc,
)


class _Credentials(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds metadata to every call, as the SDK does on a channel without TLS."""

    def __init__(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self._metadata = metadata

    def _continue(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        # One method for four kinds: what it passes through has another type in each of them.
        metadata = (*(details.metadata or ()), *self._metadata)
        return continuation(_Details(details.method, details.timeout, metadata), request)

    intercept_unary_unary = _continue  # type: ignore[assignment]
    intercept_unary_stream = _continue  # type: ignore[assignment]
    intercept_stream_unary = _continue  # type: ignore[assignment]
    intercept_stream_stream = _continue  # type: ignore[assignment]


class _Details(grpc.ClientCallDetails):
    def __init__(self, method: str, timeout: float | None, metadata: tuple[tuple[str, str], ...]) -> None:
        self.method = method
        self.timeout = timeout
        self.metadata = metadata
        self.credentials = None
        self.wait_for_ready = None
        self.compression = None


class Stubs:
    """All services through one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.auth = auth_pb2_grpc.AuthServiceStub(channel)
        self.catalog = catalog_pb2_grpc.CatalogServiceStub(channel)
        self.operations = operations_pb2_grpc.OperationsServiceStub(channel)
        self.system = system_pb2_grpc.SystemServiceStub(channel)
        self.training = training_pb2_grpc.TrainingServiceStub(channel)
        self.transfer = transfer_pb2_grpc.TransferServiceStub(channel)
        self.workers = workers_pb2_grpc.WorkersServiceStub(channel)


@dataclasses.dataclass(slots=True)
class Server:
    """A running server; `app` is its composition root, for looking behind the doors."""

    app: App
    address: str  # unix:/…/server.sock
    folder: Path
    _channels: contextlib.ExitStack
    _tokens: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def admin_token(self) -> str:
        """The administrator's token, from its file."""
        return (self.folder / "admin.token").read_text(encoding="ascii").strip()

    def token(self, user: str, role: Role = Role.MEMBER) -> str:
        """Return a token of a user, who is made when missing."""
        if user not in self._tokens:
            self._tokens[user] = self._write(self._make_user, user, role)
        return self._tokens[user]

    def worker_token(self) -> str:
        """Return a new token for a worker, made by the administrator."""
        return self._write(self._make_token, NewToken(user="admin", for_worker=True))

    @property
    def admin(self) -> Stubs:
        """Stubs of the administrator."""
        return self.stubs(self.admin_token)

    def member(self, user: str = "sara") -> Stubs:
        """Return stubs of a member, who is made when missing."""
        return self.stubs(self.token(user))

    def viewer(self, user: str = "vera") -> Stubs:
        """Return stubs of a viewer, who is made when missing."""
        return self.stubs(self.token(user, Role.VIEWER))

    def worker(self) -> Stubs:
        """Return stubs of a worker with a token of its own."""
        return self.stubs(self.worker_token())

    def stubs(self, token: str = "", **metadata: str) -> Stubs:
        """Return stubs that send a token, none when empty, and other metadata, with `_` for `-` in names."""
        pairs = tuple((name.replace("_", "-"), value) for name, value in metadata.items())
        if token:
            pairs += (("authorization", f"Bearer {token}"),)
        channel = self._channels.enter_context(channels.connected(self.address))
        return Stubs(grpc.intercept_channel(channel, _Credentials(pairs)))

    def _write(self, rule: Callable[..., str], *args: object) -> str:
        return self.app.database.write(rule, *args).result(100)

    def _make_user(self, user: str, role: Role) -> str:
        self.app.identity.create_user(system_caller(), NewUser(user, user.title(), role), RequestKey("", b""))
        return self._make_token(NewToken(user=user))

    def _make_token(self, wanted: NewToken) -> str:
        return self.app.identity.create_token(_administrator(), wanted)[1]


def _administrator() -> Any:
    return dataclasses.replace(system_caller(), user="admin")


@contextlib.contextmanager
def running_server(folder: Path, *, clock: Clock | None = None, **settings: Any) -> Iterator[Server]:
    """Serve from the folder `data` in `folder` for the length of a with block; `settings` as in Settings.

    It listens on its unix socket only, unless `listen` says more, and does not wait for calls at the end.
    """
    # How full the disk of the machine is that runs the tests must not decide them.
    wanted: dict[str, Any] = {"listen": (), "drain_seconds": 0.0, "disk_plenty_bytes": 0, **settings}
    chosen = Settings(data_dir=folder / "data", **wanted)
    held = DataFolder.hold(chosen.data_dir)
    schema.prepare(chosen.database)
    serving = composition.running(chosen, held, clock or SystemClock())
    app = loops.run(serving.__aenter__())
    try:
        with contextlib.ExitStack() as channels:
            yield Server(app, f"unix:{app.unix_socket}", chosen.data_dir, channels)
    finally:
        loops.run(serving.__aexit__(None, None, None))
