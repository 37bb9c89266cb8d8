"""Background work through the SDK: what is sent, how it is followed, and what a failure raises."""

import dataclasses
import pathlib
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import grpc
import pytest
from google.protobuf.message import Message

from helpers.eventually import eventually
from helpers.fake_channels import FakeServer, info
from ingot.client import (
    BundleFile,
    Cancelled,
    Client,
    Denied,
    ExportResult,
    Finding,
    ImportResult,
    IngotError,
    Invalid,
    NotFound,
    Precondition,
    Stage,
    TransferProgress,
    ValidationReport,
    artifact_fields,
    operation_options,
)
from ingot.client import _reasons as reasons
from ingot.client import _statuses as statuses
from ingot.client._calls import Calls, Contact
from ingot.client._names import Names
from ingot.client._operations import Operations
from ingot.client._results import FileReport
from ingot.server.core import errors as server_errors
from ingot.server.core import params
from ingot.server.rpc import errors as server_statuses
from ingot.v1 import common_pb2, errors_pb2
from ingot.v1 import operations_pb2 as pb

T = TypeVar("T")
SERVICE = "OperationsService"


def operations(server: FakeServer, namespace: str = "") -> Operations:
    contact = Contact()
    contact.made = True
    calls = Calls("here", contact=contact, pause=lambda _: None, rng=random.Random(1))
    return Operations(server.link, calls, Names(lambda: namespace or "ada"), namespace)


def operation(state: str = "QUEUED", **fields: object) -> pb.Operation:
    value = pb.OperationState.Value(f"OPERATION_STATE_{state}")
    return pb.Operation(name="operations/op_12", kind="import", state=value, **fields)  # type: ignore[arg-type]  # as the test says


def asked(
    start: Callable[[Operations], T], method: str, reply: Message, namespace: str = ""
) -> tuple[Message, T]:
    """Return what was sent for a unary call, and what came back."""
    with FakeServer() as server:
        found = server.run(lambda: start(operations(server, namespace)))
        call = server.take(SERVICE, method)
        call.reply(reply)
        return call.request, found.result(100)


def imported(start: Callable[[Operations], pb.Operation], namespace: str = "") -> pb.StartImportRequest:
    request, found = asked(start, "StartImport", pb.StartImportResponse(operation=operation()), namespace)
    assert isinstance(request, pb.StartImportRequest)
    assert found == operation()
    assert len(request.request_id) == 36
    return request


# --- starting --------------------------------------------------------------------------------------------


def test_a_hub_repository_with_everything_that_may_be_said() -> None:
    request = imported(
        lambda each: each.start_import(
            "hf://google/flan-t5-small@v2",
            "models/team/flan@3",
            include=["*.safetensors"],
            exclude=["tf_*"],
            changelog="first",
            aliases=["prod"],
            metadata={"why": "demo"},
            fields=artifact_fields(license="apache-2.0"),
            force=True,
            limit_rate=1024.0,
            options=operation_options(
                priority=2, max_attempts=3, delay=timedelta(seconds=5), timeout=timedelta(hours=1)
            ),
        )
    )
    assert request.hub == pb.HubSource(
        repository="google/flan-t5-small",
        repository_kind=pb.HUB_REPOSITORY_KIND_MODEL,
        revision="v2",
        include=["*.safetensors"],
        exclude=["tf_*"],
    )
    target = request.target
    assert (target.artifact, target.version_id) == ("namespaces/team/models/flan", "3")
    assert (target.changelog, list(target.aliases), target.metadata["why"]) == ("first", ["prod"], "demo")
    assert target.create.license == "apache-2.0"
    assert (request.force, request.max_bytes_per_second, request.validate_only) == (True, 1024, False)
    options = request.options
    assert (options.priority, options.retry_policy.max_attempts) == (2, 3)
    assert (options.retry_policy.delay.seconds, options.timeout.seconds) == (5, 3600)


@pytest.mark.parametrize(
    ("source", "kind", "repository", "revision"),
    [
        ("hf://gpt2", "MODEL", "gpt2", ""),
        ("hf://datasets/org/name", "DATASET", "org/name", ""),
        ("https://huggingface.co/google/flan-t5-small", "MODEL", "google/flan-t5-small", ""),
        (
            "https://huggingface.co/datasets/org/name/tree/refs%2Fpr%2F1",
            "DATASET",
            "org/name",
            "refs%2Fpr%2F1",
        ),
        ("https://hf.co/org/name/tree/main/", "MODEL", "org/name", "main"),
    ],
)
def test_forms_of_the_hub(source: str, kind: str, repository: str, revision: str) -> None:
    request = imported(lambda each: each.start_import(source))
    assert request.hub.repository_kind == pb.HubRepositoryKind.Value(f"HUB_REPOSITORY_KIND_{kind}")
    assert (request.hub.repository, request.hub.revision) == (repository, revision)
    assert request.target.artifact == ""


def test_files_at_urls_become_one_version() -> None:
    one = imported(
        lambda each: each.start_import(
            "https://a.example/all.tar",
            "datasets/all",
            checksums=["sha256:ab"],
            mirrors=["https://b.example/all.tar"],
            paths=["in"],
            unpack=True,
        )
    )
    (file,) = one.urls.files
    assert list(file.urls) == ["https://a.example/all.tar", "https://b.example/all.tar"]
    assert (file.path, file.checksum, file.unpack) == ("in", "sha256:ab", True)
    two = imported(
        lambda each: each.start_import(
            [
                "https://a.example/1",
                pb.UrlFile(urls=["https://a.example/2"], size_bytes=7),
                "http://c.example/3",
            ],
            "datasets/all",
        )
    )
    assert sorted(url for file in two.urls.files for url in file.urls) == [
        "http://c.example/3",
        "https://a.example/1",
        "https://a.example/2",
    ]


def test_bundles_and_registered_artifacts() -> None:
    bundle = imported(lambda each: each.start_import("/srv/in/all.ingot", signer="ed25519:ab"))
    assert (bundle.bundle.path, bundle.bundle.signer) == ("/srv/in/all.ingot", "ed25519:ab")
    named = imported(lambda each: each.start_import(BundleFile("all.ingot", "ed25519:cd")))
    assert (named.bundle.path, named.bundle.signer) == ("all.ingot", "ed25519:cd")
    registered = imported(lambda each: each.start_import("datasets/humaneval", validate_only=True))
    assert registered.registered == "namespaces/ada/datasets/humaneval"
    assert registered.validate_only


def test_without_a_target_the_namespace_of_the_client_counts() -> None:
    request = imported(lambda each: each.start_import("hf://google/flan-t5-small"), "team")
    assert request.target.artifact == "namespaces/team/models/google_flan-t5-small"
    with FakeServer() as server, pytest.raises(Invalid, match="need a name in the namespace team"):
        operations(server, "team").start_import("https://a.example/x")


@pytest.mark.parametrize(
    ("source", "said", "expected"),
    [
        ([], {}, "nothing to import"),
        (["hf://a/b", "hf://a/c"], {}, "one source, got 2"),
        (["hf://a/b", "https://a.example/x"], {}, "cannot be one version"),
        ("models/tiny@3", {}, "registered model or dataset"),
        ("trainingJobs/job_1/checkpoints/2", {}, "Not a reference"),
        ("ftp://a.example/x", {}, "Nothing can be imported from"),
        ("hf://a/b@main", {"revision": "dev"}, "Two revisions"),
        ("hf://a/b", {"unpack": True}, "unpack: is about files at URLs"),
        ("https://a.example/x", {"include": ["*"]}, "include: is about a repository of the Hub"),
        ("/srv/all.ingot", {"checksums": ["md5:0"]}, "checksums: is about files at URLs"),
        ("hf://a/b", {"signer": "ed25519:ab"}, "signer: is about a bundle"),
        (["https://a.example/1", "https://a.example/2"], {"checksums": ["md5:0"]}, "as many checksums"),
        (["https://a.example/1", "https://a.example/2"], {"mirrors": ["https://b.example/"]}, "mirror"),
    ],
)
def test_what_cannot_be_imported_is_refused_before_anything_is_sent(
    source: str | list[str], said: dict[str, object], expected: str
) -> None:
    with FakeServer() as server, pytest.raises(Invalid, match=expected) as caught:
        operations(server).start_import(source, **said)  # type: ignore[arg-type]  # as the test says
    assert caught.value.next_step or "Not a reference" in expected


def test_validation_takes_rules_by_their_names() -> None:
    request, _ = asked(
        lambda each: each.start_validation(
            "datasets/chat@2", {"min_records": 3, "requiredColumns": ["question"], "max_bad_ratio": 0.5}
        ),
        "StartValidation",
        pb.StartValidationResponse(operation=operation()),
    )
    assert isinstance(request, pb.StartValidationRequest)
    assert request.version == "namespaces/ada/datasets/chat/versions/2"
    rules = request.rules
    assert (rules.min_records, list(rules.required_columns), rules.max_bad_ratio) == (3, ["question"], 0.5)
    assert not rules.HasField("max_records")
    with FakeServer() as server:
        with pytest.raises(Invalid, match="no setting 'min_record'") as wrong:
            operations(server).start_validation("datasets/chat", {"min_record": 3})
        with pytest.raises(Invalid, match="expected a list, got 7"):
            operations(server).start_validation("datasets/chat", {"required_columns": 7})
    assert wrong.value.next_step == "Did you mean min_records?"


def exported(start: Callable[[Operations], pb.Operation | None]) -> pb.StartExportRequest:
    request, found = asked(start, "StartExport", pb.StartExportResponse(operation=operation()))
    assert isinstance(request, pb.StartExportRequest)
    assert found == operation()
    return request


def test_exports_to_a_folder_the_hub_and_a_bundle() -> None:
    folder = exported(
        lambda each: each.start_export("datasets/chat@prod", "/srv/out", layout="owner-uid", keep=True)
    )
    assert list(folder.sources) == ["namespaces/ada/datasets/chat/aliases/prod"]
    assert (folder.folder.path, folder.folder.layout, folder.folder.keep) == (
        "/srv/out",
        pb.EXPORT_LAYOUT_OWNER_UID,
        True,
    )
    hub = exported(
        lambda each: each.start_export("models/tiny", "hf://org/tiny@dev", private=True, message="m")
    )
    assert hub.hub == pb.HubDestination(repository="org/tiny", branch="dev", private=True, message="m")
    since = datetime(2026, 3, 4, tzinfo=UTC)
    bundle = exported(
        lambda each: each.start_export(["models/tiny", "datasets/chat"], "all.ingot", since=since)
    )
    assert len(bundle.sources) == 2
    assert (bundle.bundle.path, bundle.bundle.since.ToDatetime(UTC)) == ("all.ingot", since)
    _, nothing = asked(
        lambda each: each.start_export("models/tiny", "", validate_only=True),
        "StartExport",
        pb.StartExportResponse(),
    )
    assert nothing is None


@pytest.mark.parametrize(
    ("destination", "said", "expected"),
    [
        ("https://a.example/x", {}, "Cannot export to"),
        ("/srv/out", {"private": True}, "private: says nothing about a folder"),
        ("hf://org/tiny", {"keep": True}, "keep: says nothing about a repository"),
        ("all.ingot", {"layout": "owner-uid"}, "layout: says nothing about a bundle"),
        ("/srv/out", {"layout": "flat"}, "expected one of name, owner-uid"),
        ("all.ingot", {"since": datetime(2026, 3, 4)}, "no time zone"),  # noqa: DTZ001  # that is the point
    ],
)
def test_an_export_that_contradicts_itself_is_refused(
    destination: str, said: dict[str, object], expected: str
) -> None:
    with FakeServer() as server, pytest.raises(Invalid, match=expected):
        operations(server).start_export("models/tiny", destination, **said)  # type: ignore[arg-type]  # as the test says


def test_upkeep_and_steering_name_the_operation() -> None:
    request, _ = asked(
        lambda each: each.start_upkeep("scrub"),
        "StartUpkeep",
        pb.StartUpkeepResponse(operation=operation()),
    )
    assert isinstance(request, pb.StartUpkeepRequest)
    assert request.kind == pb.UPKEEP_KIND_SCRUB
    with FakeServer() as server, pytest.raises(Invalid, match="clean, collect, scrub, verify, backup"):
        operations(server).start_upkeep("tidy")
    cancel, _ = asked(
        lambda each: each.cancel("12", etag="x"),
        "CancelOperation",
        pb.CancelOperationResponse(operation=operation()),
    )
    retry, _ = asked(
        lambda each: each.retry("op_12"),
        "RetryOperation",
        pb.RetryOperationResponse(operation=operation()),
    )
    assert isinstance(cancel, pb.CancelOperationRequest)
    assert isinstance(retry, pb.RetryOperationRequest)
    assert (cancel.name, cancel.etag, retry.name) == ("operations/op_12", "x", "operations/op_12")


# --- following -------------------------------------------------------------------------------------------


def event(seq: int, **body: object) -> pb.WatchOperationResponse:
    return pb.WatchOperationResponse(event=common_pb2.Event(seq=seq, **body))  # type: ignore[arg-type]  # as the test says


def gather(messages: Iterator[T], into: list[T]) -> None:
    for message in messages:
        into.append(message)  # noqa: PERF402  # one by one, as they come


def test_a_broken_watch_goes_on_behind_the_last_event() -> None:
    snapshot = pb.WatchOperationResponse(snapshot=operation("RUNNING"))
    synced = pb.WatchOperationResponse(synced=common_pb2.Synced())
    heartbeat = pb.WatchOperationResponse(heartbeat=common_pb2.Heartbeat(latest_seq=1))
    with FakeServer() as server:
        seen: list[pb.WatchOperationResponse] = []
        breaks: list[str] = []
        watch = operations(server).watch("12", after=3, on_break=lambda error: breaks.append(error.reason))
        ended = server.run(lambda: gather(watch, seen))
        first = server.take_stream(SERVICE, "WatchOperation")
        first.send(snapshot, event(4), heartbeat, synced)
        eventually(lambda: len(seen) == 3)
        first.fail(grpc.StatusCode.UNAVAILABLE, begun=True)
        second = server.take_stream(SERVICE, "WatchOperation")
        second.send(snapshot, event(4), event(5), synced, event(6))
        eventually(lambda: len(seen) == 5)
        second.end()
        ended.result(100)
    assert [each.WhichOneof("message") for each in seen] == ["snapshot", "event", "synced", "event", "event"]
    assert [each.event.seq for each in seen if each.HasField("event")] == [4, 5, 6]
    assert (first.request.after, second.request.after, breaks) == (3, 4, ["UNAVAILABLE"])


def test_a_broken_watch_of_all_goes_on_with_its_token() -> None:
    def latest(state: str, token: str) -> pb.WatchOperationsResponse:
        return pb.WatchOperationsResponse(operation=operation(state), resume_token=token)

    synced = pb.WatchOperationsResponse(synced=common_pb2.Synced(), resume_token="b")
    heartbeat = pb.WatchOperationsResponse(heartbeat=common_pb2.Heartbeat(), resume_token="c")
    with FakeServer() as server:
        seen: list[pb.WatchOperationsResponse] = []
        watch = operations(server).watch_all(kind="import", active_only=True)
        ended: Future[None] = server.run(lambda: gather(watch, seen))
        first = server.take_stream(SERVICE, "WatchOperations")
        first.send(latest("QUEUED", "a"), synced, heartbeat)
        eventually(lambda: len(seen) == 2)
        first.fail(grpc.StatusCode.UNAVAILABLE, "drain", [info("DRAINING")], begun=True)
        second = server.take_stream(SERVICE, "WatchOperations")
        second.send(synced, latest("RUNNING", "d"))
        eventually(lambda: len(seen) == 3)
        second.end()
        ended.result(100)
    assert [each.WhichOneof("message") for each in seen] == ["operation", "synced", "operation"]
    assert (first.request.kind, first.request.active_only, first.request.resume_token) == ("import", True, "")
    # The heartbeat was handled last.
    assert second.request.resume_token in ("b", "c")


def waited(last: pb.Operation, told: list[int] | None = None) -> pb.Operation:
    with FakeServer() as server:
        listening = None if told is None else lambda progress: told.append(progress.done)
        found = server.run(lambda: operations(server).wait("op_12", on_progress=listening))
        watch = server.take_stream(SERVICE, "WatchOperation")
        first = operation("RUNNING", progress=common_pb2.Progress(done=1))
        watch.send(pb.WatchOperationResponse(snapshot=first), event(1, progress=common_pb2.Progress(done=2)))
        watch.end()
        server.take(SERVICE, "GetOperation").reply(pb.GetOperationResponse(operation=last))
        return found.result(100)


def test_wait_returns_what_succeeded_and_tells_how_far_it_is() -> None:
    told: list[int] = []
    assert waited(operation("SUCCEEDED"), told) == operation("SUCCEEDED")
    assert told == [1, 2]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("SOURCE_NOT_FOUND", NotFound), ("SOURCE_DENIED", Denied), ("DISK_LOW", reasons.kind_of("DISK_LOW"))],
)
def test_wait_raises_what_a_call_would_have_raised(reason: str, expected: type[IngotError]) -> None:
    problem = common_pb2.Problem(
        reason=errors_pb2.ErrorReason.Value(f"ERROR_REASON_{reason}"),
        message="It did not work.",
        facts={"url": "hf://a/b"},
        next_step="Look at the name.",
    )
    with pytest.raises(expected, match="It did not work") as caught:
        waited(operation("FAILED", problem=problem))
    assert (caught.value.reason, caught.value.next_step) == (reason, "Look at the name.")
    assert caught.value.facts == {"url": "hf://a/b", "operation": "operations/op_12"}


def test_wait_raises_cancelled() -> None:
    with pytest.raises(Cancelled, match="op_12 was cancelled") as caught:
        waited(operation("CANCELLED"))
    assert caught.value.next_step == "Run it again: ingot operations retry op_12"


@pytest.mark.parametrize("reason", [each.value for each in server_errors.Reason])
def test_every_reason_means_the_same_error_stored_and_live(reason: str) -> None:
    """What raises a reason in the server's code decides its status; where that is so, both must agree."""
    page = (pathlib.Path(__file__).parents[2] / "docs" / "errors.md").read_text(encoding="utf-8")
    row = next((line for line in page.splitlines() if line.startswith(f"| {reason} |")), "")
    codes = [code.strip() for code in row.split("|")[3].split(",") if code.strip()] if row else []
    live = {statuses.kind_of(grpc.StatusCode[code], reason) for code in codes}
    assert reasons.kind_of(reason) in live or not live
    assert set(codes) <= {code.name for code in server_statuses.STATUS_OF.values()} | {"INTERNAL"}
    assert reason in reasons.known()


# --- results ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ValidationReport, params.ValidationReport),
        (FileReport, params.FileReport),
        (Finding, params.Finding),
        (ImportResult, params.ImportResult),
        (ExportResult, params.ExportResult),
    ],
)
def test_results_have_the_fields_of_their_schema(ours: type, theirs: type[params.Params]) -> None:
    assert [field.name for field in dataclasses.fields(ours)] == list(theirs.model_fields)


def test_a_report_is_read_from_the_result() -> None:
    report = params.ValidationReport(
        passed=False,
        summary="1 of 3 records is bad.",
        records=3,
        files=(params.FileReport(path="a.jsonl", size_bytes=1 << 40, statistics={"x": [1, "y"]}),),
        findings=(
            params.Finding(
                path="a.jsonl", reason="json_syntax", message="no", row=2, byte_offset=70, column=5
            ),
        ),
        finding_count=1,
    )
    made = operation("SUCCEEDED")
    made.kind = "validate"
    made.result.update(report.document())
    found = ValidationReport.of(made)
    assert (found.passed, found.records, found.version) == (False, 3, "")
    assert found.findings == (Finding("a.jsonl", "error", "json_syntax", "no", 2, 70, 5),)
    assert (found.files[0].size_bytes, found.files[0].records) == (1 << 40, None)
    assert found.files[0].statistics == {"x": [1.0, "y"]}
    with pytest.raises(Invalid, match="of kind import that succeeded"):
        ImportResult.of(made)


def test_imports_and_exports_are_read_from_the_result() -> None:
    made = operation("SUCCEEDED")
    result = params.ImportResult(version="namespaces/a/models/b/versions/1", existed=True, size_bytes=9)
    made.result.update(result.document())
    assert dataclasses.asdict(ImportResult.of(made)) == result.model_dump()
    made.kind = "export"
    made.result.Clear()
    out = params.ExportResult(path="/srv/out", versions=("v",), written_bytes=3)
    made.result.update(out.document())
    assert dataclasses.asdict(ExportResult.of(made)) == out.model_dump()


# --- what is registered but not here ---------------------------------------------------------------------


def refuse_unfetched(server: FakeServer) -> None:
    call = server.take_stream("TransferService", "ReadManifest")
    details = [info("NOT_FETCHED", operation="operations/op_12")]
    call.fail(grpc.StatusCode.FAILED_PRECONDITION, "It is not fetched yet.", details)


def test_a_pull_waits_for_the_fetch_of_what_is_registered(tmp_path: pathlib.Path) -> None:
    told: list[TransferProgress] = []
    with FakeServer() as server:
        client = Client(link=server.link, namespace="ada", user="ada")
        pulled = server.run(
            lambda: client.pull("datasets/humaneval", tmp_path / "in", on_progress=told.append)
        )
        refuse_unfetched(server)
        watch = server.take_stream(SERVICE, "WatchOperation")
        assert watch.request.name == "operations/op_12"
        progress = common_pb2.Progress(phase="fetching", done=5, total=10, unit="bytes")
        watch.send(event(1, progress=progress))
        watch.end()
        done = pb.GetOperationResponse(operation=operation("SUCCEEDED"))
        server.take(SERVICE, "GetOperation").reply(done)
        again = server.take_stream("TransferService", "ReadManifest")
        again.fail(grpc.StatusCode.NOT_FOUND, "That is enough.", [info("ARTIFACT_NOT_FOUND")])
        with pytest.raises(NotFound, match="That is enough"):
            pulled.result(100)
    fetching = [each for each in told if each.stage is Stage.FETCHING]
    assert [(each.bytes_done, each.bytes_total) for each in fetching] == [(5, 10)]


def test_a_pull_says_why_the_fetch_failed(tmp_path: pathlib.Path) -> None:
    with FakeServer() as server:
        client = Client(link=server.link, namespace="ada", user="ada")
        pulled = server.run(lambda: client.pull("datasets/humaneval", tmp_path / "in"))
        refuse_unfetched(server)
        server.take_stream(SERVICE, "WatchOperation").end()
        problem = common_pb2.Problem(
            reason=errors_pb2.ERROR_REASON_SOURCE_MISMATCH, message="The digest is another."
        )
        reply = pb.GetOperationResponse(operation=operation("FAILED", problem=problem))
        server.take(SERVICE, "GetOperation").reply(reply)
        with pytest.raises(IngotError, match="digest is another") as caught:
            pulled.result(100)
    assert caught.value.exit_code == 6


def test_a_dry_run_waits_for_nothing(tmp_path: pathlib.Path) -> None:
    with FakeServer() as server:
        client = Client(link=server.link, namespace="ada", user="ada")
        pulled = server.run(lambda: client.pull("datasets/humaneval", tmp_path / "in", dry_run=True))
        refuse_unfetched(server)
        with pytest.raises(Precondition) as caught:
            pulled.result(100)
    assert caught.value.facts["operation"] == "operations/op_12"


def test_credentials_are_kept_listed_and_forgotten() -> None:
    from ingot.v1 import auth_pb2

    kept = auth_pb2.Credential(name="users/ada/credentials/huggingface.co")
    with FakeServer() as server:
        client = Client(link=server.link, namespace="ada", user="ada")
        made = server.run(lambda: client.auth.set_credential("huggingface.co", "hf_secret"))
        call = server.take("AuthService", "SetCredential")
        call.reply(auth_pb2.SetCredentialResponse(credential=kept))
        assert (call.request.host, call.request.secret, made.result(100)) == (
            "huggingface.co",
            "hf_secret",
            kept,
        )
        listed = server.run(lambda: list(client.auth.credentials()))
        server.take("AuthService", "ListCredentials").reply(
            auth_pb2.ListCredentialsResponse(credentials=[kept])
        )
        assert listed.result(100) == [kept]
        gone = server.run(lambda: client.auth.delete_credential("huggingface.co"))
        me = auth_pb2.GetMeResponse(user=auth_pb2.User(name="users/ada"))
        server.take("AuthService", "GetMe").reply(me)
        forget = server.take("AuthService", "DeleteCredential")
        forget.reply(auth_pb2.DeleteCredentialResponse())
        gone.result(100)
        assert forget.request.name == kept.name
