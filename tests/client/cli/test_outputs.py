"""What commands print, against golden files: text for people, JSON with the proto's names, names alone."""

import json
import pathlib
import re

import pytest
from google.protobuf import timestamp_pb2
from google.protobuf.message import Message

from helpers import canned_answers, command_lines
from helpers.canned_server import CannedServer, Refusal
from helpers.command_lines import CommandLine
from ingot.client.cli import commands
from ingot.v1 import catalog_pb2, common_pb2, system_pb2, training_pb2

CALLS = {
    "ls": ["ls", "datasets"],
    "ls-files": ["ls", "datasets/ada/chat"],
    "show": ["show", "datasets/ada/chat"],
    "show-version": ["show", "datasets/ada/chat@2"],
    "show-file": ["show", "datasets/ada/chat@2:chat.jsonl"],
    "show-checkpoint": ["show", "trainingJobs/job_1/checkpoints/20"],
    "alias-ls": ["alias", "ls", "datasets/ada/chat"],
    "jobs-ls": ["jobs", "ls"],
    "jobs-show": ["jobs", "show", "1"],
    "jobs-metrics": ["jobs", "metrics", "1"],
    "jobs-checkpoints": ["jobs", "checkpoints", "1"],
    "jobs-logs": ["jobs", "logs", "1"],
    "stats": ["stats"],
    "health": ["health"],
    "storage": ["storage"],
    "usage": ["usage", "datasets/ada/chat"],
    "activity": ["activity"],
    "dashboard": ["dashboard"],
    "settings": ["settings"],
    "uploads-ls": ["uploads", "ls"],
    "uploads-show": ["uploads", "show", "3"],
    "uploads-stats": ["uploads", "stats"],
    "workers-ls": ["workers", "ls"],
    "operations-ls": ["operations", "ls"],
    "operations-show": ["operations", "show", "12"],
    "operations-kinds": ["operations", "kinds"],
    "operations-kinds-import": ["operations", "kinds", "import"],
    "credentials-ls": ["credentials", "ls"],
    "users-ls": ["users", "ls"],
    "tokens-ls": ["tokens", "ls"],
    "namespaces-ls": ["namespaces", "ls"],
    "namespaces-show": ["namespaces", "show", "ada"],
    "members-ls": ["members", "ls", "ada"],
    "access-show": ["access", "show", "datasets/ada/chat"],
    "approvals-ls": ["approvals", "ls"],
    "approvals-show": ["approvals", "show", "1"],
    "audit-ls": ["audit", "ls"],
    "audit-verify": ["audit", "verify"],
    "plan": ["train", "datasets/ada/chat", "--plan"],
}
NO_GOLDEN_JSON = {"jobs-logs"}  # one object a line, see test_jobs.py


@pytest.fixture(autouse=True)
def _answers(canned: CannedServer) -> None:
    canned_answers.install(canned)


@pytest.mark.parametrize("name", CALLS)
def test_text(cli: CommandLine, golden_folder: pathlib.Path, name: str) -> None:
    run = cli.run(*CALLS[name])
    assert run.code == 0
    command_lines.golden(golden_folder / f"{name}.txt", run.out)


@pytest.mark.parametrize("name", sorted(CALLS.keys() - NO_GOLDEN_JSON))
def test_json_is_one_document(cli: CommandLine, golden_folder: pathlib.Path, name: str) -> None:
    run = cli.run(*CALLS[name], "--json")
    assert run.code == 0
    assert run.err == ""
    json.loads(run.out)
    command_lines.golden(golden_folder / f"{name}.json", run.out)


def test_json_has_the_names_of_the_proto_and_numbers(cli: CommandLine) -> None:
    (found,) = json.loads(cli.run("--json", "ls", "datasets").out)
    assert found.keys() <= {field.name for field in catalog_pb2.Artifact.DESCRIPTOR.fields}
    assert found["size_bytes"] == 786432
    assert found["usage"]["download_count"] == 3
    assert found["visibility"] == "VISIBILITY_PRIVATE"
    assert found["update_time"] == "2026-03-04T05:06:05Z"


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["ls", "datasets"], "datasets/ada/chat"),
        (["ls", "datasets/ada/chat"], "chat.jsonl"),
        (["show", "datasets/ada/chat"], "datasets/ada/chat"),
        (["jobs", "ls"], "trainingJobs/job_1"),
        (["uploads", "ls"], "uploads/file_3"),
        (["workers", "ls"], "workers/worker_1"),
        (["credentials", "ls"], "huggingface.co"),
        (["operations", "kinds"], "import\nscrub"),
        (["users", "ls"], "sara"),
        (["members", "ls", "ada"], "ada\nsara"),
        (["namespaces", "create", "team-nlp"], "ada"),
        (["access", "grant", "datasets/ada/chat", "sara"], "datasets/ada/chat"),
        (["tokens", "create"], "ingot_shown_once"),
        (["train", "datasets/ada/chat"], "trainingJobs/job_1"),
        (["health"], "healthy"),
    ],
)
def test_quiet_prints_names_alone(cli: CommandLine, words: list[str], names: str) -> None:
    run = cli.run(*words, "-q")
    assert (run.code, run.out, run.err) == (0, names + "\n", "")


def test_more_than_the_limit_is_said(canned: CannedServer, cli: CommandLine) -> None:
    found = [catalog_pb2.Artifact(name=f"namespaces/ada/models/m{number}") for number in range(3)]
    canned.answer("CatalogService/ListArtifacts", catalog_pb2.ListArtifactsResponse(artifacts=found))
    run = cli.run("ls", "models", "-q", "--limit", "2")
    assert run.out.splitlines() == ["models/ada/m0", "models/ada/m1"]
    assert run.err == "These are the first 2; --limit 0 shows all.\n"


@pytest.mark.contract("S4-39")
def test_pages_have_numbers(canned: CannedServer, cli: CommandLine) -> None:
    found = [catalog_pb2.Artifact(name=f"namespaces/ada/datasets/d{number}") for number in range(5)]
    canned.answer("CatalogService/ListArtifacts", catalog_pb2.ListArtifactsResponse(artifacts=found))
    second = cli.run("ls", "datasets", "-q", "--limit", "2", "--page", "2")
    assert second.out.splitlines() == ["datasets/ada/d2", "datasets/ada/d3"]
    assert second.err == "These are page 2; --limit 0 shows all.\n"
    assert cli.run("ls", "datasets", "-q", "--limit", "2", "--page", "3").out == "datasets/ada/d4\n"
    assert cli.run("ls", "datasets", "--limit", "0", "--page", "2").code == 2
    assert cli.run("ls", "datasets", "--page", "0").code == 2


def test_nothing_there_is_said_beside_the_data(canned: CannedServer, cli: CommandLine) -> None:
    canned.answer("CatalogService/ListArtifacts", catalog_pb2.ListArtifactsResponse())
    run = cli.run("ls", "models")
    assert (run.code, run.out, run.err) == (0, "", "Nothing there.\n")


@pytest.mark.parametrize(
    "target", ["namespaces/A/models/x", "namespaces/a/models/-/versions/1", "namespaces/a/b/c/d/e/f/g"]
)
def test_what_somebody_asked_for_is_shown_as_it_is(
    canned: CannedServer, cli: CommandLine, target: str
) -> None:
    found = [common_pb2.Activity(method="CatalogService/GetArtifact", target=target, code="INVALID_ARGUMENT")]
    canned.answer("SystemService/ListActivity", system_pb2.ListActivityResponse(activities=found))
    run = cli.run("activity")
    assert (run.code, run.err) == (0, "")
    assert f"  {target}  " in run.out


STEERING = "\x1b[2Jforged\x07 \x9b1m\r\x7f"
WRITTEN_OUT = "\\x1b[2Jforged\\x07 \\x9b1m\\x0d\\x7f"


def test_a_log_line_cannot_steer_the_terminal(canned: CannedServer, cli: CommandLine) -> None:
    line = common_pb2.LogLine(text=STEERING)
    canned.answer(
        "TrainingService/ReadTrainingLogs", [training_pb2.ReadTrainingLogsResponse(seq=1, line=line)]
    )
    assert cli.run("jobs", "logs", "1").out.endswith(f"  {WRITTEN_OUT}\n")
    assert cli.run("jobs", "logs", "1", "-q").out == f"{WRITTEN_OUT}\n"
    printed = cli.run("jobs", "logs", "1", "--json").out
    assert json.loads(printed)["line"]["text"] == STEERING
    assert printed.rstrip("\n").isprintable()


def test_no_name_or_message_of_others_can_steer_the_terminal(canned: CannedServer, cli: CommandLine) -> None:
    job = training_pb2.TrainingJob(name="trainingJobs/job_1", display_name=f"{STEERING}\nforged")
    canned.answer("TrainingService/GetTrainingJob", training_pb2.GetTrainingJobResponse(training_job=job))
    canned.answer(
        "TrainingService/ListTrainingJobs", training_pb2.ListTrainingJobsResponse(training_jobs=[job])
    )
    assert f"{WRITTEN_OUT}\\nforged" in cli.run("jobs", "ls").out
    assert WRITTEN_OUT in cli.run("jobs", "show", "1").out
    canned.answer("TrainingService/GetTrainingJob", Refusal("NOT_FOUND", STEERING, "JOB_NOT_FOUND", {}))
    assert cli.run("jobs", "show", "1").err.startswith(f"error: {WRITTEN_OUT}\n")


def test_a_failed_job_says_why_and_points_to_its_log(
    canned: CannedServer, cli: CommandLine, golden_folder: pathlib.Path
) -> None:
    reply = training_pb2.GetTrainingJobResponse(training_job=canned_answers.failed())
    canned.answer("TrainingService/GetTrainingJob", reply)
    run = cli.run("jobs", "show", "1")
    assert run.err == "Its log: ingot jobs logs job_1 --tail 50\n"
    assert "log_seq: 77" in run.out
    command_lines.golden(golden_folder / "jobs-show-failed.txt", run.out)


def test_every_command_is_called_by_some_test() -> None:
    files = [file for file in pathlib.Path(__file__).parent.glob("test_*.py") if file.name != "test_help.py"]
    tests = "".join(file.read_text(encoding="utf-8") for file in files)
    words = {name: ", ".join(f'"{word}"' for word in name.split()) for name in commands.ENTRIES}
    assert [name for name, typed in words.items() if typed not in tests] == []


def test_nested_metadata_is_shown_as_json(canned: CannedServer, cli: CommandLine) -> None:
    version = canned_answers.version(1)
    version.metadata.update({"lineage": {"job": "trainingJobs/job_1", "epochs": 3}, "parts": [1, "دو"]})
    canned.answer("CatalogService/GetVersion", catalog_pb2.GetVersionResponse(version=version))
    shown = cli.run("show", "datasets/chat@1").out
    assert 'lineage = {"epochs": 3, "job": "trainingJobs/job_1"}' in shown
    assert 'parts = [1, "دو"]' in shown
    assert "string_value" not in shown


def test_numbers_of_metadata_keep_their_digits(canned: CannedServer, cli: CommandLine) -> None:
    version = canned_answers.version(1)
    version.metadata.update({"day": 20261121, "share": 0.8999999999, "large": 1e300, "whole": 3, "yes": True})
    canned.answer("CatalogService/GetVersion", catalog_pb2.GetVersionResponse(version=version))
    shown = cli.run("show", "datasets/chat@1").out
    for line in ("day = 20261121", "share = 0.8999999999", "large = 1e+300", "whole = 3", "yes = True"):
        assert line in shown


def test_why_is_told_as_a_tree(canned: CannedServer, cli: CommandLine) -> None:
    made = timestamp_pb2.Timestamp(seconds=1_790_000_000)
    model, job = "namespaces/ada/models/tiny/versions/2", "trainingJobs/job_3"
    nodes = [
        catalog_pb2.LineageNode(id="n1", name=model, digest="blake3:" + "ab" * 32, state="READY"),
        catalog_pb2.LineageNode(id="n2", name=job, creator="users/ada", create_time=made, state="SUCCEEDED"),
        catalog_pb2.LineageNode(id="n3"),
        catalog_pb2.LineageNode(id="n4", name="users/bob", create_time=made, count=2),
    ]
    edges = [
        catalog_pb2.LineageEdge(source="n2", target="n1", relation=catalog_pb2.LINEAGE_RELATION_RESULT),
        catalog_pb2.LineageEdge(source="n3", target="n2", relation=catalog_pb2.LINEAGE_RELATION_DATASET),
        catalog_pb2.LineageEdge(source="n1", target="n4", relation=catalog_pb2.LINEAGE_RELATION_PULL),
    ]
    reply = catalog_pb2.GetLineageResponse(root="n1", nodes=nodes, edges=edges, truncated=True)
    canned.answer("CatalogService/GetLineage", reply)
    shown = cli.run("why", "models/tiny@2")
    lines = shown.out.splitlines()
    assert lines[0] == f"models/ada/tiny@2  blake3:{'ab' * 6}"
    assert lines[1].startswith("  made by job_3  ")
    assert lines[1].endswith(" by ada  succeeded")
    assert lines[2] == "    learned from something that is not yours to see"
    assert lines[3].startswith("  pulled by bob  2 times, first ")
    assert shown.out.endswith("\n")
    assert "--depth shows more steps" in shown.err


POISON = "\x1b]0;x\x07\x1b[2J\x9b31m\u202e\r\0"
_RAW = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def poisoned(message: Message, *, names: bool) -> Message:
    """Return a copy in which every string steers terminals; names of things only if told."""
    copy = type(message)()
    copy.CopyFrom(message)
    _poison(copy, names)
    return copy


def _poison(message: Message, names: bool) -> None:
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                _poison(each, names)
        elif field.type == field.TYPE_STRING and field.is_repeated:
            value[:] = [f"{each}{POISON}" for each in value]
        elif field.type == field.TYPE_STRING and "token" not in field.name and (names or "/" not in value):
            setattr(message, field.name, f"{value}{POISON}")


@pytest.mark.parametrize("words", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("names", [False, True], ids=["texts", "names"])
def test_no_answer_steers_a_terminal(
    canned: CannedServer, cli: CommandLine, words: list[str], names: bool
) -> None:
    canned.altered = lambda answer: poisoned(answer, names=names)
    for form in ([], ["--json"], ["-q"]):
        run = cli.run(*words, *form)
        assert not _RAW.search(run.out + run.err), form
        assert "Traceback" not in run.err


def test_approval_and_protection_are_seen(canned: CannedServer, cli: CommandLine) -> None:
    version = canned_answers.version(1)
    version.approval = catalog_pb2.APPROVAL_STATE_APPROVED
    canned.answer("CatalogService/GetVersion", catalog_pb2.GetVersionResponse(version=version))
    assert "ready, approved" in cli.run("show", "datasets/chat@1").out
    alias = catalog_pb2.Alias(name="namespaces/ada/datasets/chat/aliases/prod", protected=True)
    canned.answer("CatalogService/ListAliases", catalog_pb2.ListAliasesResponse(aliases=[alias]))
    assert "prod (protected)" in cli.run("alias", "ls", "datasets/chat").out
