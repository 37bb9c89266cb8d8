"""Training from the command line: what is asked for, followed, steered and printed."""

import json
import pathlib

import pytest

from helpers import canned_answers, command_lines
from helpers.canned_answers import DATASET, JOB, at, lasting
from helpers.canned_server import CannedServer, failure
from helpers.command_lines import CommandLine
from ingot.v1 import common_pb2
from ingot.v1 import training_pb2 as pb

SAMPLES = pathlib.Path(__file__).parents[3] / "docs" / "samples"
CREATE = "TrainingService/CreateTrainingJob"
WATCH = "TrainingService/WatchTrainingJob"


@pytest.fixture(autouse=True)
def _answers(canned: CannedServer) -> None:
    canned_answers.install(canned)


def _created(canned: CannedServer) -> pb.CreateTrainingJobRequest:
    (request,) = canned.requests(CREATE)
    assert isinstance(request, pb.CreateTrainingJobRequest)
    return request


# --- train -----------------------------------------------------------------------------------------------


@pytest.mark.contract("S0-65")
def test_the_sample_of_the_source_system_parses_unchanged(canned: CannedServer, cli: CommandLine) -> None:
    sample = SAMPLES / "sample_model_config.json"
    run = cli.run("train", "--config", str(sample), "--output", "models/tiny")
    assert run.code == 0
    request = _created(canned)
    assert request.display_name == "persian-chat-small"
    assert request.dataset == "namespaces/ada/datasets/persian-chat"
    assert request.output_artifact == "namespaces/ada/models/tiny"
    assert request.start
    written = json.loads(sample.read_text(encoding="utf-8"))["config"]
    by_json_name = {field.json_name: field.name for field in pb.TrainingConfig.DESCRIPTOR.fields}
    assert written.keys() <= by_json_name.keys()
    for key, value in written.items():
        assert getattr(request.config, by_json_name[key]) == pytest.approx(value)
    assert len(request.config.ListFields()) == len(written)


def test_toml_and_set_and_the_body_of_the_source_system(
    canned: CannedServer, cli: CommandLine, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "tiny.toml").write_text(
        'name = "n"\ndatasetId = "dataset_12"\nbaseModelId = "model_4"\n'
        "[config]\nbatch_size = 8\nuseGPU = true\n[deepspeed]\nzeroStage = 2\n",
        encoding="utf-8",
    )
    words = ["--set", "batchSize=16", "--set", "scheduler=cosine", "--set", "deepspeed.offload=optimizer"]
    run = cli.run("train", "--config", str(tmp_path / "tiny.toml"), *words, "--no-start")
    assert run.code == 0
    request = _created(canned)
    assert (request.dataset, request.base_model) == (
        "namespaces/ada/datasets/dataset_12",
        "namespaces/ada/models/model_4",
    )
    assert (request.config.batch_size, request.config.use_gpu, request.config.scheduler) == (
        16,
        True,
        "cosine",
    )
    assert (request.deepspeed.zero_stage, request.deepspeed.offload) == (2, "optimizer")
    assert not request.start
    assert "Next: ingot jobs start job_1" in run.err


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", '{"batchSise": 8}', "Did you mean batchSize?"),
        ("a.json", '{"config": {"useGpu": true}}', "Did you mean useGPU?"),
        ("a.json", '{"config": {}, "datasetld": "x"}', "Did you mean datasetId?"),
        ("a.toml", "learning_rates = 1.0", "Did you mean learning_rate?"),
        ("a.toml", "batch_size = 'many'", "config.batch_size"),
        ("a.toml", "[config", "a.toml cannot be read"),
        ("a.json", "[1]", "expected settings with names"),
        ("a.json", '{"config": 7}', "config: expected settings with names"),
        ("a.json", '{"name": 7, "config": {}}', "name: expected text, got 7"),
        ("a.yaml", "batch_size: 8", "Expected a .toml or .json file"),
    ],
)
def test_a_config_that_cannot_stand_is_refused_with_the_nearest_right_one(
    canned: CannedServer, cli: CommandLine, tmp_path: pathlib.Path, name: str, text: str, expected: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    run = cli.run("train", "datasets/ada/chat", "--config", str(tmp_path / name))
    assert run.code == 2
    assert expected in run.err
    assert canned.requests(CREATE) == []


def test_a_plan_with_problems_ends_with_one_and_makes_no_job(canned: CannedServer, cli: CommandLine) -> None:
    def plan(request: object) -> pb.CreateTrainingJobResponse:
        assert isinstance(request, pb.CreateTrainingJobRequest)
        assert request.validate_only
        assert not request.start
        problem = common_pb2.Problem(message="numGPUs is 2.", next_step="Use 1.")
        return pb.CreateTrainingJobResponse(
            training_job=pb.TrainingJob(plan=pb.TrainingPlan(problems=[problem]))
        )

    canned.answer(CREATE, plan)
    run = cli.run("train", "datasets/ada/chat", "--plan")
    assert (run.code, run.out) == (1, "problem: numGPUs is 2. Use 1.\n")


def test_the_same_request_id_goes_out_as_given(canned: CannedServer, cli: CommandLine) -> None:
    request_id = "0b6d5a3e-0a53-4a5c-9a25-6a1d2f1d0f00"
    assert cli.run("train", "datasets/ada/chat", "--request-id", request_id).code == 0
    assert _created(canned).request_id == request_id


# --- watch -----------------------------------------------------------------------------------------------


def _event(seq: int, **body: object) -> pb.WatchTrainingJobResponse:
    event = common_pb2.Event(seq=seq, time=at(seq), **body)  # type: ignore[arg-type]  # one body, as the test says
    return pb.WatchTrainingJobResponse(event=event)


def _changed(seq: int, before: str, after: str, message: str = "") -> pb.WatchTrainingJobResponse:
    states = {"from": f"TRAINING_JOB_STATE_{before}", "to": f"TRAINING_JOB_STATE_{after}", "message": message}
    return _event(seq, state=common_pb2.StateChange(**states))


def _story(end: str) -> list[pb.WatchTrainingJobResponse]:
    queued = canned_answers.job(pb.TRAINING_JOB_STATE_QUEUED)
    queued.ClearField("progress")
    queued.pending_reason = "no worker is free"
    numbers = {"loss": 2.25, "smoothed_loss": 2.5, "learning_rate": 0.0018, "tokens_per_second": 12345.0}
    return [
        pb.WatchTrainingJobResponse(snapshot=queued),
        pb.WatchTrainingJobResponse(synced=common_pb2.Synced()),
        _changed(1, "QUEUED", "PREPARING", "worker desk took it"),
        _changed(2, "PREPARING", "RUNNING"),
        _event(3, metrics=common_pb2.Metrics(step=30, values=numbers)),
        _event(
            4,
            progress=common_pb2.Progress(
                phase="training", done=30, total=120, unit="steps", percent=25, eta=lasting(60)
            ),
        ),
        _event(5, metrics=common_pb2.Metrics(step=30, values={"eval_loss": 2.4, "perplexity": 11.02})),
        _event(
            6, checkpoint=common_pb2.CheckpointNote(step=30, kind="periodic", digest=canned_answers.DIGEST)
        ),
        _event(7, log=common_pb2.LogLine(level=common_pb2.LOG_LEVEL_INFO, text="not worth a line")),
        _event(8, log=common_pb2.LogLine(level=common_pb2.LOG_LEVEL_WARNING, text="12 records were cut")),
        _changed(9, "RUNNING", end, "as it should" if end == "SUCCEEDED" else "it did not work"),
    ]


def _ended(state: str) -> pb.GetTrainingJobResponse:
    job = canned_answers.job(pb.TrainingJobState.Value(f"TRAINING_JOB_STATE_{state}"))
    if state == "SUCCEEDED":
        job.output_version = f"{canned_answers.MODEL}/versions/1"
    if state == "FAILED":
        job.CopyFrom(canned_answers.failed())
    return pb.GetTrainingJobResponse(training_job=job)


@pytest.mark.parametrize(("end", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELLED", 8)])
def test_watch_tells_the_story_and_ends_by_the_outcome(
    canned: CannedServer, cli: CommandLine, golden_folder: pathlib.Path, end: str, code: int
) -> None:
    canned.answer(WATCH, _story(end))
    canned.answer("TrainingService/GetTrainingJob", _ended(end))
    run = cli.run("jobs", "watch", "1")
    assert run.code == code
    command_lines.golden(golden_folder / f"watch-{end.lower()}.txt", f"{run.out}--- beside it ---\n{run.err}")


def test_watch_in_json_is_one_message_a_line(canned: CannedServer, cli: CommandLine) -> None:
    canned.answer(WATCH, _story("SUCCEEDED"))
    canned.answer("TrainingService/GetTrainingJob", _ended("SUCCEEDED"))
    lines = [json.loads(line) for line in cli.run("jobs", "watch", "1", "--json").out.splitlines()]
    assert [next(iter(line)) for line in lines] == ["snapshot", "synced"] + ["event"] * 9
    assert lines[4]["event"]["metrics"]["values"]["loss"] == 2.25


def test_watch_goes_on_after_a_break_without_doubling_a_line(canned: CannedServer, cli: CommandLine) -> None:
    story = _story("SUCCEEDED")

    def broken(request: object) -> list[pb.WatchTrainingJobResponse]:
        assert isinstance(request, pb.WatchTrainingJobRequest)
        if request.after == 0:
            return story[:4]  # the server goes away in the middle
        return [story[0], *story[2 + request.after :]]

    canned.answer(WATCH, broken)
    canned.answer("TrainingService/GetTrainingJob", _ended("SUCCEEDED"))
    first = cli.run("jobs", "watch", "1")
    again = cli.run("jobs", "watch", "1", "--after", "2")
    assert first.out.splitlines()[:3] == [
        f"{JOB} is queued: no worker is free",
        "05:06:01  preparing  worker desk took it",
        "05:06:02  running",
    ]
    assert "preparing" not in again.out
    assert "05:06:09  succeeded" in again.out


def test_train_and_watch_in_one(canned: CannedServer, cli: CommandLine) -> None:
    canned.answer(WATCH, _story("SUCCEEDED"))
    canned.answer("TrainingService/GetTrainingJob", _ended("SUCCEEDED"))
    run = cli.run("train", "datasets/ada/chat", "--watch", "-q")
    assert (run.code, run.out) == (0, "models/ada/tiny@1\n")


def test_wait_ends_by_the_outcome_or_in_the_state_asked_for(canned: CannedServer, cli: CommandLine) -> None:
    canned.answer(WATCH, _story("FAILED"))
    canned.answer("TrainingService/GetTrainingJob", _ended("FAILED"))
    assert cli.run("jobs", "wait", "1").code == 1
    assert cli.run("jobs", "wait", "1", "--for", "failed").code == 0
    missed = cli.run("jobs", "wait", "1", "--for", "paused")
    assert (missed.code, "ended as failed and was not seen paused" in missed.err) == (5, True)


# --- steering --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "method"),
    [
        (["jobs", "start", "1"], "StartTrainingJob"),
        (["jobs", "pause", "job_1"], "PauseTrainingJob"),
        (["jobs", "resume", JOB], "ResumeTrainingJob"),
        (["jobs", "cancel", "1", "--yes"], "CancelTrainingJob"),
        (["jobs", "rm", "1", "--yes"], "DeleteTrainingJob"),
    ],
)
def test_steering_names_the_job_and_says_what_next(
    canned: CannedServer, cli: CommandLine, words: list[str], method: str
) -> None:
    reply = getattr(pb, f"{method}Response")()
    if method != "DeleteTrainingJob":
        reply.training_job.CopyFrom(canned_answers.job())
    canned.answer(f"TrainingService/{method}", reply)
    run = cli.run(*words)
    assert run.code == 0
    *_, request = canned.requests(f"TrainingService/{method}")
    assert getattr(request, "name") == JOB  # noqa: B009  # one of five types
    assert JOB in run.out


def test_logs_in_json_are_one_object_a_line(cli: CommandLine) -> None:
    lines = [json.loads(line) for line in cli.run("jobs", "logs", "1", "--json").out.splitlines()]
    assert [line["line"]["text"] for line in lines] == ["fetching datasets/ada/chat@2", "12 records were cut"]


def test_metrics_with_their_course(cli: CommandLine) -> None:
    lines = cli.run("jobs", "metrics", "1", "--points", "3").out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["SERIES", "STEP", "VALUE"],
        ["loss", "10", "3.5"],
        ["loss", "20", "3"],
        ["loss", "30", "2.5"],
    ]


# --- generate --------------------------------------------------------------------------------------------


def _answering(request: object) -> list[pb.GenerateTextResponse]:
    assert isinstance(request, pb.GenerateTextRequest)
    said = request.messages[-1].content if request.messages else request.prompt
    done = pb.GenerationDone(
        finish_reason="stop",
        completion_tokens=2,
        duration=lasting(1.5),
        model_version=f"{DATASET}/versions/2",
    )
    return [
        pb.GenerateTextResponse(waiting=pb.GenerationWaiting(message="waiting for a worker")),
        pb.GenerateTextResponse(text=f"«{said}» "),
        pb.GenerateTextResponse(text="تهران"),
        pb.GenerateTextResponse(done=done),
    ]


def test_generate_streams_text_and_nothing_else_on_stdout(canned: CannedServer, cli: CommandLine) -> None:
    canned.answer("TrainingService/GenerateText", _answering)
    run = cli.run("generate", "models/ada/tiny", "پایتخت ایران", "--max-tokens", "8", "--seed", "3")
    assert (run.code, run.out) == (0, "«پایتخت ایران» تهران\n")
    assert "2 tokens in 1.5 s" in run.err
    (request,) = canned.requests("TrainingService/GenerateText")
    assert isinstance(request, pb.GenerateTextRequest)
    assert (request.max_tokens, request.seed, request.HasField("temperature")) == (8, 3, False)


def test_generate_reads_the_prompt_from_a_pipe_and_takes_a_system_text(canned: CannedServer) -> None:
    canned.answer("TrainingService/GenerateText", _answering)
    cli = CommandLine(canned.address, typed="Hello\n")
    assert cli.run("generate", "models/ada/tiny", "-q").out == "«Hello» تهران\n"
    cli.run("generate", "models/ada/tiny", "Hi", "--system", "Answer shortly.")
    last = canned.requests("TrainingService/GenerateText")[-1]
    assert isinstance(last, pb.GenerateTextRequest)
    assert [(each.role, each.content) for each in last.messages] == [
        ("system", "Answer shortly."),
        ("user", "Hi"),
    ]


def test_chat_keeps_the_conversation(canned: CannedServer) -> None:
    canned.answer("TrainingService/GenerateText", _answering)
    run = CommandLine(canned.address, typed="One\nTwo\n").run("generate", "models/ada/tiny", "--chat", "-q")
    assert run.out == "«One» تهران\n«Two» تهران\n"
    last = canned.requests("TrainingService/GenerateText")[-1]
    assert isinstance(last, pb.GenerateTextRequest)
    assert [each.role for each in last.messages] == ["user", "assistant", "user"]


def test_a_generation_without_a_worker_ends_with_seven(canned: CannedServer, cli: CommandLine) -> None:
    canned.answer(
        "TrainingService/GenerateText", failure("RESOURCE_EXHAUSTED", "No worker took it.", "NO_WORKER")
    )
    assert cli.run("generate", "models/ada/tiny", "Hi").code == 7
