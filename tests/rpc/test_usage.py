"""GetUsage on a whole server: what is counted, who is told what, and what it costs."""

import itertools
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from helpers.servers import Server, Stubs, running_server
from ingot.client import Client
from ingot.v1 import catalog_pb2 as pb
from ingot.v1 import system_pb2, transfer_pb2

NAME = "namespaces/sara/datasets/chat"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running_server(tmp_path) as running:
        (tmp_path / "a.txt").write_text("words\n" * 100)
        with Client(running.address, token=running.token("sara"), user="sara.m") as client:
            client.push("datasets/chat", tmp_path / "a.txt")
        _allow(running, pb.VISIBILITY_INTERNAL)
        yield running


def _allow(server: Server, visibility: pb.Visibility.ValueType) -> None:
    change = pb.UpdateArtifactRequest(artifact=pb.Artifact(name=NAME, visibility=visibility))
    change.update_mask.paths.append("visibility")
    server.member("sara").catalog.UpdateArtifact(change)


def _usage(stubs: Stubs, name: str = NAME, **more: int) -> pb.GetUsageResponse:
    return stubs.catalog.GetUsage(pb.GetUsageRequest(name=name, **more))


def _download(stubs: Stubs, download_id: str) -> None:
    request = transfer_pb2.ReadManifestRequest(tree=NAME, download_id=download_id)
    list(stubs.transfer.ReadManifest(request))


@pytest.mark.contract("S1-55", "S1-65", "S2-11")
def test_downloads_are_counted_once_each_with_who_was_first(server: Server) -> None:
    before = _usage(server.member("sara")).usage
    assert before.download_count == 0
    omid = server.stubs(server.token("omid"), x_ingot_user="omid.k")
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    for download_id in (first, first, second):
        _download(omid, download_id)
    _download(server.member("sara"), str(uuid.uuid4()))
    found = _usage(server.member("sara"))
    assert found.usage.download_count == 3, "the resumed one counts once"
    assert found.usage.total_requests == found.usage.download_count + found.usage.access_count
    assert (found.usage.first_downloaded_by, found.usage.first_downloaded_from) == ("omid.k", "local")
    assert found.usage.first_principal == "users/omid"
    assert found.usage.first_download_time.seconds > 1.7e9
    users = {(user.principal, user.declared_user): user.download_count for user in found.users}
    assert users["users/omid", "omid.k"] == 2
    assert users["users/sara", ""] == 1
    assert found.usage.unique_users == len(users)


@pytest.mark.contract("S1-65")
def test_days_are_told_without_gaps_and_today_has_what_was_done(server: Server) -> None:
    _download(server.member("sara"), str(uuid.uuid4()))
    server.member("sara").catalog.GetArtifact(pb.GetArtifactRequest(name=NAME))
    found = _usage(server.member("sara"), days=7)
    assert len(found.days) == 7
    starts = [day.start_time.seconds for day in found.days]
    assert [later - earlier for earlier, later in itertools.pairwise(starts)] == [86400] * 6
    assert sum(day.download_count for day in found.days) == found.usage.download_count == 1
    assert sum(day.total_requests for day in found.days) == found.usage.total_requests
    assert len(_usage(server.member("sara")).days) == 30
    assert len(_usage(server.member("sara"), days=10_000).days) == 366


@pytest.mark.contract("S2-9", "S2-42", "S2-43")
def test_recent_calls_have_names_addresses_and_actions_whoever_made_them(server: Server) -> None:
    _download(server.stubs(server.token("omid"), x_ingot_user="omid.k"), str(uuid.uuid4()))
    recent = _usage(server.member("sara")).recent_activity
    newest = recent[0]
    assert (newest.action, newest.principal, newest.declared_user) == ("download", "users/omid", "omid.k")
    assert (newest.target, newest.address, newest.code) == (f"{NAME}/versions/1", "local", "OK")
    assert newest.time.seconds > 1.7e9
    assert {each.action for each in recent} >= {"download", "update"}


def test_a_reader_sees_counters_and_its_own_calls_only(server: Server) -> None:
    _download(server.member("sara"), str(uuid.uuid4()))
    _download(server.member("omid"), str(uuid.uuid4()))
    found = _usage(server.member("omid"))
    assert found.usage.download_count == 2
    assert (found.usage.first_downloaded_by, found.usage.first_downloaded_from) == ("users/sara", "")
    assert found.usage.first_principal == ""
    request = pb.GetArtifactRequest(name=NAME)
    assert server.member("omid").catalog.GetArtifact(request).artifact.usage.first_downloaded_from == ""
    assert server.member("sara").catalog.GetArtifact(request).artifact.usage.first_downloaded_from == "local"
    assert not found.users
    assert {each.principal for each in found.recent_activity} == {"users/omid"}
    assert {each.principal for each in _usage(server.admin).recent_activity} >= {"users/sara", "users/omid"}


@pytest.mark.contract("S1-55")
def test_what_is_not_yours_is_not_found_and_not_counted(server: Server) -> None:
    _allow(server, pb.VISIBILITY_PRIVATE)
    omid = server.member("omid")
    for call in (
        lambda: _download(omid, str(uuid.uuid4())),
        lambda: _usage(omid),
        lambda: _usage(omid, "namespaces/sara/datasets/nothing"),
        lambda: _usage(omid, "namespaces/sara"),
        lambda: _usage(server.admin, "namespaces/nobody"),
    ):
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    found = _usage(server.member("sara"))
    assert found.usage.download_count == 0
    assert "users/omid" not in {user.principal for user in found.users}


@pytest.mark.parametrize(("name", "days"), [("models/x", 0), ("namespaces/-", 0), ("", 0), (NAME, -1)])
def test_what_cannot_be_is_refused(server: Server, name: str, days: int) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        _usage(server.member("sara"), name, days=days)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_namespace_sums_up_what_it_owns(server: Server) -> None:
    sara = server.member("sara")
    other = pb.CreateArtifactRequest(
        parent="namespaces/sara", kind=pb.ARTIFACT_KIND_MODEL, artifact_id="tiny", artifact=pb.Artifact()
    )
    sara.catalog.CreateArtifact(other)
    before = _usage(sara, "namespaces/sara").usage
    sara.catalog.GetArtifact(pb.GetArtifactRequest(name="namespaces/sara/models/tiny"))
    _download(sara, str(uuid.uuid4()))
    found = _usage(sara, "namespaces/sara")
    assert found.usage.access_count == before.access_count + 1
    assert found.usage.download_count == before.download_count + 1
    targets = {each.target for each in found.recent_activity}
    assert {NAME, "namespaces/sara/models/tiny"} <= targets
    assert _usage(server.admin, "namespaces/omid" if server.token("omid") else "").usage.total_requests == 0


@pytest.mark.contract("S2-45")
@pytest.mark.parametrize(
    ("sent", "kept"),
    [("sara.m", "sara.m"), ("%D8%B3%D8%A7%D8%B1%D8%A7", "سارا"), ("a%0Ab", "ab"), ("x" * 300, "x" * 80)],
)
def test_the_declared_user_comes_from_any_client_and_grants_nothing(
    server: Server, sent: str, kept: str
) -> None:
    stubs = server.stubs(server.token("omid"), x_ingot_user=sent)  # metadata, as `grpcurl -H` sends it
    stubs.catalog.GetArtifact(pb.GetArtifactRequest(name=NAME))
    listed = stubs.system.ListActivity(system_pb2.ListActivityRequest(target=NAME, action="get"))
    assert [each.declared_user for each in listed.activities] == [kept]
    impostor = server.stubs(server.token("omid"), x_ingot_user="sara")
    with pytest.raises(grpc.RpcError) as refused:
        impostor.catalog.DeleteArtifact(pb.DeleteArtifactRequest(name=NAME))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.slow
@pytest.mark.contract("S2-45")
def test_a_client_that_is_not_ours_declares_its_user_too(tmp_path: Path) -> None:
    with running_server(tmp_path, listen=("127.0.0.1:0",)) as server:
        method = "ingot.v1.SystemService/GetStorage"
        command = [
            *(str(Path(sys.executable).parent / "buf"), "curl", "--protocol", "grpc"),
            *("--http2-prior-knowledge", "-H", f"authorization: Bearer {server.token('sara')}"),
            *("-H", "x-ingot-user: ada", f"http://{server.app.addresses[0]}/{method}"),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=100)
        listed = server.member("sara").system.ListActivity(system_pb2.ListActivityRequest())
    called = next(each for each in listed.activities if each.method == "SystemService/GetStorage")
    assert (called.principal, called.declared_user, called.address) == ("users/sara", "ada", "127.0.0.1")
