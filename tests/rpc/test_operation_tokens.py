"""Bodies over the wire: they push what their operation is for, and are out once their attempt is over."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from helpers.background import Mover, hub_import, waiting_server
from helpers.eventually import eventually
from helpers.servers import Server
from helpers.transfers import Pusher, refused
from ingot.v1 import auth_pb2, catalog_pb2, operations_pb2, system_pb2, training_pb2, transfer_pb2

EXPIRED = grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED"
DENIED = grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"
TARGET = "namespaces/sara/models/google_flan-t5-small"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with waiting_server(tmp_path) as running:
        yield running


def start(server: Server) -> str:
    return server.member("sara").operations.StartImport(hub_import()).operation.name


def test_a_body_makes_a_version_that_tells_where_it_came_from(server: Server) -> None:
    name = start(server)
    body = server.stubs(Mover(server).begin(name))
    pusher = Pusher(body.transfer, ())
    source = {"source": "hf://google/flan-t5-small@0fc9ddf", "source_commit": "0fc9ddf"}
    made = pusher.push({"config.json": b"{}"}, TARGET, **source)
    version = server.member("sara").catalog.GetVersion(catalog_pb2.GetVersionRequest(name=made)).version
    assert version.creator == "users/sara"
    assert (version.origin.operation, version.origin.source, version.origin.hub_commit) == (
        name,
        source["source"],
        "0fc9ddf",
    )
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
        Pusher(server.member("sara").transfer, ()).begin(TARGET, source="hf://google/flan-t5-small")

    def recorded() -> bool:
        request = system_pb2.ListActivityRequest(page_size=1000)
        activities = server.admin.system.ListActivity(request).activities
        commits = [each for each in activities if each.method.endswith("CommitUpload")]
        return [each.principal for each in commits] == ["users/sara"]  # who asked, not the body

    eventually(recorded, what="the record of the commit")


def test_a_body_does_nothing_but_its_work(server: Server) -> None:
    body = server.stubs(Mover(server).begin(start(server)))
    server.token("omid")
    with refused(grpc.StatusCode.NOT_FOUND, "NAMESPACE_NOT_FOUND"):
        Pusher(body.transfer, ()).begin("namespaces/omid/models/tiny")
    with refused(*DENIED):
        body.auth.GetMe(auth_pb2.GetMeRequest())
    with refused(*DENIED):
        body.auth.CreateToken(auth_pb2.CreateTokenRequest())
    with refused(*DENIED):
        body.auth.ListCredentials(auth_pb2.ListCredentialsRequest())
    with refused(*DENIED):
        body.operations.StartImport(hub_import("org/other"))
    with refused(*DENIED):
        body.operations.ListOperations(operations_pb2.ListOperationsRequest())
    with refused(*DENIED):
        body.training.ListTrainingJobs(training_pb2.ListTrainingJobsRequest())
    with refused(*DENIED):
        body.catalog.CreateArtifact(catalog_pb2.CreateArtifactRequest())
    with refused(*DENIED):
        body.system.ListActivity(system_pb2.ListActivityRequest())


def test_the_body_of_an_administrator_reaches_nobody_else(server: Server) -> None:
    omid = Pusher(server.member("omid").transfer, ())
    private = omid.push({"a.txt": b"secret"}, "namespaces/omid/datasets/diary")
    upload = Pusher(server.admin.transfer, ()).begin("namespaces/admin/models/own")
    server.token("sara")
    target = transfer_pb2.NewVersion(artifact=TARGET)
    name = server.admin.operations.StartImport(hub_import(target=target)).operation.name
    body = server.stubs(Mover(server).begin(name))
    with refused(grpc.StatusCode.NOT_FOUND, "ARTIFACT_NOT_FOUND"):
        Pusher(body.transfer, ()).read(private, "a.txt")
    with refused(grpc.StatusCode.NOT_FOUND, "UPLOAD_NOT_FOUND"):
        body.transfer.AbortUpload(transfer_pb2.AbortUploadRequest(name=upload))


def test_a_body_is_out_the_moment_its_attempt_is_over(server: Server) -> None:
    name, move = start(server), Mover(server)
    first = Pusher(server.stubs(move.begin(name)).transfer, ())
    upload = first.begin(TARGET)
    move.fail(name, retry=True)
    with refused(*EXPIRED):
        first.upload(upload)
    server.member("sara").operations.RetryOperation(operations_pb2.RetryOperationRequest(name=name))
    second = Pusher(server.stubs(move.begin(name)).transfer, ())
    with refused(*EXPIRED):
        first.upload(upload)
    assert second.upload(upload).name == upload, "the next attempt goes on with what was sent"
    server.member("sara").operations.CancelOperation(operations_pb2.CancelOperationRequest(name=name))
    assert second.upload(upload).name == upload
    move.stopped(name, 2)
    with refused(*EXPIRED):
        second.begin(TARGET)


def test_a_token_that_was_tampered_with_is_none(server: Server) -> None:
    token = Mover(server).begin(start(server))
    swapped = token.replace("ingotop_", "ingotop_1")
    for bad in (swapped, token[:-4], "ingotop_1_1_x"):
        with refused(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"):
            Pusher(server.stubs(bad).transfer, ()).begin(TARGET)
