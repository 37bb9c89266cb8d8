"""Who may call what: every RPC of the protos × every kind of caller × whose thing it is, on a real server.

What is expected stands in permissions.txt, for people to read. Here each case is really asked, with a valid
request (helpers/permission_requests.py), and the status is compared. An RPC without an expectation or without
a request fails; so does a case that names an RPC there is not.
"""

import dataclasses
import pathlib
import re
import sys
import uuid
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from helpers import permission_table
from helpers.permission_requests import REQUESTS, At, messages
from helpers.permission_table import CALLERS, Case
from helpers.permission_world import World, world
from helpers.servers import Stubs
from ingot.server.rpc import methods
from ingot.v1 import catalog_pb2, catalog_pb2_grpc

TABLE = permission_table.read(pathlib.Path(__file__).with_name("permissions.txt"))
RPCS = {method.name: method for service in methods.services() for method in service.methods}
RULES = {rule.name: rule for rule in methods.all_methods().values()}
SERVICES = sorted(service.name for service in methods.services())
BAD = ("expired", "revoked", "without the scope")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("matrix")) as made:
        yield made


def test_every_rpc_is_decided_upon_and_can_be_asked() -> None:
    assert {case.rpc for case in TABLE} == set(RPCS), "permissions.txt says who may call each RPC"
    names = [case.name for case in TABLE]
    assert sorted(names) == sorted(REQUESTS), "permission_requests.py has one request a case"


def test_everything_is_open_to_somebody_and_closed_to_others(capsys: pytest.CaptureFixture[str]) -> None:
    """And tell how large the matrix is."""
    calls = 0
    for case in TABLE:
        letters = [letter for row in case.rows.values() for letter in row.values()]
        assert "." in letters, case.name
        assert RULES[case.rpc].public or {"?", "x"} & {*letters}, case.name
        calls += len(letters) - letters.count(permission_table.NO_CASE) + len(BAD)
    rows = sum(len(case.rows) for case in TABLE)
    with capsys.disabled():
        sys.stdout.write(
            f"\npermission matrix: {len(RPCS)} RPCs in {len(TABLE)} cases, {rows} rows of things, "
            f"{len(CALLERS) + len(BAD)} callers: {calls} calls\n"
        )


@pytest.mark.contract("S0-97", "S0-101", "S1-11", "S1-14", "S1-50", "S1-51", "S1-52", "S2-1", "S4-48")
@pytest.mark.parametrize("service", SERVICES)
def test_everybody_may_what_the_table_says_and_no_more(found: World, service: str) -> None:
    mine = [case for case in TABLE if RPCS[case.rpc].containing_service.name == service]
    wrong = [line for case in mine for line in (*_by_thing(found, case), *_by_bad_credential(found, case))]
    assert not wrong, "\n".join(wrong)


def _by_thing(found: World, case: Case) -> Iterator[str]:
    """Make the calls of all callers on all things; yield what was not as expected."""
    request = REQUESTS[case.name]
    for label in case.rows:
        thing = ""
        for caller in CALLERS:
            expected = case.expected(label, caller)
            if expected is None:
                continue
            at = At(found, caller, found.place(label, caller))
            if request.fresh and (not thing or label == "own"):
                thing = request.fresh(at)
            at = dataclasses.replace(at, thing=thing)
            got, told = _ask(found.stubs[caller], case, at)
            if got == "OK" and not request.lasts:
                thing = ""
            if got != expected:
                yield f"{case.name}, {label}, {caller}: expected {expected}, got {got}: {told}"


def _by_bad_credential(found: World, case: Case) -> Iterator[str]:
    """Make the calls with credentials of an administrator that are good no more, or for something else."""
    request, rule = REQUESTS[case.name], RULES[case.rpc]
    label = next(iter(case.rows))
    at = At(found, "admin", found.place(label, "admin"))
    for word in BAD:
        if request.fresh and (rule.public or not at.thing):
            at = dataclasses.replace(at, thing=request.fresh(at))
        expected = "PERMISSION_DENIED" if word == BAD[-1] else "UNAUTHENTICATED"
        got, told = _ask(found.bad(word, rule.scopes), case, at)
        if got != (case.passes if rule.public else expected):
            yield f"{case.name}, {label}, {word}: expected {expected}, got {got}: {told}"


def _ask(stubs: Stubs, case: Case, at: At) -> tuple[str, str]:
    """Make one call; return the name of its status and what it says."""
    return _send(stubs, case, list(messages(REQUESTS[case.name].ask(at))))


def _send(stubs: Stubs, case: Case, asked: list[Message]) -> tuple[str, str]:
    """Make one call with these messages. A stream of replies counts once it has begun."""
    method = RPCS[case.rpc]
    call = getattr(_service(stubs, case), method.name)
    try:
        reply = call(iter(asked) if method.client_streaming else asked[0], timeout=100)
        if method.server_streaming:
            next(reply, None)
            reply.cancel()
    except grpc.RpcError as error:
        return error.code().name, error.details() or ""
    return "OK", ""


def _service(stubs: Stubs, case: Case) -> object:
    """Return the stub of the service that a case is about."""
    word: str = RPCS[case.rpc].containing_service.name.removesuffix("Service").lower()
    return getattr(stubs, word)


@pytest.mark.contract("S1-51")
def test_what_is_hidden_is_refused_in_the_words_for_what_is_absent(found: World) -> None:
    """A stranger asks about each thing of the team, and about one of another name that there never was."""
    differing, compared = [], 0
    for case in TABLE:
        label = next((each for each in ("team", "private") if each in case.rows), "")
        if not label or case.expected(label, "elsewhr") != "NOT_FOUND":
            continue
        asked = list(messages(REQUESTS[case.name].ask(_at(found, case, label, "elsewhr"))))
        hidden, absent = (
            _refusal(found, case, each) for each in (asked, [_elsewhere(each) for each in asked])
        )
        compared += 1
        if hidden != absent:
            differing.append(f"{case.name}:\n  hidden: {hidden}\n  absent: {absent}")
    assert not differing, "\n".join(differing)
    assert compared >= 60


def _elsewhere(message: Message) -> Message:
    """Return the same request about what there is not: another artifact, number, or else namespace."""
    text = json_format.MessageToJson(message)
    for pattern, other in (
        ("private", "missing"),
        (r"([/_]a?)\d+\b(?!-)(?=\")", r"\g<1>999999"),
        ("team", "noon"),
    ):
        changed = re.sub(pattern, other, text)
        if changed != text:
            return json_format.Parse(changed, type(message)())
    return message


def _refusal(found: World, case: Case, asked: list[Message]) -> str:
    """Return all that a stranger is told, with names and numbers made alike."""
    code, told = _send(found.stubs["elsewhr"], case, asked)
    return re.sub(
        "private|missing", "NAME", re.sub("team|noon", "PLACE", re.sub(r"\d+", "N", f"{code} {told}"))
    )


# What they asked for themselves: an operation that works for them, an approval; of a purge, its bare name.
TOLD_AGAIN = {"StartImport", "StartValidation", "RequestApproval", "PurgeArtifact", "PurgeVersion"}


@pytest.mark.contract("S1-51")
def test_a_repeated_request_tells_nothing_to_who_has_left(found: World) -> None:
    """The first is carried out for a member; the very same is sent again when that is one no more."""
    told: set[str] = set()
    silent: set[str] = set()
    for case in TABLE:
        label = next((each for each in ("team", "private") if each in case.rows), "")
        message = next(messages(REQUESTS[case.name].ask(_at(found, case, label)))) if label else None
        if message is None or "request_id" not in message.DESCRIPTOR.fields_by_name:
            continue
        setattr(message, "request_id", str(uuid.uuid4()))  # noqa: B010  # every message that comes here has one
        with found.one_more_owner() as stubs:
            call = getattr(_service(stubs, case), case.rpc)
            try:
                call(message, timeout=100)
            except grpc.RpcError:  # it is about a namespace of olga's own, or in no state for it
                continue
        try:
            (told if call(message, timeout=100).ByteSize() else silent).add(case.rpc)
        except grpc.RpcError:
            silent.add(case.rpc)
    assert told <= TOLD_AGAIN
    assert len(silent) >= 18


def _at(found: World, case: Case, label: str, caller: str = "owner") -> At:
    at = At(found, caller, found.place(label, caller))
    fresh = REQUESTS[case.name].fresh
    return dataclasses.replace(at, thing=fresh(at)) if fresh else at


@pytest.mark.contract("S1-51")
@pytest.mark.parametrize("caller", [each for each in CALLERS if each not in ("none", "assignd")])
def test_lists_show_exactly_what_may_be_read(found: World, caller: str) -> None:
    """Each of some fifty things by itself, in lists, with a filter, and counted."""
    stubs, admin = found.stubs[caller].catalog, found.stubs["admin"].catalog
    everything = catalog_pb2.ListArtifactsRequest(parent="namespaces/-", page_size=1000)
    names = [each.name for each in admin.ListArtifacts(everything).artifacts]
    readable = {name for name in names if _may_read(stubs, name)}
    for request in (
        everything,
        catalog_pb2.ListArtifactsRequest(parent="namespaces/-", page_size=1000, order_by="name"),
        catalog_pb2.ListArtifactsRequest(parent="namespaces/-", page_size=1000, filter="size_bytes >= 0"),
    ):
        assert {each.name for each in stubs.ListArtifacts(request).artifacts} == readable
    facets = stubs.GetFacets(catalog_pb2.GetFacetsRequest(parent="namespaces/-"))
    assert facets.total_count == len(readable)
    if caller == "worker":
        assert not readable, "workers are told names, and list nothing"
    elif caller != "admin":
        assert len(readable) < len(names)


def _may_read(stubs: catalog_pb2_grpc.CatalogServiceStub, name: str) -> bool:
    try:
        stubs.GetArtifact(catalog_pb2.GetArtifactRequest(name=name))
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return False
    return True
