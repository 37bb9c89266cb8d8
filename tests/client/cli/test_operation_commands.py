"""Import, export, validation and upkeep from the command line: what is asked for, followed and printed."""

import json
import pathlib
from collections.abc import Sequence

import pytest

from helpers import canned_answers, command_lines
from helpers.canned_answers import DATASET, MODEL, at
from helpers.canned_server import CannedServer, failure
from helpers.command_lines import CommandLine, Run
from ingot.server.core import params
from ingot.v1 import auth_pb2, catalog_pb2, common_pb2
from ingot.v1 import operations_pb2 as pb

START = "OperationsService/StartImport"
WATCH = "OperationsService/WatchOperation"
WATCH_ALL = "OperationsService/WatchOperations"
GET = "OperationsService/GetOperation"
OP = "operations/op_12"


@pytest.fixture(autouse=True)
def _answers(canned: CannedServer) -> None:
    canned_answers.install(canned)


def _event(seq: int, **body: object) -> pb.WatchOperationResponse:
    event = common_pb2.Event(seq=seq, time=at(seq), attempt=1, **body)  # type: ignore[arg-type]  # one body, as the test says
    return pb.WatchOperationResponse(event=event)


def _changed(seq: int, before: str, after: str, message: str = "") -> pb.WatchOperationResponse:
    states = {"from": before, "to": after, "message": message}
    return _event(seq, state=common_pb2.StateChange(**states))


def _log(seq: int, level: str, text: str) -> pb.WatchOperationResponse:
    line = common_pb2.LogLine(level=common_pb2.LogLevel.Value(f"LOG_LEVEL_{level}"), text=text)
    return _event(seq, log=line)


def _story(end: str, kind: str = "import") -> list[pb.WatchOperationResponse]:
    return [
        pb.WatchOperationResponse(snapshot=canned_answers.operation("QUEUED", kind)),
        pb.WatchOperationResponse(synced=common_pb2.Synced()),
        _changed(1, "QUEUED", "RUNNING"),
        _log(2, "INFO", "main is commit 3b2f41c"),
        _log(3, "DEBUG", "not worth a line"),
        _event(4, progress=canned_answers.fetching(0.25)),
        _changed(5, "RUNNING", "RETRYING", "the source stalled; again in 30 s"),
        _changed(6, "RETRYING", "RUNNING"),
        _log(7, "WARNING", "pickle.bin runs code when it is loaded"),
        _changed(8, "RUNNING", end),
    ]


def _succeeded(kind: str, result: params.Params) -> pb.Operation:
    made = canned_answers.operation("SUCCEEDED", kind)
    made.result.update(result.document())
    return made


IMPORTED = params.ImportResult(
    version=f"{MODEL}/versions/1",
    source="hf://google/tiny@3b2f41c",
    commit="3b2f41c",
    digest=canned_answers.DIGEST,
    file_count=2,
    size_bytes=128 << 20,
    fetched_bytes=96 << 20,
)


def _answer(
    canned: CannedServer, method: str, kind: str, found: pb.Operation, end: str = "SUCCEEDED"
) -> None:
    reply = getattr(pb, f"{method}Response")(operation=canned_answers.operation("QUEUED", kind))
    canned.answer(f"OperationsService/{method}", reply)
    canned.answer(WATCH, _story(end, kind))
    canned.answer(GET, pb.GetOperationResponse(operation=found))


def _both(run: Run) -> str:
    return f"{run.out}--- beside it ---\n{run.err}"


def _asked(canned: CannedServer) -> pb.StartImportRequest:
    request = canned.requests(START)[-1]
    assert isinstance(request, pb.StartImportRequest)
    return request


# --- import ----------------------------------------------------------------------------------------------


def test_import_follows_and_ends_with_the_reference(
    canned: CannedServer, cli: CommandLine, golden_folder: pathlib.Path
) -> None:
    _answer(canned, "StartImport", "import", _succeeded("import", IMPORTED))
    run = cli.run("import", "hf://google/tiny", "--include", "*.json", "--revision", "main", "-m", "first")
    assert run.code == 0
    assert run.out == f"models/ada/tiny@1  {canned_answers.DIGEST}\n"
    command_lines.golden(golden_folder / "import.txt", _both(run))
    request = _asked(canned)
    assert (request.hub.repository, request.hub.revision) == ("google/tiny", "main")
    assert (list(request.hub.include), request.target.changelog) == (["*.json"], "first")
    assert not request.force


def test_import_of_what_is_here_fetches_nothing(canned: CannedServer, cli: CommandLine) -> None:
    there = IMPORTED.model_copy(update={"existed": True, "fetched_bytes": 0})
    _answer(canned, "StartImport", "import", _succeeded("import", there))
    run = cli.run("import", "hf://google/tiny", "models/tiny@prod", "--force", "--limit-rate", "2M")
    assert run.code == 0
    assert "It was here already: 128.00 MB in 2 files; nothing was fetched." in run.err
    request = _asked(canned)
    assert (request.target.artifact, list(request.target.aliases)) == (MODEL, ["prod"])
    assert (request.force, request.max_bytes_per_second) == (True, 2 << 20)


def test_an_import_without_a_name_tells_in_the_end_what_was_there_already(
    canned: CannedServer, cli: CommandLine
) -> None:
    _answer(canned, "StartImport", "import", _succeeded("import", IMPORTED))
    words = ["import", "hf://google/tiny", "--license", "MIT", "--json"]
    for made, warned in ((at(0), True), (at(2), False)):  # the operation is of 1
        there = catalog_pb2.Artifact(name=MODEL, license="Apache-2.0", create_time=made)
        canned.answer("CatalogService/GetArtifact", catalog_pb2.GetArtifactResponse(artifact=there))
        run = cli.run(*words)
        assert run.code == 0
        assert ("To change it: ingot edit models/ada/tiny --license MIT\n" in run.err) is warned


def test_several_urls_become_one_version(canned: CannedServer, cli: CommandLine) -> None:
    _answer(canned, "StartImport", "import", _succeeded("import", IMPORTED))
    words = ["https://a.example/1", "https://a.example/2", "datasets/ada/both"]
    sums = ["--checksum", "sha256:aa", "--checksum", "md5:bb"]
    assert cli.run("import", *words, *sums, "--unpack", "-q").out == "models/ada/tiny@1\n"
    files = _asked(canned).urls.files
    assert [(list(file.urls), file.checksum, file.unpack) for file in files] == [
        (["https://a.example/1"], "sha256:aa", True),
        (["https://a.example/2"], "md5:bb", True),
    ]
    assert _asked(canned).target.artifact == "namespaces/ada/datasets/both"


def test_a_mirror_a_path_a_bundle_and_what_is_registered(canned: CannedServer, cli: CommandLine) -> None:
    both = IMPORTED.model_copy(
        update={"versions": (f"{DATASET}/versions/1", f"{MODEL}/versions/1"), "version": ""}
    )
    _answer(canned, "StartImport", "import", _succeeded("import", both))
    mirror = ["--mirror", "https://b.example/x", "--path", "data/x"]
    assert cli.run("import", "https://a.example/x", *mirror).code == 0
    (file,) = _asked(canned).urls.files
    assert (list(file.urls), file.path) == (["https://a.example/x", "https://b.example/x"], "data/x")
    run = cli.run("import", "/srv/in/all.ingot", "--signer", "ed25519:ab")
    assert run.out == "datasets/ada/chat@1\nmodels/ada/tiny@1\n"
    assert _asked(canned).bundle == pb.BundleSource(path="/srv/in/all.ingot", signer="ed25519:ab")
    assert cli.run("import", "datasets/humaneval").code == 0
    assert _asked(canned).registered == "namespaces/ada/datasets/humaneval"


def test_a_look_tells_size_room_and_whether_it_is_here(
    canned: CannedServer, cli: CommandLine, golden_folder: pathlib.Path
) -> None:
    look = IMPORTED.model_copy(
        update={"version": "", "fetched_bytes": 0, "needed_bytes": 300 << 20, "free_bytes": 9 << 30}
    )
    _answer(canned, "StartImport", "import", _succeeded("import", look))
    run = cli.run("import", "hf://google/tiny", "--check")
    assert run.code == 0
    command_lines.golden(golden_folder / "import-check.txt", run.out)
    assert _asked(canned).validate_only


def test_no_wait_leaves_and_says_how_to_come_back(canned: CannedServer, cli: CommandLine) -> None:
    _answer(canned, "StartImport", "import", _succeeded("import", IMPORTED))
    run = cli.run("import", "hf://google/tiny", "--no-wait")
    assert (run.code, run.out) == (0, f"{OP} is queued: import models/ada/tiny\n")
    assert run.err == "Next: ingot operations watch op_12\n"
    assert cli.run("import", "hf://google/tiny", "--no-wait", "-q").out == f"{OP}\n"
    assert json.loads(cli.run("import", "hf://google/tiny", "--no-wait", "--json").out)["name"] == OP
    assert canned.requests(WATCH) == []


def test_the_same_import_again_attaches_to_the_one_that_runs(canned: CannedServer, cli: CommandLine) -> None:
    _answer(canned, "StartImport", "import", _succeeded("import", IMPORTED))
    canned.answer(START, pb.StartImportResponse(operation=canned_answers.operation("RUNNING")))
    run = cli.run("import", "hf://google/tiny")
    assert run.code == 0
    assert run.err.startswith(f"{OP} does that already; following it.\n")


def test_import_in_json_is_one_message_a_line_and_the_last_has_the_result(
    canned: CannedServer, cli: CommandLine
) -> None:
    _answer(canned, "StartImport", "import", _succeeded("import", IMPORTED))
    run = cli.run("import", "hf://google/tiny", "--json")
    lines = [json.loads(line) for line in run.out.splitlines()]
    assert [next(iter(line)) for line in lines] == ["snapshot", "synced", *["event"] * 8, "snapshot"]
    assert lines[5]["event"]["progress"]["files"][0]["path"] == "model.safetensors"
    assert lines[-1]["snapshot"]["state"] == "OPERATION_STATE_SUCCEEDED"
    assert lines[-1]["snapshot"]["result"]["version"] == f"{MODEL}/versions/1"
    assert run.err == ""


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("SOURCE_UNREACHABLE", 9),
        ("SOURCE_NOT_FOUND", 3),
        ("SOURCE_DENIED", 4),
        ("DISK_LOW", 7),
        ("SOURCE_MISMATCH", 6),
        ("NAME_COLLIDES", 5),
        ("TIMED_OUT", 8),
        ("BODY_LOST", 1),
    ],
)
def test_what_an_import_failed_with_is_told_and_is_the_exit_code(
    canned: CannedServer, cli: CommandLine, reason: str, code: int
) -> None:
    failed = canned_answers.operation("FAILED")
    failed.problem.CopyFrom(
        common_pb2.Problem(
            reason=f"ERROR_REASON_{reason}",  # type: ignore[arg-type]  # protobuf takes names too
            message="It did not work.",
            next_step="Do something.",
        )
    )
    _answer(canned, "StartImport", "import", failed, "FAILED")
    run = cli.run("import", "hf://google/tiny")
    assert (run.code, run.out) == (code, "")
    assert run.err.endswith(
        "Its story: ingot operations watch op_12\nTo try again: ingot operations retry op_12\n"
        "error: It did not work.\n  next: Do something.\n"
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["hf://a/b", "hf://a/c"], "Expected one source and what it becomes"),
        (["hf://a/b", "--unpack"], "unpack: is about files at URLs"),
        (["tiny"], "Not a reference"),
        (["google/tiny"], "Did you mean hf://google/tiny?"),
        (["dataset/tiny"], "Did you mean datasets/tiny?"),
        ([__file__, "datasets/tests"], f"Send it: ingot push datasets/tests {__file__}"),
        (["hf://a/b", "--limit-rate", "fast"], "--limit-rate"),
        ([], "required: SOURCE"),
    ],
)
def test_a_wrong_import_is_refused_with_usage(cli: CommandLine, words: list[str], expected: str) -> None:
    run = cli.run("import", *words)
    assert (run.code, expected in run.err) == (2, True), run.err


# --- download --------------------------------------------------------------------------------------------


@pytest.mark.contract("S2-26")
def test_download_of_a_hub_name_lets_the_server_fetch_it_when_it_is_not_here(
    canned: CannedServer, cli: CommandLine, tmp_path: pathlib.Path
) -> None:
    _answer(canned, "StartImport", "import", _succeeded("import", IMPORTED))
    absent = failure("NOT_FOUND", "There is no such model.", "ARTIFACT_NOT_FOUND")
    canned.answer("CatalogService/GetVersion", absent)
    canned.answer("TransferService/ReadManifest", failure("NOT_FOUND", "Enough.", "VERSION_NOT_FOUND"))
    run = cli.run("download", "-n", "google/tiny", str(tmp_path))
    assert run.err.startswith("models/google_tiny is not here yet: the server fetches hf://google/tiny.\n")
    assert (run.code, "Enough." in run.err) == (3, True)
    assert _asked(canned).hub.repository == "google/tiny"
    (asked,) = canned.requests("CatalogService/GetVersion")
    assert isinstance(asked, catalog_pb2.GetVersionRequest)
    assert asked.name == "namespaces/ada/models/google_tiny"


def test_download_of_what_is_here_imports_nothing(
    canned: CannedServer, cli: CommandLine, tmp_path: pathlib.Path
) -> None:
    canned.answer("TransferService/ReadManifest", failure("NOT_FOUND", "Enough.", "VERSION_NOT_FOUND"))
    assert cli.run("download", "-n", "google/tiny", str(tmp_path)).code == 3
    assert cli.run("download", "models/tiny", str(tmp_path)).code == 3
    assert canned.requests(START) == []


# --- validate --------------------------------------------------------------------------------------------


def _report(*, passed: bool) -> params.ValidationReport:
    findings = (
        params.Finding(
            path="chat.jsonl",
            reason="json_syntax",
            message="expected ',' or '}', found 'x'",
            row=12,
            byte_offset=1234,
            column=5,
        ),
        params.Finding(path="chat.jsonl", reason="missing_column", message="there is no answer", row=40),
        params.Finding(
            path="model.pkl",
            severity="warning",
            reason="unsafe_opcode",
            message="calls os.system",
            byte_offset=7,
        ),
    )
    return params.ValidationReport(
        passed=passed,
        summary="It passed: 800 records in 1 file."
        if passed
        else "It did not pass: 2 of 800 records are bad.",
        records=800,
        files=(params.FileReport(path="chat.jsonl", size_bytes=9, passed=passed),),
        file_count=1,
        findings=() if passed else findings,
        finding_count=0 if passed else 5,
        quarantined=0 if passed else 2,
        version="" if passed else f"{DATASET}/versions/3",
    )


def test_validate_prints_findings_as_a_compiler_and_ends_with_six(
    canned: CannedServer, cli: CommandLine, golden_folder: pathlib.Path
) -> None:
    _answer(canned, "StartValidation", "validate", _succeeded("validate", _report(passed=False)))
    words = ["--rule", "min_records=10", "--rule", "required_columns=question,answer"]
    run = cli.run("validate", "datasets/chat", *words, "--rule", "max_file_size=10M", "--quarantine")
    assert run.code == 6
    command_lines.golden(golden_folder / "validate.txt", _both(run))
    (request,) = canned.requests("OperationsService/StartValidation")
    assert isinstance(request, pb.StartValidationRequest)
    assert request.version == DATASET
    rules = request.rules
    assert (rules.min_records, list(rules.required_columns)) == (10, ["question", "answer"])
    assert (rules.max_file_size, rules.quarantine) == (10 << 20, True)
    assert not rules.HasField("allow_unsafe")
    assert cli.run("validate", "datasets/chat", "-q").out == "chat.jsonl\n"


def test_validate_of_what_passes_ends_with_zero(canned: CannedServer, cli: CommandLine) -> None:
    _answer(canned, "StartValidation", "validate", _succeeded("validate", _report(passed=True)))
    run = cli.run("validate", "datasets/chat")
    assert (run.code, run.out) == (0, "It passed: 800 records in 1 file.\n")


def test_validate_in_json_ends_with_the_report_and_by_its_outcome(
    canned: CannedServer, cli: CommandLine
) -> None:
    _answer(canned, "StartValidation", "validate", _succeeded("validate", _report(passed=False)))
    run = cli.run("validate", "datasets/chat", "--json")
    assert run.code == 6
    last = json.loads(run.out.splitlines()[-1])["snapshot"]["result"]
    assert (last["passed"], last["findings"][0]["row"]) == (False, 12)


def test_an_unknown_rule_gets_the_nearest(cli: CommandLine) -> None:
    run = cli.run("validate", "datasets/chat", "--rule", "min_record=1")
    assert (run.code, "Did you mean min_records?" in run.err) == (2, True)


# --- export ----------------------------------------------------------------------------------------------


def test_export_writes_and_ends_with_the_place(
    canned: CannedServer, cli: CommandLine, golden_folder: pathlib.Path
) -> None:
    done = params.ExportResult(
        path="/srv/out/all.ingot",
        versions=(f"{DATASET}/versions/2", f"{MODEL}/versions/1"),
        file_count=5,
        size_bytes=3 << 20,
        written_bytes=1 << 20,
        digest=canned_answers.DIGEST,
        signer="ed25519:ab",
    )
    _answer(canned, "StartExport", "export", _succeeded("export", done))
    run = cli.run("export", "datasets/chat", "models/tiny", "all.ingot", "--since", "2026-03-04T05:00:00Z")
    assert run.code == 0
    command_lines.golden(golden_folder / "export.txt", _both(run))
    request = canned.requests("OperationsService/StartExport")[-1]
    assert isinstance(request, pb.StartExportRequest)
    assert list(request.sources) == [DATASET, MODEL]
    assert (request.bundle.path, request.bundle.since.ToJsonString()) == ("all.ingot", "2026-03-04T05:00:00Z")
    assert cli.run("export", "datasets/chat", "/srv/out", "--keep", "--layout", "owner-uid", "-q").code == 0
    folder = canned.requests("OperationsService/StartExport")[-1]
    assert isinstance(folder, pb.StartExportRequest)
    assert (folder.folder.keep, folder.folder.layout) == (True, pb.EXPORT_LAYOUT_OWNER_UID)
    assert cli.run("export", "models/tiny", "hf://org/tiny", "--private", "--branch", "b").code == 0
    hub = canned.requests("OperationsService/StartExport")[-1]
    assert isinstance(hub, pb.StartExportRequest)
    assert hub.hub == pb.HubDestination(repository="org/tiny", private=True, branch="b")


def test_an_export_may_only_be_checked(canned: CannedServer, cli: CommandLine) -> None:
    canned.answer("OperationsService/StartExport", pb.StartExportResponse())
    run = cli.run("export", "datasets/chat", "", "--check")
    assert (run.code, run.out, run.err) == (0, "", "It can be done; nothing was written.\n")
    assert json.loads(cli.run("export", "datasets/chat", "", "--check", "--json").out) == {}
    assert cli.run("export", "datasets/chat").code == 2
    assert cli.run("export", "datasets/chat", "x.ingot", "--since", "soon").code == 2


@pytest.mark.parametrize("command", ["import", "export", "validate"])
def test_how_one_runs_may_be_told(canned: CannedServer, cli: CommandLine, command: str) -> None:
    words = {
        "import": ["https://a/chat.jsonl", "datasets/chat"],
        "export": ["datasets/chat", "out"],
        "validate": ["datasets/chat@1"],
    }[command]
    method = {"import": "StartImport", "export": "StartExport", "validate": "StartValidation"}[command]
    reply = {"import": pb.StartImportResponse, "export": pb.StartExportResponse}
    started = reply.get(command, pb.StartValidationResponse)(operation=canned_answers.operation("QUEUED"))
    canned.answer(f"OperationsService/{method}", started)
    told = ["--priority", "-3", "--attempts", "2", "--timeout", "90m"]
    assert cli.run(command, *words, "--no-wait", *told).code == 0
    assert cli.run(command, *words, "--no-wait").code == 0
    asked = []
    for each in canned.requests(f"OperationsService/{method}"):
        assert isinstance(each, (pb.StartImportRequest, pb.StartExportRequest, pb.StartValidationRequest))
        asked.append(each.options)
    first, second = asked
    assert (first.priority, first.retry_policy.max_attempts, first.timeout.seconds) == (-3, 2, 5400)
    assert second == pb.OperationOptions()
    for bad in (["--timeout", "soon"], ["--timeout", "0s"], ["--attempts", "-1"], ["--priority", "high"]):
        assert cli.run(command, *words, *bad).code == 2


# --- upkeep and credentials ------------------------------------------------------------------------------


def test_upkeep_tells_what_it_did(canned: CannedServer, cli: CommandLine) -> None:
    class Done(params.Params):
        chunks: int = 12
        freed_bytes: int = 4096
        whole: bool = True

    _answer(canned, "StartUpkeep", "collect", _succeeded("collect", Done()))
    run = cli.run("upkeep", "collect")
    assert (run.code, run.out) == (0, "chunks = 12\nfreed_bytes = 4096\nwhole = yes\n")
    (request,) = canned.requests("OperationsService/StartUpkeep")
    assert isinstance(request, pb.StartUpkeepRequest)
    assert request.kind == pb.UPKEEP_KIND_COLLECT
    assert cli.run("upkeep", "tidy").code == 2


def test_a_secret_is_read_and_never_shown(canned: CannedServer) -> None:
    cli = CommandLine(canned.address, typed="hf_secret\n")
    run = cli.run("credentials", "set")
    assert (run.code, run.out) == (0, "Kept a secret for huggingface.co.\n")
    (request,) = canned.requests("AuthService/SetCredential")
    assert isinstance(request, auth_pb2.SetCredentialRequest)
    assert (request.host, request.secret) == ("huggingface.co", "hf_secret")
    assert "hf_secret" not in run.out + run.err
    assert CommandLine(canned.address, typed="\n").run("credentials", "set").code == 2
    assert cli.run("credentials", "set", "mirror.example", "hf_secret").code == 2  # no place for it there
    assert cli.run("credentials", "rm", "huggingface.co").err == "No secret is kept for huggingface.co.\n"
    (gone,) = canned.requests("AuthService/DeleteCredential")
    assert isinstance(gone, auth_pb2.DeleteCredentialRequest)
    assert gone.name == "users/ada/credentials/huggingface.co"


# --- operations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("end", "code"), [("SUCCEEDED", 0), ("FAILED", 4), ("CANCELLED", 8)])
def test_watch_tells_the_story_and_ends_by_the_outcome(
    canned: CannedServer, cli: CommandLine, golden_folder: pathlib.Path, end: str, code: int
) -> None:
    canned.answer(WATCH, _story(end))
    canned.answer(GET, pb.GetOperationResponse(operation=canned_answers.operation(end)))
    run = cli.run("operations", "watch", "12")
    assert run.code == code
    command_lines.golden(golden_folder / f"operations-watch-{end.lower()}.txt", _both(run))
    assert cli.run("operations", "watch", "12", "-q").out == f"{OP}\n"


def test_watch_goes_on_after_a_break_without_doubling_a_line(canned: CannedServer, cli: CommandLine) -> None:
    story = _story("SUCCEEDED")

    def broken(request: object) -> list[pb.WatchOperationResponse]:
        assert isinstance(request, pb.WatchOperationRequest)
        return story[:4] if request.after == 0 else [story[0], *story[2 + request.after :]]

    canned.answer(WATCH, broken)
    canned.answer(GET, pb.GetOperationResponse(operation=canned_answers.operation("SUCCEEDED")))
    run = cli.run("operations", "watch", "12", "--after", "2")
    assert "main is commit" not in run.out
    assert "05:06:08  succeeded" in run.out


def _latest(name: str, state: str, kind: str = "import") -> pb.WatchOperationsResponse:
    operation = canned_answers.operation(state, kind)
    operation.name = f"operations/{name}"
    return pb.WatchOperationsResponse(operation=operation, resume_token=f"{name} {state}")


SYNCED_ALL = pb.WatchOperationsResponse(synced=common_pb2.Synced(), resume_token="s")


def _all(*ends: str) -> Sequence[pb.WatchOperationsResponse]:
    return [
        _latest("op_3", "RUNNING", "scrub"),
        SYNCED_ALL,
        _latest("op_12", "RUNNING"),
        _latest("op_12", "RUNNING"),
        _latest("op_3", ends[0], "scrub"),
        _latest("op_12", ends[1]),
    ]


@pytest.mark.parametrize(
    ("name", "ends", "code"), [("all", ("SUCCEEDED", "SUCCEEDED"), 0), ("some", ("SUCCEEDED", "FAILED"), 1)]
)
def test_watch_of_all_ends_when_nothing_runs(
    canned: CannedServer,
    cli: CommandLine,
    golden_folder: pathlib.Path,
    name: str,
    ends: tuple[str, str],
    code: int,
) -> None:
    canned.answer(WATCH_ALL, _all(*ends))
    run = cli.run("operations", "watch")
    assert run.code == code
    command_lines.golden(golden_folder / f"operations-watch-{name}.txt", _both(run))
    lines = [json.loads(line) for line in cli.run("operations", "watch", "--json").out.splitlines()]
    assert [next(iter(line)) for line in lines].count("operation") == 5
    assert lines[1] == {"synced": {}, "resume_token": "s"}
    assert cli.run("operations", "watch", "-q").out == "operations/op_3\noperations/op_12\n"


def test_watch_of_all_says_when_nothing_runs(canned: CannedServer, cli: CommandLine) -> None:
    canned.answer(WATCH_ALL, [SYNCED_ALL])
    run = cli.run("operations", "watch", "--kind", "import", "--queue", "download")
    assert (run.code, run.out, run.err) == (0, "", "Nothing runs.\n")
    (request,) = canned.requests(WATCH_ALL)
    assert isinstance(request, pb.WatchOperationsRequest)
    assert (request.kind, request.queue, request.active_only) == ("import", "download", True)


@pytest.mark.parametrize(
    ("words", "method", "then"),
    [
        (["operations", "cancel", "12"], "CancelOperation", "watch"),
        (["operations", "retry", "op_12"], "RetryOperation", "watch"),
        (["operations", "delete", OP], "CancelOperation", "watch"),
    ],
)
def test_steering_names_the_operation_and_says_what_next(
    canned: CannedServer, cli: CommandLine, words: list[str], method: str, then: str
) -> None:
    state = "CANCELLING" if method == "CancelOperation" else "QUEUED"
    reply = getattr(pb, f"{method}Response")(operation=canned_answers.operation(state))
    canned.answer(f"OperationsService/{method}", reply)
    run = cli.run(*words)
    assert (run.code, run.out) == (0, f"{OP} is {state.lower()}.\n")
    assert run.err == f"Next: ingot operations {then} op_12\n"
    (request,) = canned.requests(f"OperationsService/{method}")
    assert getattr(request, "name") == OP  # noqa: B009  # one of two types


def test_the_list_can_be_narrowed(canned: CannedServer, cli: CommandLine) -> None:
    words = ["--kind", "import", "--state", "running", "--queue", "download", "--target", "models/tiny"]
    assert cli.run("operations", "ls", *words).code == 0
    (request,) = canned.requests("OperationsService/ListOperations")
    assert isinstance(request, pb.ListOperationsRequest)
    assert (request.kind, request.queue, request.target) == ("import", "download", MODEL)
    assert request.state == pb.OPERATION_STATE_RUNNING


def test_an_unknown_kind_names_those_there_are(cli: CommandLine) -> None:
    run = cli.run("operations", "kinds", "imports")
    assert (run.code, "Known: import, scrub" in run.err) == (2, True)


# --- what is registered but not here ---------------------------------------------------------------------


def test_what_is_registered_is_shown_and_fetched_when_it_is_read(
    canned: CannedServer, cli: CommandLine, tmp_path: pathlib.Path
) -> None:
    artifact = canned_answers.artifact()
    artifact.version_count = 0
    artifact.fetch.CopyFrom(
        catalog_pb2.Fetch(
            original_url="hf://datasets/openai/openai_humaneval",
            state=catalog_pb2.FETCH_STATE_FETCHING,
            download_progress=0.25,
            operation=OP,
        )
    )
    canned.answer("CatalogService/GetArtifact", catalog_pb2.GetArtifactResponse(artifact=artifact))
    shown = cli.run("show", "datasets/humaneval")
    assert "hf://datasets/openai/openai_humaneval\n" in shown.out
    assert f"fetching 25% by {OP}\n" in shown.out
    assert shown.err == "No version yet: ingot import datasets/humaneval\n"

    refusal = failure("FAILED_PRECONDITION", "Not fetched yet.", "NOT_FETCHED", operation=OP)
    there = failure("NOT_FOUND", "Enough.", "VERSION_NOT_FOUND")
    answers = iter([refusal, there])
    canned.answer("TransferService/ReadManifest", lambda _: next(answers))
    canned.answer(WATCH, _story("SUCCEEDED"))
    canned.answer(GET, pb.GetOperationResponse(operation=_succeeded("import", IMPORTED)))
    pulled = cli.run("pull", "datasets/humaneval", str(tmp_path / "out"))
    assert (pulled.code, "Enough." in pulled.err) == (3, True)
    (watched,) = canned.requests(WATCH)
    assert isinstance(watched, pb.WatchOperationRequest)
    assert watched.name == OP
