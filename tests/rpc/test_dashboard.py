"""GetDashboard and ListSettings on a whole server."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from helpers.servers import Server, running_server
from ingot.client import Client
from ingot.v1 import (
    auth_pb2,
    catalog_pb2,
    errors_pb2,
    operations_pb2,
    system_pb2,
    training_pb2,
    transfer_pb2,
)
from ingot.v1 import system_pb2 as pb

DATASET = "namespaces/sara/datasets/chat"
MODEL = "namespaces/sara/models/tiny"
SIZE = 600


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("dashboard")
    (folder / "a.txt").write_bytes(b"words\n" * (SIZE // 6))
    with running_server(folder) as running:
        with Client(running.address, token=running.token("sara"), user="sara.m") as client:
            client.push("datasets/chat", folder / "a.txt")
            client.push("models/tiny", folder / "a.txt")
        yield running


def _dashboard(server: Server, **more: int) -> pb.GetDashboardResponse:
    return server.admin.system.GetDashboard(pb.GetDashboardRequest(**more))


@pytest.mark.contract("S1-19", "S2-10", "S2-21", "S2-39")
def test_totals_sizes_requests_users_and_recent_activity(server: Server) -> None:
    sara = server.stubs(server.token("sara"), x_ingot_user="sara.m")
    before = _dashboard(server)
    list(
        sara.transfer.ReadManifest(
            transfer_pb2.ReadManifestRequest(tree=MODEL, download_id=str(uuid.uuid4()))
        )
    )
    sara.catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name=MODEL))
    found = _dashboard(server)
    assert (found.total_models, found.total_datasets) == (1, 1)
    assert (found.model_version_count, found.dataset_version_count) == (1, 1)
    assert (found.model_size_bytes, found.dataset_size_bytes) == (SIZE, SIZE)
    assert found.total_size_bytes == 2 * SIZE
    assert 0 < found.stored_bytes < found.folder_bytes, "equal bytes are stored once, and there is a database"
    assert found.folder_time.seconds > 1.7e9
    assert found.disk_total_bytes > found.disk_free_bytes > 0
    assert found.user_count == len(server.admin.auth.ListUsers(auth_pb2.ListUsersRequest()).users) >= 2
    assert found.download_count == before.download_count + 1
    assert found.access_count == before.access_count + 1
    assert found.total_requests == found.download_count + found.access_count
    assert found.unique_users >= 2
    newest = next(each for each in found.recent_activity if each.action != "get" or each.target)
    assert (newest.action, newest.target) == ("get", MODEL)
    assert (newest.principal, newest.declared_user, newest.address) == ("users/sara", "sara.m", "local")
    assert found.most_downloaded[0].name == MODEL
    assert found.most_downloaded[0].usage.first_downloaded_by == "sara.m"
    assert len(found.days) == 7
    # Of the last days, not of today alone: midnight may have passed.
    assert sum(day.call_count for day in found.days[-2:]) == found.call_count > before.call_count
    assert sum(day.download_count for day in found.days[-2:]) == found.download_count


@pytest.mark.contract("S1-19")
def test_approvals_that_wait_are_counted_until_somebody_decides(server: Server) -> None:
    before = _dashboard(server).pending_approvals
    sara = server.member("sara").catalog
    request = catalog_pb2.RequestApprovalRequest(version=f"{MODEL}/versions/1")
    approval = sara.RequestApproval(request).approval.name
    assert _dashboard(server).pending_approvals == before + 1
    sara.WithdrawApproval(catalog_pb2.WithdrawApprovalRequest(name=approval))
    assert _dashboard(server).pending_approvals == before


@pytest.mark.contract("S1-67")
def test_response_times_of_each_method(server: Server) -> None:
    sara = server.member("sara")
    for _ in range(20):
        sara.catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name=DATASET))
    with pytest.raises(grpc.RpcError):
        sara.catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name=f"{DATASET}-nothing"))
    found = {each.method: each for each in _dashboard(server).methods}
    told = found["CatalogService/GetArtifact"]
    assert told.count >= 21
    assert told.failed_count >= 1
    spans = [told.p50, told.p95, told.p99]
    assert 0 < spans[0].ToSeconds() + spans[0].nanos < 5e9
    assert sorted(spans, key=lambda span: span.ToNanoseconds()) == spans
    assert told.total.ToNanoseconds() >= told.p50.ToNanoseconds()
    assert list(found) == sorted(found)


@pytest.mark.contract("S1-68")
def test_problems_are_counted_by_reason_with_the_last_one(server: Server) -> None:
    def absent() -> int:
        return sum(
            each.count
            for each in _dashboard(server).problems
            if each.reason == errors_pb2.ERROR_REASON_ARTIFACT_NOT_FOUND
        )

    before = absent()
    name = f"{DATASET}-nothing"
    for _ in range(3):
        with pytest.raises(grpc.RpcError):
            server.member("sara").catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name=name))
    assert absent() == before + 3
    with pytest.raises(grpc.RpcError):
        server.stubs("ingot_9_wrong").catalog.GetArtifact(catalog_pb2.GetArtifactRequest(name=name))
    problems = {each.reason: each for each in _dashboard(server).problems}
    assert problems[errors_pb2.ERROR_REASON_TOKEN_INVALID].last_principal == ""
    last = problems[errors_pb2.ERROR_REASON_ARTIFACT_NOT_FOUND]
    assert (last.last_method, last.last_code) == ("CatalogService/GetArtifact", "NOT_FOUND")
    assert (last.last_target, last.last_principal) == (name, "users/sara")
    assert "There is no dataset" in last.last_message
    assert last.last_time.seconds > 1.7e9
    assert last.last_request_id
    assert sum(day.count for day in last.days) == last.count <= last.total_count
    listed = server.admin.system.ListActivity(pb.ListActivityRequest(target=name))
    assert {each.reason for each in listed.activities} == {"ARTIFACT_NOT_FOUND", "TOKEN_INVALID"}


def test_queues_jobs_workers_and_uploads(server: Server) -> None:
    before = _dashboard(server)
    kind = operations_pb2.UPKEEP_KIND_VERIFY
    server.admin.operations.StartUpkeep(operations_pb2.StartUpkeepRequest(kind=kind))
    transfer = server.member("sara").transfer
    target = transfer_pb2.UploadTarget(version=transfer_pb2.NewVersion(artifact=DATASET))
    transfer.BeginUpload(transfer_pb2.BeginUploadRequest(target=target))
    found = _dashboard(server)
    assert found.active_uploads == before.active_uploads + 1
    counted = sum(each.count for each in found.operations)
    assert counted > sum(each.count for each in before.operations)
    assert all(each.queue and each.state for each in found.operations)
    assert not found.training_jobs
    assert not found.workers


def test_only_administrators_may_ask(server: Server) -> None:
    for stubs in (server.member("sara"), server.viewer(), server.worker()):
        for call in (
            lambda: stubs.system.GetDashboard(pb.GetDashboardRequest()),  # noqa: B023 (called at once)
            lambda: stubs.system.ListSettings(pb.ListSettingsRequest()),  # noqa: B023
        ):
            with pytest.raises(grpc.RpcError) as refused:
                call()
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_days_that_cannot_be_are_refused_and_many_are_cut(server: Server) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        _dashboard(server, days=-1)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len(_dashboard(server, days=10_000).days) == 90
    assert len(_dashboard(server, activity_size=2).recent_activity) == 2


def test_figures_outlive_a_restart(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        for _ in range(5):
            server.member("sara").system.GetStorage(system_pb2.GetStorageRequest())
    with running_server(tmp_path) as server:
        found = {each.method: each for each in _dashboard(server).methods}
        assert found["SystemService/GetStorage"].count == 5
        assert _dashboard(server).unique_users == 2


def test_settings_tell_values_origins_and_no_secret(tmp_path: Path) -> None:
    with running_server(
        tmp_path, hub_token="hf_hidden", hub_endpoint="https://me:pass@mirror.example", activity_days=7
    ) as server:
        listed = server.admin.system.ListSettings(pb.ListSettingsRequest())
    found = {each.name: each for each in listed.settings}
    assert found["activity_days"].value == "7"
    assert found["activity_days"].default_value == "90"
    assert found["activity_days"].kind == "whole number"
    assert "days" in found["activity_days"].help
    assert found["reflection"].value == "true"
    assert found["data_dir"].value == str(tmp_path / "data")
    assert (found["hub_token"].secret, found["hub_token"].populated) == (True, True)
    assert found["hub_token"].value == ""
    assert found["hub_endpoint"].value == "https://…@mirror.example"
    assert "hf_hidden" not in str(listed)
    assert "pass@" not in str(listed)


def test_training_jobs_are_counted_by_state(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, server.app.database.direct() as connection:
        for number, state in enumerate(("RUNNING", "RUNNING", "FAILED"), 1):
            connection.execute_sql(
                "INSERT INTO training_job(number, uid, namespace, state, attempt, revision, worker, "
                "not_before, training_seconds, definition, condition) "
                "VALUES (?, ?, 'sara', ?, 1, 1, '', 0, 0, '{}', '{}')",
                (number, str(number), state),
            )
        found = _dashboard(server).training_jobs
    assert {each.state: each.count for each in found} == {
        training_pb2.TRAINING_JOB_STATE_RUNNING: 2,
        training_pb2.TRAINING_JOB_STATE_FAILED: 1,
    }
