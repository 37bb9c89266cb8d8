"""Who may call which method, over all methods of the protos and all roles."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import TypeAlias

import grpc
import pytest
from google.protobuf import descriptor, message_factory
from google.protobuf.message import Message

from helpers.pipelines import Behaviour, Rig, bearer, rig, serving
from ingot.server.core.identity import SCOPES_OF_ROLE, Role, Scope
from ingot.server.rpc import methods

METHODS = [method for service in methods.services() for method in service.methods]
PUBLIC = {"GetServerInfo", "GetHealth", "Login", "RefreshLogin"}
RawCall: TypeAlias = "grpc.UnaryUnaryMultiCallable[bytes, bytes]"


def _name(method: descriptor.MethodDescriptor) -> str:
    return method.name


def _empty(method: descriptor.MethodDescriptor) -> Behaviour:
    """Return a behaviour that answers with one empty message."""
    reply = message_factory.GetMessageClass(method.output_type)()

    async def single(request: object, context: object) -> Message:
        return reply

    async def stream(request: object, context: object) -> AsyncIterator[Message]:
        yield reply

    return stream if method.server_streaming else single


@pytest.fixture(scope="module")
def running() -> Iterator[Rig]:
    with rig(serving(**{method.name: _empty(method) for method in METHODS})) as found:
        yield found


def _call(running: Rig, method: descriptor.MethodDescriptor, *metadata: tuple[str, str]) -> str:
    """Call a method with an empty request; return the name of its status."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    request = message_factory.GetMessageClass(method.input_type)()
    first = iter([request]) if method.client_streaming else request
    kind = (
        "stream" if method.client_streaming else "unary",
        "stream" if method.server_streaming else "unary",
    )
    multi = getattr(running.channel, "_".join(kind))(
        path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    try:
        if method.server_streaming:
            list(multi(first, metadata=metadata, timeout=100))
        else:
            multi(first, metadata=metadata, timeout=100)
    except grpc.RpcError as error:
        return str(re.findall(r"StatusCode\.([A-Z_]+)", str(error))[0])
    return "OK"


@pytest.mark.contract("S0-97", "S1-50")
@pytest.mark.parametrize("method", METHODS, ids=_name)
def test_without_credential_only_first_contact_is_open(
    running: Rig, method: descriptor.MethodDescriptor
) -> None:
    assert _call(running, method) == ("OK" if method.name in PUBLIC else "UNAUTHENTICATED")


@pytest.mark.contract("S4-48")
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("method", METHODS, ids=_name)
def test_a_role_may_call_what_its_scopes_cover(
    running: Rig, method: descriptor.MethodDescriptor, role: Role
) -> None:
    rule = methods.all_methods()[f"/{method.containing_service.full_name}/{method.name}"]
    wanted = "OK" if rule.scopes <= SCOPES_OF_ROLE[role] else "PERMISSION_DENIED"
    assert _call(running, method, *bearer(role.value.lower())) == wanted


@pytest.mark.contract("S0-101")
def test_roles_differ_in_what_they_may_call() -> None:
    """The matrix above, spelled out where it matters most."""
    rules = {rule.name: rule.scopes for rule in methods.all_methods().values()}
    may = {role: {name for name, scopes in rules.items() if scopes <= SCOPES_OF_ROLE[role]} for role in Role}
    assert "CreateUser" in may[Role.ADMIN]
    assert "CreateUser" not in may[Role.MEMBER]
    assert "BeginUpload" in may[Role.MEMBER]
    assert "BeginUpload" not in may[Role.VIEWER]
    assert "ReadFile" in may[Role.VIEWER]
    assert "ClaimWork" in may[Role.WORKER]
    assert "ClaimWork" not in may[Role.ADMIN]
    assert "DeleteArtifact" not in may[Role.WORKER]


def test_every_scope_of_the_protos_is_one_that_some_role_has() -> None:
    named = set().union(*(rule.scopes for rule in methods.all_methods().values()))
    assert named <= set(Scope)
    assert named <= set().union(*SCOPES_OF_ROLE.values())


def test_a_method_that_is_not_in_the_protos_is_unknown(running: Rig) -> None:
    call: RawCall = running.channel.unary_unary("/ingot.v1.CatalogService/Nonsense")
    with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
        call(b"", metadata=bearer("admin"), timeout=100)


def test_a_served_method_without_a_rule_is_refused() -> None:
    async def answer(request: bytes, context: object) -> bytes:
        return b"secret"

    def add(server: grpc.aio.Server) -> None:
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Peek": grpc.unary_unary_rpc_method_handler(answer)
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("backdoor.v1.Door", handlers),))

    with rig(add) as running:
        call: RawCall = running.channel.unary_unary("/backdoor.v1.Door/Peek")
        with pytest.raises(grpc.RpcError):
            call(b"", metadata=bearer("admin"), timeout=100)
