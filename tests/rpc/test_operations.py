"""OperationsService on a whole server: start, look, steer; its errors, and whose operations are whose."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import duration_pb2, json_format, struct_pb2, timestamp_pb2

from helpers.background import Mover, hub_import, url_import, waiting_server
from helpers.servers import Server
from helpers.transfers import Pusher, refused
from ingot.server.core.kinds import KINDS
from ingot.v1 import catalog_pb2, errors_pb2, operations_pb2_grpc, transfer_pb2
from ingot.v1 import operations_pb2 as pb

NOT_FOUND = grpc.StatusCode.NOT_FOUND
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with waiting_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Server]:
    with waiting_server(tmp_path) as running:
        yield running


def get(server: Server, name: str, user: str = "sara") -> pb.Operation:
    request = pb.GetOperationRequest(name=name)
    return server.member(user).operations.GetOperation(request).operation


# --- downloads of the source systems --------------------------------------------------------------------


@pytest.mark.contract("S0-36", "S0-37", "S0-38", "S0-39", "S2-36", "S2-54", "S4-41")
def test_a_download_is_asked_for_listed_looked_at_and_cancelled(fresh: Server) -> None:
    sara = fresh.member("sara").operations  # no user name is told anywhere: the credential says it
    made = sara.StartImport(hub_import()).operation
    assert made.kind == "import"
    assert made.queue == "download"
    assert made.state == pb.OPERATION_STATE_QUEUED
    assert made.requester == "users/sara"
    assert made.namespace == "namespaces/sara"
    assert made.target == "namespaces/sara/models/google_flan-t5-small"
    listed = sara.ListOperations(pb.ListOperationsRequest(kind="import")).operations
    assert list(listed) == [made]
    Mover(fresh).begin(made.name)
    running = get(fresh, made.name)
    assert (running.state, running.attempt) == (pb.OPERATION_STATE_RUNNING, 1)
    assert running.HasField("start_time")
    assert not running.HasField("due_time")
    cancelled = sara.CancelOperation(pb.CancelOperationRequest(name=made.name, etag=running.etag)).operation
    assert cancelled.state == pb.OPERATION_STATE_CANCELLING
    Mover(fresh).stopped(made.name)
    ended = get(fresh, made.name)
    assert ended.state == pb.OPERATION_STATE_CANCELLED
    assert ended.HasField("finish_time")


def test_everything_that_is_known_of_an_operation_is_told(fresh: Server) -> None:
    request = url_import(
        "https://example.com/data/fa.jsonl",
        "https://mirror.example/fa.jsonl",
        file={"checksum": f"SHA256:{'AB' * 32}", "size_bytes": 12},
        target=transfer_pb2.NewVersion(
            create=catalog_pb2.Artifact(display_name="فارسی", tags=["fa"]),
            metadata=json_format.ParseDict({"a": {"b": [1, {"c": None}]}}, struct_pb2.Struct()),
        ),
        force=True,
        max_bytes_per_second=1000,
        options=pb.OperationOptions(
            priority=-7,
            retry_policy=pb.RetryPolicy(max_attempts=2, multiplier=3.0),
            timeout=duration_pb2.Duration(seconds=60),
        ),
    )
    made = fresh.member("sara").operations.StartImport(request).operation
    assert (made.priority, made.timeout.seconds) == (-7, 60)
    policy = made.retry_policy
    assert (policy.max_attempts, policy.delay.seconds, policy.multiplier) == (2, 30, 3.0), "30 s are not told"
    told = json_format.MessageToDict(made.params)
    file = told["source"]["files"][0]
    assert file["urls"] == ["https://example.com/data/fa.jsonl", "https://mirror.example/fa.jsonl"]
    assert (file["path"], file["checksum"]) == ("fa.jsonl", f"sha256:{'ab' * 32}")
    assert told["target"]["artifact"] == "namespaces/sara/datasets/fa"
    assert told["target"]["display_name"] == "فارسی"
    assert told["target"]["metadata"] == {"a": {"b": [1, {"c": None}]}}
    assert (told["force"], told["max_bytes_per_second"]) == (True, 1000)
    move = Mover(fresh)
    move.begin(made.name)
    move.tell(made.name, done=40)
    assert get(fresh, made.name).progress.done == 40
    move.fail(made.name, retry=True)
    waiting = get(fresh, made.name)
    assert waiting.state == pb.OPERATION_STATE_RETRYING
    assert waiting.due_time.seconds > waiting.create_time.seconds
    assert waiting.problem.reason == errors_pb2.ERROR_REASON_SOURCE_UNREACHABLE
    fresh.member("sara").operations.RetryOperation(pb.RetryOperationRequest(name=made.name))
    move.begin(made.name)
    findings = [{"path": "bad", "row": 3, "deep": {"list": [True, None, 1.5]}}]
    move.succeed(made.name, 2, findings=findings, ratio=float("nan"))
    result = json_format.MessageToDict(get(fresh, made.name).result)
    assert result == {
        "findings": [{"path": "bad", "row": 3, "deep": {"list": [True, None, 1.5]}}],
        "ratio": "nan",
    }


def test_long_results_make_short_pages(fresh: Server) -> None:
    move = Mover(fresh)
    names = []
    for at in range(4):
        name = fresh.member("sara").operations.StartImport(hub_import(f"org/m{at}")).operation.name
        move.begin(name)
        move.succeed(name, text="x" * 400_000)
        names.append(name)
    found: list[str] = []
    request = pb.ListOperationsRequest(kind="import", page_size=1000)
    sizes = []
    while True:
        page = fresh.member("sara").operations.ListOperations(request)
        found += [each.name for each in page.operations]
        sizes.append(len(page.operations))
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert (found, sizes) == (names[::-1], [2, 2])


@pytest.mark.contract("S4-38")
def test_every_kind_is_described_with_the_schema_of_its_parameters(server: Server) -> None:
    kinds = server.member("sara").operations.ListOperationKinds(pb.ListOperationKindsRequest()).kinds
    assert [each.kind for each in kinds] == sorted(KINDS)
    by_name = {each.kind: each for each in kinds}
    wanted = by_name["import"]
    assert (wanted.queue, wanted.queue_limit) == ("download", 0), "as this server is set"
    assert (wanted.retry_policy.max_attempts, wanted.retry_policy.delay.seconds) == (5, 30)
    assert wanted.timeout.seconds == 36_000
    schema = json_format.MessageToDict(wanted.params_schema)
    assert schema["required"] == ["source", "target"]
    assert schema["$defs"]["HubImport"]["properties"]["repository"]["type"] == "string"
    assert json_format.MessageToDict(by_name["validate"].result_schema)["properties"]["passed"]
    assert by_name["clean"].period.seconds == 3600
    assert by_name["clean"].next_time.seconds > 0
    assert not by_name["import"].HasField("period")
    assert not by_name["import"].HasField("next_time")


# --- whose operations -----------------------------------------------------------------------------------


def test_operations_of_others_do_not_exist(server: Server) -> None:
    made = server.member("sara").operations.StartImport(hub_import("org/mine")).operation
    omid = server.member("omid").operations
    with refused(NOT_FOUND, "OPERATION_NOT_FOUND"):
        omid.GetOperation(pb.GetOperationRequest(name=made.name))
    with refused(NOT_FOUND, "OPERATION_NOT_FOUND"):
        omid.CancelOperation(pb.CancelOperationRequest(name=made.name))
    with refused(NOT_FOUND, "OPERATION_NOT_FOUND"):
        omid.RetryOperation(pb.RetryOperationRequest(name=made.name))
    with refused(NOT_FOUND, "OPERATION_NOT_FOUND"):
        list(omid.WatchOperation(pb.WatchOperationRequest(name=made.name)))
    assert not omid.ListOperations(pb.ListOperationsRequest()).operations
    system = server.admin.operations.ListOperations(pb.ListOperationsRequest(kind="recover")).operations
    assert [each.requester for each in system] == ["system"]
    with refused(NOT_FOUND, "OPERATION_NOT_FOUND"):
        get(server, system[0].name)


def test_operations_of_a_namespace_are_for_who_reads_it(fresh: Server) -> None:
    sara, omid, admin = (
        stubs.operations for stubs in (fresh.member("sara"), fresh.member("omid"), fresh.admin)
    )
    mine = sara.StartImport(hub_import("org/mine")).operation
    wanted = hub_import("org/given")
    wanted.target.artifact = "namespaces/sara/models/given"
    given = admin.StartImport(wanted).operation

    def names(caller: operations_pb2_grpc.OperationsServiceStub, parent: str) -> list[str]:
        request = pb.ListOperationsRequest(parent=parent, kind="import")
        found = [each.name for each in caller.ListOperations(request).operations]
        watched = []
        for message in caller.WatchOperations(pb.WatchOperationsRequest(parent=parent, kind="import")):
            if message.HasField("synced"):
                break
            watched.append(message.operation.name)
        assert sorted(watched) == sorted(found)
        return found

    both = [given.name, mine.name]
    assert names(sara, "") == [mine.name]
    assert names(sara, "namespaces/sara") == names(sara, "namespaces/-") == both
    assert names(admin, "namespaces/sara") == names(admin, "namespaces/-") == names(admin, "") == both
    assert names(omid, "namespaces/sara") == names(omid, "namespaces/-") == []
    assert names(omid, "namespaces/nobody") == []
    with refused(INVALID, "NAME_INVALID"):
        names(sara, "sara")


def test_workers_and_viewers_start_nothing(server: Server) -> None:
    for stubs in (server.worker(), server.viewer()):
        with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
            stubs.operations.StartImport(hub_import())


def test_operations_are_listed_by_kind_state_queue_and_target(fresh: Server) -> None:
    sara = fresh.member("sara").operations
    one, two = (sara.StartImport(hub_import(f"org/m{at}")).operation for at in range(2))
    sara.CancelOperation(pb.CancelOperationRequest(name=one.name))

    def names(**wanted: object) -> list[str]:
        request = pb.ListOperationsRequest(**wanted)  # type: ignore[arg-type]  # as below
        return [each.name for each in sara.ListOperations(request).operations]

    assert names() == [two.name, one.name]
    assert names(state=pb.OPERATION_STATE_CANCELLED) == [one.name]
    assert names(target=two.target) == [two.name]
    assert names(queue="download", kind="import") == [two.name, one.name]
    assert names(queue="export") == []
    with refused(INVALID, "FIELD_INVALID"):
        names(state=99)
    with refused(INVALID, "PAGE_TOKEN_INVALID"):
        names(page_token="made-up")


@pytest.mark.contract("S2-11")
def test_an_owner_sees_what_an_administrator_imports_into_the_own_namespace(fresh: Server) -> None:
    target = transfer_pb2.NewVersion(artifact=f"namespaces/{'sara'}/models/tiny")
    fresh.token("sara")
    first = fresh.admin.operations.StartImport(hub_import(target=target)).operation
    again = fresh.member("sara").operations.StartImport(hub_import(target=target)).operation
    assert again == first, "the same import is one operation"
    assert again.requester == "users/admin", "that of who asked first"
    omid = fresh.member("omid").operations
    with refused(NOT_FOUND, "NAMESPACE_NOT_FOUND"):
        omid.StartImport(hub_import(target=target))
    own = omid.StartImport(hub_import()).operation
    assert own.name != first.name
    assert own.namespace == "namespaces/omid"


@pytest.mark.contract("S0-46")
def test_statistics_count_the_imports_that_run(fresh: Server) -> None:
    def active(who: str, kind: catalog_pb2.ArtifactKind.ValueType) -> int:
        asked = catalog_pb2.GetCatalogStatsRequest(kind=kind)
        return fresh.member(who).catalog.GetCatalogStats(asked).active_downloads

    model, dataset = catalog_pb2.ARTIFACT_KIND_MODEL, catalog_pb2.ARTIFACT_KIND_DATASET
    started = fresh.member("sara").operations.StartImport(hub_import()).operation
    fresh.member("sara").operations.StartImport(hub_import("other/model"))
    assert active("sara", model) == 0, "they wait"
    Mover(fresh).begin(started.name)
    assert (active("sara", model), active("sara", dataset), active("omid", model)) == (1, 0, 0)
    Mover(fresh).succeed(started.name)
    assert active("sara", model) == 0


# --- starting -------------------------------------------------------------------------------------------


def test_a_repeated_request_starts_nothing_again(fresh: Server) -> None:
    sara = fresh.member("sara").operations
    key = str(uuid.uuid4())
    first = sara.StartImport(hub_import(request_id=key)).operation
    Mover(fresh).begin(first.name)
    Mover(fresh).succeed(first.name)
    assert sara.StartImport(hub_import(request_id=key)).operation.name == first.name
    assert sara.StartImport(hub_import()).operation.name != first.name, "it has ended; this is a new wish"
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "REQUEST_ID_REUSED"):
        sara.StartImport(hub_import("other/repository", request_id=key))


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (pb.StartImportRequest(), INVALID, "FIELD_INVALID"),
        (hub_import(""), INVALID, "FIELD_INVALID"),
        (hub_import("https://huggingface.co/google/flan"), INVALID, "FIELD_INVALID"),
        (hub_import("a/b/c"), INVALID, "FIELD_INVALID"),
        (hub_import(request_id="one"), INVALID, "FIELD_INVALID"),
        (hub_import(max_bytes_per_second=-1), INVALID, "FIELD_INVALID"),
        (hub_import(target={"artifact": "tiny"}), INVALID, "NAME_INVALID"),
        (hub_import(target={"artifact": "namespaces/sara/datasets/tiny"}), INVALID, "FIELD_INVALID"),
        (hub_import(target={"artifact": "namespaces/nobody/models/tiny"}), NOT_FOUND, "NAMESPACE_NOT_FOUND"),
        (hub_import(target={"source": "hf://else"}), INVALID, "FIELD_INVALID"),
        (hub_import(target={"training_job": "trainingJobs/job_1"}), INVALID, "FIELD_INVALID"),
        (hub_import(target={"create": {"card": "# Card"}}), INVALID, "FIELD_INVALID"),
        (hub_import(options={"priority": 100_000}), INVALID, "FIELD_INVALID"),
        (hub_import(options={"timeout": duration_pb2.Duration()}), INVALID, "FIELD_INVALID"),
        (hub_import(options={"retry_policy": {"max_attempts": -1}}), INVALID, "FIELD_INVALID"),
        (url_import(), INVALID, "FIELD_INVALID"),
        (url_import("ftp://example.com/a.csv"), INVALID, "FIELD_INVALID"),
        (url_import("https://sara:secret@example.com/a.csv"), INVALID, "FIELD_INVALID"),
        (url_import("file:///etc/passwd"), INVALID, "FIELD_INVALID"),
        (
            url_import("http://169.254.169.254/latest/a.csv"),
            grpc.StatusCode.PERMISSION_DENIED,
            "SOURCE_ADDRESS_REFUSED",
        ),
        (url_import("https://example.com/a.csv", file={"checksum": "sha256:12"}), INVALID, "FIELD_INVALID"),
        (url_import("https://example.com/a.csv", file={"size_bytes": -1}), INVALID, "FIELD_INVALID"),
        (url_import("https://example.com/a.csv", file={"path": "../a.csv"}), INVALID, "BAD_PATH"),
        (url_import("https://example.com/"), INVALID, "FIELD_INVALID"),
        (url_import("https://example.com/archive"), INVALID, "FIELD_INVALID"),
        (pb.StartImportRequest(bundle=pb.BundleSource(path="/etc/passwd")), INVALID, "BAD_PATH"),
        (pb.StartImportRequest(registered="tiny"), INVALID, "NAME_INVALID"),
        (pb.StartImportRequest(registered="namespaces/sara/models/no"), NOT_FOUND, "ARTIFACT_NOT_FOUND"),
    ],
)
def test_an_import_that_cannot_be_is_refused_at_once(
    server: Server, request_: pb.StartImportRequest, status: grpc.StatusCode, reason: str
) -> None:
    with refused(status, reason):
        server.member("sara").operations.StartImport(request_)


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(-(2**40), 0), (2**62, 0), (-(2**63), -(2**31)), (253_402_300_799, 999_999_999)]
)
def test_a_bundle_since_a_time_that_is_no_date_is_refused_at_once(
    server: Server, seconds: int, nanos: int
) -> None:
    since = timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos)
    wanted = pb.StartExportRequest(
        sources=["namespaces/sara/models/no"], bundle=pb.BundleDestination(path="a.bundle", since=since)
    )
    with refused(INVALID, "FIELD_INVALID"):
        server.member("sara").operations.StartExport(wanted)


def test_looking_and_fetching_again_are_other_wishes_than_fetching(fresh: Server) -> None:
    sara = fresh.member("sara").operations
    made = [
        sara.StartImport(hub_import(**wish)).operation  # type: ignore[arg-type]
        for wish in ({}, {"validate_only": True}, {"force": True})
    ]
    assert len({each.name for each in made}) == 3
    assert [(each.params["check_only"], each.params["force"]) for each in made] == [
        (False, False),
        (True, False),
        (False, True),
    ]


def test_validations_exports_and_upkeep_start(fresh: Server) -> None:
    sara = fresh.member("sara")
    pusher = Pusher(sara.transfer, ())
    version = pusher.push({"a.jsonl": b'{"text": "a"}\n'}, "namespaces/sara/datasets/chat")
    checked = sara.operations.StartValidation(
        pb.StartValidationRequest(
            version="namespaces/sara/datasets/chat", rules=catalog_pb2.ValidationRules(min_records=1)
        )
    ).operation
    assert (checked.kind, checked.target, checked.queue) == ("validate", version, "validate")
    assert json_format.MessageToDict(checked.params)["rules"]["min_records"] == 1
    with refused(NOT_FOUND, "ARTIFACT_NOT_FOUND"):
        fresh.member("omid").operations.StartValidation(pb.StartValidationRequest(version=version))
    with refused(INVALID, "NAME_INVALID"):
        sara.operations.StartValidation(pb.StartValidationRequest(version="chat"))

    request = pb.StartExportRequest(sources=[version], folder=pb.FolderDestination(), validate_only=True)
    assert not sara.operations.StartExport(request).HasField("operation")
    request.validate_only = False
    exported = sara.operations.StartExport(request).operation
    assert (exported.kind, exported.queue) == ("export", "export")
    with refused(INVALID, "FIELD_INVALID"):
        sara.operations.StartExport(pb.StartExportRequest(sources=[version]))
    with refused(INVALID, "BAD_PATH"):
        sara.operations.StartExport(
            pb.StartExportRequest(sources=[version], folder=pb.FolderDestination(path="/etc"))
        )

    for stubs in (sara, fresh.member("omid")):
        with refused(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"):
            stubs.operations.StartUpkeep(pb.StartUpkeepRequest(kind=pb.UPKEEP_KIND_CLEAN))
    with refused(INVALID, "FIELD_INVALID"):
        fresh.admin.operations.StartUpkeep(pb.StartUpkeepRequest())
    upkeep = fresh.admin.operations.StartUpkeep(
        pb.StartUpkeepRequest(kind=pb.UPKEEP_KIND_CLEAN, request_id=str(uuid.uuid4()))
    ).operation
    assert (upkeep.kind, upkeep.requester in ("users/admin", "system")) == ("clean", True)


def test_what_has_ended_is_not_cancelled_and_what_changed_is_not_overrun(fresh: Server) -> None:
    sara = fresh.member("sara").operations
    made = sara.StartImport(hub_import()).operation
    with refused(grpc.StatusCode.ABORTED, "ETAG_MISMATCH"):
        sara.CancelOperation(pb.CancelOperationRequest(name=made.name, etag="other"))
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "STATE_INVALID"):
        sara.RetryOperation(pb.RetryOperationRequest(name=made.name))
    sara.CancelOperation(pb.CancelOperationRequest(name=made.name))
    with refused(grpc.StatusCode.FAILED_PRECONDITION, "STATE_INVALID"):
        sara.CancelOperation(pb.CancelOperationRequest(name=made.name))
    again = sara.RetryOperation(pb.RetryOperationRequest(name=made.name)).operation
    assert again.state == pb.OPERATION_STATE_QUEUED
    assert not again.HasField("finish_time")
    with refused(NOT_FOUND, "OPERATION_NOT_FOUND"):
        sara.CancelOperation(pb.CancelOperationRequest(name="operations/op_999"))
    for name in ("op_1", "uploads/file_1", ""):
        with refused(INVALID, "NAME_INVALID"):
            sara.CancelOperation(pb.CancelOperationRequest(name=name))


@pytest.mark.parametrize(("kind", "queue"), [("imprt", ""), ("", "downlod")])
def test_a_kind_or_queue_that_there_is_not_is_refused(fresh: Server, kind: str, queue: str) -> None:
    with refused(INVALID, "FIELD_INVALID"):
        fresh.admin.operations.ListOperations(pb.ListOperationsRequest(kind=kind, queue=queue))
    with refused(INVALID, "FIELD_INVALID"):
        list(fresh.admin.operations.WatchOperations(pb.WatchOperationsRequest(kind=kind, queue=queue)))
