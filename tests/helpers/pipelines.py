"""A real gRPC server: the pipeline in front of servicers that a test writes, and credentials it chooses."""

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor, message_factory

from helpers import channels, loops
from ingot.server.core.clock import SystemClock
from ingot.server.core.errors import Reason, Unauthenticated
from ingot.server.core.identity import SCOPES_OF_ROLE, Caller, Role
from ingot.server.core.usage import Activity
from ingot.server.rpc import methods
from ingot.server.rpc.call_rates import CallRates
from ingot.server.rpc.call_watchers import CallWatcher
from ingot.server.rpc.credentials import Credentials
from ingot.server.rpc.hops import Hops
from ingot.server.rpc.pipeline import Pipeline
from ingot.server.rpc.server import GrpcServer
from ingot.server.storage.database import open_database

Behaviour = Callable[[Any, Any], Any]  # (request or requests, context) -> reply or replies


def caller_of(role: Role) -> Caller:
    """Return a caller with all scopes of a role."""
    name = role.value.lower()
    return Caller(
        principal=f"users/{name}",
        user=name,
        role=role,
        scopes=SCOPES_OF_ROLE[role],
        token=f"users/{name}/tokens/tok_1",
        namespace=name,
        writes=frozenset({name}),
        reads=frozenset({name}),
    )


class FixedIdentity:
    """Knows a token for each role, named like it, and `expired`; counts how often it was asked."""

    def __init__(self) -> None:
        self.revision = 0
        self.asked = 0
        self.over: set[str] = set()  # access tokens that expired: good for calls that had begun with them
        self.callers: dict[str, Caller] = {role.value.lower(): caller_of(role) for role in Role}

    def authenticate(self, secret: str, *, begun: bool = False) -> Caller:
        self.asked += 1
        if secret == "expired" or (secret in self.over and not begun):
            raise Unauthenticated(Reason.TOKEN_EXPIRED, "The token expired.")
        if secret not in self.callers:
            raise Unauthenticated(Reason.TOKEN_INVALID, "The token is not known.")
        return self.callers[secret]


@dataclasses.dataclass(frozen=True, slots=True)
class Rig:
    """A running server and what a test looks at."""

    channel: grpc.Channel
    server: GrpcServer
    pipeline: Pipeline
    identity: FixedIdentity
    activities: list[Activity]
    tcp: str
    socket: pathlib.Path

    def drain(self, grace: float) -> None:
        """Drain and stop the server."""
        loops.run(self.server.drain(grace))


@contextlib.contextmanager
def rig(
    add: Callable[[grpc.aio.Server], None] = lambda server: None,
    *,
    unary_seconds: float = 300.0,
    recheck_seconds: float = 10.0,
    rates: CallRates | None = None,
    health: bool = True,
    reflection: bool = True,
    address: str = "127.0.0.1:0",
    watchers: Sequence[CallWatcher] = (),
) -> Iterator[Rig]:
    """Serve what `add` adds, on a unix socket and a TCP port, for the length of a with block."""
    with tempfile.TemporaryDirectory(prefix="ingot-test-") as folder, contextlib.ExitStack() as stack:
        socket = pathlib.Path(folder) / "s"
        database = stack.enter_context(contextlib.closing(open_database("sqlite:///:memory:")))
        hops = stack.enter_context(contextlib.closing(Hops(database)))
        identity = FixedIdentity()
        activities: list[Activity] = []

        async def start() -> tuple[GrpcServer, Pipeline, str]:
            credentials = Credentials(hops, identity, SystemClock())
            pipeline = Pipeline(
                credentials,
                activities.append,
                SystemClock(),
                unary_seconds=unary_seconds,
                recheck_seconds=recheck_seconds,
                rates=rates,
                watchers=watchers,
            )
            server = GrpcServer(pipeline, health=health, reflection=reflection)
            add(server.server)
            addresses = await server.start([address], socket)
            return server, pipeline, addresses[0]

        server, pipeline, tcp = loops.run(start())
        stack.callback(lambda: loops.run(server.drain(0)))
        channel = stack.enter_context(channels.connected(f"unix:{socket}"))
        yield Rig(channel, server, pipeline, identity, activities, tcp, socket)


def serving(**behaviours: Behaviour) -> Callable[[grpc.aio.Server], None]:
    """Return what serves the given RPCs, by their names: coroutine or async generator functions."""

    def add(server: grpc.aio.Server) -> None:
        for service in methods.services():
            handlers = {
                method.name: _handler(method, behaviours[method.name])
                for method in service.methods
                if method.name in behaviours
            }
            handler = grpc.method_handlers_generic_handler(service.full_name, handlers)
            server.add_generic_rpc_handlers((handler,))

    return add


def _handler(method: descriptor.MethodDescriptor, behaviour: Behaviour) -> "grpc.RpcMethodHandler[Any, Any]":
    make: Callable[..., grpc.RpcMethodHandler[Any, Any]] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[method.client_streaming, method.server_streaming]
    request = message_factory.GetMessageClass(method.input_type)
    return make(behaviour, request.FromString, lambda message: message.SerializeToString())


def bearer(token: str, **more: str) -> tuple[tuple[str, str], ...]:
    """Return call metadata with a token; other keys are written with `_` for `-`."""
    others: Mapping[str, str] = {key.replace("_", "-"): value for key, value in more.items()}
    return (("authorization", f"Bearer {token}"), *others.items())
