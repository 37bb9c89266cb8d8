"""The journal: an entry in the audit log and a row of activity in the write that changes something."""

import dataclasses
import pathlib
import uuid
from collections.abc import Iterator

import grpc
import pytest

from helpers.eventually import eventually
from helpers.servers import Server, running_server
from ingot.client import Client
from ingot.server.core.audit import Entry
from ingot.server.rpc import methods, strangers
from ingot.server.storage import sql
from ingot.v1 import auth_pb2, catalog_pb2, operations_pb2, system_pb2, transfer_pb2, workers_pb2

ROUTINE = {"FindMissing", "RenewUpload", "Heartbeat", "ReportEvents"}


def entries(server: Server) -> list[Entry]:
    store = server.app.audit.audit
    found = server.app.database.read(store._store.after, 0, 10_000)
    return list(found)


def activity_rows(server: Server, call_id: str) -> list[tuple[str, str]]:
    return server.app.database.read(
        lambda: sql.rows("SELECT method, code FROM activity WHERE call_id = ?", call_id)
    )


def test_only_leases_and_reports_are_routine() -> None:
    audited = {method.name for method in methods.all_methods().values() if method.audited}
    reading = {method.name for method in methods.all_methods().values()} - audited - ROUTINE
    assert not audited & ROUTINE
    assert all(name.startswith(("Get", "List", "Watch", "Read", "Stat", "Compare", "Preview", "Verify"))
               for name in reading), reading  # fmt: skip


@pytest.mark.contract("S2-42")
def test_a_change_leaves_one_entry_and_one_activity(server: Server) -> None:
    sara = server.stubs(server.token("sara"), x_ingot_user="sara-at-home", x_request_id="call-1")
    sara.catalog.CreateArtifact(
        catalog_pb2.CreateArtifactRequest(
            parent="namespaces/sara", kind=catalog_pb2.ARTIFACT_KIND_MODEL, artifact_id="tiny"
        )
    )
    assert activity_rows(server, "call-1") == [("CatalogService/CreateArtifact", "OK")]
    found = entries(server)[-1]
    deed = found.deed
    assert (deed.method, deed.action, deed.code) == ("CatalogService/CreateArtifact", "create", "OK")
    assert (deed.principal, deed.user, deed.declared_user) == ("users/sara", "sara", "sara-at-home")
    assert deed.target == "namespaces/sara/models/tiny"
    assert deed.token.startswith("users/sara/tokens/")
    assert deed.call_id == "call-1"
    assert deed.address == "local"


def test_a_repeated_request_and_a_read_leave_no_entry(server: Server) -> None:
    sara = server.member("sara")
    request = catalog_pb2.CreateArtifactRequest(
        parent="namespaces/sara",
        kind=catalog_pb2.ARTIFACT_KIND_MODEL,
        artifact_id="tiny",
        request_id=str(uuid.uuid4()),
    )
    sara.catalog.CreateArtifact(request)
    before = len(entries(server))
    sara.catalog.CreateArtifact(request)
    sara.catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name="namespaces/sara/models/tiny"))
    with pytest.raises(grpc.RpcError):  # refused by its state: nothing changed, nobody overstepped
        sara.catalog.CreateArtifact(
            catalog_pb2.CreateArtifactRequest(
                parent="namespaces/sara", kind=catalog_pb2.ARTIFACT_KIND_MODEL, artifact_id="tiny"
            )
        )
    assert len(entries(server)) == before


@pytest.mark.contract("S3-51")
def test_what_was_refused_is_noted(server: Server) -> None:
    vera = server.viewer("vera")
    with pytest.raises(grpc.RpcError) as refused:
        vera.catalog.CreateArtifact(
            catalog_pb2.CreateArtifactRequest(
                parent="namespaces/vera", kind=catalog_pb2.ARTIFACT_KIND_MODEL, artifact_id="tiny"
            )
        )
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    found = eventually(lambda: [each for each in entries(server) if each.deed.code == "PERMISSION_DENIED"])
    assert [(each.deed.principal, each.deed.method) for each in found] == [
        ("users/vera", "CatalogService/CreateArtifact")
    ]


@pytest.mark.contract("S3-48")
def test_no_flood_of_other_calls_hides_a_guessed_password(server: Server) -> None:
    nobody = server.stubs()
    for _ in range(strangers.OF_ONE_ADDRESS + 5):
        nobody.system.GetServerInfo(system_pb2.GetServerInfoRequest())
    with pytest.raises(grpc.RpcError):
        nobody.auth.Login(auth_pb2.LoginRequest(username="sara", password="a wrong one"))
    eventually(lambda: any(each.deed.method == "AuthService/Login" for each in entries(server)))


def test_an_upload_is_entered_at_its_commit(tmp_path: pathlib.Path, server: Server) -> None:
    sara = server.member("sara")
    target = transfer_pb2.UploadTarget(
        version=transfer_pb2.NewVersion(
            artifact="namespaces/sara/datasets/chat",
            create=catalog_pb2.Artifact(),
        )
    )
    begun = sara.transfer.BeginUpload(transfer_pb2.BeginUploadRequest(target=target))
    with pytest.raises(grpc.RpcError):  # empty: it is sealed, found wanting, and open again
        sara.transfer.CommitUpload(
            transfer_pb2.CommitUploadRequest(upload=begun.upload.name, expected_digest="blake3:" + 64 * "0")
        )
    # That it was tried is entered with what else was refused, sooner or later.
    done = [each.deed.method for each in entries(server) if each.deed.code == "OK"]
    assert done.count("TransferService/BeginUpload") == 1
    assert "TransferService/CommitUpload" not in done
    with Client(server.address, server.token("sara"), namespace="sara") as client:
        path = tmp_path / "chat.jsonl"
        path.write_text('{"text": "salaam"}\n', encoding="utf-8")
        pushed = client.push("datasets/chat", path)
    assert pushed.version is not None
    every = [each.deed for each in entries(server) if each.deed.method == "TransferService/CommitUpload"]
    committed = [deed for deed in every if deed.code == "OK"]
    assert [deed.target for deed in committed] == [pushed.version.name]
    assert committed[0].facts["digest"] == pushed.version.digest
    assert committed[0].facts["upload"].startswith("uploads/file_")
    named = [each for each in entries(server) if each.deed.method == "TransferService/BeginUpload"]
    assert named[0].deed.target == begun.upload.name


def test_the_chain_holds(server: Server) -> None:
    sara = server.member("sara")
    for number in range(5):
        sara.catalog.CreateArtifact(
            catalog_pb2.CreateArtifactRequest(
                parent="namespaces/sara", kind=catalog_pb2.ARTIFACT_KIND_MODEL, artifact_id=f"m{number}"
            )
        )
    audit = server.app.audit.audit
    whole = server.app.database.read(audit.check, 0, audit.beginning, 1000)
    assert whole.findings == ()
    assert whole.checked >= 5
    assert dataclasses.astuple(whole)[0] == whole.checked


@pytest.mark.contract("S1-53")
def test_an_administrator_who_uses_what_is_others_leaves_an_entry(server: Server) -> None:
    sara = server.member("sara")
    name = "namespaces/sara/models/secret"
    sara.catalog.CreateArtifact(
        catalog_pb2.CreateArtifactRequest(
            parent="namespaces/sara", kind=catalog_pb2.ARTIFACT_KIND_MODEL, artifact_id="secret"
        )
    )
    before = len(entries(server))
    sara.catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name=name))
    assert len(entries(server)) == before  # her own
    server.admin.catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name=name))
    seen = entries(server)[-1].deed
    assert (seen.principal, seen.method, seen.target) == ("users/admin", "CatalogService/GetArtifact", name)
    assert seen.facts == {"as_administrator": name}
    change = catalog_pb2.UpdateArtifactRequest(artifact=catalog_pb2.Artifact(name=name, description="seen"))
    server.admin.catalog.UpdateArtifact(change)
    changed = entries(server)[-1].deed
    assert (changed.method, changed.facts["as_administrator"]) == ("CatalogService/UpdateArtifact", name)
    assert len(entries(server)) == before + 2  # one for each call


def test_work_in_the_background_is_entered_under_what_it_is_for(server: Server) -> None:
    started = server.admin.operations.StartUpkeep(
        operations_pb2.StartUpkeepRequest(kind=operations_pb2.UPKEEP_KIND_CLEAN)
    ).operation
    found = [each.deed for each in entries(server) if each.deed.method == "OperationsService/StartUpkeep"]
    assert [(deed.target, deed.facts) for deed in found] == [
        (started.name, {"started": started.name, "kind": "clean"})
    ]


def test_a_worker_that_finds_no_work_leaves_no_entry(server: Server) -> None:
    worker = server.worker()
    registered = worker.workers.RegisterWorker(
        workers_pb2.RegisterWorkerRequest(display_name="under the desk")
    ).worker
    before = [each.deed.method for each in entries(server)]
    assert before[-1] == "WorkersService/RegisterWorker"
    assert entries(server)[-1].deed.target == registered.name
    for _ in range(3):
        worker.workers.ClaimWork(workers_pb2.ClaimWorkRequest(worker=registered.name))
        worker.workers.Heartbeat(workers_pb2.HeartbeatRequest(worker=registered.name))
    assert [each.deed.method for each in entries(server)] == before


def test_a_file_that_flows_in_is_one_entry(server: Server) -> None:
    sara = server.stubs(server.token("sara"), x_request_id="flow-1")

    def messages() -> Iterator[transfer_pb2.UploadFileRequest]:
        target = transfer_pb2.NewVersion(
            artifact="namespaces/sara/datasets/notes", create=catalog_pb2.Artifact()
        )
        header = transfer_pb2.UploadFileHeader(version=target, path="notes.txt")
        yield transfer_pb2.UploadFileRequest(header=header)
        for _ in range(40):
            yield transfer_pb2.UploadFileRequest(data=b"x" * 8192)
        yield transfer_pb2.UploadFileRequest(finish=transfer_pb2.UploadFileFinish())

    done = sara.transfer.UploadFile(messages())
    mine = [each.deed for each in entries(server) if each.deed.call_id == "flow-1"]
    assert [(deed.method, deed.target) for deed in mine] == [
        ("TransferService/UploadFile", done.version.name)
    ]
    assert activity_rows(server, "flow-1") == [("TransferService/UploadFile", "OK")]


@pytest.fixture(name="server")
def _server(tmp_path: pathlib.Path) -> Iterator[Server]:
    with running_server(tmp_path) as server:
        yield server
