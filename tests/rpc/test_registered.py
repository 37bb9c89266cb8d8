"""Registered artifacts over the wire: declared, listed, fetched on first access, removed and listed again."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from helpers.background import Mover, waiting_server
from helpers.eventually import eventually
from helpers.servers import Server
from helpers.transfers import refused
from ingot.server.storage.data_folder import DataFolderError
from ingot.v1 import catalog_pb2, operations_pb2, transfer_pb2

SOURCES = """
[[datasets]]
name = "humaneval"
description = "164 problems"
hub = "openai/openai_humaneval"

[[models]]
name = "tiny"
url = "https://example.com/tiny.safetensors"
size_bytes = 12
"""
NAME = "namespaces/library/datasets/humaneval"
TINY = "namespaces/library/models/tiny"
DIGEST = "blake3:" + "ab" * 32


def written(folder: Path, text: str = SOURCES) -> tuple[str, ...]:
    """Write a list of sources; return the setting that names it."""
    file = folder / "sources.toml"
    file.write_text(text)
    return (str(file),)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with waiting_server(tmp_path, sources=written(tmp_path)) as server:
        yield server


def shown(server: Server, name: str = NAME) -> catalog_pb2.Fetch:
    request = catalog_pb2.GetArtifactRequest(name=name)
    return server.member("sara").catalog.GetArtifact(request).artifact.fetch


def read(server: Server, user: str = "sara", tree: str = NAME) -> None:
    list(server.member(user).transfer.ReadManifest(transfer_pb2.ReadManifestRequest(tree=tree)))


def operations(server: Server) -> list[operations_pb2.Operation]:
    wanted = operations_pb2.ListOperationsRequest(kind="import")
    return list(server.admin.operations.ListOperations(wanted).operations)


@pytest.mark.contract("S4-40", "S4-41", "S4-44", "S4-46")
def test_what_a_list_declares_is_there_from_the_start(server: Server) -> None:
    listed = server.viewer().catalog.ListArtifacts(catalog_pb2.ListArtifactsRequest(parent="namespaces/-"))
    assert {each.name for each in listed.artifacts} == {NAME, TINY}
    fetch = shown(server)
    assert (fetch.state, fetch.downloaded) == (catalog_pb2.FETCH_STATE_REGISTERED, False)
    assert fetch.original_url == "hf://datasets/openai/openai_humaneval"
    assert shown(server, TINY).expected_size_bytes == 12
    assert not operations(server)


@pytest.mark.contract("S4-13", "S4-15", "S4-16", "S4-17", "S4-20", "S4-24", "S4-25", "S4-28", "S4-45")
def test_the_first_read_starts_one_import_that_every_reader_may_follow(server: Server) -> None:
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_FETCHED") as facts:
        read(server, "sara")
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_FETCHED") as again:
        read(server, "omid", f"{NAME}/aliases/latest")
    (operation,) = operations(server)
    assert facts["operation"] == again["operation"] == operation.name
    get = operations_pb2.GetOperationRequest(name=operation.name)
    assert server.member("omid").operations.GetOperation(get).operation.target == NAME
    with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
        server.member("omid").operations.CancelOperation(
            operations_pb2.CancelOperationRequest(name=operation.name)
        )
    move = Mover(server)
    move.begin(operation.name)
    move.tell(operation.name, done=40, percent=40.0)
    fetch = shown(server)
    assert (fetch.state, fetch.operation) == (catalog_pb2.FETCH_STATE_FETCHING, operation.name)
    assert fetch.download_progress == pytest.approx(0.4)
    move.succeed(operation.name, digest=DIGEST, size_bytes=12)
    fetch = shown(server)
    assert (fetch.state, fetch.downloaded) == (catalog_pb2.FETCH_STATE_FETCHED, True)
    assert (fetch.checksum, fetch.size_bytes, fetch.download_progress) == (DIGEST, 12, 1.0)
    assert fetch.download_time.seconds
    assert fetch.update_time.seconds


@pytest.mark.contract("S4-14", "S4-26")
def test_after_a_failure_reads_tell_why_until_somebody_tries_again(server: Server) -> None:
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_FETCHED") as facts:
        read(server)
    name = facts["operation"]
    move = Mover(server)
    move.begin(name)
    move.fail(name)
    fetch = shown(server)
    assert fetch.state == catalog_pb2.FETCH_STATE_FAILED
    assert fetch.problem.message == "The network is gone."
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_FETCHED") as facts:
        read(server, "omid")
    assert facts["failed_operation"] == name
    assert "operation" not in facts
    server.member("omid").operations.RetryOperation(operations_pb2.RetryOperationRequest(name=name))
    assert shown(server).state == catalog_pb2.FETCH_STATE_FETCHING
    move.begin(name)
    move.succeed(name, attempt=2, digest=DIGEST, size_bytes=12)
    assert shown(server).state == catalog_pb2.FETCH_STATE_FETCHED
    assert not shown(server).HasField("problem")


def test_a_cancelled_import_leaves_it_registered(server: Server) -> None:
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_FETCHED") as facts:
        read(server)
    server.admin.operations.CancelOperation(operations_pb2.CancelOperationRequest(name=facts["operation"]))
    assert shown(server).state == catalog_pb2.FETCH_STATE_REGISTERED
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_FETCHED") as again:
        read(server)
    assert again["operation"] != facts["operation"]


def test_the_first_fetch_runs_in_the_name_of_the_server_as_it_is_set(server: Server) -> None:
    slow = operations_pb2.StartImportRequest(registered=NAME, max_bytes_per_second=1)
    late = operations_pb2.StartImportRequest(
        registered=NAME, options=operations_pb2.OperationOptions(priority=-1000)
    )
    forced = operations_pb2.StartImportRequest(registered=NAME, force=True)
    for start in (slow, late, forced):
        with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
            server.member("sara").operations.StartImport(start)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_FETCHED"):
        list(server.viewer().transfer.ReadManifest(transfer_pb2.ReadManifestRequest(tree=NAME)))
    (operation,) = operations(server)
    assert operation.requester == "system", "a viewer's own token could write nothing"


def test_updating_what_is_here_needs_write_access(server: Server) -> None:
    start = operations_pb2.StartImportRequest(registered=NAME)
    name = server.member("sara").operations.StartImport(start).operation.name
    move = Mover(server)
    move.begin(name)
    move.succeed(name, digest=DIGEST, size_bytes=12)
    start = operations_pb2.StartImportRequest(registered=NAME, force=True)
    with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
        server.member("sara").operations.StartImport(start)
    update = server.admin.operations.StartImport(start).operation
    assert shown(server).operation == update.name
    assert shown(server).downloaded


@pytest.mark.contract("S4-1", "S4-5", "S4-6", "S4-7")
def test_an_artifact_is_registered_by_its_source(server: Server) -> None:
    sara = server.member("sara")

    def create(artifact_id: str, **fetch: object) -> catalog_pb2.Artifact:
        artifact = catalog_pb2.Artifact(description="mine", fetch=catalog_pb2.Fetch(**fetch))  # type: ignore[arg-type]  # as the test says
        request = catalog_pb2.CreateArtifactRequest(
            parent="namespaces/sara",
            kind=catalog_pb2.ARTIFACT_KIND_DATASET,
            artifact_id=artifact_id,
            artifact=artifact,
        )
        return sara.catalog.CreateArtifact(request).artifact

    made = create("chat", original_url="https://example.com/chat.jsonl", expected_size_bytes=5)
    assert made.fetch.state == catalog_pb2.FETCH_STATE_REGISTERED
    assert (made.description, made.fetch.original_url) == ("mine", "https://example.com/chat.jsonl")
    assert create("qa", original_url="hf://datasets/squad@main").fetch.original_url.endswith("squad@main")
    for bad in ("hf://squad", "ftp://example.com/a", "https://example.com/"):
        with refused(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"):
            create("bad", original_url=bad)
    listed = sara.catalog.ListArtifacts(catalog_pb2.ListArtifactsRequest(parent="namespaces/sara"))
    assert {each.name.rpartition("/")[2] for each in listed.artifacts} == {"chat", "qa"}


@pytest.mark.contract("S4-3", "S4-22", "S4-35")
def test_deleting_a_declared_artifact_removes_its_files_and_lists_it_again(server: Server) -> None:
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "NOT_FETCHED") as facts:
        read(server)
    server.admin.catalog.DeleteArtifact(catalog_pb2.DeleteArtifactRequest(name=NAME, force=True))
    get = operations_pb2.GetOperationRequest(name=facts["operation"])
    cancelled = server.admin.operations.GetOperation(get).operation
    assert cancelled.state == operations_pb2.OPERATION_STATE_CANCELLED
    fetch = shown(server)
    assert (fetch.state, fetch.operation) == (catalog_pb2.FETCH_STATE_REGISTERED, "")

    def removed() -> bool:
        wanted = operations_pb2.ListOperationsRequest(kind="remove")
        (remove,) = server.admin.operations.ListOperations(wanted).operations
        assert remove.queue == "maintenance"
        return remove.state == operations_pb2.OPERATION_STATE_SUCCEEDED

    eventually(removed)


@pytest.mark.contract("S4-39", "S4-46")
def test_declared_artifacts_come_in_pages(server: Server) -> None:
    catalog = server.member("sara").catalog
    first = catalog.ListArtifacts(catalog_pb2.ListArtifactsRequest(parent="namespaces/library", page_size=1))
    second = catalog.ListArtifacts(
        catalog_pb2.ListArtifactsRequest(
            parent="namespaces/library", page_size=1, page_token=first.next_page_token
        )
    )
    (one,), (two,) = first.artifacts, second.artifacts
    assert {one.name, two.name} == {NAME, TINY}
    assert one.fetch.state == two.fetch.state == catalog_pb2.FETCH_STATE_REGISTERED


@pytest.mark.parametrize("text", ["[[models]]\nname = 1\n", "[[models", None])
def test_a_list_that_cannot_be_used_stops_the_start(tmp_path: Path, text: str | None) -> None:
    files = written(tmp_path, text) if text else (str(tmp_path / "absent.toml"),)
    refusal = pytest.raises(DataFolderError, match=r"list of sources.*(sources|absent).toml")
    with refusal, waiting_server(tmp_path, sources=files):
        pass


@pytest.mark.contract("S4-4")
def test_the_list_that_comes_with_the_server_is_named_without_a_path(tmp_path: Path) -> None:
    with waiting_server(tmp_path, sources=("benchmarks",)) as server:
        assert shown(server).state == catalog_pb2.FETCH_STATE_REGISTERED
    refusal = pytest.raises(DataFolderError, match="those that come with the server: benchmarks")
    with refusal, waiting_server(tmp_path, sources=("bench",)):
        pass
