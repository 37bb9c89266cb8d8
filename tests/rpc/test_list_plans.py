"""Every list, whatever it is of, goes along an index: no statement of any of them reads a whole table.

Lists are found by themselves: they are the calls with a page token, and those that sum things up. Each is
made on a real server, and SQLite is asked how it would carry out what was asked of it. A new list fails here
until it is said what it is a list of.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import peewee
import pysqlite3.dbapi2 as sqlite
import pytest
from google.protobuf import descriptor, message_factory

from helpers.servers import Server, running_server
from helpers.transfers import Pusher
from ingot.server.rpc import methods
from ingot.v1 import catalog_pb2

TINY = "namespaces/sara/models/tiny"
# Read whole on purpose, and why that does no harm.
SMALL = {
    'FROM "worker"': "one row for each machine that trains",
    "FROM training_job  GROUP BY": "an administrator's sum over all jobs, along an index of their states",
}
SUMS = ("GetFacets", "GetCatalogStats", "GetUploadStats", "GetTrainingStats", "GetUsage")
# What each is a list of; fields that narrow it.
ASKED: dict[str, list[dict[str, object]]] = {
    "ListUsers": [{}],
    "ListTokens": [{}],
    "ListCredentials": [{}],
    "ListNamespaces": [{}],
    "ListMembers": [{"parent": "namespaces/sara"}],
    "ListArtifacts": [
        {"parent": "namespaces/-"},
        {"parent": "namespaces/sara", "order_by": "name"},
        {"parent": "namespaces/-", "order_by": "size_bytes desc"},
        {"parent": "namespaces/-", "filter": "tag:a tiny size_bytes > 1", "order_by": "update_time"},
        {"parent": "namespaces/-", "filter": "NOT tag:b OR ti*", "order_by": "name desc"},
        {"parent": "namespaces/-", "show_deleted": True},
        {"parent": "namespaces/-", "view": catalog_pb2.ARTIFACT_VIEW_WITH_VERSIONS},
    ],
    "GetFacets": [{"parent": "namespaces/-"}, {"parent": "namespaces/-", "filter": "tag:a"}],
    "GetCatalogStats": [{"kind": catalog_pb2.ARTIFACT_KIND_MODEL}],
    "GetUsage": [{"name": TINY}],
    "ListVersions": [
        {"parent": TINY},
        {"parent": TINY, "show_deleted": True},
        {"parent": "namespaces/-/models/-", "show_deleted": True},
        {"parent": "namespaces/sara/models/-", "show_deleted": True},
    ],
    "CompareVersions": [{"base": f"{TINY}/versions/1", "other": f"{TINY}/versions/2"}],
    "ListAliases": [{"parent": TINY}],
    "ListAliasMoves": [{"parent": f"{TINY}/aliases/prod"}],
    "ListApprovals": [{}],
    "ListOperations": [{}, {"parent": "namespaces/sara"}],
    "ListActivity": [{}],
    "ListAuditEntries": [{}],
    "ListTrainingJobs": [{"parent": "namespaces/-"}],
    "ListCheckpoints": [],  # of a job that runs; its rows are looked up by the job
    "GetTrainingStats": [{}],
    "ListUploads": [{"parent": "namespaces/-"}],
    "GetUploadStats": [{"parent": "namespaces/-"}],
    "ListFiles": [{"tree": f"{TINY}/versions/1"}],
    "ListWorkers": [{}],
}


def _lists() -> list[descriptor.MethodDescriptor]:
    return [
        method
        for service in methods.services()
        for method in service.methods
        if "page_token" in method.input_type.fields_by_name or method.name in SUMS
    ]


_REFUSALS = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND)
LISTS = {method.name: method for method in _lists()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("s")) as running:
        stubs = running.member("sara")
        pusher = Pusher(stubs.transfer, ())
        for number in range(3):
            pusher.push({"model.bin": bytes([number]) * 50}, TINY, aliases=["prod"])
            request = catalog_pb2.CreateArtifactRequest(parent="namespaces/sara", artifact_id=f"n{number}")
            request.kind = catalog_pb2.ARTIFACT_KIND_DATASET
            request.artifact.tags.append("a")
            stubs.catalog.CreateArtifact(request)
        yield running


@contextlib.contextmanager
def _recorded(server: Server) -> Iterator[list[tuple[str, tuple[object, ...]]]]:
    """Collect the statements of all reads of the server."""
    asked: list[tuple[str, tuple[object, ...]]] = []

    def hook(event: peewee.QueryEvent) -> None:
        asked.append((event.sql, tuple(event.params or ())))

    hooks = server.app.database._reader.query_hooks  # type: ignore[attr-defined]
    hooks.append(hook)
    try:
        yield asked
    finally:
        hooks.remove(hook)


def _plan(database: Path, statement: str, values: tuple[object, ...]) -> list[str]:
    with contextlib.closing(sqlite.connect(str(database))) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    return [str(row[3]) for row in rows]


def _call(server: Server, who: str, method: descriptor.MethodDescriptor) -> Callable[[Any], Any]:
    stubs = server.admin if who == "admin" else server.member(who)
    path = f"/{method.containing_service.full_name}/{method.name}"
    reply = message_factory.GetMessageClass(method.output_type)
    call: Callable[[Any], Any] = stubs.channel.unary_unary(
        path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=reply.FromString,
    )
    return call


def test_all_lists_are_known() -> None:
    assert set(LISTS) == set(ASKED)


@pytest.mark.parametrize("who", ["sara", "omid", "admin"])
@pytest.mark.parametrize("name", sorted(LISTS))
def test_it_goes_along_an_index(server: Server, name: str, who: str) -> None:
    method = LISTS[name]
    call = _call(server, who, method)
    database = Path(server.app.database.path)
    for fields in ASKED[name]:
        request: Any = message_factory.GetMessageClass(method.input_type)(**fields)
        if "page_size" in method.input_type.fields_by_name:
            request.page_size = 2
        with _recorded(server) as asked:
            try:
                reply = call(request)
                if token := getattr(reply, "next_page_token", ""):
                    request.page_token = token
                    call(request)
            except grpc.RpcError as error:
                assert who != "admin" and error.code() in _REFUSALS, error  # noqa: PT017, PT018
        assert [each for statement in asked for each in _scans(database, *statement)] == []


def _scans(database: Path, statement: str, values: tuple[object, ...]) -> list[str]:
    """Return the steps that read a whole table; walking one in order, up to a limit, is none of them."""
    if not statement.lstrip().upper().startswith(("SELECT", "WITH")):
        return []
    steps = _plan(database, statement, values)
    sorts = any("USE TEMP B-TREE FOR ORDER BY" in step for step in steps)
    if "LIMIT" in statement and " WHERE " not in statement.replace(" WHERE 1 ", " ") and not sorts:
        return []
    if any(table in statement for table in SMALL):
        return []
    return [f"{step}: {statement}" for step in steps if step.startswith("SCAN") and not _brought(step)]


def _brought(step: str) -> bool:
    """Return whether a scan is of what the statement itself brought, or of the result of a subquery."""
    return "VIRTUAL TABLE" in step or step.startswith(("SCAN (", "SCAN CONSTANT", "SCAN each"))
