"""Hostile names and texts in every string of every RPC: each is refused in words, and the server stays well.

The requests are the valid ones of the permission matrix (helpers/permission_requests.py, one for each RPC),
sent by somebody who may do everything, with one string changed at a time. Which strings a message has is read
from its descriptor.
"""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from helpers.permission_requests import REQUESTS, At, messages
from helpers.permission_world import World, world
from helpers.refusals import reason_of
from helpers.servers import Server, Stubs, running_server
from helpers.transfers import refused
from ingot.server.rpc import methods
from ingot.v1 import auth_pb2, catalog_pb2, system_pb2

RPCS = {method.name: method for service in methods.services() for method in service.methods}
ASKED = {name.partition(":")[0]: name for name in reversed(REQUESTS)}  # the first request of each RPC
SERVICES = sorted(service.name for service in methods.services())
DEEPEST = 2  # messages inside messages that are looked into
REFUSALS = {
    *("INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "ALREADY_EXISTS", "PERMISSION_DENIED"),
    *("UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "ABORTED", "OUT_OF_RANGE"),
}
TEXTS = (
    "\u202eم\u200fe\u0301\ufeff \U0001f4a9 '); DROP TABLE artifact; -- NEAR(\" * ^ ../../etc/passwd%00\r\n\t",
    "a\0b\x1b[2J\x9b31m\x07",
    "https://example.com/" + "\U0001f4a9" * 6000,
)
MIB = 1024 * 1024
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Place:
    """One string of a request: the fields that lead to it, and whether it is the name of something."""

    path: tuple[str, ...]
    name: bool


@pytest.fixture(name="found", scope="module")
def _found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("names")) as made:
        yield made


def hostile(name: str) -> Iterator[str]:
    """Yield what looks like the name, contains it or wants to be more than a name."""
    head, _, last = name.rpartition("/")
    slash = f"{head}/" if head else ""
    yield from (
        f"{name}\0",
        f"{name}\n",
        f"{name}/",
        f"{name}/../{last}",
        f"{slash}..",
    )
    yield from (
        f"{slash}%",
        f"{slash}%2e%2e%2f{last}",
        f'{slash}{last}" OR NEAR(a b)',
    )
    yield from (f"{slash}{last}' OR '1'='1", f"{slash}\x1b]0;x\x07")
    yield from (f"{slash}\u202e{last[::-1]}", f"{name}\u200f", f"{slash}{last[:1]}\u200b{last[1:]}")
    yield from (f"{slash}caf\u00e9", f"{slash}cafe\u0301", f"{slash}{last}\u0430", f"{slash}\uff41")
    yield from (f"{slash}\u0663", f"{name}{'9' * 120}", f"{slash}{'a' * 30_000}", "/" * 10_000)


def places(kind: Descriptor, depth: int = 0) -> Iterator[Place]:
    """Yield every string that a message of this kind may hold."""
    for field in kind.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield Place((field.name,), False)
        elif field.message_type is not None and depth < DEEPEST and _is_ours(field.message_type):
            for each in places(field.message_type, depth + 1):
                yield Place((field.name, *each.path), each.name)


def _is_ours(kind: Descriptor) -> bool:
    return kind.full_name.startswith("ingot.") and not kind.GetOptions().map_entry


def value_at(message: Message, path: Sequence[str]) -> str:
    """Return the string at a place, the first of several, "" where there is none."""
    if not path:
        return ""
    value = getattr(message, path[0])
    first = value if isinstance(value, Message | str) else next(iter(value), "")
    return value_at(first, path[1:]) if isinstance(first, Message) else str(first)


def changed(message: Message, path: Sequence[str], text: str) -> Message:
    """Return a copy with another string at a place."""
    copy = type(message)()
    copy.CopyFrom(message)
    at = copy
    for name in path[:-1]:
        inner = getattr(at, name)
        if not isinstance(inner, Message):
            inner = inner[0] if len(inner) else inner.add()
        at = inner
    if at.DESCRIPTOR.fields_by_name[path[-1]].is_repeated:
        del getattr(at, path[-1])[:]
        getattr(at, path[-1]).append(text)
    else:
        setattr(at, path[-1], text)
    return copy


def attacks(rpc: str, first: Message) -> Iterator[tuple[Place, str]]:
    """Yield each place of a request with each text for it."""
    for place in places(descriptor_pool.Default().FindMessageTypeByName(first.DESCRIPTOR.full_name)):
        valid = value_at(first, place.path)
        if "/" in valid and place.path[-1] not in ("source", "repository"):
            for text in hostile(valid):
                yield Place(place.path, True), text
        elif rpc != "GenerateText":  # every text is a prompt
            for text in TEXTS:
                yield place, text


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("service", SERVICES)
def test_hostile_names_are_refused_in_words(found: World, service: str, every: int) -> None:
    """In the short run each place is given every fifth text, each time others."""
    calls = []
    for rpc, case in ASKED.items():
        if RPCS[rpc].containing_service.name != service:
            continue
        at = At(found, caller_of(service), found.place("private", "admin"))
        fresh = REQUESTS[case].fresh
        at = At(found, at.caller, at.place, fresh(at)) if fresh else at
        asked = list(messages(REQUESTS[case].ask(at)))
        calls += [(rpc, asked, place, text) for place, text in attacks(rpc, asked[0])]
    stubs = found.stubs[caller_of(service)]

    def attack(call: tuple[str, list[Message], Place, str]) -> str:
        rpc, asked, place, text = call
        told = ask(stubs, rpc, [changed(asked[0], place.path, text), *asked[1:]])
        expected = told in REFUSALS or (told == "OK" and not place.name)
        return "" if expected else f"{rpc} {'.'.join(place.path)} {text[:60]!r}: {told}"

    with ThreadPoolExecutor(6) as threads:
        wrong = [line for line in threads.map(attack, calls[::every]) if line]
    assert not wrong, "\n".join(wrong)
    assert found.stubs["admin"].system.GetHealth(system_pb2.GetHealthRequest()).ByteSize()
    name = found.place("private", "admin").dataset
    kept = found.stubs["admin"].catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name=name))
    assert kept.artifact.name == name


def caller_of(service: str) -> str:
    """Return who may do everything of a service."""
    return "assignd" if service == "WorkersService" else "admin"


def ask(stubs: Stubs, rpc: str, asked: list[Message]) -> str:
    """Make one call; return the name of its status, or what is wrong with the refusal."""
    method = RPCS[rpc]
    word = method.containing_service.name.removesuffix("Service").lower()
    call = getattr(getattr(stubs, word), rpc)
    try:
        reply = call(iter(asked) if method.client_streaming else asked[0], timeout=100)
        if method.server_streaming:
            next(reply, None)
            reply.cancel()
    except grpc.RpcError as error:
        reason = reason_of(error)
        if reason and not _UNSEEN.search(error.details() or ""):
            return str(error.code().name)
        return f"{error.code().name} with reason {reason!r} and message {error.details()!r:.300}"
    return "OK"


# --- twins ----------------------------------------------------------------------------------------------


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("twins")) as running:
        yield running


def create(server: Server, artifact_id: str) -> catalog_pb2.Artifact:
    request = catalog_pb2.CreateArtifactRequest(
        parent="namespaces/sara", kind=catalog_pb2.ARTIFACT_KIND_MODEL, artifact_id=artifact_id
    )
    return server.member().catalog.CreateArtifact(request).artifact


def test_a_case_twin_is_the_same_artifact(server: Server) -> None:
    """On a disk that does not tell cases apart, both would be pulled into one folder."""
    made = create(server, "Tiny")
    for twin in ("tiny", "TINY"):
        with refused(grpc.StatusCode.ALREADY_EXISTS, "NAME_TAKEN"):
            create(server, twin)
        name = f"namespaces/sara/models/{twin}"
        got = server.member().catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name=name))
        assert (got.artifact.uid, got.artifact.name) == (made.uid, made.name)


@pytest.mark.parametrize(
    "look",
    ["t\u0456ny", "tin\uff59", "t\u00edny", "ti\u0301ny", "tiny\u200c", "\u202eynit", "tiny\u00ad", "ﬁne"],
)
def test_nothing_that_looks_like_another_artifact_can_be_made(server: Server, look: str) -> None:
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"):
        create(server, look)
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"):
        server.admin.auth.CreateUser(auth_pb2.CreateUserRequest(user_id=look))
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID"):
        server.admin.auth.CreateNamespace(auth_pb2.CreateNamespaceRequest(namespace_id=look))


def test_a_name_of_ten_megabytes_is_refused_before_it_is_read(server: Server) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        server.admin.catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name="a" * 10 * MIB))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "NAME_INVALID") as facts:
        server.admin.catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name="a" * 4 * MIB))
    assert len(facts["message"]) < 600
