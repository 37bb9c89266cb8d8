"""How failures end: one form, no traceback, and the exit codes of the table."""

import json
import os
import pathlib

import pytest

from helpers.canned_server import CannedServer, failure
from helpers.command_lines import CommandLine
from ingot.v1 import catalog_pb2

GET = "CatalogService/GetArtifact"
NOBODY = "unix:/nobody/is/there.sock"


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        ("INVALID_ARGUMENT", "FIELD_INVALID", 2),
        ("OUT_OF_RANGE", "OFFSET_OUT_OF_RANGE", 2),
        ("NOT_FOUND", "ARTIFACT_NOT_FOUND", 3),
        ("UNAUTHENTICATED", "TOKEN_EXPIRED", 4),
        ("PERMISSION_DENIED", "SCOPE_MISSING", 4),
        ("ABORTED", "ETAG_MISMATCH", 5),
        ("ALREADY_EXISTS", "NAME_TAKEN", 5),
        ("FAILED_PRECONDITION", "STATE_INVALID", 5),
        ("DATA_LOSS", "DATA_LOSS", 6),
        ("INVALID_ARGUMENT", "CHUNK_HASH_MISMATCH", 6),
        ("RESOURCE_EXHAUSTED", "DISK_LOW", 7),
        ("CANCELLED", "CANCELLED", 8),
        ("DEADLINE_EXCEEDED", "TOO_SLOW", 8),
        ("INTERNAL", "", 1),
    ],
)
def test_exit_code_says_what_kind_of_failure(
    canned: CannedServer, cli: CommandLine, code: str, reason: str, expected: int
) -> None:
    canned.answer(GET, failure(code, "It went wrong.", reason))
    assert cli.run("show", "models/ada/tiny").code == expected


def test_an_error_says_what_happened_what_to_do_and_the_id_of_the_call(
    canned: CannedServer, cli: CommandLine
) -> None:
    canned.answer(
        GET, failure("NOT_FOUND", "No model is called tiny.", "ARTIFACT_NOT_FOUND", next_step="See: ingot ls")
    )
    run = cli.run("show", "models/ada/tiny")
    request_id = canned.metadata(GET)["x-request-id"]
    assert run.out == ""
    assert run.err == (
        f"error: No model is called tiny.\n  next: See: ingot ls\n  request id: {request_id!s}\n"
    )


def test_for_programs_an_error_is_one_json_object(canned: CannedServer, cli: CommandLine) -> None:
    canned.answer(
        GET, failure("NOT_FOUND", "No model is called tiny.", "ARTIFACT_NOT_FOUND", next_step="See: ingot ls")
    )
    run = cli.run("show", "models/ada/tiny", "--json")
    (line,) = run.err.splitlines()
    told = json.loads(line)["error"]
    assert (run.code, run.out, told["exit_code"], told["reason"]) == (3, "", 3, "ARTIFACT_NOT_FOUND")
    assert (told["message"], told["next_step"]) == ("No model is called tiny.", "See: ingot ls")
    assert told["request_id"] == canned.metadata(GET)["x-request-id"]


def test_for_programs_what_the_system_refuses_and_wrong_usage_are_json_too(
    tmp_path: pathlib.Path, cli: CommandLine
) -> None:
    for words, code in (
        (["push", "datasets/chat", str(tmp_path / "absent"), "--json"], 2),
        (["show", "--json"], 2),
        (["pull", "models/tiny", "", "--json"], 2),
    ):
        run = cli.run(*words)
        (line,) = run.err.splitlines()
        assert (run.code, json.loads(line)["error"]["exit_code"]) == (code, code), words
    run = CommandLine(NOBODY).run("push", "datasets/chat", str(tmp_path), "--json")
    assert [json.loads(line)["error"]["exit_code"] for line in run.err.splitlines()] in ([9], [2])


def test_what_is_no_text_is_no_fault_of_the_program(tmp_path: pathlib.Path, cli: CommandLine) -> None:
    card = tmp_path / "card.md"
    card.write_bytes(b"# \xdd\x00")
    for words, found in (
        (["create", "models/tiny", "--card", str(card)], "the byte 0xdd at position 2"),
        (["create", "models/tiny", "--title", "a\udcff"], r"'\udcff' at position 1"),
    ):
        run = cli.run(*words)
        assert (run.code, run.out) == (2, "")
        assert run.err.startswith(f"error: Expected text in UTF-8, got {found}.\n  next: "), run.err
        assert json.loads(cli.run(*words, "--json").err)["error"]["exit_code"] == 2


def test_debug_shows_where_it_comes_from(canned: CannedServer, cli: CommandLine) -> None:
    from ingot.client import NotFound

    canned.answer(GET, failure("NOT_FOUND", "No model is called tiny.", "ARTIFACT_NOT_FOUND"))
    with pytest.raises(NotFound):
        cli.run("show", "models/ada/tiny", "--debug")


def test_no_server_there_ends_with_nine_and_says_how_to_start_one() -> None:
    run = CommandLine(NOBODY).run("health")
    assert run.code == 9
    assert "nothing listens there" in run.err
    assert "next: Start a server with `ingot-server serve`" in run.err


def test_no_server_known_says_where_it_looked(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = CommandLine().run("ls")
    assert run.code == 9
    assert f"{tmp_path}/.run" in run.err
    assert "--server HOST:PORT" in run.err


def test_a_token_never_goes_to_another_machine_in_the_clear() -> None:
    run = CommandLine("http://ingot.example:7070").run("whoami")
    assert run.code == 4
    assert "ingot_test_secret" not in run.out + run.err
    assert "https://ingot.example:7070" in run.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["show", "tiny"], "Did you mean models/tiny or datasets/tiny?"),
        (["show", "model/tiny"], "Did you mean models/tiny?"),
        (["show"], "Expected one reference, got none."),
        (["jobs", "show", "last"], "job_NUMBER"),
        (["train"], "There is no dataset to learn from."),
        (["edit", "models/tiny"], "There is nothing to change."),
        (["tag", "models/tiny", "new"], "ingot tag models/tiny +new"),
        (["cat", "models/ada/tiny:a", "--range", "9-1"], "Write for example: --range 0-99"),
        (["push", "models/ada/tiny", ".", "--limit-rate", "fast"], "--limit-rate 10M"),
        (["push", "models/ada/tiny", ".", "--meta", "x"], "--meta accuracy=97.5"),
        (["tokens", "create", "--ttl", "soon"], "--ttl 30d"),
        (["jobs", "ls", "--state", "done"], "invalid choice: 'done'"),
        (["jobs", "ls", "--state", "runing"], "Did you mean running?"),
        (["facets", "modles"], "Did you mean models?"),
        (["ls", "modles"], "Did you mean models, models/modles or datasets/modles?"),
        (["ls", "--limit", "many"], "expected a whole number, 0 or more, got 'many'"),
        (["approvals", "ls", "--limit", "-1"], "expected a whole number, 0 or more, got '-1'"),
        (["diff", "models/a@1", "models/a@2", "--limit", "-1"], "0 or more, got '-1'"),
        (["push", "models/ada/tiny", ".", "--message", "x"], "Did you mean --changelog?"),
        (["push", "./file", "models/ada/tiny"], "Write: ingot push models/ada/tiny ./file"),
        (["show", "./tiny"], "That is a path of this machine."),
        (["edit", "models/ada/tiny", "-m", "x"], "Name the version: ingot edit models/ada/tiny@latest"),
        (
            ["edit", "models/ada/tiny@1", "--title", "x"],
            "Say it without the version: ingot edit models/ada/tiny …",
        ),
        (["generate", "models/ada/tiny"], "There is no prompt."),
        (["verify", "./absent"], "There is no folder absent."),
    ],
)
def test_wrong_usage_ends_with_two_and_says_how_it_is_right(
    cli: CommandLine, words: list[str], expected: str
) -> None:
    run = cli.run(*words)
    assert run.code == 2
    assert expected in run.err
    assert run.out == ""


def test_a_file_that_cannot_be_read_is_no_traceback(cli: CommandLine, tmp_path: pathlib.Path) -> None:
    run = cli.run("edit", "models/ada/tiny", "--card", str(tmp_path / "absent.md"))
    assert run.code == 1
    assert run.err == (
        f"error: No such file or directory: {tmp_path}/absent.md.\n"
        "  next: Check that it is there, and that nothing removes it.\n"
    )


@pytest.mark.parametrize("words", [["rm", "models/ada/tiny"], ["jobs", "cancel", "1"], ["jobs", "rm", "1"]])
def test_without_a_terminal_nothing_is_removed_unasked(
    canned: CannedServer, cli: CommandLine, words: list[str]
) -> None:
    from ingot.v1 import training_pb2

    lost = catalog_pb2.DeleteArtifactResponse(
        artifact=catalog_pb2.Artifact(name="namespaces/ada/models/tiny"), version_count=3, size_bytes=786432
    )
    canned.answer("CatalogService/DeleteArtifact", lost)
    job = training_pb2.TrainingJob(name="trainingJobs/job_1", state=training_pb2.TRAINING_JOB_STATE_RUNNING)
    canned.answer("TrainingService/GetTrainingJob", training_pb2.GetTrainingJobResponse(training_job=job))
    canned.answer("TrainingService/DeleteTrainingJob", training_pb2.DeleteTrainingJobResponse())
    run = cli.run(*words)
    assert run.code == 2
    assert "Say --yes if that is wanted." in run.err
    for method in ("CatalogService/DeleteArtifact", "TrainingService/DeleteTrainingJob"):
        for each in canned.requests(method):
            assert isinstance(each, catalog_pb2.DeleteArtifactRequest | training_pb2.DeleteTrainingJobRequest)
            assert each.validate_only


def test_output_that_nobody_reads_any_more_ends_quietly(canned: CannedServer) -> None:
    import subprocess
    import sys

    found = [catalog_pb2.Artifact(name=f"namespaces/ada/models/m{number}") for number in range(2000)]
    canned.answer("CatalogService/ListArtifacts", catalog_pb2.ListArtifactsResponse(artifacts=found))
    command = [sys.executable, "-m", "ingot.client.cli.main", "ls", "-q", "--limit", "0"]
    root = pathlib.Path(__file__).parents[3]
    path = os.pathsep.join(str(root / each) for each in ("clients/python", "generated/python"))
    shell = f"{' '.join(command)} --server {canned.address} | head -1"
    done = subprocess.run(
        shell, shell=True, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("models/ada/m0\n", "")


@pytest.mark.parametrize("target", [[], ["models/tiny"]])
def test_an_import_from_an_address_of_another_kind_says_what_is_accepted(
    cli: CommandLine, target: list[str]
) -> None:
    run = cli.run("import", f"ftp://example.org/{'x' * 500}.csv", *target)
    assert run.code == 2
    assert "Nothing can be imported from 'ftp://example.org/" in run.err
    assert "expected hf://OWNER/NAME, https://… or a bundle on the server" in run.err
    assert "begins with https://, http:// or hf://" in run.err
    assert "models/ftp" not in run.err
    assert "x" * 201 not in run.err
